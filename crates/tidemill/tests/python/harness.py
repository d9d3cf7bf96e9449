"""What the scripts share: how the client is set up, and how checks are found, run and reported.

A script is a module whose functions `check_…` are its checks, in the order of the file. Names are made unique, so that
a script may run any number of times against one server.
"""

import os
import sys
import time
import traceback
import uuid
import warnings

# The client reads these when it is imported. Few retries: a server that answers 5xx must fail the check, not delay it.
os.environ.update(
    GIT_PYTHON_REFRESH="quiet",
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
    MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="1",
    MLFLOW_HTTP_REQUEST_MAX_RETRIES="1",
    MLFLOW_HTTP_REQUEST_TIMEOUT="60",
    # Guessing a model's requirements takes an interpreter of its own and says nothing about the server.
    MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT="1",
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
    MPLBACKEND="agg",
    OMP_NUM_THREADS="1",
)
warnings.filterwarnings("ignore")

import logging  # noqa: E402

import mlflow  # noqa: E402
import requests  # noqa: E402

logging.disable(logging.WARNING)


def unique(name):
    """A name that nothing else on the server has."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


def url():
    """The address of the server under test."""
    return mlflow.get_tracking_uri()


def same(actual, expected, what="value"):
    """Fails unless the two are equal, and shows both."""
    assert actual == expected, f"{what}: got {actual!r}, expected {expected!r}"


def refused(call, code, *words):
    """Fails unless `call` raises an error of the server with this code (or one of these) and these words."""
    try:
        result = call()
    except mlflow.exceptions.MlflowException as error:
        message = str(error)
        codes = (code,) if isinstance(code, str) else code
        assert error.error_code in codes, f"code of {message!r}: got {error.error_code}, expected one of {codes}"
        for word in words:
            assert word in message, f"no {word!r} in {message!r}"
        return message
    raise AssertionError(f"not refused: {result!r}")


def call(method, path, body=None, status=200, **options):
    """One raw request below `/api/2.0/mlflow`, or at the root for a path with a slash in front; returns the JSON."""
    target = f"{url()}{path}" if path.startswith("/") else f"{url()}/api/2.0/mlflow/{path}"
    if method == "GET":
        options.setdefault("params", body)
    elif body is not None:
        options.setdefault("json", body)
    answer = requests.request(method, target, timeout=60, **options)
    same(answer.status_code, status, f"status of {method} {path}: {answer.text[:400]}")
    return answer.json() if "json" in answer.headers.get("content-type", "") else answer


def run(names, address):
    """Runs every check of the modules; returns how many failed."""
    mlflow.set_tracking_uri(address.rstrip("/"))
    failed = 0
    for name in names:
        module = sys.modules[name] if name in sys.modules else __import__(name)
        label = os.path.splitext(os.path.basename(module.__file__))[0]
        for key, function in list(vars(module).items()):
            if not key.startswith("check_"):
                continue
            begin = time.monotonic()
            try:
                function()
                verdict = "ok"
            except Exception as error:
                verdict = "FAILED"
                failed += 1
                traceback.print_exception(error, chain=False)
            finally:
                # A check that failed half-way must not leave its run to the next one.
                while mlflow.active_run():
                    mlflow.end_run()
            print(f"{verdict:6} {time.monotonic() - begin:6.2f} s  {label}.{key}", flush=True)
    return failed


def main():
    """The command line of a script: the server's address."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} http://127.0.0.1:PORT")
    sys.exit(1 if run(["__main__"], sys.argv[1]) else 0)
