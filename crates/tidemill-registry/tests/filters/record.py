"""Asks MLflow what it thinks of many filters and orders, and records its answers beside this file.

Run with a Python that has `mlflow` installed: `python record.py`. Each line of `recorded.jsonl` is one question:
`kind`, `what` (`filter` or `order`), `text`, and one of `ok` (the parsed conditions), `refused` (the message) or
`crashed` (MLflow failed with an error that is not a refusal).
"""

import json
import os
import pathlib
import tempfile

import mlflow
from mlflow.entities import ViewType
from mlflow.entities.trace_location import TraceLocation
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Models
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking
from mlflow.utils import search_logged_model_utils
from mlflow.utils.search_utils import (
    SearchExperimentsUtils,
    SearchLoggedModelsUtils,
    SearchModelUtils,
    SearchModelVersionUtils,
    SearchTraceUtils,
    SearchUtils,
)

HERE = pathlib.Path(__file__).parent

# Left sides that exist for some kind or for none.
NAMES = {
    "runs": [
        "metrics.m", "metric.m", "params.p", "param.p", "parameters.p", "parameter.p", "tags.t", "tag.t",
        "attributes.run_id", "attribute.run_name", "attr.status", "run.artifact_uri", "user_id", "status", "run_id",
        "run_name", "start_time", "end_time", "created", "Created", "`run name`", "attributes.`Run Name`",
        'attributes."Run name"', "attributes.start_time", "datasets.name", "dataset.digest", "datasets.context",
        "datasets.source", "foo.bar", "absent", "attributes.absent", "attributes.lifecycle_stage",
        "metrics.`a b`", 'metrics."a b"', "params.`a.b`", "tags.`mlflow.user`", "tags.mlflow.user", "metrics.a-b",
        "metrics.a/b", "tags.a:b", "`metrics`.m", "`metrics.m`", "metrics.", "metrics . m", "Metrics.m", "metrics.1a",
        "metrics.0", "metrics._x", "tags.order", "metrics.`a``b`", "metrics.é", "tags.`ключ`", "metrics", "experiment_id",
    ],
    "experiments": [
        "name", "attribute.name", "attributes.name", "experiment_id", "creation_time", "last_update_time", "tags.t",
        "tag.t", "tags.`a b`", 'tags."a b"', "tags.`mlflow.experiment.isGateway`", "absent", "foo.bar",
        "attribute.absent", "params.p", "`name`", 'attribute."name"', "attribute.`name`", "lifecycle_stage",
        "artifact_location", "attr.name",
    ],
    "registered_models": [
        "name", "attribute.name", "attributes.name", "tags.t", "tag.t", "tags.`a b`", 'tags."a b"', "absent", "foo.bar",
        "creation_timestamp", "last_updated_timestamp", "`name`", "attribute.`name`", "tags.`mlflow.prompt.is_prompt`",
        "params.p", "description",
    ],
    "model_versions": [
        "name", "attribute.name", "run_id", "source_path", "version_number", "attribute.version_number", "tags.t",
        "tag.t", "tags.`a b`", "absent", "foo.bar", "creation_timestamp", "source", "current_stage", "`name`",
        "attributes.run_id",
    ],
    "logged_models": [
        "name", "attributes.name", "attribute.name", "model_id", "model_type", "status", "source_run_id",
        "creation_timestamp", "creation_time", "attributes.creation_timestamp", "last_updated_timestamp",
        "attributes.status", "metrics.m", "params.p", "tags.t", "tags.`a b`", "metrics.`a b`", "params.`a.b`", "metric.m",
        "param.p", "foo.bar", "absent", "`name`", "experiment_id", "metrics.a/b",
    ],
    "traces": [
        "timestamp", "timestamp_ms", "attributes.timestamp", "attributes.timestamp_ms", "trace.timestamp_ms",
        "execution_time", "execution_time_ms", "end_time", "end_time_ms", "status", "trace.status", "attribute.status",
        "name", "attributes.name", "run_id", "request_id", "client_request_id", "prompt", "tags.t", "tag.t",
        "tags.`a b`", "tags.`mlflow.traceName`", "metadata.k", "request_metadata.k", "metadata.`mlflow.sourceRun`",
        "span.name", "span.type", "span.status", "span.content", "span.attributes.a", "span.attributes.`a b`",
        "span.absent", "span.attributes.", "feedback.f", "expectation.e", "feedback.`a b`", "issue.id", "issue.absent",
        "trace.text", "attributes.text", "text", "foo.bar", "absent", "tags.name", "metadata.run_id", "experiment_id",
        "attributes.prompt", "trace.name", "feedback.name",
    ],
}

# How names are compared that differ from another only in how they are written.
FEW = ["= 'v'", "= \"v\"", "= 5", "> 5", "< -1.5e-3", "LIKE '%v'", "IS NULL", "IN ('a', 'b')", "NOT IN ('a', 'b')", "= v", ""]

# These are compared in every way.
FULL = {
    "runs": ["metrics.m", "params.p", "tags.t", "run_id", "status", "start_time", "datasets.name"],
    "experiments": ["name", "experiment_id", "creation_time", "tags.t"],
    "registered_models": ["name", "tags.t"],
    "model_versions": ["name", "run_id", "version_number", "tags.t", "source_path"],
    "logged_models": ["name", "creation_time", "metrics.m", "params.p", "tags.t"],
    "traces": [
        "timestamp_ms", "status", "name", "run_id", "prompt", "tags.t", "metadata.k", "span.name", "span.content",
        "span.attributes.a", "feedback.f", "issue.id", "trace.text",
    ],
}

COMPARISONS = [
    "= 'v'", "!= 'v'", "= \"v\"", "LIKE '%v'", "like 'v%'", "ILIKE '%V%'", "ilike 'v_'", "RLIKE '^v'", "rlike 'v'",
    "= 5", "!= 5", "> 5", ">= 5", "< 5", "<= 5", "> 0.5", "< -1.5e-3", "> -3", "= .5", "= 5.", "= 0x10", "= '5'", "> '5'",
    "> 'v'", "= v", "= `v`", "== 5", "<> 5", "= null", "IS NULL", "is not null", "IS 'v'",
    "IN ('a', 'b')", "in ('a')", "IN ('a',)", "IN ()", "IN (1, 2)", "IN ('a', 2)", "IN 'a'", "NOT IN ('a', 'b')",
    "not in ('1', '2')", "NOT IN 'a'", "IN (\"a\", 'b')", "IN (a, b)", "IN ('1')", "= ('a')", "NOT LIKE 'v'", "BETWEEN 1 AND 2",
    "", "=", "LIKE", "IS", "LIKE 5", "> 1 + 2",
]

TEXTS = {
    "runs": [
        "", " ", "\n", "metrics.m > 1 AND params.p = 'v'", "metrics.m > 1 and params.p = 'v'",
        "metrics.m > 1 And params.p = 'v' aNd tags.t LIKE '%x%'", "metrics.m > 1 OR params.p = 'v'",
        "metrics.m > 1 or params.p = 'v'", "(metrics.m > 1)", "(metrics.m > 1 AND params.p = 'v')",
        "NOT metrics.m > 1", "metrics.m > 1 params.p = 'v'", "AND", "AND metrics.m > 1", "metrics.m > 1 AND",
        "metrics.m > 1 AND AND params.p = 'v'", "metrics.m > 1, params.p = 'v'", "metrics.m > 1;",
        "metrics.m > 1; params.p = 'v'", "metrics.m > 1 ; ", ";", "metrics.m>1", "metrics.m>-1", "metrics.m=1",
        "metrics.m >1 AND metrics.m< 2", "metrics.m > 1 foo", "metrics.m > 1 > 2", "metrics.m = metrics.n", "1 = 1",
        "1 < metrics.m", "'v' = params.p", "\"v\" = params.p", "params.p = 'v", "params.p = v'", "params.p = \"v",
        "params.p = 'it''s'", "params.p = 'it\\'s'", "params.p = \"it's\"", "params.p = 'say \"x\"'", "params.p = ''",
        "params.p = \"\"", "params.p = 'a\nb'", "params.p = 'a AND b'", "params.p = 'a;b'", "params.p = '(x)'",
        "params.p = 'a\\'", "params.p = 'é ключ 日本'", "params.p = '%'", "params.p LIKE '50\\%'", "tags.`a=b` = 'v'",
        "tags.`a' b` = 'v'", "tags.\"a`b\" = 'v'", "tags.`a.b`.c = 'v'", "tags.a.b.c = 'v'", "params.`p = 'v'",
        "params.p` = 'v'", "params.'p' = 'v'", "'params'.p = 'v'", "\"params\".p = 'v'", "metrics.m > 1 -- note",
        "metrics.m > 1e5", "metrics.m > 1E5", "metrics.m > 1e-5", "metrics.m > 1.5e10", "metrics.m > 1_000",
        "metrics.m > 00012", "metrics.m > 99999999999999999999", "metrics.m > NaN", "metrics.m > inf", "metrics.m = true",
        "metrics.m > - 1", "start_time > 1.5", "start_time = 99999999999999999999", "metrics.m ! = 1", "metrics.m =! 1",
        "metrics.m => 1", "metrics.m >> 1", "metrics.m ~ 1", "metrics.m = 1 AND foo", "foo", "foo AND bar", "foo bar",
        "metrics.m", "= 1", "> 1 AND metrics.m > 1", "metrics.m > 1 AND (params.p = 'v')", "metrics.m*2 > 1",
        "metrics.m + 1 > 1", "abs(metrics.m) > 1", "lower(params.p) = 'v'", "metrics.m > (1)", "params.p = ('v')",
        "status IN ('FINISHED', 'FAILED')", "status = 'FINISHED' AND metrics.m > 0.5 AND params.p != 'x'",
        "run_id IN ('a', 'b') AND status = 'FINISHED'", "status = 'FINISHED' AND run_id NOT IN ('a', 'b')",
        "run_id IN ('a' 'b')", "run_id IN ('a', ('b'))", "run_id IN ('it\\'s')", "run_id IN ('a\\nb')", "run_id IN ('a''b')",
        "run_id IN ( 'a' , 'b' )", "run_id IN('a','b')", "run_id IN ('a', 'b'", "run_id IN 'a', 'b')", "run_id IN ('a') foo",
        "run_id in (\n'a',\n'b'\n)", "attributes.run_id NOT  IN ('a')", "datasets.name IN ('a', 'b')",
        "datasets.context NOT IN ('train')", "params.p IN ('a', 'b')", "tags.t IN ('a')", "metrics.m IN (1, 2)",
        "tags.t IS NULL AND params.p IS NOT NULL", "tags.`a b` IS NULL", "metrics.m > 1 AND tags.t IS NULL",
        "tags.t IS NULL AND metrics.m > 1 AND params.p IS NOT NULL", "tags.t IS", "tags.t IS NOT", "tags.t NOT NULL",
        "tags.t NULL", "tags.t IS NULL NULL", "tags.t IS NULL = 'v'", "metrics.m IS NULL", "status IS NULL",
        "datasets.name IS NULL", "run_id NOT ('a')", "tags.t NOT ILIKE 'v'", "tags.t not like 'v'",
        "tags.t = 'a' tags.t = 'b'", "tags.t REGEXP 'v'", "params.a = '1' AND params.b = '2' AND params.c = '3' AND params.d = '4'",
        "metrics.m > 1 AND params.p = v", "foo.bar = 'v' AND metrics.m > 1", "a.b.c = 'v'", "attributes.a.b = 'v'",
        "attr.created > 5", "run.Created > 5", "run name = 'x'", "Run Name = 'x'", "metrics.m : 1", "metrics.m, params.p",
        "params.p = $1", "params.p = ?", "params.p = :x", "@x = 1", "#x = 1",
        "params.p = 'v' /* note */", "metrics.m > 1 \\ 2", "µ = 1", "params.p = N'v'", "params.p = 'a' 'b'",
        "tags.`mlflow.runName` = 'x'", "tags.mlflow.runName LIKE '%x%'", "tags.`mlflow.prompt.run_ids` ILIKE \"%a%\"",
    ],
    "experiments": [
        "", "name = 'a' AND tags.t = 'b'", "name LIKE '%a' and creation_time > 5", "name = 'a' OR name = 'b'",
        "experiment_id IN ('1', '2')", "experiment_id NOT IN ('1')", "experiment_id = 'abc'", "experiment_id IN ('abc')",
        "experiment_id = 5", "experiment_id > '5'", "experiment_id LIKE '5'", "creation_time = 1.5",
        "tags.t IS NULL AND name = 'x'", "tags.t IN ('a')", "tags.t > 'a'", "name = 'a'; name = 'b'", "(name = 'a')",
        "name = 'a',", "name IN ('a')", "name IS NULL", "name like 'a'", "creation_time like 'a'", "name = 'a' name = 'b'",
    ],
    "registered_models": [
        "", "name = 'a' AND tags.t = 'b'", "name LIKE '%a' and tags.t ILIKE 'x'", "name = 'a' OR name = 'b'",
        "name IN ('a', 'b')", "name NOT IN ('a')", "tags.t IN ('a')", "tags.t IS NULL", "name IS NOT NULL", "(name = 'a')",
        "name = 'a'; name = 'b'", "name = 'a',", "tags.`mlflow.prompt.is_prompt` = 'true'", "name == 'a'", "name ilike '%a%'",
    ],
    "model_versions": [
        "", "name = 'a' AND run_id = 'b'", "run_id IN ('a', 'b')", "run_id NOT IN ('a')", "version_number > 2 AND name = 'a'",
        "version_number = 'x'", "version_number = '3'", "version_number LIKE '3'", "version_number IN ('1')",
        "source_path LIKE 's3://%'", "source_path IN ('a')", "tags.t IS NULL", "tags.t LIKE 'x'", "name = 'a' OR name = 'b'",
        "version_number = 1.5", "name = 5", "(name = 'a')", "name = 'it''s'",
    ],
    "logged_models": [
        "", " ", "metrics.m > 1 AND params.p = 'v'", "metrics.m > 1 OR params.p = 'v'", "(name = 'a')", "name = 'a' ; name = 'b'",
        "name IN ('a', 'b') AND metrics.m > 0.5", "name NOT IN ('a')", "tags.t IS NULL", "params.p IN ('a')", "metrics.m IN (1)",
        "metrics.m > 'x'", "metrics.m > '1'", "name = \"a\"", "name = a", "name = 'it''s'", "creation_time > 1.5",
        "creation_timestamp = '5'", "params.`a b` LIKE '%x%' and name like 'y'", "name = 'a' name = 'b'", "AND", "name", "model_id = 'm-1'",
    ],
    "traces": [
        "", "status = 'OK' AND timestamp_ms > 5", "timestamp > 5", "timestamp_ms >= 5 AND timestamp <= 9", "timestamp = 'x'",
        "status IN ('OK', 'ERROR')", "name IN ('a')", "name LIKE '%a%' AND tags.t = 'x'", "status = 'OK' OR status = 'ERROR'",
        "tags.t IS NULL AND metadata.k IS NOT NULL", "feedback.f > 0.5", "feedback.f = 'yes' AND expectation.e IS NULL",
        "feedback.f = 5", "feedback.f > 'x'", "feedback.f IN ('a')", "span.name = 'a' AND span.type LIKE '%x%'",
        "span.content LIKE '%a%'", "span.content = 'a'", "trace.text LIKE '%a%'", "trace.text = 'a'", "span.attributes.a RLIKE '^x'",
        "span.name IN ('a', 'b')", "span.attributes.a > 5", "prompt = 'a/1'", "prompt LIKE 'a'", "prompt = 'a'", "issue.id = 'x'",
        "issue.id != 'x'", "run_id = 'x'", "run_id IN ('a')", "run_id LIKE 'x'", "execution_time > 5 AND end_time < 9",
        "timestamp_ms IN ('5')", "tags.t IN ('a')", "metadata.k IN ('a')", "timestamp BETWEEN 1 AND 2", "timestamp", "timestamp >",
        "(status = 'OK')", "status = 'OK'; name = 'a'", "timestamp != 5", "timestamp = 5.5", "attributes.timestamp > 5",
        "status RLIKE '^O'", "client_request_id = 'c'", "request_id = 'tr-1'", "timestamp > 5 AND status = 'OK'",
        "status = 'OK' AND timestamp > 5", "status = 'OK' AND timestamp > 5 AND name = 'a'",
    ],
}

ORDERS = {
    "runs": [
        "metrics.m", "metrics.m DESC", "metrics.m asc", "metric.m desc", "params.p", "param.p DESC", "tags.t ASC", "start_time",
        "attributes.start_time DESC", "attribute.end_time", "created", "Created DESC", "attributes.created", "status",
        "run_name", "attributes.run_name DESC", "run_id", "artifact_uri", "user_id", "`run name`", "attributes.`run name`",
        "metrics.`a b` DESC", "metrics.\"a b\"", "tags.`mlflow.user` ASC", "tags.mlflow.user", "foo.bar", "absent", "metrics.a-b",
        "datasets.name", "metrics.m DESC, params.p", "metrics.m foo", "metrics.m DESC foo", "", " ", "metrics.m;", "metrics.m DESC NULLS LAST",
        "metrics.m dEsC", "  metrics.m  ", "metrics.m  DESC", "attributes.lifecycle_stage", "metrics", "params.`a.b`", "metrics.m > 1",
        "'metrics.m'", "metrics.m\tDESC", "timestamp", "`metrics`.m", "`metrics.m`", "parameters.p", "run.start_time desc", "tags.`a\"b`",
    ],
    "experiments": [
        "name", "name DESC", "attribute.name asc", "attributes.name", "experiment_id", "creation_time DESC", "last_update_time",
        "tags.t", "absent", "foo.bar", "name foo", "", "`name`", "attribute.`name` DESC", "name ASC, experiment_id",
    ],
    "registered_models": [
        "name", "name DESC", "timestamp", "timestamp desc", "last_updated_timestamp ASC", "creation_timestamp", "absent",
        "attribute.name", "tags.t", "", "name foo", "`name`", "timestamp foo",
    ],
    "model_versions": [
        "name", "name DESC", "version_number", "version_number ASC", "creation_timestamp DESC", "last_updated_timestamp",
        "attribute.name", "tags.t", "absent", "foo.bar", "", "version", "run_id", "`name`",
    ],
    "traces": [
        "timestamp", "timestamp DESC", "timestamp_ms", "timestamp_ms DESC", "attributes.timestamp", "execution_time", "execution_time_ms ASC",
        "end_time", "end_time_ms DESC", "status", "name", "name DESC", "run_id", "request_id", "experiment_id", "tags.t", "tag.`a b` DESC",
        "metadata.k", "request_metadata.k DESC", "span.name", "feedback.f", "absent", "foo.bar", "", "trace.status", "timestamp foo",
    ],
}

LISTS = {
    "runs": [["metrics.m", "metrics.m"], ["metrics.m", "metric.m DESC"], ["start_time", "created"], ["metrics.m", "params.m"], ["a.b", "c.d"]],
    "experiments": [["name", "name"], ["name", "experiment_id DESC"]],
    "registered_models": [["name", "name DESC"], ["timestamp", "last_updated_timestamp"], ["timestamp", "name"]],
    "model_versions": [["name", "name"], ["name", "version_number"]],
    "traces": [["status", "status"], ["timestamp", "timestamp_ms"], ["status", "tags.t"]],
}


def comparisons(kind, name):
    return COMPARISONS if name in FULL[kind] else FEW


def shown(condition):
    """A condition as a list of type, key, comparator and value."""
    if isinstance(condition, dict):
        value = condition["value"]
        parts = [condition["type"], condition["key"], condition["comparator"].upper(), value]
    else:
        parts = [condition.entity.type.value, condition.entity.key, condition.op, condition.value]
    if isinstance(parts[3], (tuple, list)):
        parts[3] = list(parts[3])
    return parts


def ask(parse, search):
    try:
        parsed = parse()
        search()
        return {"ok": parsed}
    except MlflowException as refusal:
        text = refusal.message
        database = text.startswith(("(sqlite3.", "IN expression list"))
        if database or refusal.error_code == "INTERNAL_ERROR" and "contains duplicate" not in text:
            return {"crashed": type(refusal).__name__}
        return {"refused": refusal.message}
    except Exception as crash:
        return {"crashed": type(crash).__name__}


def main():
    os.environ["MLFLOW_ENABLE_WORKSPACES"] = "false"
    folder = tempfile.mkdtemp()
    url = f"sqlite:///{folder}/mlflow.db"
    tracking = Tracking(url, folder)
    models = Models(url)
    experiment = tracking.create_experiment("x")
    location = TraceLocation.from_experiment_id(experiment)

    filters = {
        "runs": (
            SearchUtils.parse_search_filter,
            lambda text: tracking.search_runs([experiment], text, ViewType.ACTIVE_ONLY, 10),
        ),
        "experiments": (
            SearchExperimentsUtils.parse_search_filter,
            lambda text: tracking.search_experiments(filter_string=text, max_results=10),
        ),
        "registered_models": (
            SearchModelUtils.parse_search_filter,
            lambda text: models.search_registered_models(filter_string=text, max_results=10),
        ),
        "model_versions": (
            SearchModelVersionUtils.parse_search_filter,
            lambda text: models.search_model_versions(filter_string=text, max_results=10),
        ),
        "logged_models": (
            search_logged_model_utils.parse_filter_string,
            lambda text: tracking.search_logged_models([experiment], filter_string=text),
        ),
        "traces": (
            SearchTraceUtils.parse_search_filter_for_search_traces,
            lambda text: tracking.search_traces([experiment], filter_string=text),
        ),
    }
    orders = {
        "runs": (
            SearchUtils.parse_order_by_for_search_runs,
            lambda order: tracking.search_runs([experiment], "", ViewType.ACTIVE_ONLY, 10, order),
        ),
        "experiments": (
            SearchExperimentsUtils.parse_order_by_for_search_experiments,
            lambda order: tracking.search_experiments(order_by=order, max_results=10),
        ),
        "registered_models": (
            SearchUtils.parse_order_by_for_search_registered_models,
            lambda order: models.search_registered_models(order_by=order, max_results=10),
        ),
        "model_versions": (
            SearchModelVersionUtils.parse_order_by_for_search_model_versions,
            lambda order: models.search_model_versions(order_by=order, max_results=10),
        ),
        "traces": (
            SearchTraceUtils.parse_order_by_for_search_traces,
            lambda order: tracking.search_traces([experiment], order_by=order),
        ),
    }
    lines = []
    for kind, (parse, search) in filters.items():
        texts = TEXTS[kind] + [f"{name} {comparison}" for name in NAMES[kind] for comparison in comparisons(kind, name)]
        for text in dict.fromkeys(texts):
            answer = ask(lambda: [shown(c) for c in parse(text)], lambda: search(text))
            lines.append({"kind": kind, "what": "filter", "text": text, **answer})
    for kind, (parse, search) in orders.items():
        for order in [[text] for text in ORDERS[kind]] + LISTS[kind]:
            answer = ask(lambda: [list(parse(text)) for text in order], lambda: search(order))
            lines.append({"kind": kind, "what": "order", "text": order, **answer})
    with (HERE / "recorded.jsonl").open("w", encoding="utf-8") as file:
        file.write(json.dumps({"mlflow": mlflow.__version__}) + "\n")
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(len(lines), "answers")


main()
