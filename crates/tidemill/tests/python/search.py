"""Searching runs: every kind of filter and order, pages, views, and what a wrong filter says.

The runs of one experiment are described as plain values; what a filter must find is computed from them here.
"""

import functools
import math
import types

import harness
import mlflow
import requests
from harness import refused, same, unique
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType

COUNT = 24
BEGIN = 1_700_000_000_000


def described(index):
    """What run number `index` holds; some keys are missing in some runs."""
    metrics = {"loss": (index * 7 % COUNT) / 4, "all equal": 1.0}
    params = {"model": ["tree", "Linear", "net_1", "net%2"][index % 4], "depth": str(index)}
    tags = {"team": "ab"[index % 2], "spaced key": f"value {index}"}
    if index % 3 == 0:
        metrics["auc"] = index / COUNT
        params["only sometimes"] = "yes"
    if index % 5 == 0:
        metrics["odd"] = math.nan if index % 2 else -float(index)
        tags["rare.key/x"] = "O'Reilly" if index == 5 else "plain"
    status = ["FINISHED", "FAILED", "RUNNING"][index % 3]
    return types.SimpleNamespace(
        index=index, name=f"run {index:02}", metrics=metrics, params=params, tags=tags, status=status, start=BEGIN + index
    )


@functools.cache
def made():
    """The experiment and its runs, made once."""
    client = MlflowClient()
    there = client.create_experiment(unique("search"))
    runs = []
    for index in range(COUNT):
        run = described(index)
        tags = {**run.tags, "mlflow.user": "anna" if index < 12 else "Bert"}
        run.id = client.create_run(there, run.start, tags, run.name).info.run_id
        metrics = [Metric(key, value, 1, 1) for key, value in run.metrics.items()]
        metrics.append(Metric("loss", 1000, 1, 0))
        client.log_batch(run.id, metrics, [Param(key, value) for key, value in run.params.items()])
        if run.status != "RUNNING":
            client.set_terminated(run.id, run.status, end_time=run.start + 1000 * (index % 4))
        runs.append(run)
    return there, runs


def found(text, order=None, view=ViewType.ACTIVE_ONLY, **options):
    there, runs = made()
    numbers = {run.id: run.index for run in runs}
    return [numbers[run.info.run_id] for run in MlflowClient().search_runs([there], text, view, order_by=order, **options)]


def expect(text, condition):
    """The filter finds exactly the runs for which `condition` holds, the newest first."""
    _, runs = made()
    same(found(text), [run.index for run in reversed(runs) if condition(run)], text)


def check_metrics():
    for text, condition in [
        ("metrics.loss < 2", lambda r: r.metrics["loss"] < 2),
        ("metrics.loss <= 2", lambda r: r.metrics["loss"] <= 2),
        ("metric.loss >= 2.25", lambda r: r.metrics["loss"] >= 2.25),
        ("metrics.loss = 1.75", lambda r: r.metrics["loss"] == 1.75),
        ("metrics.loss != 1.75", lambda r: r.metrics["loss"] != 1.75),
        ("metrics.`all equal` > 0", lambda r: True),
        ('metrics."all equal" > 1', lambda r: False),
        ("metrics.auc > 0.5", lambda r: r.metrics.get("auc", -1) > 0.5),
        ("metrics.auc != 0", lambda r: r.metrics.get("auc", 0) != 0),
        ("metrics.odd < 0", lambda r: r.metrics.get("odd", 1) < 0),
        ("metrics.loss > -1e3 and metrics.loss < 1e-1", lambda r: r.metrics["loss"] < 0.1),
        ("metrics.nothing = 1", lambda r: False),
    ]:
        expect(text, condition)


def check_params_and_tags():
    for text, condition in [
        ("params.model = 'tree'", lambda r: r.params["model"] == "tree"),
        ('params.model = "tree"', lambda r: r.params["model"] == "tree"),
        ("param.model != 'tree'", lambda r: r.params["model"] != "tree"),
        ("parameters.model LIKE 'net%'", lambda r: r.params["model"].startswith("net")),
        ("params.model LIKE 'n_t_1'", lambda r: r.params["model"] == "net_1"),
        ("params.model LIKE 'linear'", lambda r: False),
        ("params.model ILIKE 'LINEAR'", lambda r: r.params["model"] == "Linear"),
        ("params.model ilike '%N%'", lambda r: "n" in r.params["model"].lower()),
        ("params.depth = '3'", lambda r: r.index == 3),
        ("params.`only sometimes` = 'yes'", lambda r: "only sometimes" in r.params),
        ("params.`only sometimes` != 'no'", lambda r: "only sometimes" in r.params),
        ("params.`only sometimes` IS NULL", lambda r: "only sometimes" not in r.params),
        ('params."only sometimes" IS NOT NULL', lambda r: "only sometimes" in r.params),
        ("tags.team = 'a'", lambda r: r.tags["team"] == "a"),
        ("tag.team != 'a'", lambda r: r.tags["team"] != "a"),
        ("tags.`spaced key` = 'value 7'", lambda r: r.index == 7),
        ("tags.`spaced key` ILIKE 'VALUE 1%'", lambda r: str(r.index).startswith("1")),
        ("tags.`rare.key/x` = 'plain'", lambda r: r.tags.get("rare.key/x") == "plain"),
        ('tags.`rare.key/x` = "O\'Reilly"', lambda r: r.index == 5),
        ("tags.`rare.key/x` IS NULL", lambda r: r.index % 5 != 0),
        ("tags.mlflow.user = 'anna'", lambda r: r.index < 12),
    ]:
        expect(text, condition)


def check_attributes():
    there, runs = made()
    for text, condition in [
        ("attributes.status = 'FINISHED'", lambda r: r.status == "FINISHED"),
        ("status != 'FINISHED'", lambda r: r.status != "FINISHED"),
        ("attribute.status LIKE 'F%'", lambda r: r.status.startswith("F")),
        ("attr.run_name = 'run 04'", lambda r: r.index == 4),
        ("run_name ILIKE 'RUN 1%'", lambda r: 10 <= r.index < 20),
        ("attributes.`run name` = 'run 04'", lambda r: r.index == 4),
        (f"run_id = '{runs[6].id}'", lambda r: r.index == 6),
        (f"run_id IN ('{runs[6].id}', '{runs[2].id}')", lambda r: r.index in (2, 6)),
        (f"attributes.run_id NOT IN ('{runs[6].id}')", lambda r: r.index != 6),
        (f"start_time > {BEGIN + 9}", lambda r: r.index > 9),
        (f"attributes.created <= {BEGIN + 9}", lambda r: r.index <= 9),
        (f"start_time = {BEGIN + 9}", lambda r: r.index == 9),
        (f"end_time >= {BEGIN + 2000}", lambda r: r.status != "RUNNING" and r.index + 1000 * (r.index % 4) >= 2000),
        (f"artifact_uri LIKE '%{runs[3].id}%'", lambda r: r.index == 3),
        ("user_id = 'nobody at all'", lambda r: False),
    ]:
        expect(text, condition)
    assert there


def check_conditions_are_joined():
    for text, condition in [
        (
            "metrics.loss < 4 AND params.model = 'tree' and tags.team = 'a' AnD status != 'FAILED'",
            lambda r: r.metrics["loss"] < 4 and r.params["model"] == "tree" and r.index % 2 == 0 and r.status != "FAILED",
        ),
        ("metrics.loss > 1 and metrics.loss < 2 and metrics.auc > 0", lambda r: 1 < r.metrics["loss"] < 2 and r.metrics.get("auc", 0) > 0),
        ("  params.depth='3'   ", lambda r: r.index == 3),
        ("", lambda r: True),
    ]:
        expect(text, condition)


def ordered(key, descending, runs):
    """Missing last, numbers before NaN, then the newest first."""
    newest = sorted(runs, key=lambda r: -r.start)
    there = [r for r in newest if key(r) is not None]
    real = [r for r in there if not (isinstance(key(r), float) and math.isnan(key(r)))]
    unreal = [r for r in there if r not in real]
    # `reverse` keeps the order of equals, so the newest stay first.
    real.sort(key=key, reverse=descending)
    return [r.index for r in real + unreal + [r for r in newest if key(r) is None]]


def check_orders():
    _, runs = made()
    for text, key in [
        ("metrics.loss", lambda r: r.metrics["loss"]),
        ("metrics.auc", lambda r: r.metrics.get("auc")),
        ("metrics.odd", lambda r: r.metrics.get("odd")),
        ("metrics.`all equal`", lambda r: 1.0),
        ("params.model", lambda r: r.params["model"]),
        ("params.`only sometimes`", lambda r: r.params.get("only sometimes")),
        ("tags.`rare.key/x`", lambda r: r.tags.get("rare.key/x")),
        ("attributes.start_time", lambda r: r.start),
        ("status", lambda r: r.status),
        ("attributes.run_name", lambda r: r.name),
        ("end_time", lambda r: r.start + 1000 * (r.index % 4) if r.status != "RUNNING" else None),
    ]:
        for suffix, descending in [("", False), (" ASC", False), (" desc", True)]:
            same(found("", [text + suffix]), ordered(key, descending, runs), text + suffix)
    by_two = sorted(runs, key=lambda r: (r.params["model"], -r.metrics["loss"]))
    same(found("", ["params.model", "metrics.loss DESC"]), [r.index for r in by_two], "two keys")
    filtered = [i for i in ordered(lambda r: r.metrics["loss"], False, runs) if i % 4 == 0]
    same(found("params.model = 'tree'", ["metrics.loss ASC"]), filtered, "order under a filter")


def check_pages():
    there, runs = made()
    client = MlflowClient()
    for order in [["metrics.loss ASC"], ["params.`only sometimes` DESC"], ["metrics.odd"], None]:
        everything = found("", order)
        for size in [1, 5, 8, COUNT, COUNT + 1]:
            token, pages = None, []
            while True:
                page = client.search_runs([there], max_results=size, order_by=order, page_token=token)
                pages += [int(run.info.run_name.split()[1]) for run in page]
                token = page.token
                if not token:
                    break
                same(len(page), size, "runs of a full page")
            same(pages, everything, f"pages of {size} by {order}")
    page = client.search_runs([there], "params.model = 'tree'", max_results=4)
    rest = client.search_runs([there], "params.model = 'tree'", max_results=4, page_token=page.token)
    same((len(page), len(rest), rest.token), (4, 2, None), "pages under a filter")
    assert runs


def check_views_and_experiments():
    client = MlflowClient()
    one, two = client.create_experiment(unique("one")), client.create_experiment(unique("two"))
    runs = [client.create_run(there, start_time=BEGIN + i).info.run_id for i, there in enumerate([one, two, one, two])]
    client.delete_run(runs[2])

    def ids(view, *experiments):
        return [run.info.run_id for run in client.search_runs(list(experiments), "", view)]

    same(ids(ViewType.ACTIVE_ONLY, one, two), [runs[3], runs[1], runs[0]], "active")
    same(ids(ViewType.DELETED_ONLY, one, two), [runs[2]], "deleted")
    same(ids(ViewType.ALL, one, two), runs[::-1], "all")
    same(ids(ViewType.ALL, one), [runs[2], runs[0]], "of one experiment")
    same(ids(ViewType.ALL), [], "of no experiment")
    client.delete_experiment(two)
    same(ids(ViewType.ACTIVE_ONLY, one, two), [runs[0]], "active after an experiment was deleted")
    client.restore_experiment(two)
    same(ids(ViewType.ACTIVE_ONLY, two), [runs[3], runs[1]], "restored")


def check_frames():
    there, runs = made()
    frame = mlflow.search_runs([there], "metrics.auc >= 0", order_by=["metrics.auc DESC"], max_results=3)
    same(list(frame["params.depth"]), ["21", "18", "15"], "params")
    same(list(frame["metrics.auc"]), [21 / COUNT, 18 / COUNT, 15 / COUNT], "metrics")
    same(list(frame["tags.team"]), ["b", "a", "b"], "tags")
    name = MlflowClient().get_experiment(there).name
    same(len(mlflow.search_runs(experiment_names=[name])), COUNT, "runs by name of the experiment")
    assert frame["run_id"].iloc[0] == runs[21].id


def check_wrong_filters():
    for text, *words in [
        ("metrics.loss = 'a'", "Expected numeric value type for metric"),
        ("params.model = 1", "Expected a quoted string value for parameter"),
        ("params.model > 'a'", "Invalid comparator"),
        ("metrics.loss LIKE 'a'", "Expected numeric value type for metric"),
        ("metrics.loss LIKE 1", "Invalid comparator"),
        ("foo.bar = 'a'", "Invalid entity type 'foo'. Valid values are"),
        ("attributes.nothing = 'a'", "Invalid attribute key"),
        ("metrics.loss < 1 OR metrics.loss > 2", "Invalid clause(s) in filter string"),
        ("metrics.loss <", "Invalid clause(s) in filter string"),
        ("metrics.loss", "Invalid clause(s) in filter string"),
        ("(metrics.loss < 1)", "Invalid clause(s) in filter string"),
    ]:
        refused(lambda text=text: found(text), "INVALID_PARAMETER_VALUE", *words)
    for order, *words in [
        (["loss"], "Invalid"),
        (["metrics.loss SIDEWAYS"], "Invalid"),
    ]:
        refused(lambda order=order: found("", order), "INVALID_PARAMETER_VALUE", *words)
    there, _ = made()
    # MLflow calls this an error of its own (500) although the request is at fault.
    body = {"experiment_ids": [there], "order_by": ["metrics.loss", "metrics.loss DESC"]}
    answer = requests.post(f"{harness.url()}/api/2.0/mlflow/runs/search", json=body, timeout=60)
    assert answer.status_code in (400, 500), answer.text
    assert "duplicate" in answer.json()["message"], answer.text
    for body, word in [
        ({"max_results": 50001}, "max_results"),
        ({"max_results": -1}, "max_results"),
        ({"page_token": "%%%"}, "token"),
    ]:
        answer = harness.call("POST", "runs/search", {"experiment_ids": [there], **body}, status=400)
        same(answer["error_code"], "INVALID_PARAMETER_VALUE", f"{body}")
        assert word in answer["message"], answer


def check_hostile_filters_change_nothing():
    there, _ = made()
    before = found("")
    for text in [
        "params.model = 'x'; DROP TABLE runs",
        "params.model = 'x' -- comment",
        "params.model = '' OR 1=1",
        "params.`a` = '%' UNION SELECT 1",
        "tags.`" + "k" * 5000 + "` = '" + "v" * 5000 + "'",
        "metrics.loss < 1 AND " * 60 + "metrics.loss < 1",
    ]:
        try:
            found(text)
        except mlflow.exceptions.MlflowException as error:
            same(error.error_code, "INVALID_PARAMETER_VALUE", text[:60])
    same(found(""), before, "runs")
    for text in ["tags.team = 'ä✓'", "params.model LIKE '%\\%'", "params.model LIKE '%漢%'"]:
        same(found(text), [], text)
    assert there


def check_tags_set_later_are_found():
    client = MlflowClient()
    there = client.create_experiment(unique("later"))
    run = client.create_run(there).info.run_id
    client.log_batch(run, tags=[RunTag("stage", "one")])
    same(len(client.search_runs([there], "tags.stage = 'one'")), 1, "found")
    client.set_tag(run, "stage", "two")
    same(len(client.search_runs([there], "tags.stage = 'one'")), 0, "old value")
    same(len(client.search_runs([there], "tags.stage = 'two'")), 1, "new value")
    client.delete_tag(run, "stage")
    same(len(client.search_runs([there], "tags.stage IS NULL")), 1, "deleted tag")
    client.log_metric(run, "m", 5, step=1)
    client.log_metric(run, "m", 3, step=2)
    same(len(client.search_runs([there], "metrics.m = 5")), 0, "older metric")
    same(len(client.search_runs([there], "metrics.m = 3")), 1, "latest metric")


if __name__ == "__main__":
    harness.main()
