"""Versions of a model for the tests of rollouts, and traffic for them. `rollouts.py URL register`, which takes kinds of further
versions, `rollouts.py URL traffic FILE`: traffic goes on until FILE is there, and answers that callers did not get are counted."""

import json
import pathlib
import sys
import tempfile
import time

import mlflow
import requests
import yaml
from mlflow import MlflowClient

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"
NAME = "late"


def register(url, *more):
    mlflow.set_tracking_uri(url)
    client = MlflowClient()
    client.create_registered_model(NAME)
    columns = [{"name": "x", "type": "string", "required": True}]
    for kind in ("healthy", "healthy", "harmful", *more):
        flavors = {"onnx": {"data": "model.onnx", "providers": ["CPUExecutionProvider"]},
                   "python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx"}}
        with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder, "model")
            model.mkdir()
            (model / "model.onnx").write_bytes((FIXTURES / f"rollout-{kind}.onnx").read_bytes())
            described = {"flavors": flavors, "signature": {"inputs": json.dumps(columns)}}
            (model / "MLmodel").write_text(yaml.safe_dump(described))
            mlflow.log_artifacts(str(model), "model")
        client.create_model_version(NAME, f"runs:/{run.info.run_id}/model", run.info.run_id)


def traffic(url, until):
    session, sent, lost = requests.Session(), 0, 0
    while not pathlib.Path(until).exists():
        # One of four texts is no number.
        text = "n/a" if sent % 4 == 0 else str(sent % 10)
        body = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}
        try:
            answer = session.post(f"{url}/v2/models/{NAME}/infer", json=body, timeout=30)
            lost += answer.status_code >= 500
        except requests.ConnectionError:
            # The server was killed, or is not back yet.
            time.sleep(0.1)
        sent += 1
    print(json.dumps({"sent": sent, "lost": lost}))


def judged(url, until):
    """Traffic whose outcomes become known at once: what is 5 or more is positive."""
    session, sent, lost, known = requests.Session(), 0, 0, []
    prefix = pathlib.Path(until).name
    while not pathlib.Path(until).exists():
        number = sent % 10
        tensor = {"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": [str(number)]}
        try:
            answer = session.post(f"{url}/v2/models/{NAME}/infer", timeout=30,
                                  json={"id": f"{prefix}-{sent}", "inputs": [tensor]})
            lost += answer.status_code >= 400
            known.append({"request_id": f"{prefix}-{sent}", "big": int(number >= 5)})
            if len(known) >= 50:
                session.post(f"{url}/api/v1/endpoints/{NAME}/outcomes", json=known, timeout=30)
                known = []
        except requests.ConnectionError:
            time.sleep(0.1)
        sent += 1
    print(json.dumps({"sent": sent, "lost": lost}))


if __name__ == "__main__":
    what = {"register": register, "traffic": traffic, "judged": judged}[sys.argv[2]]
    what(sys.argv[1], *sys.argv[3:])
