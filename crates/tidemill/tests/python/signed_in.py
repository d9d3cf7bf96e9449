"""A server that asks for its token: the client with a token, with a password, with a wrong one and with none. The token is
in the variable TOKEN, so that no other script's client is signed in by accident."""

import os
import tempfile

import mlflow
from harness import same, unique
from mlflow import MlflowClient

TOKEN = os.environ["TOKEN"]


def as_whom(**variables):
    """Sets what the client is signed in with; it reads the environment for every request."""
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        os.environ.pop(f"MLFLOW_TRACKING_{name}", None)
    os.environ.update({f"MLFLOW_TRACKING_{name.upper()}": value for name, value in variables.items()})


def works():
    """Tracking, artifacts in one piece and in parts, and the registry."""
    client = MlflowClient()
    run = client.create_run(client.create_experiment(unique("signed")))
    client.log_metric(run.info.run_id, "m", 1.5)
    client.log_text(run.info.run_id, "hello", "a.txt")
    same(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/a.txt"), "hello", "text")
    os.environ.update(MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD="true", MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE="1",
                      MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE="1000")
    try:
        with tempfile.TemporaryDirectory() as there:
            path = os.path.join(there, "parts.bin")
            with open(path, "wb") as file:
                file.write(bytes(range(250)) * 10)
            client.log_artifact(run.info.run_id, path)
    finally:
        for name in [name for name in os.environ if "MULTIPART" in name]:
            os.environ.pop(name)
    [_, parts] = client.list_artifacts(run.info.run_id)
    same((parts.path, parts.file_size), ("parts.bin", 2500), "listed")
    name = unique("signed")
    client.create_registered_model(name)
    same(client.get_registered_model(name).name, name, "registered")


def check_a_token():
    as_whom(token=TOKEN)
    works()


def check_any_name_with_the_token_as_password():
    as_whom(username="ana", password=TOKEN)
    works()


def check_nobody_else():
    for wrong in ({}, {"token": TOKEN[:-1]}, {"username": "ana", "password": "x"}, {"username": TOKEN, "password": "x"}):
        as_whom(**wrong)
        try:
            MlflowClient().search_experiments()
        except mlflow.exceptions.MlflowException as error:
            assert "not authenticated" in str(error), error
        else:
            raise AssertionError(f"{sorted(wrong)} came through")
