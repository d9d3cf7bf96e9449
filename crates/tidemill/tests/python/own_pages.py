"""Our own web pages in a headless browser.

`python own_pages.py http://127.0.0.1:PORT AXE [FOLDER]` logs runs, a model and hostile names with the client, opens every
page of the server in light and dark, wide and narrow, and checks that it is there, that it complained about nothing, that
it asked nobody but the server, that no script of a name ran, and what axe-core, the file AXE, finds wrong with it. Live
updates, sorting, zoom and the colour switch are tried as a reader would. With FOLDER it leaves a picture of each page there.
"""

import base64
import json
import pathlib
import sys
import time
import traceback
import urllib.request

import browser
import delivered
import harness
import mlflow
import numpy as np
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression

HOSTILE = "<img src=x onerror=\"window.hurt=1\"><script>window.hurt=1</script>'\"`{{7*7}}"
# What lets a rule of axe-core be broken, by its name; nothing does.
ALLOWED = ()
# What charts of a page lack: a link to itself that leads somewhere, its picture as a file, and its numbers where anything is drawn. A small
# curve leads to a place that has them.
CHARTS = """[...document.querySelectorAll('main svg.chart, main .stages, main table.grid, main table.heat')].flatMap((chart) => {
    const box = chart.closest('figure, .bare, .charted');
    const links = box ? [...box.querySelectorAll('a')] : [];
    const there = (link) => link && (link.getAttribute('href').startsWith('/') || document.getElementById(link.hash.slice(1)));
    const isDrawn = !chart.matches('svg.line') || [...chart.querySelectorAll('.curve, .broken')].some((one) => one.getAttribute('d'));
    const numbers = box?.matches('.charted') || box?.querySelector('details.numbers') || there(links.find((one) => one.textContent.startsWith('Numbers of')));
    const wants = { permalink: there(links.find((one) => one.textContent === '#')), picture: links.some((one) => one.textContent === 'SVG'),
        numbers: numbers || !isDrawn, name: chart.getAttribute('aria-label') || chart.caption?.textContent };
    return Object.entries(wants).filter(([, has]) => !has).map(([what]) => `${what} of ${wants.name}`);
}).concat([...document.querySelectorAll('main svg.spark')].filter((one) => !one.closest('a[href]')).map((one) => one.outerHTML.slice(0, 120)))"""
# A page that is not there; others end like it. Nothing else may be answered with an error.
MISSING = "/runs/none"


class Seen:
    """What was logged, and how to reach it."""

    def __init__(self, url):
        self.url = url
        mlflow.set_tracking_uri(url)
        self.name = harness.unique("tides")
        self.experiment = mlflow.set_experiment(self.name).experiment_id
        self.runs = []
        for n in range(12):
            self.runs.append(log_run(n))
        self.model = harness.unique("height")
        client = MlflowClient()
        [made] = client.get_run(self.runs[0]).outputs.model_outputs
        self.line = made.model_id
        client.create_registered_model(self.model, description="Says how high the **tide** will be")
        for run in self.runs[:3]:
            client.create_model_version(self.model, f"runs:/{run}/model", run, tags={"team": "tides"})
        client.set_registered_model_alias(self.model, "champion", "1")
        client.set_registered_model_alias(self.model, "champion", "2")
        self.hostile_experiment = mlflow.set_experiment(f"{HOSTILE} {self.name}").experiment_id
        with mlflow.start_run(run_name=HOSTILE, tags={"mlflow.note.content": HOSTILE, "note": HOSTILE}) as run:
            self.hostile = run.info.run_id
            mlflow.log_param("kind", HOSTILE)
            mlflow.log_text(HOSTILE, "notes/readme.md")
            quoted = HOSTILE.replace('"', '""')
            mlflow.log_text(f'a,"{quoted}"\n1,{HOSTILE}\n', "table.csv")
        self.pipeline = self.first("/pipelines", "runs", "run")
        self.endpoint = self.first("/serving", "endpoints", "endpoint")
        self.dataset = self.first("/data", "datasets", "dataset")
        self.traffic = delivered.traffic(url)
        self.delivered = self.traffic.name
        self.trained = self.delivered if self.traffic.is_flights else None
        self.waiting = "/delivery/rollouts/1"
        self.release = self.numbers("/delivery/releases")["releases"]["rows"][-1]["digest"]

    def numbers(self, path):
        """A page as programs get it."""
        return numbers(self.url, path)

    def first(self, path, table, column):
        """What stands in the first row of a list; nothing where it is empty."""
        rows = self.numbers(path)[table]["rows"]
        return rows[0][column] if rows else None


def numbers(url, path):
    """A page of a server as programs get it."""
    request = urllib.request.Request(url + path, headers={"accept": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def log_run(n):
    """A run with curves, one with a gap, and files."""
    with mlflow.start_run(run_name=f"depth-{n}", tags={"team": "tides"}) as run:
        mlflow.log_params({"depth": n, "rate": 0.001 * 10 ** (n % 3), "kind": "spring" if n % 2 else "neap"})
        for step in range(10):
            loss = float("nan") if step == 4 and n == 0 else 1 / (step + n + 1)
            mlflow.log_metrics({"loss": loss, "accuracy": 1 - 1 / (step + n + 2)}, step=6 * step)
        for key in range(9):
            mlflow.log_metric(f"other-{key}", key + n, step=1)
        mlflow.log_metric("system/cpu_utilization_percentage", 40.0, step=3)
        mlflow.log_text("high water at noon\n", "notes/readme.txt")
        mlflow.log_dict({"harbour": "north"}, "conf.json")
        if n == 0:
            mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), "chart.png")
            line = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
            mlflow.sklearn.log_model(line, name="line", pip_requirements=["scikit-learn>=1.0", "numpy"])
        return run.info.run_id


def paths(seen):
    """Every page: a name, an address, and texts that are on it."""
    run, experiment = seen.runs[0], seen.experiment
    pages = [
        ("home", "/", ["Pipeline", "Registry", "What moves now", "What happened last"]),
        ("experiments", "/experiments", [seen.name]),
        ("runs", f"/experiments/{experiment}", ["depth-11", "loss", "Compare the ticked"]),
        ("runs_filtered", f"/experiments/{experiment}?filter=params.depth%20%3D%20'3'", ["depth-3"]),
        ("runs_wrong_filter", f"/experiments/{experiment}?filter=params.depth%20%3D%3D%20", ["The filter could not be understood"]),
        ("runs_grouped", f"/experiments/{experiment}?group=params.kind", ["spring", "neap", "median"]),
        ("runs_keys", f"/experiments/{experiment}?keys=other&finding=1&column=metrics.other-8", ["9 keys of the experiment hold `other`", "metrics.other-3"]),
        ("run", f"/runs/{run}", ["depth-0", "Parameters", "accuracy", "Environment", "scikit-learn", ">=1.0", "Python"]),
        ("run_curves", f"/runs/{run}?tab=metrics", ["accuracy", "step"]),
        ("run_curve", f"/runs/{run}/curves/loss", ["among all", "loss"]),
        ("run_system", f"/runs/{run}?tab=system", ["system/cpu_utilization_percentage"]),
        ("run_files", f"/runs/{run}?tab=files", ["conf.json", "notes/"]),
        ("run_file", f"/runs/{run}?tab=files&path=conf.json", ['"harbour": "north"']),
        ("run_model", f"/runs/{run}?tab=files&model={seen.line}", ["requirements.txt", "MLmodel", "of the model"]),
        ("run_model_file", f"/runs/{run}?tab=files&model={seen.line}&path=MLmodel", ["model_uuid", "Download"]),
        ("run_picture", f"/runs/{run}?tab=files&path=chart.png", ["Download"]),
        ("compare", "/compare?" + "&".join(f"run={run}" for run in seen.runs), ["params.depth", "Side by side"]),
        ("pipelines", "/pipelines", ["Pipelines"]),
        ("data", "/data", ["Data"]),
        ("models", "/models", [seen.model, "champion"]),
        ("model", f"/models/{seen.model}", ["v3", "Point the alias there", "Moves of aliases", "not known how its versions age"]),
        ("version", f"/models/{seen.model}/2", [f"{seen.model} v2", "champion"]),
        ("card_untrained", f"/models/{seen.model}/2/card", ["What to look out for", "It was registered without tests"]),
        ("delivery", "/delivery", ["Environments", f"{seen.delivered} v1", "waiting for another rollout", "Freeze calendar", "the books of the year are closed", "a disk is full"]),
        ("rollout_waiting", seen.waiting, ["awaiting", "cannot approve it", "Roll back"]),
        ("releases", "/delivery/releases", [f"{seen.delivered} v2"]),
        ("release", f"/delivery/releases/{seen.release}", [f"{seen.delivered} v1", "Gates", "Evidence"]),
        ("owner", "/owner", ["What it decides", "Health", "What needs a decision", f"{seen.delivered} v1 for prod"]),
        ("serving", "/serving", ["Endpoints"]),
        ("monitoring", "/monitoring", ["Alerts", "Nothing fires", "Monitors", "All alerts"]),
        ("log", "/log", ["alias.moved", "Root of the Merkle tree"]),
        ("log_verified", "/log?verify=1", ["intact"]),
        ("event", "/log/2", ["it is entry 2 of the log", "What led to it"]),
        ("login", "/login", ["Sign in"]),
        ("missing", MISSING, ["Not found"]),
        ("hostile_experiment", f"/experiments/{seen.hostile_experiment}", ["onerror"]),
        ("hostile_run", f"/runs/{seen.hostile}", ["onerror"]),
        ("hostile_file", f"/runs/{seen.hostile}?tab=files&path=notes/readme.md", ["onerror"]),
        ("hostile_table", f"/runs/{seen.hostile}?tab=files&path=table.csv", ["onerror"]),
        ("hostile_compare", f"/compare?run={seen.hostile}&run={run}", ["onerror"]),
    ]
    if seen.pipeline:
        pages.append(("pipeline", f"/pipelines/{seen.pipeline}", ["What reads what", "cache key"]))
    if seen.endpoint:
        pages.append(("endpoint", f"/serving/{seen.endpoint}", ["Arms", "As it is declared"]))
    if seen.trained:
        pages.append(("evaluation", f"/models/{seen.trained}/2", ["Cost against threshold", "Calibration", "Worst slices", "Against the champion", "Importance of columns"]))
        pages.append(("slices", f"/models/{seen.trained}/2?by=carrier", ["by carrier", "All test rows together"]))
        pages.append(("card", f"/models/{seen.trained}/2/card", ["What it learned from", "How good it is", "For whom it is worse"]))
        pages.append(("profile", "/data/months", ["Profile", "most frequent", "Drift"]))
        pages.append(("difference", "/data/months/difference", ["v1 → v2", "Rows that came", "What the columns look like", "moved much", "share of rows"]))
        pages.append(("difference_files", "/data/planes/difference", ["Columns that came, went", "removed", "Rows"]))
    if seen.dataset:
        pages.append(("dataset", f"/data/{seen.dataset}", ["Versions"]))
    return pages


class Pages:
    """The browser and what it checks of every page."""

    # The widths in pixels that each page is opened in, and whether it is looked at in light and in dark then.
    widths = (1280, 390)
    darks = (False, True)

    def __init__(self, opened, seen, axe, folder):
        self.browser, self.seen, self.axe, self.folder = opened, seen, axe, folder

    def size(self, width, height=1000):
        self.browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def dark(self, dark):
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.browser.call("Emulation.setEmulatedMedia", features=features)

    def open(self, path, *texts):
        self.browser.asked.clear()
        self.browser.open(self.seen.url + path)
        # What is folded away is there as well.
        for text in texts:
            self.browser.until(f"document.body && document.body.textContent.includes({json.dumps(text)})", f"`{text}` is not on {path}")

    def picture(self, name):
        if self.folder:
            size = self.browser.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}
            data = self.browser.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True, optimizeForSpeed=True)["data"]
            (self.folder / f"{name}.png").write_bytes(base64.b64decode(data))

    def wrong(self, rules=True):
        """What is wrong with the page that is open."""
        yield from self.browser.problems
        for kind, status, address in self.browser.refused:
            if kind != "Document" or not address.endswith("/none"):
                yield f"answered with {status}: {kind} {address}"
        for asked in self.browser.asked.values():
            address = asked.split(" ", 1)[1]
            if not address.startswith((self.seen.url, "about:", "data:")):
                yield f"asked for {address}"
        if self.browser.run("window.hurt"):
            yield "a script of a name ran"
        wide = self.browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 1:
            yield f"the page is {wide} pixels wider than the window"
        # Whatever can be used is reached by the Tab key.
        unreached = self.browser.run("[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary, .scroll, .lines')]"
                                     ".filter((one) => one.getClientRects().length && one.tabIndex < 0).map((one) => one.outerHTML.slice(0, 120))")
        yield from (f"not reached by the keyboard: {one}" for one in unreached)
        yield from (f"a chart has no {one}" for one in self.browser.run(CHARTS))
        if rules:
            self.browser.run(self.axe + ";0")
            options = "{resultTypes: ['violations']" + ("" if rules is True else f", runOnly: {rules}") + "}"
            found = self.browser.run(f"axe.run(document, {options})" + ".then((found) => found.violations.map("
                                     "(rule) => [rule.id, rule.help, rule.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)"
                                     " + ' ' + (node.any[0] || node.all[0] || {message: ''}).message)]))")
            for rule, help_, nodes in found:
                if rule not in ALLOWED:
                    yield f"axe {rule}: {help_}: {nodes}"

    def look(self, name, path, texts):
        for width in self.widths:
            self.size(width)
            self.dark(False)
            self.open(path, *texts)
            for dark in self.darks:
                self.dark(dark)
                self.browser.settled(quiet=0.2)
                tail = ("-dark" if dark else "") + ("" if width == 1280 else f"-{width}")
                self.picture(name + tail)
                # In dark only colours are other ones; what axe-core would say of a narrow and dark page it has said of both.
                rules = (width != 390 and ["color-contrast"]) if dark else True
                for problem in self.wrong(rules=rules):
                    yield f"{width}{' dark' if dark else ''}: {problem}"


def try_live(pages):
    """A page of runs shows a run that begins while it is open."""
    pages.open(f"/experiments/{pages.seen.experiment}", "depth-3")
    pages.browser.until("document.getElementById('live').textContent.includes('live')", "the stream of events is not open")
    mlflow.set_experiment(pages.seen.name)
    with mlflow.start_run(run_name="came-later"):
        pages.browser.until("document.body?.textContent.includes('came-later')", "the new run is not on the page")


def try_sorting(pages):
    """A click on the head of a column sorts."""
    pages.open(f"/experiments/{pages.seen.experiment}?filter=metrics.accuracy%20%3E%200", "depth-3")
    pages.browser.click("th a.sort", "accuracy ↕")
    pages.browser.until("location.search.includes('accuracy')", "the table is not sorted")
    pages.browser.until("document.querySelector('th[aria-sort=descending]')?.textContent.includes('accuracy')", "no arrow")
    pages.browser.shows("depth-11")


def try_later_curves(pages):
    """Curves below the window are drawn when one comes to them."""
    pages.open(f"/runs/{pages.seen.runs[0]}?tab=metrics", "accuracy")
    pages.browser.run("scrollTo(0, document.body.scrollHeight)")
    pages.browser.until("!document.querySelector('[data-later]')", "curves are missing")


def try_tooltip_and_zoom(pages):
    """A pointer over a curve is told its value; dragging looks closer."""
    pages.open(f"/runs/{pages.seen.runs[1]}?tab=metrics&curve=loss", "among all")
    box = pages.browser.run("(() => { const b = document.querySelector('svg[data-zoom]').getBoundingClientRect();"
                            "return [b.x, b.y, b.width, b.height] })()")
    x, y = box[0] + box[2] * 0.3, box[1] + box[3] * 0.5
    mouse = lambda kind, x, **more: pages.browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)  # noqa: E731
    mouse("mouseMoved", x)
    pages.browser.until("document.querySelector('.tip')?.textContent.includes('depth-1')", "no tooltip")
    mouse("mousePressed", x, button="left", clickCount=1)
    mouse("mouseMoved", x + box[2] * 0.3, button="left", buttons=1)
    mouse("mouseReleased", x + box[2] * 0.3, button="left", clickCount=1)
    pages.browser.until("location.search.includes('x=')", "the page did not look closer")


def try_colour_switch(pages):
    """The switch counts more than the system, and stays."""
    pages.dark(False)
    pages.open("/", "Home")
    before = pages.browser.run("getComputedStyle(document.body).color")
    pages.browser.run("(() => { const s = document.getElementById('theme'); s.value = 'dark'; s.dispatchEvent(new Event('change')) })()")
    dark = pages.browser.run("getComputedStyle(document.body).color")
    assert before != dark, f"the switch changes nothing: {dark}"
    pages.browser.call("Page.reload")
    pages.browser.until("document.readyState === 'complete' && document.documentElement.dataset.theme === 'dark'", "it is forgotten")


def try_comparison(pages):
    """Ticked runs are compared."""
    pages.open(f"/experiments/{pages.seen.experiment}", "depth-3")
    pages.browser.run("[...document.querySelectorAll('input[name=run]')].slice(0, 3).forEach((box) => box.click())")
    pages.browser.click("button", "Compare the ticked")
    pages.browser.shows("Compare runs", "Side by side")


def try_alias(pages):
    """An alias is pointed at a version by the form of the page."""
    pages.open(f"/models/{pages.seen.model}", "Point the alias there")
    pages.browser.run("(() => { const f = document.querySelector('form.change'); f.elements.alias.value = 'rising';"
                      "f.elements.version.value = '3' })()")
    pages.browser.click("form.change button", "Point the alias there")
    pages.browser.until("document.body?.textContent.includes('rising')", "the alias is not there")
    harness.same(MlflowClient().get_model_version_by_alias(pages.seen.model, "rising").version, "3", "version")


def badge(word):
    return f"document.querySelector('.title .badge')?.textContent.includes({json.dumps(word)})"


def can(action):
    return f"[...document.querySelectorAll('form.change button')].some((button) => button.textContent === {json.dumps(action)})"


def try_rollout(pages):
    """A rollout is approved, watched while requests come, and rolled back, all on its page; nobody loads it again meanwhile."""
    seen, wait = pages.seen, pages.browser.until
    pages.open("/delivery/rollouts/1", "awaiting")
    pages.browser.click("form.change button", "Approve")
    wait("document.body?.textContent.includes('the release answers all requests')", "the first rollout is not over", 120)
    # What could be decided is over as well.
    wait("!document.querySelector('form[action$=abort]')", "it could still be decided", 30)
    pages.open("/delivery/rollouts/2", "rollout")
    wait(can("Approve"), "no gate", 120)
    # By the keyboard alone.
    pages.browser.run("document.querySelector('form[action$=approve] button').focus()")
    pages.browser.press("Enter", 13)
    if seen.traffic.is_flights:
        wait(badge("shadow"), "no shadow", 120)
        seen.traffic.ask(100)
        yield from pages.look("rollout_shadow", "/delivery/rollouts/2", ["shadow 100 %", "for requests", "Gates"])
        pages.size(1280)
        pages.dark(False)
        pages.open("/delivery/rollouts/2", "shadow")
        wait("document.getElementById('live').textContent.includes('live')", "the stream of events is not open")
        pages.browser.run("window.mark = 1")
        seen.traffic.ask(300)
    wait(badge("canary"), "no canary", 120)
    if seen.traffic.is_flights:
        assert pages.browser.run("window.mark") == 1, "the page was loaded again"
    begin = time.monotonic()
    while time.monotonic() - begin < 120:
        seen.traffic.ask(100)
        rows = seen.numbers("/delivery/rollouts/2").get("cone_0", {"rows": []})["rows"]
        # Enough for a picture, too few for a verdict.
        if len(rows) > 5:
            break
    yield from pages.look("rollout", "/delivery/rollouts/2", ["reject", "as planned", "What happened", "header x-preview = on"])
    if seen.traffic.is_flights:
        yield from on_its_way(pages)
    pages.size(1280)
    pages.dark(False)
    pages.open("/delivery/rollouts/2", "canary")
    pages.browser.run("document.querySelector('form[action$=rollback]').elements.reason.value = 'callers complain'")
    pages.browser.click("form.change button", "Roll back")
    wait(badge("rolled-back"), "it is not rolled back", 120)
    pages.browser.shows("callers complain")
    # Every transition stands there with what was known then.
    phases = seen.numbers("/delivery/rollouts/2")["phases"]["rows"]
    assert {"canary", "rolled-back"} <= {row["to"] for row in phases}, phases
    assert any(" of " in str(row["what the judge knew"]) for row in phases), phases
    yield from pages.look("delivery_after", "/delivery", ["Quarantine", "callers complain", f"{seen.delivered} v1"])
    pages.size(1280)
    pages.dark(False)
    if seen.traffic.is_flights:
        yield from abort(pages)


def on_its_way(pages):
    """What other pages say while a candidate answers a part of the flights."""
    d = pages.seen.delivered
    for name, path, texts in [
        ("home_rollout", "/", [f"champion v1 of {d}", "challenger: v2, canary", f"prod: {d} v1"]),
        ("champion", f"/models/{d}", ["champion", "Moves of aliases"]),
        ("flips", f"/models/{d}/2", ["Rows that v1 and v2 answer differently", "that were", "v1 wrong"]),
        ("card_tested", f"/models/{d}/2/card", ["What it learned from"]),
        ("endpoint_rollout", f"/serving/{d}", ["Arms", "requests", "up to"]),
        ("owner_rollout", "/owner", ["What it is worth", "What changed, and who approved", "tester"]),
    ]:
        yield from (f"{name}: {problem}" for problem in pages.look(name, path, texts))


def abort(pages):
    """The rollout that waited for the other one begins, and is ended at its gate."""
    pages.open("/delivery/rollouts/3", "rollout")
    pages.browser.until(can("Approve"), "the rollout that waited does not begin", 120)
    # Without a reason the browser sends nothing.
    pages.browser.click("form.change button", "Abort")
    assert not pages.browser.run("document.querySelector('form[action$=abort]').checkValidity()")
    pages.browser.run("document.querySelector('form[action$=abort]').elements.reason.value = 'not this week'")
    pages.browser.click("form.change button", "Abort")
    pages.browser.until(badge("aborted"), "it is not ended", 120)
    pages.browser.shows("not this week")
    yield from pages.wrong()


def try_release_marks(pages):
    """The heat map of drift says what was released while a version was the newest; the rollout that was approved went out by then."""
    if not pages.seen.trained:
        return
    pages.open("/data/months", "Drift")
    marks = pages.browser.run("[...document.querySelectorAll('table.heat th .mark-of')].filter((mark) => mark.getClientRects().length)"
                              ".map((mark) => mark.textContent)")
    assert len(marks) == 1 and marks[0].startswith("▲") and "to prod" in marks[0], marks


def try_freeze_calendar(pages):
    """The calendar of freezes draws one that holds and one that was lifted, and says in words which is which."""
    pages.open("/delivery", "Freeze calendar")
    spans = pages.browser.run("[...document.querySelectorAll('#calendar svg rect.span')].map((span) => [span.getAttribute('class'),"
                              " span.getBoundingClientRect().width])")
    assert len(spans) == 2 and max(width for _, width in spans) > 40, spans
    states = sorted(row["state"] for row in pages.seen.numbers("/delivery")["freezes"]["rows"])
    assert states == ["holds", "over"], states
    assert pages.browser.run("document.querySelector('#calendar svg').getAttribute('aria-label')"), "the calendar has no name"


def try_keys(pages):
    """A column is found among all keys of the experiment, chosen, and stays in the address."""
    pages.open(f"/experiments/{pages.seen.experiment}", "depth-3")
    pages.browser.run("document.querySelector('.several').open = true")
    pages.browser.run("document.querySelector('.several input[name=keys]').value = 'other-7'")
    pages.browser.click(".several button", "Find")
    pages.browser.until("location.search.includes('finding=1') && !!document.querySelector('.several[open] input[value=\"metrics.other-7\"]')", "the key is not found")
    pages.browser.run("document.querySelector('.several input[value=\"metrics.other-7\"]').checked = true")
    pages.browser.click(".row > button", "Apply")
    pages.browser.until("location.search.includes('metrics.other-7') && !location.search.includes('finding')", "it is not chosen")
    pages.browser.until("[...document.querySelectorAll('thead th')].some((head) => head.textContent.includes('other-7'))", "no column")


def try_old_addresses(pages):
    """What MLflow's client prints after a run leads to the run."""
    run = pages.seen.runs[2]
    pages.open(f"/#/experiments/{pages.seen.experiment}/runs/{run}")
    pages.browser.until(f"location.pathname === '/runs/{run}'", "it leads elsewhere")
    pages.browser.shows("depth-2")


def try_keyboard(pages):
    """Everything is reached with the Tab key, from the skip link on, and what has the focus is seen."""
    pages.open(f"/experiments/{pages.seen.experiment}", "depth-3")
    reached = []
    for _ in range(40):
        pages.browser.press("Tab", 9)
        text, outline, seen = pages.browser.run("""(() => {
            const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
            const seen = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
            return [at.textContent.trim().slice(0, 30) || at.name, style.outlineStyle !== 'none' && style.outlineWidth, seen];
        })()""")
        assert outline and outline != "0px" and seen, f"it is not seen that `{text}` has the focus"
        reached.append(text)
    assert reached[0] == "Skip to the page", reached
    for text in ("Home", "filter", "Apply", "Compare the ticked"):
        assert text in reached, f"{text} is not reached: {reached}"


def try_refused_is_seen(pages):
    """What a page does not get counts as wrong, however quietly it goes on without."""
    pages.open("/", "Home")
    pages.browser.run("Promise.all([fetch('/runs/nothing?tab=metrics'), new Promise((done) => {"
                      "const picture = new Image(); picture.onerror = done; picture.src = '/no-preview.png' })]).then(() => 0)")
    found = [problem for problem in pages.wrong(rules=False) if problem.startswith("answered with 404")]
    assert len(found) == 2, found
    pages.browser.refused.clear()


def try_print(pages):
    """Pages that are made to be printed are printed dark on white, whatever the screen is like, and without what cannot be clicked on
    paper."""
    shown = "getComputedStyle(document.querySelector({0})).{1}"
    card = [f"/models/{pages.seen.trained}/2/card"] if pages.seen.trained else []
    try:
        for path in ["/owner", *card]:
            # As wide as A4.
            pages.size(794)
            pages.browser.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
            pages.open(path, "Permalink")
            ink = pages.browser.run(shown.format("'main'", "color"))
            assert sum(map(int, ink.removeprefix("rgb(").removesuffix(")").split(", "))) < 200, f"{path} is printed in {ink}"
            harness.same(pages.browser.run(shown.format("'html'", "backgroundColor")), "rgb(255, 255, 255)", f"the paper of {path}")
            left = pages.browser.run("[...document.querySelectorAll('.side, .filter, .change, .pager, footer, .numbers')]"
                                     ".filter((one) => one.getClientRects().length).map((one) => one.className || one.tagName)")
            assert not left, f"{path} is printed with {left}"
            pages.picture(f"print-{path.strip('/').replace('/', '-')}")
            yield from (f"{path}: {problem}" for problem in pages.wrong())
    finally:
        pages.browser.call("Emulation.setEmulatedMedia", media="", features=[])
        pages.size(1280)


def try_without_script(pages):
    """Pages are read without script, and later curves have a link."""
    pages.browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        pages.open(f"/runs/{pages.seen.runs[0]}?tab=metrics", "accuracy", "Show the curve of")
        harness.same(pages.browser.run("document.querySelector('.theme').hidden"), True, "whether the colour switch is hidden")
        assert pages.browser.run("document.querySelectorAll('svg.line').length") == 6, "curves are missing"
    finally:
        pages.browser.call("Emulation.setScriptExecutionDisabled", value=False)


def main():
    if len(sys.argv) < 3:
        sys.exit(f"usage: python {sys.argv[0]} http://127.0.0.1:PORT AXE [FOLDER [PAGE…]]")
    url, axe = sys.argv[1].rstrip("/"), pathlib.Path(sys.argv[2]).read_text()
    folder, only = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None, sys.argv[4:]
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    seen = Seen(url)
    failed = 0
    with browser.Browser() as opened:
        pages = Pages(opened, seen, axe, folder)
        pages.widths = [width for width in Pages.widths if width > 390 or "-narrow" not in only]
        pages.darks = [dark for dark in Pages.darks if not dark or "-dark" not in only]
        for name, path, texts in paths(seen):
            if wanted(name, only):
                failed += report(name, lambda name=name, path=path, texts=texts: list(pages.look(name, path, texts)))
        pages.size(1280)
        pages.dark(False)
        for name, attempt in list(globals().items()):
            if name.startswith("try_") and wanted(name, only):
                failed += report(name, lambda attempt=attempt: [*(attempt(pages) or ()), *pages.wrong(rules=False)])
    sys.exit(f"{failed} pages failed" if failed else 0)


def wanted(name, only):
    """Whether a page or an attempt is among those that were named; `-NAME` leaves one out, as do `-narrow` and `-dark`."""
    left_out = [one[1:] for one in only if one.startswith("-")]
    named = [one for one in only if not one.startswith("-")]
    return name not in left_out and (not named or name in named)


def report(name, look):
    begin = time.monotonic()
    try:
        wrong = look()
    except Exception:
        wrong = [traceback.format_exc(limit=-2, chain=False)]
    print(f"{'FAILED' if wrong else 'ok':6} {time.monotonic() - begin:6.2f} s  {name}", *wrong, sep="\n         ", flush=True)
    return bool(wrong)


class Served:
    """A server whose pages are looked at, without anything that was logged for them."""

    def __init__(self, url):
        self.url = url


def look_at(url, axe, folder, listed):
    """Looks at a list of pages, each with a name, a path and what it must say; ends with a failure where one is wrong."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    with browser.Browser() as opened:
        pages = Pages(opened, Served(url), pathlib.Path(axe).read_text(), folder)
        for name, path, texts in listed:
            failed += report(name, lambda name=name, path=path, texts=texts: list(pages.look(name, path, texts)))
    sys.exit(f"{failed} pages failed" if failed else 0)


if __name__ == "__main__":
    main()
