"""Fills a tracking store of MLflow's own: `python import_source.py STORE`, or checks what was imported from it:
`python import_source.py --check URL`."""

import math
import os
import sys

import mlflow
from mlflow.tracking import MlflowClient


def fill(store):
    mlflow.set_tracking_uri(store)
    mlflow.set_experiment("alpha")
    client = MlflowClient()
    with mlflow.start_run(run_name="one") as run:
        mlflow.log_params({"lr": 0.1, "a/b": "x y", "ü": "1"})
        for step in range(50):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metric("nan", float("nan"))
        mlflow.log_metric("inf", float("-inf"))
        mlflow.set_tag("note", "kept")
        mlflow.log_text("hello", "notes/a b.txt")
        from sklearn.linear_model import LinearRegression

        model = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        info = mlflow.sklearn.log_model(model, name="line", registered_model_name="reg")
        mlflow.log_metric("acc", 0.75, step=3, model_id=info.model_id)
    client.set_registered_model_alias("reg", "champion", "1")
    client.set_model_version_tag("reg", "1", "k", "v")
    client.update_registered_model("reg", description="a line")
    with mlflow.start_run(run_name="gone") as gone:
        mlflow.log_metric("m", 2.0)
    client.delete_run(gone.info.run_id)
    with mlflow.start_run(run_name="later"):
        mlflow.log_metric("m", 3.0)
    # What an import leaves behind, and says so.
    with mlflow.start_span("asked") as span:
        span.set_inputs({"question": "how high?"})
    mlflow.flush_trace_async_logging()
    if store.startswith("sqlite:"):
        mlflow.genai.datasets.create_dataset(name="questions", experiment_id=[mlflow.get_experiment_by_name("alpha").experiment_id])
    # A number that was given and taken back stays free.
    client.create_model_version("reg", f"runs:/{run.info.run_id}/notes", run.info.run_id)
    client.create_model_version("reg", f"runs:/{run.info.run_id}/notes", run.info.run_id)
    client.delete_model_version("reg", "2")
    client.create_registered_model("it's")
    client.create_model_version("it's", f"runs:/{run.info.run_id}/notes", run.info.run_id)


def check(url):
    mlflow.set_tracking_uri(url)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("alpha")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"one", "later"}, runs
    one = runs["one"]
    assert one.data.params == {"lr": "0.1", "a/b": "x y", "ü": "1"}, one.data.params
    assert one.data.tags["note"] == "kept", one.data.tags
    history = client.get_metric_history(one.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(i, 1 / (i + 1)) for i in range(50)], history
    assert math.isnan(one.data.metrics["nan"]), one.data.metrics
    assert one.data.metrics["inf"] < -1e300, one.data.metrics
    assert mlflow.artifacts.load_text(f"{one.info.artifact_uri}/notes/a b.txt") == "hello"
    deleted = client.search_runs([experiment.experiment_id], run_view_type=2)
    assert [run.info.run_name for run in deleted] == ["gone"], deleted
    model = client.get_registered_model("reg")
    assert model.description == "a line" and model.aliases == {"champion": "1"}, model
    versions = sorted(int(version.version) for version in client.search_model_versions("name='reg'"))
    assert versions == [1, 3], versions
    assert client.get_model_version("reg", "1").tags["k"] == "v"
    assert [version.version for version in client.search_model_versions('name="it\'s"')] == ["1"]
    [line] = client.search_logged_models([experiment.experiment_id], filter_string="metrics.acc > 0.5")
    [acc] = [metric for metric in line.metrics if metric.key == "acc"]
    assert (acc.value, acc.step, acc.run_id) == (0.75, 3, one.info.run_id), acc
    loaded = mlflow.pyfunc.load_model("models:/reg@champion")
    assert abs(loaded.predict([[3.0]])[0] - 7.0) < 1e-9
    folder = mlflow.artifacts.download_artifacts("models:/reg/3")
    assert os.listdir(folder) == ["a b.txt"], os.listdir(folder)
    print("import: ok")


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        fill(sys.argv[1])
