"""Our own API against its OpenAPI document: no 500, no undocumented status, no answer that breaks its schema.

`python api_v1.py http://127.0.0.1:PORT` fills the server a little, lets schemathesis try every operation, and prints the
case that failed with the command that repeats it.
"""

import json
import pathlib
import subprocess
import sys
import time
import urllib.request

# As many cases of each operation; every change of the document is tried with the same ones.
EXAMPLES = "60"
SEED = "7"


def post(url, path, body):
    """One request of MLflow's API; gives the answer's JSON, or nothing where the server does not offer the route."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in (400, 404):
            return {}
        raise


def fill(url):
    """Something of each kind, so that not every answer is an empty page."""
    name = f"api-{time.time_ns()}"
    experiment = post(url, "/api/2.0/mlflow/experiments/create", {"name": name}).get("experiment_id", "0")
    run = post(url, "/api/2.0/mlflow/runs/create", {"experiment_id": experiment, "start_time": 1}).get("run", {})
    run_id = run.get("info", {}).get("run_id", "")
    metrics = [{"key": "loss", "value": 1 / (i + 1), "timestamp": i, "step": i} for i in range(50)]
    params = [{"key": "depth", "value": "7"}]
    post(url, "/api/2.0/mlflow/runs/log-batch", {"run_id": run_id, "metrics": metrics, "params": params})
    post(url, "/api/2.0/mlflow/registered-models/create", {"name": name})
    version = {"name": name, "source": "s3://bucket/model"}
    if post(url, "/api/2.0/mlflow/model-versions/create", version):
        alias = {"name": name, "alias": "champion", "version": "1"}
        post(url, "/api/2.0/mlflow/registered-models/alias", alias)


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} http://127.0.0.1:PORT")
    url = sys.argv[1].rstrip("/")
    fill(url)
    command = [
        *(pathlib.Path(sys.executable).with_name("schemathesis"), "run", f"{url}/api/v1/openapi.json"),
        # One worker: Python 3.11 counts the depth of syntax trees for all threads together, and says of two that read source
        # at once (as hypothesis does for its descriptions) that their depths do not match.
        *("--url", url, "--seed", SEED, "--max-examples", EXAMPLES, "--workers", "1", "--no-color"),
        # The stream of events has no end.
        *("--exclude-path", "/api/v1/events/stream"),
        # Rows of CSV, Parquet and free fields: no schema says which hold an outcome. Their own tests send bad ones.
        *("--exclude-operation-id", "sendOutcomes"),
        *("--phases", "examples,coverage,fuzzing", "--request-timeout", "20"),
        *("--suppress-health-check", "all", "--generation-database", "none"),
    ]
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    print(done.stdout, done.stderr, sep="\n")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
