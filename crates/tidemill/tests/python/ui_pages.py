"""MLflow's own web pages against our API, in a headless browser.

`python ui_pages.py http://127.0.0.1:PORT [FOLDER]` logs a few runs and a model with the client, opens each page with
Chromium (`TIDEMILL_TEST_CHROMIUM`, or the one on the path), and checks that what was logged is on it and that no request
of it failed. With FOLDER it leaves a screenshot of each page there.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import harness
import mlflow
import ui_proxy

# Routes that may be missing: the pages try them and go on.
OPTIONAL = ("/users/current", "/gateway", "/assistant", "/scorers", "/jobs", "/label-schemas", "/issues", "/demo")


def chromium():
    """The browser."""
    for name in (os.environ.get("TIDEMILL_TEST_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if name and shutil.which(name):
            return shutil.which(name)
    sys.exit("no Chromium found; install Debian's package chromium, or name one with TIDEMILL_TEST_CHROMIUM")


def open_page(address, screenshot=None):
    """The page's text after its scripts have run for some seconds of virtual time."""
    with tempfile.TemporaryDirectory(prefix="tidemill-ui-", ignore_cleanup_errors=True) as profile:
        command = [
            *(chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--hide-scrollbars", "--window-size=1500,1000", "--virtual-time-budget=15000", "--timeout=60000"),
            *(f"--user-data-dir={profile}", "--no-first-run", "--disable-background-networking"),
            *([f"--screenshot={screenshot}"] if screenshot else []),
            *("--dump-dom", address),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"Chromium ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def log_something():
    """An experiment with three runs, one of them with a registered model; gives what pages are opened for."""
    name = harness.unique("pages")
    experiment = mlflow.set_experiment(name).experiment_id
    runs = []
    for depth in (3, 5, 7):
        with mlflow.start_run(run_name=f"depth-{depth}") as run:
            mlflow.log_param("depth", depth)
            for step in range(20):
                mlflow.log_metric("loss", 1 / (step + depth), step=step)
            mlflow.set_tag("team", "tides")
            runs.append(run.info.run_id)
    client = mlflow.MlflowClient()
    client.create_registered_model(name, description="how high the tide will be")
    client.create_model_version(name, f"runs:/{runs[0]}/model", runs[0])
    client.set_registered_model_alias(name, "champion", 1)
    return name, experiment, runs


def pages(name, experiment, runs):
    """Name, route and texts of each page."""
    compared = f'?runs=["{runs[0]}","{runs[1]}"]&experiments=["{experiment}"]'
    return [
        ("experiments", "#/experiments", [name]),
        ("runs", f"#/experiments/{experiment}/runs", ["depth-3", "depth-5", "depth-7"]),
        ("charts", f"#/experiments/{experiment}/runs?compareRunsMode=CHART", ["loss"]),
        ("run", f"#/experiments/{experiment}/runs/{runs[0]}", ["depth-3", "loss", "tides", runs[0]]),
        ("run-metrics", f"#/experiments/{experiment}/runs/{runs[0]}/model-metrics", ["loss"]),
        ("run-artifacts", f"#/experiments/{experiment}/runs/{runs[0]}/artifacts", ["depth-3"]),
        ("compare", f"#/compare-runs{compared}", ["depth-3", "depth-5", "loss"]),
        ("models", "#/models", [name]),
        ("model", f"#/models/{name}", ["how high the tide will be", "champion"]),
        ("version", f"#/models/{name}/versions/1", [name, "champion"]),
    ]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: python {sys.argv[0]} http://127.0.0.1:PORT [FOLDER]")
    target, folder = sys.argv[1].rstrip("/"), pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(target)
    failed = 0
    with ui_proxy.served(target) as proxy:
        for title, route, texts in pages(*log_something()):
            proxy.requests.clear()
            text = open_page(f"{proxy.address}/{route}", folder and folder / f"{title}.png")
            problems = [f"`{wanted}` is not on the page" for wanted in texts if wanted not in text]
            problems += [
                f"{method} {path} answered {status}: {body.decode(errors='replace')}"
                for method, path, status, body in list(proxy.requests)
                if status >= 400 and not any(known in path for known in OPTIONAL)
            ]
            failed += bool(problems)
            print(f"{'FAILED' if problems else 'ok':6} {title}", *problems, sep="\n         ", flush=True)
    sys.exit(f"{failed} pages failed" if failed else 0)


if __name__ == "__main__":
    main()
