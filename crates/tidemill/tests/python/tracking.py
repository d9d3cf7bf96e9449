"""Runs: parameters, metrics, tags, inputs, small artifacts, nesting, life cycle, asynchronous and system metrics."""

import json
import math
import re
import time

import harness
import mlflow
import numpy as np
import pandas as pd
from harness import refused, same, unique
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

BIGGEST = 1.7976931348623157e308


def experiment(name):
    """A new experiment, which becomes the current one."""
    return mlflow.set_experiment(unique(name)).experiment_id


def run_of(name="run"):
    """A new run in a new experiment, for work with the low-level client."""
    client = MlflowClient()
    return client, client.create_run(client.create_experiment(unique(name))).info.run_id


def check_a_run_is_read_as_it_was_written():
    there = experiment("whole run")
    begin = int(time.time() * 1000)
    with mlflow.start_run(run_name="first", description="a *note*", tags={"kind": "test"}) as active:
        mlflow.log_param("lr", 0.1)
        returned = mlflow.log_param("optimizer", "adam")
        same(returned, "adam", "what log_param returns")
        mlflow.log_params({"layers": [1, 2], "drop out": None, "nested/name.with-all:of": True})
        mlflow.log_metric("loss", 0.5, step=1)
        mlflow.log_metric("loss", 0.25, step=2)
        mlflow.log_metrics({"acc": 0.9, "f1 score": 0.8}, step=3)
        mlflow.set_tag("team", "a")
        mlflow.set_tags({"n": 1, "µ/ünicode": "größe ✓ 漢字"})
        mlflow.delete_tag("team")
    run = mlflow.get_run(active.info.run_id)
    same(
        run.data.params,
        {
            "lr": "0.1",
            "optimizer": "adam",
            "layers": "[1, 2]",
            "drop out": "None",
            "nested/name.with-all:of": "True",
        },
        "params",
    )
    same(run.data.metrics, {"loss": 0.25, "acc": 0.9, "f1 score": 0.8}, "metrics")
    tags = run.data.tags
    same((tags["kind"], tags["n"], tags["µ/ünicode"]), ("test", "1", "größe ✓ 漢字"), "tags")
    same((tags["mlflow.runName"], tags["mlflow.note.content"]), ("first", "a *note*"), "tags of the client")
    assert "team" not in tags
    info = run.info
    same((info.run_name, info.status, info.lifecycle_stage), ("first", "FINISHED", "active"), "info")
    same(info.experiment_id, there, "experiment")
    assert re.fullmatch("[0-9a-f]{32}", info.run_id), info.run_id
    assert begin - 1000 <= info.start_time <= info.end_time <= time.time() * 1000 + 1000, info
    assert info.artifact_uri.endswith(f"/{there}/{info.run_id}/artifacts"), info.artifact_uri


def check_names_are_made_up_where_none_is_given():
    client, run_id = run_of()
    run = client.get_run(run_id)
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d+", run.info.run_name), run.info.run_name
    same(run.data.tags["mlflow.runName"], run.info.run_name, "the name as a tag")
    client.set_tag(run_id, "mlflow.runName", "by tag")
    same(client.get_run(run_id).info.run_name, "by tag", "name")
    client.update_run(run_id, name="by update")
    run = client.get_run(run_id)
    same((run.info.run_name, run.data.tags["mlflow.runName"]), ("by update", "by update"), "names")


def check_numbers_of_all_kinds():
    client, run_id = run_of()
    numbers = {
        "zero": 0.0,
        "third": 1 / 3,
        "sum": 0.1 + 0.2,
        "tiny": 5e-324,
        "small": 2.2250738585072014e-308,
        "big": BIGGEST,
        "negative": -123456789.123456789,
        "whole": 9007199254740993,
        "bool": True,
        "numpy": float(np.float32(0.1)),
        "infinity": math.inf,
        "minus infinity": -math.inf,
        "not a number": math.nan,
    }
    for key, value in numbers.items():
        client.log_metric(run_id, key, value, step=0)
    client.log_batch(run_id, [Metric(f"batch {key}", value, 7, 0) for key, value in numbers.items()])
    expected = {**numbers, "infinity": BIGGEST, "minus infinity": -BIGGEST}
    metrics = client.get_run(run_id).data.metrics
    for prefix in ["", "batch "]:
        for key, value in expected.items():
            name = prefix + key
            [point] = client.get_metric_history(run_id, name)
            for found in [metrics[name], point.value]:
                if math.isnan(value):
                    assert math.isnan(found), (name, found)
                else:
                    same(found, float(value), name)


def check_the_latest_metric_is_of_the_greatest_step_time_and_value():
    client, run_id = run_of()
    for value, timestamp, step in [(1, 5, 1), (2, 5, 1), (9, 1, 0), (0.5, 9, 1)]:
        client.log_metric(run_id, "m", value, timestamp, step)
    same(client.get_run(run_id).data.metrics, {"m": 0.5}, "latest")
    for value, step in [(7, -3), (8, -5)]:
        client.log_metric(run_id, "negative", value, 10, step)
    same(client.get_run(run_id).data.metrics["negative"], 7.0, "latest of negative steps")
    batch = [Metric("b", value, 100, step) for value, step in [(5, 3), (6, 9), (4, 9), (7, 1)]]
    client.log_batch(run_id, batch)
    same(client.get_run(run_id).data.metrics["b"], 6.0, "latest of a batch")


def check_the_history_is_in_order_and_holds_each_point_once():
    client, run_id = run_of()
    written = [(step, 1000 + (step * 7919) % 500, step / 7) for step in range(2500)]
    for part in range(0, len(written), 900):
        points = [Metric("m", value, timestamp, step) for step, timestamp, value in written[part : part + 900]]
        client.log_batch(run_id, points)
    client.log_batch(run_id, [Metric("m", value, timestamp, step) for step, timestamp, value in written[:100]])
    client.log_metric(run_id, "m", 0.0, 1000, 0)
    history = [(point.timestamp, point.step, point.value) for point in client.get_metric_history(run_id, "m")]
    same(len(history), 2500, "points")
    same(history, sorted((timestamp, step, value) for step, timestamp, value in written), "history")
    same(client.get_metric_history(run_id, "unknown"), [], "history of an unknown metric")


def check_parameters_do_not_change():
    client, run_id = run_of()
    client.log_param(run_id, "p", 1)
    client.log_param(run_id, "p", 1)
    refused(
        lambda: client.log_param(run_id, "p", 2),
        "INVALID_PARAMETER_VALUE",
        "Changing param values is not allowed. Param with key='p' was already logged with value='1' for run ID=",
        "Attempted logging new value '2'",
    )
    refused(
        lambda: client.log_batch(run_id, params=[Param("p", "3"), Param("q", "1")]),
        "INVALID_PARAMETER_VALUE",
        "Changing param values is not allowed. Params were already logged=",
        "'key': 'p', 'old_value': '1', 'new_value': '3'",
    )
    same(client.get_run(run_id).data.params, {"p": "1"}, "params")
    client.log_param(run_id, "empty", "")
    client.log_param(run_id, "long", "x" * 6000)
    params = client.get_run(run_id).data.params
    same((params["empty"], len(params["long"])), ("", 6000), "params")


def check_many_params_at_once():
    experiment("many")
    with mlflow.start_run() as run:
        mlflow.log_params({f"p{i}": i for i in range(250)})
    params = mlflow.get_run(run.info.run_id).data.params
    same(params, {f"p{i}": str(i) for i in range(250)}, "params")


def check_nested_runs():
    there = experiment("nested")
    with mlflow.start_run(run_name="parent") as parent:
        for index in range(3):
            with mlflow.start_run(run_name=f"child {index}", nested=True) as child:
                mlflow.log_metric("score", index)
                with mlflow.start_run(nested=True, run_name="grandchild"):
                    pass
    children = mlflow.search_runs(
        [there], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["metrics.score DESC"], output_format="list"
    )
    same([run.info.run_name for run in children], ["child 2", "child 1", "child 0"], "children")
    same(mlflow.get_parent_run(child.info.run_id).info.run_id, parent.info.run_id, "parent")
    same(len(mlflow.search_runs([there])), 7, "runs")


def check_a_run_is_continued_and_fails_and_is_killed():
    experiment("states")
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1, step=1)
    with mlflow.start_run(run_id=run.info.run_id):
        same(mlflow.get_run(run.info.run_id).info.status, "RUNNING", "status")
        mlflow.log_metric("m", 2, step=2)
    run = mlflow.get_run(run.info.run_id)
    same((run.info.status, run.data.metrics["m"]), ("FINISHED", 2.0), "continued run")
    try:
        with mlflow.start_run() as failing:
            raise ValueError("on purpose")
    except ValueError:
        pass
    same(mlflow.get_run(failing.info.run_id).info.status, "FAILED", "status")
    client, run_id = run_of()
    client.set_terminated(run_id, "KILLED", end_time=1_700_000_000_123)
    info = client.get_run(run_id).info
    same((info.status, info.end_time), ("KILLED", 1_700_000_000_123), "killed run")


def check_deleted_runs_are_read_but_not_written():
    client, run_id = run_of()
    client.set_tag(run_id, "t", "1")
    client.delete_run(run_id)
    same(client.get_run(run_id).info.lifecycle_stage, "deleted", "stage")
    for write in [
        lambda: client.log_metric(run_id, "m", 1),
        lambda: client.log_param(run_id, "p", 1),
        lambda: client.set_tag(run_id, "t", 2),
        lambda: client.log_batch(run_id, tags=[RunTag("t", "2")]),
    ]:
        refused(
            write,
            "INVALID_PARAMETER_VALUE",
            f"The run {run_id} must be in the 'active' state. Current state is deleted.",
        )
    client.restore_run(run_id)
    client.log_metric(run_id, "m", 1)
    run = client.get_run(run_id)
    same((run.info.lifecycle_stage, run.data.tags["t"], run.data.metrics), ("active", "1", {"m": 1.0}), "run")


def check_datasets():
    there = experiment("datasets")
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": ["a", "b", None]})
    table = mlflow.data.from_pandas(frame, source="https://example.com/a.csv", name="table", targets="y")
    array = mlflow.data.from_numpy(np.arange(6).reshape(2, 3), name="array")
    with mlflow.start_run() as first:
        mlflow.log_input(table, context="training", tags={"fold": "1"})
        mlflow.log_input(array, context="testing")
        mlflow.log_metric("auc", 0.75, dataset=table)
    with mlflow.start_run() as second:
        mlflow.log_input(table, context="validation")
        mlflow.log_input(table, context="validation")
    inputs = {each.dataset.name: each for each in mlflow.get_run(first.info.run_id).inputs.dataset_inputs}
    same(sorted(inputs), ["array", "table"], "inputs")
    dataset = inputs["table"].dataset
    same((dataset.digest, dataset.source_type), (table.digest, "http"), "dataset")
    same(json.loads(dataset.source), {"url": "https://example.com/a.csv"}, "source")
    same([column["name"] for column in json.loads(dataset.schema)["mlflow_colspec"]], ["x", "y"], "schema")
    same(json.loads(dataset.profile), {"num_rows": 3, "num_elements": 6}, "profile")
    tags = {tag.key: tag.value for tag in inputs["table"].tags}
    same(tags, {"fold": "1", "mlflow.data.context": "training"}, "tags of the input")
    same(len(mlflow.get_run(second.info.run_id).inputs.dataset_inputs), 1, "inputs logged twice")
    for text, expected in [
        ("datasets.name = 'array'", [first]),
        ("datasets.name = 'table'", [second, first]),
        (f"dataset.digest = '{table.digest}' AND dataset.context = 'validation'", [second]),
        ("datasets.context IN ('testing', 'validation')", [second, first]),
        ("datasets.name LIKE 't%'", [second, first]),
    ]:
        found = mlflow.search_runs([there], text, output_format="list")
        same([run.info.run_id for run in found], [run.info.run_id for run in expected], text)
    source = mlflow.data.get_source(mlflow.get_run(second.info.run_id).inputs.dataset_inputs[0])
    same(source.url, "https://example.com/a.csv", "source")


def check_small_artifacts_of_every_kind():
    import matplotlib.pyplot as plt
    from PIL import Image

    there = experiment("kinds")
    with mlflow.start_run() as run:
        mlflow.log_text("zeile 1\nüñí ✓\n", "notes/a.txt")
        mlflow.log_dict({"a": [1, 2.5, None], "b": {"c": "d"}}, "d.json")
        mlflow.log_dict({"a": 1}, "d.yaml")
        mlflow.log_table({"q": ["one", "two"], "n": [1, 2]}, "table.json")
        mlflow.log_table(pd.DataFrame({"q": ["three"], "n": [3]}), "table.json")
        figure, axes = plt.subplots()
        axes.plot([1, 2, 3])
        mlflow.log_figure(figure, "plots/line.png")
        plt.close(figure)
        picture = np.zeros((8, 8, 3), dtype=np.uint8)
        picture[2:4] = 255
        mlflow.log_image(picture, "picture.png")
        for step in range(2):
            mlflow.log_image(Image.fromarray(picture), key="sample", step=step)
    uri = run.info.artifact_uri
    same(mlflow.artifacts.load_text(f"{uri}/notes/a.txt"), "zeile 1\nüñí ✓\n", "text")
    same(mlflow.artifacts.load_dict(f"{uri}/d.json"), {"a": [1, 2.5, None], "b": {"c": "d"}}, "JSON")
    same(mlflow.artifacts.load_text(f"{uri}/d.yaml"), "a: 1\n", "YAML")
    table = mlflow.load_table("table.json", run_ids=[run.info.run_id], extra_columns=["run_id"])
    same((list(table["q"]), list(table["n"])), (["one", "two", "three"], [1, 2, 3]), "table")
    same(np.array(mlflow.artifacts.load_image(f"{uri}/picture.png").convert("RGB")).tolist(), picture.tolist(), "image")
    client = MlflowClient()
    names = sorted(file.path for file in client.list_artifacts(run.info.run_id))
    same(names, ["d.json", "d.yaml", "images", "notes", "picture.png", "plots", "table.json"], "artifacts")
    images = client.list_artifacts(run.info.run_id, "images")
    same(len(images), 4, "two images and their thumbnails")
    assert all(image.path.startswith("images/sample+step+") and image.file_size > 0 for image in images), images
    same(client.get_run(run.info.run_id).data.tags["mlflow.loggedImages"], "True", "tag of images")
    assert there


def check_asynchronous_logging():
    experiment("async")
    with mlflow.start_run() as run:
        waiting = [mlflow.log_metric("m", i, step=i, synchronous=False) for i in range(400)]
        waiting += [mlflow.log_param(f"p{i}", i, synchronous=False) for i in range(20)]
        waiting.append(mlflow.set_tags({"a": "1", "b": "2"}, synchronous=False))
        for operation in waiting:
            operation.wait()
    mlflow.flush_async_logging()
    client = MlflowClient()
    points = client.get_metric_history(run.info.run_id, "m")
    same([point.step for point in points if point.value == point.step], sorted(p.step for p in points), "points")
    same(len(points), 400, "points")
    data = client.get_run(run.info.run_id).data
    same((len(data.params), data.tags["b"]), (20, "2"), "params and tags")


def check_system_metrics():
    experiment("system")
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    try:
        with mlflow.start_run(log_system_metrics=True) as run:
            time.sleep(2)
    finally:
        mlflow.disable_system_metrics_logging()
    client = MlflowClient()
    metrics = client.get_run(run.info.run_id).data.metrics
    for name in ["cpu_utilization_percentage", "system_memory_usage_megabytes", "disk_usage_percentage"]:
        assert metrics.get(f"system/{name}", -1) >= 0, metrics
    steps = [p.step for p in client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")]
    assert len(steps) >= 2 and sorted(steps) == list(range(len(steps))), steps


def check_a_batch_is_limited():
    client, run_id = run_of()

    def raw(**fields):
        return harness.call("POST", "runs/log-batch", {"run_id": run_id, **fields}, status=400)

    point = {"key": "m", "value": 1, "timestamp": 1, "step": 0}
    for kind, limit, fields in [
        ("metrics", 1000, {"metrics": [{**point, "step": i} for i in range(1001)]}),
        ("params", 100, {"params": [{"key": f"p{i}", "value": "1"} for i in range(101)]}),
        ("tags", 100, {"tags": [{"key": f"t{i}", "value": "1"} for i in range(101)]}),
    ]:
        answer = raw(**fields)
        same(answer["error_code"], "INVALID_PARAMETER_VALUE", kind)
        same(
            answer["message"],
            f"A batch logging request can contain at most {limit} {kind}. Got {limit + 1} {kind}."
            f" Please split up {kind} across multiple requests and try again.",
            kind,
        )
    answer = raw(metrics=[{**point, "step": i} for i in range(1000)], tags=[{"key": "t", "value": "1"}])
    assert "at most 1000" in answer["message"] and "1001" in answer["message"], answer
    answer = raw(params=[{"key": "q", "value": "1"}, {"key": "q", "value": "1"}])
    assert answer["message"].startswith("Duplicate parameter keys have been submitted: ['q']."), answer
    data = client.get_run(run_id).data
    same((data.metrics, data.params), ({}, {}), "what refused batches left")


if __name__ == "__main__":
    harness.main()
