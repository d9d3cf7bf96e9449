"""Pages that are open while things happen: what they show without being loaded again, and what a reader keeps meanwhile."""

import json
import time
import urllib.request

# A page may wait a second for what else happens, and asks every two seconds where something grows.
SOON = 20


def post(url, path, **body):
    """Says something to the server as MLflow's client does."""
    request = urllib.request.Request(f"{url}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def begin(pages, name):
    """A run that goes on."""
    made = post(pages.seen.url, "runs/create", experiment_id="0", run_name=name, start_time=int(time.time() * 1000))
    return made["run"]["info"]["run_id"]


def measure(pages, run, key, value, step):
    post(pages.seen.url, "runs/log-metric", run_id=run, key=key, value=value, timestamp=int(time.time() * 1000), step=step)


def end(pages, run):
    post(pages.seen.url, "runs/update", run_id=run, status="FINISHED", end_time=int(time.time() * 1000))


def open_runs(pages):
    """The table of runs, which follows the log."""
    pages.open("/experiments/0", "Runs")
    pages.browser.until("document.getElementById('live').textContent.includes('live')", "the stream of events is not open")
    # What is fetched when the stream opens is not what is waited for.
    time.sleep(1)
    pages.browser.settled(quiet=0.2)


def on_page(text):
    return f"document.getElementById('runs').textContent.includes({json.dumps(text)})"


def read_a_log(pages):
    """The end of a log that grows is followed by who is there; who reads above stays, also after a click into it."""
    box = "document.querySelector('.log .lines')"
    lines = f"{box}.querySelectorAll('li').length"
    at_end = f"{box}.scrollHeight - {box}.scrollTop - {box}.clientHeight < 8"
    pages.browser.until(f"{box}.scrollHeight > {box}.clientHeight + 200", "the log does not grow")
    pages.browser.until(at_end, "the end of the log is not followed")
    pages.browser.run(f"{box}.focus(), {box}.scrollTop = 30")
    for _ in range(2):
        before = pages.browser.run(lines)
        pages.browser.until(f"{lines} > {before}", "a log that has the focus does not grow", SOON)
        assert pages.browser.run(f"{box}.scrollTop") == 30, "the reader was thrown elsewhere"
    assert pages.browser.run(f"document.activeElement === {box}"), "the focus is gone"
    pages.browser.run(f"{box}.scrollTop = {box}.scrollHeight")
    before = pages.browser.run(lines)
    pages.browser.until(f"{lines} > {before} && {at_end}", "the end of the log is not followed again", SOON)


def try_busy_log(pages):
    """A log that never rests does not keep a page from being refreshed."""
    # As if something happened ten times a second, however fast the machine is.
    busy = """window.EventSource = class extends EventSource {
        constructor(address) {
            super(address);
            const tell = () => this.dispatchEvent(new MessageEvent('tracking.run.created', { data: '{}' }));
            setInterval(tell, 100);
        }
    }"""
    end(pages, begin(pages, "before"))
    script = pages.browser.call("Page.addScriptToEvaluateOnNewDocument", source=busy)["identifier"]
    try:
        open_runs(pages)
        run = begin(pages, "in a busy time")
        pages.browser.until(on_page("in a busy time"), "a busy log keeps the page from being refreshed", SOON)
        end(pages, run)
    finally:
        pages.browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def try_measured_meanwhile(pages):
    """What a run measures while it is at work is in the table without any event."""
    run = begin(pages, "measures")
    measure(pages, run, "loss", 0.5, 1)
    open_runs(pages)
    measure(pages, run, "loss", 0.123, 2)
    pages.browser.until(on_page("0.123"), "the table does not show what was measured", SOON)
    end(pages, run)


def try_what_a_reader_keeps(pages):
    """Focus in a table, ticks and what is typed stay while the table goes on."""
    runs = [begin(pages, f"kept-{n}") for n in range(2)]
    for run in runs:
        end(pages, run)
    open_runs(pages)
    tick = f"document.querySelector('input[value=\"{runs[0]}\"]')"
    pages.browser.run(f"{tick}.click(), {tick}.focus()")
    pages.browser.run("document.querySelector('input[name=filter]').value = 'half a question'")
    runs.append(begin(pages, "came-1"))
    pages.browser.until(on_page("came-1"), "a box that has the focus keeps the table from being refreshed", SOON)
    assert pages.browser.run(f"{tick}.checked && document.activeElement === {tick}"), "tick or focus is gone"
    ticked = pages.browser.run("[...document.querySelectorAll('input[name=run]:checked')].map((one) => one.value)")
    assert ticked == runs[:1], ticked
    pages.browser.run("document.querySelector('#runs .scroll').focus()")
    runs.append(begin(pages, "came-2"))
    pages.browser.until(on_page("came-2"), "a table that has the focus is not refreshed", SOON)
    assert pages.browser.run("document.activeElement.matches('#runs .scroll')"), "the focus is gone"
    assert pages.browser.run("document.querySelector('input[name=filter]').value") == "half a question"
    for run in runs[2:]:
        end(pages, run)


def try_parts_come(pages):
    """A section and a tab that the page did not have come by themselves, and at their place."""
    run = begin(pages, "grows")
    measure(pages, run, "loss", 0.5, 1)
    pages.open(f"/runs/{run}", "Parameters")
    pages.browser.until("document.getElementById('live').textContent.includes('live')", "the stream of events is not open")
    pages.browser.run("window.mark = 1")
    measure(pages, run, "system/cpu_utilization_percentage", 40.0, 1)
    pages.browser.until("document.querySelector('.tabs').textContent.includes('System (1)')", "the tab does not come", SOON)
    post(pages.seen.url, "registered-models/create", name=f"grown-{run}")
    post(pages.seen.url, "model-versions/create", name=f"grown-{run}", source=f"runs:/{run}/model", run_id=run)
    pages.browser.until("document.getElementById('registered') !== null", "the section does not come", SOON)
    place = "document.getElementById('metrics').parentNode === document.getElementById('registered').parentNode"
    assert pages.browser.run(place), "the section is elsewhere"
    end(pages, run)
    pages.browser.until("document.querySelector('.title .badge').textContent.includes('finished')", "the run does not end", SOON)
    assert pages.browser.run("window.mark") == 1, "the page was loaded again"


def try_later_curves(pages):
    """Curves that were fetched when they came into view go on, and are never a placeholder again."""
    run = begin(pages, "many curves")
    for step in range(3):
        for key in range(9):
            measure(pages, run, f"m{key}", key + step, step)
    pages.open(f"/runs/{run}?tab=metrics", "m8")
    pages.browser.run("scrollTo(0, document.body.scrollHeight)")
    pages.browser.until("!document.querySelector('[data-later]')", "curves are missing")
    pages.browser.run("""window.flicker = 0;
        window.last = document.querySelector('.chart-frame:last-of-type');
        new MutationObserver((changes) => {
            for (const { addedNodes } of changes) for (const one of addedNodes)
                if (one.querySelector?.('[data-later]') || one.matches?.('[data-later]')) window.flicker += 1;
        }).observe(document.getElementById('main'), { childList: true, subtree: true }); 0""")
    time.sleep(4.5)
    assert pages.browser.run("window.last.isConnected"), "a curve that did not change was exchanged"
    measure(pages, run, "m8", 77, 9)
    pages.browser.until("!window.last.isConnected", "the last curve does not go on", SOON)
    assert pages.browser.run("window.flicker") == 0, "a placeholder was seen"
    assert pages.browser.run("document.querySelectorAll('svg[data-chart=line]').length") == 9
    end(pages, run)
