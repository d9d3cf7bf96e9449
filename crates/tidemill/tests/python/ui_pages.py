"""MLflow's own web pages against our API, in a headless browser.

`python ui_pages.py http://127.0.0.1:PORT [FOLDER]` logs one of everything with the client, opens page after page, clicks
and types on them as a reader would, and checks that what was logged is there, that what was changed was kept, that no
request of a page was refused and that no page complained. With FOLDER it leaves a picture of each page there.

What is clicked on is named by the pages of the MLflow version that `xtask/python/mlflow.txt` pins.
"""

import json
import pathlib
import sys
import time
import traceback

import browser
import harness
import mlflow
import ui_data
import ui_proxy
from harness import same
from mlflow import MlflowClient

# Questions to which MLflow's own server answers 404 as well: are there accounts, is this name free?
REFUSED_EVERYWHERE = ("/mlflow/users/current", "/mlflow/experiments/get-by-name")
# What browsers say when a table needs more than one frame to lay itself out.
HARMLESS = ("ResizeObserver loop",)
ENTER = ("Enter", 13)


class Pages:
    """The pages in front of a server, and what was logged there."""

    def __init__(self, opened, proxy, seen):
        self.browser, self.proxy, self.seen = opened, proxy, seen

    def open(self, route, *texts):
        """Opens a page and waits for texts on it."""
        self.browser.open(f"{self.proxy.address}/#{route}")
        self.browser.shows(*texts)
        return self.browser

    def experiment(self, route, *texts):
        """The same for a page of the experiment."""
        return self.open(f"/experiments/{self.seen.experiment}{route}", *texts)


def page_experiments(pages):
    page = pages.open("/experiments", "Default", pages.seen.name, "Heights of tides", "harbour")
    page.click('input[placeholder="Search experiments"]')
    page.type(pages.seen.name)
    page.press(*ENTER)
    page.until("!document.body.innerText.includes('Default')", "other experiments are still listed")
    page.shows(pages.seen.name)


def page_a_new_experiment(pages):
    name = harness.unique("made-by-hand")
    page = pages.open("/experiments", "Default")
    page.click("button", "Create")
    page.click('input[placeholder="Input an experiment name"]')
    page.type(name)
    page.click("[role=dialog] button", "Create")
    page.until("!document.querySelector('[role=dialog]')", "the experiment is still being made")
    page.shows(name)
    same(mlflow.get_experiment_by_name(name).lifecycle_stage, "active", "experiment")


def page_runs(pages):
    page = pages.experiment("/runs", "depth-3", "depth-5", "depth-7", "4 matching runs", "harbour-log")
    page.click("button", "Columns")
    page.click("*", "loss")
    page.click("*", "kind")
    page.press("Escape", 27)
    page.shows("spring", "neap", f"{1 / 22:.3f}"[:5])


def page_runs_sorted_and_filtered(pages):
    page = pages.experiment("/runs", "depth-3", "depth-5", "depth-7")
    # The order on the screen; rows keep their place in the document when they are sorted anew.
    names = """[...document.querySelectorAll('a')].filter((link) => link.innerText.startsWith('depth-'))
        .sort((a, b) => a.getBoundingClientRect().y - b.getBoundingClientRect().y).map((link) => link.innerText)"""
    same(page.run(names), ["depth-7", "depth-5", "depth-3"], "the newest first")
    page.click("button", "Sort: Created")
    page.click("*", "loss")
    page.shows("Sort: loss")
    page.settled()
    same(page.run(names), ["depth-3", "depth-5", "depth-7"], "the largest loss first")
    page.click('input[placeholder^="metrics.rmse"]')
    page.type("metrics.loss < 0.043 and params.kind = 'spring'")
    page.press(*ENTER)  # closes the suggestions
    page.press(*ENTER)
    page.shows("1 matching run")
    same(page.run(names), ["depth-5"], "the only one that fits")


def page_charts(pages):
    page = pages.experiment("/runs?compareRunsMode=CHART", "accuracy", "loss", "rmse", "Model metrics")
    page.until("document.querySelectorAll('.scatterlayer .trace').length >= 6", "no curves of three runs")


def page_run(pages):
    run = pages.seen.runs[0]
    page = pages.experiment(f"/runs/{run}", "depth-3", run, "Finished", "harbour-log", "tides", "first of three")
    page.shows(pages.seen.name, "system/cpu_utilization_percentage", "tide-model", "spring")
    page.click('button[aria-label="Edit description"]')
    page.click("textarea")
    page.type("Looked at by hand. ")
    page.click("button", "Save")
    page.until("!document.querySelector('textarea')", "the description is still edited")
    page.shows("Looked at by hand.")
    assert "Looked at by hand." in MlflowClient().get_run(run).data.tags["mlflow.note.content"], "the description is not kept"


def page_model_metrics(pages):
    page = pages.experiment(f"/runs/{pages.seen.runs[0]}/model-metrics", "accuracy", "loss", "gauge", "rmse")
    page.until("document.querySelectorAll('.scatterlayer .point').length >= 40", "no curves of 20 points each")
    page.until("[...document.querySelectorAll('img')].some((image) => image.naturalWidth >= 40)", "no picture of the gauge")


def page_system_metrics(pages):
    page = pages.experiment(f"/runs/{pages.seen.runs[0]}/system-metrics", "cpu_utilization_percentage")
    page.until("document.querySelectorAll('.scatterlayer .point').length >= 20", "no curve of 20 points")


def page_artifacts(pages):
    page = pages.experiment(f"/runs/{pages.seen.runs[0]}/artifacts", "notes", "conf.json", "chart.png", "report.html")
    page.click("*", "conf.json")
    page.shows('"harbour": "north"')
    page.click("*", "chart.png")
    page.until("[...document.querySelectorAll('img')].some((image) => image.naturalWidth === 40)", "no picture")
    page.click("*", "notes")
    page.click("*", "readme.txt")
    page.shows("high water at noon")
    page.click("*", "answers.json")
    page.shows("how low", "1 m")
    page.click("*", "report.html")
    page.until("!!document.querySelector('iframe')", "the report is not shown")


def page_traces_of_a_run(pages):
    pages.experiment(f"/runs/{pages.seen.evaluation}/traces", "four metres at noon?", "four metres at six?")


def page_compare_runs(pages):
    runs, experiments = json.dumps(pages.seen.runs), json.dumps([pages.seen.experiment])
    page = pages.open(f"/compare-runs?runs={runs}&experiments={experiments}", "Comparing 3 Runs")
    page.shows("depth-3", "depth-5", "depth-7", "spring", "neap", "0.045")


def page_compare_experiments(pages):
    ids = json.dumps(["0", pages.seen.experiment])
    pages.open(f"/compare-experiments/s?experiments={ids}", "depth-3", "depth-7")


def page_models(pages):
    page = pages.open("/models", pages.seen.name, "champion")
    page.until("!document.body.innerText.includes('-prompt')", "a prompt is among the models")


def page_model(pages):
    pages.open(f"/models/{pages.seen.name}", "how high the tide will be", "champion", "coast", "Version 2")


def page_version(pages):
    seen, client = pages.seen, MlflowClient()
    page = pages.open(f"/models/{seen.name}/versions/1", "the first that swims", "by-hand", "champion", "depth-3")
    page.shows("Inputs (2)", "Outputs (1)", "tide-model")
    page.click("input[placeholder=Name]")
    page.type("depth")
    page.click("input[placeholder=Value]")
    page.type("deep enough")
    page.click("button", "Add")
    page.shows("deep enough")
    same(client.get_model_version(seen.name, "1").tags["depth"], "deep enough", "tag")
    page.click('[data-component-id*="modelversionviewaliaseditor"]')
    page.shows("Add/Edit alias")
    page.click("[role=dialog] input")
    page.type("rising")
    page.press(*ENTER)
    page.click("[role=dialog] button", "Save aliases")
    page.until("!document.querySelector('[role=dialog]')", "the aliases are still edited")
    page.shows("rising")
    same(sorted(client.get_model_version(seen.name, "1").aliases), ["champion", "rising"], "aliases")


def page_logged_models(pages):
    pages.experiment("/models", "tide-model", "depth-3")


def page_logged_model(pages):
    page = pages.experiment(f"/models/{pages.seen.model}", "tide-model", pages.seen.model, "Ready", "depth-3")
    page.shows("rmse", "0.25", "solver", "exact", pages.seen.name, "harbour-log")


def page_artifacts_of_a_logged_model(pages):
    page = pages.experiment(f"/models/{pages.seen.model}/artifacts", "MLmodel", "conda.yaml")
    page.click("*", "MLmodel")
    page.shows("loader_module: mlflow.sklearn")


def page_traces_of_a_logged_model(pages):
    pages.experiment(f"/models/{pages.seen.model}/traces", "tide-model")


def page_prompts(pages):
    page = pages.open("/prompts", pages.seen.prompt)
    page.until(f"!document.body.innerText.split('\\n').includes({json.dumps(pages.seen.name)})", "a model is among the prompts")


def page_prompts_of_an_experiment(pages):
    pages.experiment("/prompts", pages.seen.prompt)


def page_prompt(pages):
    page = pages.open(f"/prompts/{pages.seen.prompt}", "Viewing version 2", "How high will the tide be at {{place}}?")
    page.shows("asked anew", "live", "calm")
    page.click("*", "Version 1")
    page.shows("Viewing version 1", "How high is {{place}}?")


def page_traces(pages):
    page = pages.experiment("/traces", "high at noon?", "high at never?", "1 table says: four metres", "shift-1", "5 of 5")
    page.click('input[placeholder^="Search traces"]')
    page.type("high at six?")
    page.press(*ENTER)
    page.shows("1 of 5")


def page_trace(pages):
    page = pages.experiment(f"/traces/{pages.seen.traces[0]}", "look_up", "generate", "high at noon?", "42 tokens")
    page.click("*", "look_up")
    page.shows("table of high at noon?")
    page.click("*", "answer")
    page.click('[data-component-id="shared.model-trace-explorer.assessments-pane-toggle"]')
    page.shows("correct", "True", "height", "4 m")


def page_failed_trace(pages):
    page = pages.experiment(f"/traces/{pages.seen.traces[2]}", "look_up", "generate", "Error")
    page.click("*", "generate")
    page.shows("exception.message", "no water left", "ValueError")


def page_session(pages):
    pages.experiment("/chat-sessions/shift-1", "Turn 3", "high at noon?", "high at six?", "four metres")


def page_overview(pages):
    page = pages.experiment("/overview/usage", "Traces", "Latency", "Errors", "Overall error rate: 20.0%", "p99")
    page.click("*", "Quality")
    page.shows("is_short")
    page.click("*", "Tool calls")
    page.settled()


def page_datasets(pages):
    pages.experiment("/datasets", f"{pages.seen.name}-questions")


def page_dataset(pages):
    page = pages.experiment(f"/datasets/{pages.seen.dataset}", "2 records", '{"question":"at noon?"}', '{"height":"4 m"}')
    page.shows(pages.seen.dataset)


def page_evaluation_runs(pages):
    page = pages.experiment("/evaluation-runs", pages.seen.evaluation_name, "is_short/mean", "depth-5")
    page.click("a", pages.seen.evaluation_name)
    page.shows("four metres at noon?", "four metres at six?", "2 of 2")


def page_judges(pages):
    pages.experiment("/judges", "judges")


def page_playground(pages):
    pages.experiment("/playground", "Playground")


def page_mcp_registry(pages):
    pages.open("/mcp-registry", "MCP Registry")


def page_webhooks(pages):
    pages.open("/settings/webhooks", "Webhooks")


def page_deleted_run(pages):
    """Deletes a run on the page; the client finds it deleted, and restored after that."""
    run, client = pages.seen.runs[2], MlflowClient()
    page = pages.experiment(f"/runs/{run}", "depth-7", "Finished")
    page.click('button[aria-label="Open header dropdown menu"]')
    page.click("[role=menuitem]", "Delete")
    page.click("[role=dialog] button", "Delete selected")
    end = time.monotonic() + 20
    while client.get_run(run).info.lifecycle_stage != "deleted":
        assert time.monotonic() < end, "the run is not deleted"
        page.run("1")
    client.restore_run(run)


def complaints(pages):
    """What went wrong since the page was opened, apart from what does everywhere."""
    for method, path, status, body in list(pages.proxy.requests):
        if status >= 400 and not any(known in path for known in REFUSED_EVERYWHERE):
            yield f"{method} {path} answered {status}: {body[:500].decode(errors='replace')}"
        # GraphQL answers 200 to everything.
        elif path == "/graphql" and (json.loads(body)["errors"] or b'"apiError":{' in body):
            yield f"{method} {path}: {body[:500].decode(errors='replace')}"
    for problem in pages.browser.problems:
        if not any(known in problem for known in HARMLESS):
            yield problem


def look_at(pages, page, picture):
    """Runs one of the functions above; gives what was wrong."""
    pages.proxy.requests.clear()
    wrong = []
    try:
        page(pages)
        pages.browser.settled()
    except Exception as error:
        wrong += ["".join(traceback.format_exception(error, limit=-2, chain=False))]
    if picture:
        pages.browser.screenshot(picture)
    return wrong + list(complaints(pages))


def main():
    if len(sys.argv) < 2:
        sys.exit(f"usage: python {sys.argv[0]} http://127.0.0.1:PORT [FOLDER [PAGE…]]")
    target, folder = sys.argv[1].rstrip("/"), pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(target)
    seen = ui_data.log_everything()
    failed = 0
    with ui_proxy.served(target) as proxy, browser.Browser() as opened:
        pages = Pages(opened, proxy, seen)
        for name, page in list(globals().items()):
            title = name.removeprefix("page_")
            if name == title or (sys.argv[3:] and title not in sys.argv[3:]):
                continue
            begin = time.monotonic()
            wrong = look_at(pages, page, folder and folder / f"{title}.png")
            failed += bool(wrong)
            verdict = "FAILED" if wrong else "ok"
            print(f"{verdict:6} {time.monotonic() - begin:6.2f} s  {title}", *wrong, sep="\n         ", flush=True)
    sys.exit(f"{failed} pages failed" if failed else 0)


if __name__ == "__main__":
    main()
