"""Pages of a run that goes on: `live_pages.py URL AXE FOLDER ROOT` follows it in a browser without loading a page again. The run waits
for files in ROOT, which are made here in turn. What its steps print and what its data are called is hostile."""

import json
import pathlib
import sys

import browser
import live_updates
import own_pages

STEPS = ["slow", "after"]
HOSTILE = "<script>window.hurt=1</script>"


class Running(own_pages.Served):
    """A server, and the run that it shows."""

    def __init__(self, url, root):
        super().__init__(url)
        self.root = pathlib.Path(root)
        self.run = None

    numbers = own_pages.Seen.numbers


def state(step):
    """The state of a step as its page shows it, without more than the script of the page reads."""
    row = f"[...document.querySelectorAll('#steps tbody tr')].find((row) => row.cells[0].textContent.trim() === {json.dumps(step)})"
    return f"{row}?.cells[1].textContent"


def follow(pages):
    """Steps begin, print and end, and the page says so."""
    [row] = pages.seen.numbers("/pipelines")["runs"]["rows"]
    assert row["state"] == "running", row
    path = f"/pipelines/{row['run']}"
    places = [row["place"] for row in pages.seen.numbers("/")["loop"]["rows"]]
    assert places[:2] == ["Data", "Pipeline"] and len(places) == 5, places
    pages.open(path, "first line")
    wait = pages.browser.until
    wait("document.getElementById('live').textContent.includes('live')", "the stream of events is not open")
    wait(f"{state('slow')}?.includes('at work')", "the step is not at work")
    pages.browser.run("window.mark = 1")
    wait("document.getElementById('steps').textContent.includes('waits for slow')", "it is not said why the other waits")
    assert not pages.browser.run("document.body.textContent.includes('second line')")
    (pages.seen.root / "go").touch()
    # A log grows while its step runs.
    wait("document.body?.textContent.includes('second line')", "the log does not grow")
    assert pages.browser.run(f"{state('slow')}.includes('at work')")
    live_updates.read_a_log(pages)
    pages.picture("run_that_goes_on")
    yield from pages.wrong()
    (pages.seen.root / "end").touch()
    for step in STEPS:
        wait(f"!{state(step)}?.includes('at work') && !{state(step)}?.includes('waiting')", f"`{step}` does not end")
    wait("document.querySelector('.title .badge')?.textContent.includes('succeeded')", "the run does not end")
    # What was printed is text, and nobody loaded the page again.
    pages.browser.shows(HOSTILE)
    assert pages.browser.run("window.mark") == 1, "the page was loaded again"
    # The history at a glance has its numbers, and the step's own run has its log.
    history = pages.seen.numbers("/pipelines")["history"]["rows"]
    assert [(line["step"], line[row["run"]]) for line in history] == [(step, "ran") for step in STEPS], history
    pages.open(path, "metrics")
    address = pages.browser.run("document.querySelector('#steps tbody tr a[href^=\"/runs/\"]').getAttribute('href')")
    pages.open(address, "Log")
    yield from pages.wrong()
    pages.open(f"{address}?tab=log", "second line", HOSTILE)


def main(url, axe, folder, root):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    with browser.Browser() as opened:
        pages = own_pages.Pages(opened, Running(url, root), pathlib.Path(axe).read_text(), folder)
        pages.size(1280)
        failed += own_pages.report("run_that_goes_on", lambda: list(follow(pages)))
        for name, attempt in list(vars(live_updates).items()):
            if name.startswith("try_"):
                failed += own_pages.report(name, lambda attempt=attempt: [*(attempt(pages) or ()), *pages.wrong(rules=False)])
        for name, path, texts in [
            ("expectations", "/data/rows/expectations", ["broken", "Rows that break", HOSTILE, "3 of 4 rows"]),
            ("hostile_columns", "/data/versioned", ["Versions", "Columns that differ", "removed", "more", HOSTILE]),
            ("hostile_difference", "/data/versioned/difference", ["Columns that came, went", "Rows that", HOSTILE]),
            ("data_checked", "/data", ["1 of 2 broken"]),
        ]:
            failed += own_pages.report(name, lambda path=path, name=name, texts=texts: list(pages.look(name, path, texts)))
    sys.exit(f"{failed} pages failed" if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
