"""What the server says to requests that are wrong, and what it leaves out of the ones that are right."""

import harness
import requests
from harness import call, same, unique


def run_of():
    there = call("POST", "experiments/create", {"name": unique("errors")})["experiment_id"]
    return there, call("POST", "runs/create", {"experiment_id": there})["run"]["info"]["run_id"]


def check_missing_and_wrong_fields():
    there, run = run_of()
    for path, body, words in [
        ("experiments/create", {}, "Missing value for required parameter 'name'"),
        ("runs/log-metric", {"run_id": run, "value": 1, "timestamp": 1}, "Missing value for required parameter 'key'"),
        ("runs/log-metric", {"run_id": run, "key": "m", "timestamp": 1}, "Missing value for required parameter 'value'"),
        ("runs/log-metric", {"run_id": run, "key": "m", "value": 1}, "Missing value for required parameter 'timestamp'"),
        ("runs/log-metric", {"run_id": run, "key": "m", "value": "abc", "timestamp": 1}, "Invalid value"),
        ("runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": "soon"}, "Invalid value"),
        ("runs/log-metric", {"run_id": run, "key": ["m"], "value": 1, "timestamp": 1}, "Invalid value"),
        ("runs/log-metric", {"run_id": run, "key": "a$b", "value": 1, "timestamp": 1}, "Names may only contain"),
        ("runs/log-parameter", {"run_id": run, "value": "1"}, "Missing value for required parameter 'key'"),
        ("runs/log-parameter", {"run_id": run, "key": "../a", "value": "1"}, "must not resolve to other names"),
        ("runs/log-parameter", {"run_id": run, "key": "x" * 251, "value": "1"}, "250"),
        ("runs/set-tag", {"run_id": run, "value": "1"}, "Missing value for required parameter 'key'"),
        ("runs/set-tag", {"run_id": run, "key": "/a", "value": "1"}, "must not resolve to other names"),
        ("runs/log-batch", {"run_id": run, "metrics": {"key": "m"}}, "Invalid value"),
        ("runs/log-batch", {"run_id": run, "params": [{"key": "a$b", "value": "1"}]}, "params[0].key"),
        ("runs/log-batch", {"run_id": run, "metrics": [{"key": "m", "timestamp": 1, "step": 0}]}, "metrics[0].value"),
        ("runs/search", {"experiment_ids": there}, "Invalid value"),
        ("registered-models/create", {"description": "x"}, "Missing value for required parameter 'name'"),
        ("model-versions/create", {"name": "x"}, "Missing value for required parameter 'source'"),
    ]:
        answer = call("POST", path, body, status=400)
        same(answer["error_code"], "INVALID_PARAMETER_VALUE", f"{path} {body}")
        assert words in answer["message"], (path, body, answer)
    data = call("GET", "runs/get", {"run_id": run})["run"]["data"]
    assert "metrics" not in data and "params" not in data, data


def check_unknown_things():
    _, run = run_of()
    none = "0" * 32
    for method, path, body, words in [
        ("GET", "runs/get", {"run_id": none}, f"Run with id={none} not found"),
        ("POST", "runs/update", {"run_id": none, "status": "FINISHED"}, f"Run with id={none} not found"),
        ("POST", "runs/delete", {"run_id": none}, f"Run with id={none} not found"),
        ("POST", "runs/log-metric", {"run_id": none, "key": "m", "value": 1, "timestamp": 1}, f"Run with id={none} not found"),
        ("POST", "runs/delete-tag", {"run_id": run, "key": "none"}, f"No tag with name: none in run with id {run}"),
        ("GET", "experiments/get-by-name", {"experiment_name": "no such"}, "Could not find experiment with name 'no such'"),
        ("GET", "registered-models/get", {"name": "no such"}, "Registered Model with name=no such not found"),
        ("GET", "model-versions/get", {"name": "no such", "version": "1"}, "Model Version (name=no such, version=1) not found"),
        ("GET", "logged-models/m-none", None, "m-none"),
    ]:
        answer = call(method, path, body, status=404)
        same(answer["error_code"], "RESOURCE_DOES_NOT_EXIST", path)
        assert words in answer["message"], (path, answer)
    same(call("GET", "metrics/get-history", {"run_id": none, "metric_key": "m"}), {}, "history of an unknown run")


def check_bodies():
    there, run = run_of()
    point = {"run_id": run, "key": "m", "value": 1, "timestamp": 1}
    answer = requests.post(f"{harness.url()}/api/2.0/mlflow/runs/log-metric", data="x=1", headers={"Content-Type": "text/plain"}, timeout=60)
    same(answer.status_code, 400, "plain text")
    assert "Content-Type must be one of ['application/json']" in answer.text, answer.text
    # Numbers may come as text, and unknown fields do not matter.
    call("POST", "runs/log-metric", {**point, "value": "0.5", "timestamp": "5", "step": "3", "unknown": {"a": 1}})
    call("POST", "runs/log-metric", {"run_id": run, "key": "endless", "value": "-Infinity", "timestamp": 1})
    call("POST", "runs/update", {"run_uuid": run, "status": "FINISHED", "end_time": "1700000000000"})
    got = call("GET", "runs/get", {"run_uuid": run})["run"]
    same((got["info"]["status"], got["info"]["end_time"]), ("FINISHED", 1_700_000_000_000), "info")
    metrics = {metric["key"]: (metric["value"], metric["timestamp"], metric["step"]) for metric in got["data"]["metrics"]}
    same(metrics, {"m": (0.5, 5, 3), "endless": (-1.7976931348623157e308, 1, 0)}, "metrics")
    call("POST", "runs/log-metric", {**point, "key": "nan", "value": "NaN"})
    [nan] = [m for m in call("GET", "runs/get", {"run_id": run})["run"]["data"]["metrics"] if m["key"] == "nan"]
    same(nan["value"], "NaN", "how NaN is written")
    same(call("POST", "runs/search", {"experiment_ids": [there], "filter": "params.x = '1'"}), {}, "an empty answer")


def check_small_routes():
    for path, text in [("/health", "OK")]:
        answer = call("GET", path)
        same(answer.text.strip(), text, path)
    version = call("GET", "/version").text.strip()
    assert version.split(".")[0] == "3" and tuple(map(int, version.split(".")[:2])) >= (3, 4), version
    answer = requests.get(f"{harness.url()}/api/2.0/mlflow/no-such-route", timeout=60)
    same(answer.status_code, 404, "an unknown route")
    for prefix in ["/api/2.0", "/ajax-api/2.0"]:
        found = call("GET", f"{prefix}/mlflow/experiments/search", {"max_results": 1})
        assert found["experiments"][0]["experiment_id"], found
    info = call("GET", "/api/3.0/mlflow/server-info")
    assert "workspaces_enabled" in info, info


if __name__ == "__main__":
    harness.main()
