"""Predictions of registered models: of ONNX files against ONNX Runtime, of a model in Python against the client's own answers,
through both protocols; endpoints, the inference log and outcomes. Only Tidemill serves below its tracking address."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import harness
import lightgbm
import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import requests
import xgboost
import yaml
from harness import same, unique
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

FIXTURES = pathlib.Path(__file__).resolve().parents[3] / "tidemill-runtime/tests/fixtures"
KINDS = {"tensor(float)": ("FP32", np.float32), "tensor(double)": ("FP64", np.float64),
         "tensor(int64)": ("INT64", np.int64), "tensor(bool)": ("BOOL", np.bool_),
         "tensor(string)": ("BYTES", object)}
SPEC = {"tensor(float)": "float", "tensor(double)": "double", "tensor(int64)": "long", "tensor(bool)": "boolean",
        "tensor(string)": "string"}


def address(path):
    return mlflow.get_tracking_uri() + path


def post(path, body, status=200, **headers):
    answer = requests.post(address(path), json=body, headers=headers, timeout=120)
    same(answer.status_code, status, f"status of {path}: {answer.text[:500]}")
    return answer.json()


def inputs_of(session, rows):
    """Values for every input of a model whose inputs are columns."""
    generator, values = np.random.default_rng(7), {}
    for slot in session.get_inputs():
        width = slot.shape[1] if len(slot.shape) > 1 else 1
        kind = KINDS[slot.type][1]
        if kind is object:
            values[slot.name] = generator.choice(np.array(["AA", "JFK", "unknown"], dtype=object), (rows, width))
        else:
            values[slot.name] = np.trunc(generator.normal(0, 3, (rows, width)) * 2).astype(kind)
    return values


def register_onnx(path, session, required=True):
    """A version whose folder is as `mlflow.onnx.log_model` writes it."""
    name = unique("onnx")
    client = MlflowClient()
    client.create_registered_model(name)
    columns = [{"name": slot.name, "type": SPEC[slot.type], "required": required} for slot in session.get_inputs()]
    flavors = {"onnx": {"data": "model.onnx", "providers": ["CPUExecutionProvider"]},
               "python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx"}}
    with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder, "model")
        model.mkdir()
        (model / "model.onnx").write_bytes(path.read_bytes())
        described = {"flavors": flavors, "signature": {"inputs": json.dumps(columns)}}
        (model / "MLmodel").write_text(yaml.safe_dump(described))
        mlflow.log_artifacts(str(model), "model")
    version = client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id)
    client.set_registered_model_alias(name, "champion", version.version)
    return name


def check_onnx_models_answer_as_onnx_runtime():
    rows = 5
    files = sorted(FIXTURES.glob("*.onnx"))
    same(len(files), 4, "fixtures")
    for path in files:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        values = inputs_of(session, rows)
        expected = dict(zip([o.name for o in session.get_outputs()], session.run(None, values)))
        name = register_onnx(path, session)
        tensors = [
            {"name": slot.name, "datatype": KINDS[slot.type][0], "shape": list(values[slot.name].shape),
             "data": values[slot.name].ravel().tolist()}
            for slot in session.get_inputs()
        ]
        answer = post(f"/v2/models/{name}/infer", {"id": "first", "inputs": tensors})
        same(answer["id"], "first", "id")
        got = {output["name"]: output for output in answer["outputs"]}
        same(set(got), set(expected), f"outputs of {path.name}")
        for output, wanted in expected.items():
            wanted = np.asarray(wanted)
            actual = np.array(got[output]["data"]).reshape(got[output]["shape"])
            same(actual.size, wanted.size, f"size of {output} of {path.name}")
            if wanted.dtype.kind in "fiu":
                assert np.allclose(actual.ravel(), wanted.ravel(), rtol=1e-5, atol=1e-6), (path.name, output)
            else:
                same([str(v) for v in actual.ravel()], [str(v) for v in wanted.ravel()], output)
        ready = requests.get(address(f"/v2/models/{name}/ready"), timeout=60)
        same(ready.status_code, 200, "readiness of a loaded model")


def check_a_model_in_python_answers_as_its_client():
    table = pd.DataFrame(np.random.default_rng(3).normal(size=(40, 3)), columns=["a", "b", "c"])
    model = LogisticRegression().fit(table, (table.a + table.b > 0).astype(int))
    name = unique("python")
    with mlflow.start_run():
        signature = infer_signature(table, model.predict(table))
        mlflow.sklearn.log_model(model, name="model", signature=signature, registered_model_name=name)
    MlflowClient().set_registered_model_alias(name, "champion", 1)
    rows = table.head(7)
    body = {"dataframe_split": rows.to_dict(orient="split", index=False)}
    answer = post(f"/endpoints/{name}/invocations", body)
    same(answer["predictions"], model.predict(rows).tolist(), "predictions")
    refused = post(f"/endpoints/{name}/invocations", {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}, 400)
    assert refused["error_code"] == "INVALID_PARAMETER_VALUE" and '"b"' in refused["message"], refused


def check_flavours_answer_as_their_own_models():
    generator = np.random.default_rng(11)
    table = pd.DataFrame(generator.normal(size=(200, 3)), columns=["a", "b", "c"])
    target = (table.a * table.b + generator.normal(scale=0.1, size=200) > 0).astype(int)
    small = {"n_estimators": 5, "n_jobs": 1, "random_state": 1}
    trained = {
        "lightgbm": (mlflow.lightgbm, lightgbm.LGBMClassifier(verbose=-1, **small).fit(table, target)),
        "booster": (mlflow.lightgbm, lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1},
                                                    lightgbm.Dataset(table, target), num_boost_round=5)),
        "xgboost": (mlflow.xgboost, xgboost.XGBRegressor(**small).fit(table, target)),
    }
    rows = table.head(9)
    body = {"dataframe_split": rows.to_dict(orient="split", index=False)}
    tensors = [{"name": n, "datatype": "FP64", "shape": [9, 1], "data": rows[n].tolist()} for n in rows]

    def answers(entry):
        kind, (flavour, model) = entry
        expected, name = np.asarray(model.predict(rows)), unique(kind)
        with mlflow.start_run():
            # With requirements that are given, none are looked for, which takes longer than all else.
            flavour.log_model(model, name="model", signature=infer_signature(table, expected),
                              pip_requirements=["mlflow"], registered_model_name=name)
        got = post(f"/endpoints/{name}/invocations", body)["predictions"]
        assert np.allclose(got, expected, rtol=1e-6, atol=0), (kind, got, expected)
        got = post(f"/v2/models/{name}/infer", {"inputs": tensors})["outputs"][0]["data"]
        assert np.allclose(got, expected, rtol=1e-6, atol=0), (kind, got, expected)

    # Their workers start at the same time.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(answers, trained.items()))


def scored(model, table):
    """What `tidemill predict` of this machine makes of a table."""
    with tempfile.TemporaryDirectory() as folder:
        rows, answers = pathlib.Path(folder, "rows.parquet"), pathlib.Path(folder, "answers.parquet")
        table.to_parquet(rows)
        done = subprocess.run(
            [os.environ["TIDEMILL"], "predict", "--model", model, "--input", rows, "--output", answers,
             "--python", sys.executable], capture_output=True, text=True, timeout=300)
        return pd.read_parquet(answers) if done.returncode == 0 else done.stderr


def check_a_missing_text_is_empty_where_the_signature_lets_it_be_absent():
    path = FIXTURES / "own-gbdt.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = inputs_of(session, 6)
    values["colour"][[1, 4]] = ""
    expected = session.run(None, values)[-1].ravel()
    table = pd.DataFrame({name: column.ravel() for name, column in values.items()})
    table.loc[[1, 4], "colour"] = None
    body = {"dataframe_records": json.loads(table.to_json(orient="records"))}
    name = register_onnx(path, session, required=False)
    output = session.get_outputs()[-1].name
    answer = post(f"/endpoints/{name}/invocations", body)["predictions"]
    got = np.array([row[output] if isinstance(row, dict) else row for row in answer]).ravel()
    assert np.allclose(got, expected, rtol=1e-6), (got, expected)
    batch = scored(f"models:/{name}/1", table)
    assert not isinstance(batch, str), batch
    assert np.allclose(np.array(batch[output].tolist()).ravel(), expected, rtol=1e-6), (batch, expected)

    strict = register_onnx(path, session)
    refused = post(f"/endpoints/{strict}/invocations", body, 400)
    assert "colour" in refused["message"] and "missing" in refused["message"], refused
    why = scored(f"{strict}@champion", table)
    assert isinstance(why, str) and "row 2, column `colour`" in why, why

    endpoint = unique("careful")
    spec = {"arms": [{"name": "only", "model": name, "version": "1", "weight": 1}], "validation": {"null": "refuse"}}
    answer = requests.put(address(f"/api/v1/endpoints/{endpoint}"), json=spec, timeout=60)
    assert answer.status_code in (200, 201), answer.text
    refused = post(f"/endpoints/{endpoint}/invocations", body, 400)
    assert "colour" in refused["message"], refused


def check_batch_scoring_takes_what_the_server_takes():
    table = pd.DataFrame(np.random.default_rng(5).normal(size=(20_000, 3)), columns=["a", "b", "c"])
    model = LogisticRegression().fit(table.head(500), (table.a + table.b > 0).astype(int).head(500))
    name = unique("batch")
    with mlflow.start_run():
        signature = infer_signature(table.head(), model.predict(table.head()))
        mlflow.sklearn.log_model(model, name="model", signature=signature, registered_model_name=name)
    batch = scored(f"models:/{name}/1", table)
    assert not isinstance(batch, str), batch
    same(batch.iloc[:, 0].tolist(), model.predict(table).tolist(), "answers")
    why = scored(f"models:/{name}/2", table)
    assert isinstance(why, str) and "no version `2`" in why, why


class Scaled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return (model_input["a"] * params["factor"]).to_numpy()


def check_parameters_reach_models_whose_signature_names_them():
    table = pd.DataFrame({"a": [1.0, 2.5, -4.0]})
    name = unique("params")
    with mlflow.start_run():
        signature = infer_signature(table, np.array([1.0]), params={"factor": 2.0})
        mlflow.pyfunc.log_model(name="model", python_model=Scaled(), signature=signature, registered_model_name=name)
    body = {"dataframe_split": table.to_dict(orient="split", index=False)}
    same(post(f"/endpoints/{name}/invocations", body)["predictions"], [2.0, 5.0, -8.0], "the signature's default")
    answer = post(f"/endpoints/{name}/invocations", {**body, "params": {"factor": -1.0}})
    same(answer["predictions"], [-1.0, -2.5, 4.0], "with a parameter")
    path = FIXTURES / "own-ridge.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = inputs_of(session, 1)
    rows = [{column: value.ravel().tolist()[0] for column, value in values.items()}]
    refused = post(f"/endpoints/{register_onnx(path, session)}/invocations",
                   {"dataframe_records": rows, "params": {"factor": 1.0}}, 400)
    assert "takes no `params`" in refused["message"], refused


def check_an_endpoint_splits_records_and_takes_outcomes():
    path = FIXTURES / "own-ridge.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = register_onnx(path, session)
    endpoint = unique("endpoint")
    spec = {"arms": [{"name": "champion", "model": name, "version": "1", "weight": 50},
                     {"name": "challenger", "model": name, "version": "@champion", "weight": 50}]}
    answer = requests.put(address(f"/api/v1/endpoints/{endpoint}"), json=spec, timeout=60)
    assert answer.status_code in (200, 201), answer.text
    values = inputs_of(session, 1)
    tensors = [{"name": n, "datatype": KINDS[s.type][0], "shape": list(v.shape), "data": v.ravel().tolist()}
               for s, (n, v) in zip(session.get_inputs(), values.items())]
    for number in range(60):
        post(f"/v2/models/{endpoint}/infer", {"id": f"request-{number}", "inputs": tensors})
    lines = "".join(json.dumps({"request_id": f"request-{n}", "late": n % 2}) + "\n" for n in range(60))
    sent = requests.post(address(f"/api/v1/endpoints/{endpoint}/outcomes"), data=lines,
                         headers={"content-type": "application/x-ndjson"}, timeout=60)
    assert sent.status_code in (200, 202), sent.text
    events = requests.get(address("/api/v1/events"), timeout=60,
                          params={"subject": f"endpoint:{endpoint}", "kind": "outcomes.received"}).json()["data"]
    same([event["details"]["outcomes"] for event in events], [60], "the log's word of the outcomes")
    metrics = requests.get(address("/metrics"), timeout=60).text
    counted = [line for line in metrics.splitlines() if endpoint in line]
    assert any("champion" in line for line in counted) and any("challenger" in line for line in counted), counted[:5]


def recorded(endpoint):
    """The records of an endpoint, as the command line shows them."""
    done = subprocess.run([os.environ["TIDEMILL"], "records", endpoint, "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def until(look, what):
    begin = time.monotonic()
    while not (seen := look()):
        assert time.monotonic() - begin < 60, f"{what} does not come"
        time.sleep(0.1)
    return seen


def check_declared_records_take_effect_without_a_restart():
    path = FIXTURES / "own-ridge.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name, endpoint = register_onnx(path, session), unique("private")
    tensors = [{"name": slot.name, "datatype": KINDS[slot.type][0], "shape": [1, 1], "data": values.ravel().tolist()}
               for slot, values in zip(session.get_inputs(), inputs_of(session, 1).values())]
    colour = next(tensor["data"][0] for tensor in tensors if tensor["name"] == "colour")

    def declare(records, status=200):
        spec = {"arms": [{"name": "only", "model": name, "version": "1", "weight": 1}], "records": records}
        answer = requests.put(address(f"/api/v1/endpoints/{endpoint}"), json=spec, timeout=60)
        same(answer.status_code, status, answer.text)
        return answer.json()

    def ask(number):
        post(f"/v2/models/{endpoint}/infer", {"id": f"{endpoint}-{number}", "inputs": tensors})

    declare({})
    ask(1)
    plain = until(lambda: recorded(endpoint), "the first record")[0]
    same(plain["input_colour"], colour, "a text that nobody hides")
    declare({"redact": {"colour": "hash", "a": "drop"}, "keep_days": 30})
    ask(2)
    rows = until(lambda: rows if len(rows := recorded(endpoint)) > 1 else None, "the second record")
    hidden = next(row for row in rows if row["request_id"].endswith("-2"))
    assert len(hidden["input_colour"]) == 32 and hidden["input_colour"] != colour, hidden
    assert hidden.get("input_a") is None and hidden["input_b"] == plain["input_b"], hidden
    declare({"sample": 0})
    ask(3)
    declare({"sample": 1})
    ask(4)
    rows = until(lambda: rows if len(rows := recorded(endpoint)) > 2 else None, "the fourth record")
    same(sorted(row["request_id"][-1] for row in rows), ["1", "2", "4"], "what was recorded")
    refused = declare({"sample": 3}, 409)
    assert "records.sample" in refused["detail"], refused

    events = requests.get(address("/api/v1/events"), params={"subject": f"endpoint:{endpoint}"}, timeout=60).json()
    said = [event["details"].get("records") for event in events["data"] if event["kind"] == "endpoint.set"]
    assert "a: drop, colour: hash, 30 days" in said and "sample: 0 %" in said, said


def sent_outcomes(folder, endpoint, *words):
    """What `tidemill outcomes` says that became of a table, sent from a project in `folder`."""
    command = [os.environ["TIDEMILL"], "-C", folder, "outcomes", endpoint, "--server", mlflow.get_tracking_uri(), "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_outcomes_come_from_a_dataset_by_a_hashed_key():
    path = FIXTURES / "own-ridge.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    endpoint = unique("labelled")
    spec = {"arms": [{"name": "only", "model": register_onnx(path, session), "version": "1", "weight": 1}],
            "entity": {"header": "x-customer"}, "records": {"redact": {"entity": "hash"}}}
    answer = requests.put(address(f"/api/v1/endpoints/{endpoint}"), json=spec, timeout=60)
    assert answer.status_code in (200, 201), answer.text
    tensors = [{"name": n, "datatype": KINDS[s.type][0], "shape": list(v.shape), "data": v.ravel().tolist()}
               for s, (n, v) in zip(session.get_inputs(), inputs_of(session, 1).items())]
    for number in range(6):
        post(f"/v2/models/{endpoint}/infer", {"id": f"{endpoint}-{number}", "inputs": tensors}, **{"x-customer": str(number)})
    until(lambda: len(recorded(endpoint)) == 6, "the records")
    # Of one customer nothing is known yet.
    at = int(time.time() * 1000)
    labels = pd.DataFrame({"customer": [0, 1, 2, 3], "repaid": [1.0, 0.0, None, 1.0], "at": at})
    mapping = ["--key", "customer", "--time", "at", "--values", "label=repaid"]
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "tidemill.yaml").write_text("project: labels\n")
        table = pathlib.Path(folder, "labels.csv")
        labels.to_csv(table, index=False)
        add = [os.environ["TIDEMILL"], "-C", folder, "data", "add", "labels", str(table)]
        subprocess.run(add, check=True, capture_output=True, timeout=60)
        time.sleep(3.2)  # Until every request before that time is on the disk for sure.
        said = sent_outcomes(folder, endpoint, "--from", "labels@1", *mapping)
        same((said["from"], said["rows"], said["skipped"]), ("labels@1", 4, 1), "what was read")
        same((said["accepted"], said["known"], said["rejected"]), (3, 0, 0), "what is new")
        same((said["joined"], said["duplicate"], said["waiting"]), (3, 0, 0), "what was joined")
        again = sent_outcomes(folder, endpoint, "--from", "labels@1", *mapping)
        same((again["accepted"], again["known"], again["joined"]), (0, 3, 0), "the same version again")
        # The next version has a row more; what it has from before is known.
        labels.loc[2, "repaid"] = 0.0
        labels.to_csv(table, index=False)
        newer = sent_outcomes(folder, endpoint, "--from", str(table), *mapping)
        same((newer["accepted"], newer["known"], newer["joined"]), (1, 3, 1), "a file with a row more")
        # And one has another value: it takes the place of the one before.
        labels.loc[0, "repaid"] = 0.0
        labels.to_csv(table, index=False)
        corrected = sent_outcomes(folder, endpoint, "--from", str(table), *mapping)
        same((corrected["accepted"], corrected["joined"], corrected["corrected"]), (1, 1, 1), "a file with another value")
        done = subprocess.run([os.environ["TIDEMILL"], "-C", folder, "outcomes", "nobody", "--from", "labels", *mapping,
                               "--server", mlflow.get_tracking_uri()], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "`nobody`" in done.stderr, done.stderr
    counts = requests.get(address(f"/api/v1/endpoints/{endpoint}/outcomes"), timeout=60).json()["data"]
    same((counts["matched"], counts["waiting"], counts["duplicate"], counts["corrected"]), (4, 0, 0, 1), "how they stand in the end")


def check_the_repository_lists_what_is_loaded():
    index = post("/v2/repository/index", {"ready": True})
    assert index and all(entry["state"] == "READY" for entry in index), index
    unknown = post("/v2/models/nobody/infer", {"inputs": []}, 404)
    assert "nobody" in unknown["error"], unknown


if __name__ == "__main__":
    harness.main()
