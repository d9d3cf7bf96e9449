"""What `tidemill run` leaves in the tracking store: `python pipeline.py URL RUN`."""

import sys

import mlflow
from mlflow.tracking import MlflowClient


def main(url, run_id):
    mlflow.set_tracking_uri(url)
    client = MlflowClient()

    parent = client.get_run(run_id)
    assert parent.info.status == "FINISHED", parent.info
    assert parent.data.params["rate"] == "0.5", parent.data.params
    experiment = client.get_experiment(parent.info.experiment_id)
    assert experiment.name == "tracked", experiment

    children = client.search_runs(
        [experiment.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{run_id}'"
    )
    by_step = {child.data.tags["tidemill.step"]: child for child in children}
    assert set(by_step) == {"script", "model"}, by_step
    assert {child.info.status for child in children} == {"FINISHED"}, children

    # The script knew nothing of Tidemill: `mlflow.autolog()` and a fit.
    [logged] = client.search_runs(
        [experiment.experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{by_step['script'].info.run_id}'",
    )
    assert logged.data.tags["tidemill.run"] == run_id, logged.data.tags
    assert "training_accuracy_score" in logged.data.metrics, logged.data.metrics
    assert logged.data.params["C"] == "0.7", logged.data.params
    step = by_step["script"].data
    assert "system/step_memory_megabytes_peak" in step.metrics, step.metrics
    assert "system/cpu_utilization_percentage" in step.metrics, step.metrics

    # The built-in training: parameters, metrics with intervals, a curve, the table, the model.
    model = by_step["model"]
    assert model.data.params["algorithm"] == "gbdt", model.data.params
    assert model.data.metrics["roc_auc_low"] <= model.data.metrics["roc_auc"], model.data.metrics
    curve = client.get_metric_history(model.info.run_id, "curve/train_log_loss")
    assert [point.step for point in curve] == list(range(1, len(curve) + 1)), curve
    assert curve[-1].value < curve[0].value, curve
    [table] = model.inputs.dataset_inputs
    assert table.dataset.name == "data.csv", table
    [output] = model.outputs.model_outputs
    loaded = mlflow.get_logged_model(output.model_id)
    assert loaded.status.value == "READY", loaded
    assert loaded.name == "model", loaded
    files = {file.path for file in client.list_logged_model_artifacts(output.model_id)}
    assert {"MLmodel", "model.onnx", "report.json", "requirements.txt"} <= files, files
    text = mlflow.artifacts.load_text(f"{loaded.artifact_location}/MLmodel")
    assert f"model_id: {output.model_id}" in text, text
    predictions(loaded, output.model_id)
    print("pipeline: ok")


def predictions(loaded, model_id):
    """The logged model answers as the trainer did, where ONNX Runtime is there to ask."""
    import tempfile

    import pandas as pd

    folder = mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=tempfile.mkdtemp())
    model = mlflow.pyfunc.load_model(folder)
    table = pd.read_csv("data.csv")
    answers = model.predict(table[["a", "b", "c"]])
    assert list(answers.columns) == ["label", "probability_0", "probability_1"], answers.columns
    agreement = (answers["label"].astype(int) == table["y"]).mean()
    assert agreement > 0.9, agreement


if __name__ == "__main__":
    main(*sys.argv[1:])
