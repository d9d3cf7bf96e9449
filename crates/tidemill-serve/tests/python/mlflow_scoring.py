"""MLflow's own scoring server and ours on the same requests: PORT of ours.

Answers must be equal, as JSON; refusals in status and error code. Where ours is stricter on purpose it refuses what
MLflow converts with a loss, and the table says so.
"""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

OURS = f"http://127.0.0.1:{sys.argv[1]}"


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


class Double(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        values = model_input.to_numpy() if hasattr(model_input, "to_numpy") else model_input
        return np.asarray(values, np.float32) * np.float32(2)


def columns(**types):
    return ModelSignature(inputs=Schema([ColSpec(kind, name) for name, kind in types.items()]))


MODELS = {
    "typed": (Echo(), columns(d="double", f="float", l="long", i="integer", b="boolean", s="string")),
    "table": (Echo(), columns(a="double", b="double")),
    "matrix": (Double(), ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 3))]))),
}

ROW = {"d": 1.5, "f": 0.1, "l": 2**53 + 1, "i": -7, "b": True, "s": "é"}
NAMES = list(ROW)


def split(rows, names=None):
    return {"dataframe_split": {"columns": names or NAMES, "data": rows}}


# The model, the content type, the body, and what is to be compared: `same` (status and answer, or status and error
# code), or `stricter` (MLflow answers, ours refuses with 400).
CSV, JSON = "text/csv", "application/json"
AB = ["a", "b"]
TABLE = [
    ("typed", JSON, split([list(ROW.values())]), "same"),
    ("typed", JSON, split([list(ROW.values())] * 3), "same"),
    ("typed", JSON, {"dataframe_split": {"index": [5], "data": [list(ROW.values())], "columns": NAMES}}, "same"),
    ("typed", JSON, {"dataframe_records": [ROW, {**ROW, "s": "x"}]}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "more": 1}]}, "same"),
    ("typed", JSON, {"dataframe_records": [dict(reversed(ROW.items()))]}, "same"),
    ("typed", JSON, {"instances": [ROW, ROW]}, "same"),
    ("typed", JSON, {"inputs": {name: [value, value] for name, value in ROW.items()}}, "same"),
    ("typed", JSON, {"inputs": [ROW, ROW]}, "same"),
    ("typed", JSON, {"inputs": ROW}, "same"),
    ("typed", JSON, {"dataframe_records": [ROW], "params": {"p": 1}}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "d": 3, "f": 2}]}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "d": None}, ROW]}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "d": "2.5"}]}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "l": 3.0}]}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "i": "7"}]}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "d": "x"}]}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "l": "x"}]}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "l": None}]}, "same"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "l": 1.5}]}, "stricter"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "s": 5}]}, "stricter"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "s": None}]}, "stricter"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "b": 2}]}, "stricter"),
    ("typed", JSON, {"dataframe_records": [{**ROW, "b": "false"}]}, "stricter"),
    ("typed", JSON, {"dataframe_records": [{name: ROW[name] for name in NAMES[1:]}]}, "same"),
    ("typed", JSON, {"inputs": {name: [ROW[name]] for name in NAMES[1:]}}, "same"),
    ("typed", JSON, {"inputs": {**{name: [value] for name, value in ROW.items()}, "d": [1, 2]}}, "same"),
    ("typed", JSON, {"instances": [[1, 2, 3, 4, 5, 6]]}, "same"),
    ("typed", CSV, "d,f,l,i,b,s\n1.5,0.25,3,4,True,x\n-1,2,3,4,false,\"a,b\"\n", "same"),
    ("typed", CSV, "s,b,i,l,f,d,more\nx,True,1,2,3,4,5\n", "same"),
    ("typed", CSV, "d,f,l,i,b,s\n,NaN,3,4,TRUE,x\n", "same"),
    ("typed", CSV, "d,f,l,i,b,s\n1,2,3.5,4,True,x\n", "same"),
    ("typed", CSV, "d,f,l,i,b,s\nx,2,3,4,True,x\n", "same"),
    ("typed", CSV, "d,f,l,i,b,s\n1,2,,4,True,x\n", "same"),
    ("typed", CSV, "d,f,l,i,b\n1,2,3,4,True\n", "same"),
    ("typed", CSV, "", "same"),
    ("table", JSON, split([[1, 2], [3.5, None]], AB), "same"),
    ("table", JSON, split([[1, 2, 3]], ["b", "c", "a"]), "same"),
    ("table", JSON, split([], AB), "same"),
    ("table", JSON, {"dataframe_records": [{"a": 1, "b": 2}, {"a": 3}]}, "same"),
    ("table", JSON, {"dataframe_records": []}, "same"),
    ("table", JSON, {"inputs": {"a": [1, 2], "b": [3, 4], "c": ["x", "y"]}}, "same"),
    ("table", JSON, {"instances": {"a": [1, 2], "b": [3, 4]}}, "same"),
    ("table", JSON, {"inputs": {"a": [[1, 2]], "b": [3]}}, "same"),
    ("table", JSON, {"dataframe_split": {"data": [[1, 2]]}}, "same"),
    ("table", JSON, {"dataframe_split": {"columns": AB}}, "same"),
    ("table", JSON, {"dataframe_split": {"columns": AB, "data": [[1, 2, 3]]}}, "same"),
    ("table", JSON, {"dataframe_split": {"columns": AB, "data": [[1]]}}, "same"),
    ("table", JSON, {"dataframe_split": {"columns": AB, "data": [[1, 2]], "rows": 1}}, "same"),
    ("table", JSON, {"dataframe_split": [[1, 2]]}, "same"),
    ("table", JSON, {"dataframe_records": {"a": 1}}, "same"),
    ("table", JSON, {"dataframe_records": [{"a": 1, "b": 2}], "inputs": {"a": [1], "b": [2]}}, "same"),
    ("table", JSON, {"columns": AB, "data": [[1, 2]]}, "same"),
    ("table", JSON, {}, "same"),
    ("table", JSON, [[1, 2]], "same"),
    ("table", JSON, "text", "same"),
    ("table", JSON, 5, "same"),
    ("table", JSON, b"{\"inputs\":", "same"),
    ("table", JSON, b"\xff\xfe", "same"),
    ("table", JSON, b"{\"dataframe_split\": {\"columns\": [\"a\", \"b\"], \"data\": [[NaN, Infinity]]}}", "same"),
    ("table", JSON + "; charset=utf-8", split([[1, 2]], AB), "same"),
    ("table", JSON + "; charset=latin1", split([[1, 2]], AB), "same"),
    ("table", JSON + "; version=1", split([[1, 2]], AB), "same"),
    ("table", "text/plain", "a,b\n1,2\n", "same"),
    ("matrix", JSON, {"instances": [[1, 2, 3], [4.5, 5, 6]]}, "same"),
    ("matrix", JSON, {"inputs": [[1, 2, 3]]}, "same"),
    ("matrix", JSON, {"inputs": [[0.1, 1e-8, 3.4e38]]}, "same"),
    ("matrix", JSON, {"inputs": [[1, 2]]}, "same"),
    ("matrix", JSON, {"inputs": [1, 2, 3]}, "same"),
    ("matrix", JSON, {"inputs": [[[1, 2, 3]]]}, "same"),
    ("matrix", JSON, {"inputs": [["x", 2, 3]]}, "same"),
    ("matrix", JSON, {"inputs": [[1, 2, 3], [4, 5]]}, "same"),
]


def ask(address, path, kind, body):
    if not isinstance(body, (bytes, str)) or (kind.startswith(JSON) and isinstance(body, str)):
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(address + path, data, {"Content-Type": kind}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


def equal(left, right):
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def serve(name, model, signature):
    path = os.path.abspath(name)
    mlflow.pyfunc.save_model(path, python_model=model, signature=signature)
    port = free_port()
    log = open(f"{name}.log", "w")
    command = ["mlflow", "models", "serve", "-m", path, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    return server, f"http://127.0.0.1:{port}"


def wait(name, server, address):
    for _ in range(600):
        try:
            with urllib.request.urlopen(address + "/ping", timeout=5) as answer:
                return answer.read()
        except OSError:
            assert server.poll() is None, open(f"{name}.log").read()
            time.sleep(0.1)
    raise AssertionError(open(f"{name}.log").read())


def main():
    servers = {}
    wrong = []
    same, stricter = 0, 0
    try:
        for name, (model, signature) in MODELS.items():
            servers[name] = serve(name, model, signature)
        for name, (server, address) in servers.items():
            assert wait(name, server, address) == b"\n"
        for path in ("/ping", "/health", "/version"):
            with urllib.request.urlopen(servers["table"][1] + path) as theirs, urllib.request.urlopen(OURS + path) as ours:
                assert theirs.read() == ours.read(), path
        for name, kind, body, expected in TABLE:
            theirs = ask(servers[name][1], "/invocations", kind, body)
            ours = ask(OURS, "/invocations" if name == "typed" else f"/endpoints/{name}/invocations", kind, body)
            if expected == "stricter":
                fits = theirs[0] == 200 and ours[0] == 400 and "error_code" in json.loads(ours[2])
                stricter += 1
            else:
                fits = theirs[:2] == ours[:2]
                if fits and theirs[0] == 200:
                    fits = equal(json.loads(theirs[2]), json.loads(ours[2]))
                elif fits and theirs[0] == 400:
                    left, right = json.loads(theirs[2]), json.loads(ours[2])
                    # The words and MLflow's own stack are not compared.
                    for told in (left, right):
                        told.pop("message"), told.pop("stack_trace", None)
                    fits = left == right
                same += 1
            if not fits:
                wrong.append(f"{name} {kind} {str(body)[:200]}\n  {expected}\n  theirs {theirs[0]} {theirs[1]} {theirs[2][-400:]}\n  ours   {ours[0]} {ours[1]} {ours[2][:400]}")
    finally:
        for server, _ in servers.values():
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    assert not wrong, f"{len(wrong)} of {len(TABLE)} differ\n" + "\n".join(wrong)
    print(f"mlflow {mlflow.__version__}: {same} requests answered alike, {stricter} refused on purpose")


main()
