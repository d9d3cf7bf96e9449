"""Models: logged, loaded in both ways and compared, with signature and example; as logged models; from the registry; evaluated."""

import functools
import json

import harness
import mlflow
import numpy as np
import pandas as pd
from harness import refused, same, unique
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression


@functools.cache
def rows():
    x, y = make_classification(200, 4, n_informative=3, n_redundant=0, random_state=3)
    return pd.DataFrame(x, columns=["a", "b", "c", "d"]), y


@functools.cache
def classifier():
    return LogisticRegression().fit(*rows())


def close(actual, expected, what):
    assert np.array_equal(np.asarray(actual), np.asarray(expected)), f"{what}: {actual!r} is not {expected!r}"


class Doubler(mlflow.pyfunc.PythonModel):
    """A model in Python with an artifact of its own."""

    def load_context(self, context):
        with open(context.artifacts["factor"]) as file:
            self.factor = json.load(file)["factor"]

    def predict(self, context, model_input, params=None):
        return model_input * self.factor


def check_scikit_learn():
    there = mlflow.set_experiment(unique("sklearn"))
    x, _ = rows()
    with mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(
            classifier(),
            name="classifier",
            signature=infer_signature(x, classifier().predict(x)),
            input_example=x.head(2),
            params={"c": 1},
            tags={"kind": "linear"},
            metadata={"team": "a"},
        )
        mlflow.log_metric("auc", 0.75, step=3, model_id=logged.model_id)
    assert logged.model_id.startswith("m-"), logged.model_id
    expected = classifier().predict(x)
    for uri in [logged.model_uri, f"models:/{logged.model_id}", f"runs:/{run.info.run_id}/classifier"]:
        close(mlflow.sklearn.load_model(uri).predict(x), expected, uri)
        close(mlflow.pyfunc.load_model(uri).predict(x), expected, f"{uri} as pyfunc")
    info = mlflow.models.get_model_info(logged.model_uri)
    same(([c.name for c in info.signature.inputs], info.metadata), (["a", "b", "c", "d"], {"team": "a"}), "info")
    close(mlflow.pyfunc.load_model(logged.model_uri).input_example, x.head(2), "example")

    model = mlflow.get_logged_model(logged.model_id)
    same((model.name, model.status.value, model.source_run_id), ("classifier", "READY", run.info.run_id), "logged model")
    same((model.params["c"], model.tags["kind"]), ("1", "linear"), "logged model")
    same([(m.key, m.value, m.step) for m in model.metrics], [("auc", 0.75, 3)], "its metrics")
    outputs = mlflow.get_run(run.info.run_id).outputs.model_outputs
    same([output.model_id for output in outputs], [logged.model_id], "outputs of the run")
    files = {file.path.rpartition("/")[2] for file in MlflowClient().list_logged_model_artifacts(logged.model_id)}
    assert {"MLmodel", "requirements.txt", "input_example.json"} <= files, files
    found = mlflow.search_logged_models([there.experiment_id], output_format="list")
    same([m.model_id for m in found], [logged.model_id], "search")


def check_every_point_of_a_logged_models_metric():
    there = mlflow.set_experiment(unique("points"))
    with mlflow.start_run():
        model = mlflow.initialize_logged_model(name="net")
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step, model_id=model.model_id)
    points = [(m.key, m.step, m.value) for m in mlflow.get_logged_model(model.model_id).metrics]
    same(sorted(points), [("loss", step, 1 / (step + 1)) for step in range(5)], "points")
    # A condition holds where one of the points meets it.
    for condition, count in [("metrics.loss > 0.9", 1), ("metrics.loss < 0.21", 1), ("metrics.loss > 1", 0)]:
        found = mlflow.search_logged_models([there.experiment_id], filter_string=condition, output_format="list")
        same(len(found), count, condition)


def check_xgboost_and_lightgbm():
    import lightgbm
    import xgboost

    mlflow.set_experiment(unique("boosters"))
    x, y = rows()
    booster = xgboost.train({"max_depth": 2, "objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(x, y), 5)
    machine = lightgbm.train({"num_leaves": 4, "objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, y), 5)
    with mlflow.start_run():
        one = mlflow.xgboost.log_model(booster, name="xgb")
        two = mlflow.lightgbm.log_model(machine, name="lgb")
    expected = booster.predict(xgboost.DMatrix(x))
    close(mlflow.xgboost.load_model(one.model_uri).predict(xgboost.DMatrix(x)), expected, "XGBoost")
    close(mlflow.pyfunc.load_model(one.model_uri).predict(x), expected, "XGBoost as pyfunc")
    close(mlflow.lightgbm.load_model(two.model_uri).predict(x), machine.predict(x), "LightGBM")
    close(mlflow.pyfunc.load_model(two.model_uri).predict(x), machine.predict(x), "LightGBM as pyfunc")


def check_a_model_in_python():
    import tempfile

    mlflow.set_experiment(unique("pyfunc"))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"factor": 2.5}, file)
        file.flush()
        with mlflow.start_run():
            logged = mlflow.pyfunc.log_model(name="doubler", python_model=Doubler(), artifacts={"factor": file.name})
    loaded = mlflow.pyfunc.load_model(logged.model_uri)
    close(loaded.predict(pd.DataFrame({"x": [1.0, 2.0]})), [[2.5], [5.0]], "predictions")


def check_a_model_from_the_registry():
    client = MlflowClient()
    mlflow.set_experiment(unique("registered"))
    name = unique("registered")
    x, _ = rows()
    with mlflow.start_run():
        first = mlflow.sklearn.log_model(classifier(), name="model", registered_model_name=name)
        second = mlflow.sklearn.log_model(LogisticRegression(C=0.001).fit(*rows()), name="model", registered_model_name=name)
    same((first.registered_model_version, second.registered_model_version), ("1", "2"), "versions")
    client.set_registered_model_alias(name, "champion", "1")
    client.transition_model_version_stage(name, "2", "Staging")
    weak = second.model_uri
    for uri, source in [
        (f"models:/{name}/1", first.model_uri),
        (f"models:/{name}@champion", first.model_uri),
        (f"models:/{name}/2", weak),
        (f"models:/{name}/latest", weak),
        (f"models:/{name}/Staging", weak),
    ]:
        loaded = mlflow.sklearn.load_model(uri)
        close(loaded.coef_, mlflow.sklearn.load_model(source).coef_, uri)
        close(mlflow.pyfunc.load_model(uri).predict(x), loaded.predict(x), f"{uri} as pyfunc")
    version = client.get_model_version(name, "1")
    same((version.source, version.run_id), (first.model_uri, first.run_id), "version")
    registrations = json.loads(mlflow.get_logged_model(first.model_id).tags["mlflow.modelVersions"])
    # Both the server and the client may add the registration to this tag.
    same({(each["name"], str(each["version"])) for each in registrations}, {(name, "1")}, "registrations")
    third = mlflow.register_model(first.model_uri, name, tags={"again": "yes"})
    same((third.version, third.source, third.tags), ("3", first.model_uri, {"again": "yes"}), "registered again")
    from_run = mlflow.register_model(f"runs:/{second.run_id}/model", name)
    same(from_run.version, "4", "registered by the run")
    close(mlflow.sklearn.load_model(f"models:/{name}/4").coef_, mlflow.sklearn.load_model(weak).coef_, "registered by the run")


def check_logged_models_are_searched():
    client = MlflowClient()
    there = mlflow.set_experiment(unique("logged models")).experiment_id
    x, y = rows()
    data = mlflow.data.from_pandas(x.assign(y=y), name="held out", targets="y")
    ids = []
    with mlflow.start_run() as run:
        for index in range(5):
            model = mlflow.create_external_model(
                name=f"m{index % 2}", model_type="agent" if index == 0 else "", params={"depth": str(index)}, tags={"n": str(index)}
            )
            ids.append(model.model_id)
            mlflow.log_metric("score", index / 10, model_id=model.model_id, dataset=data if index > 2 else None)
    index_of = {model_id: index for index, model_id in enumerate(ids)}

    def found(text=None, order=None, datasets=None):
        order = order or [{"field_name": "creation_timestamp", "ascending": True}]
        models = client.search_logged_models([there], text, datasets, order_by=order)
        return sorted(index_of[m.model_id] for m in models) if order[0]["field_name"] != "metrics.score" else [index_of[m.model_id] for m in models]

    for text, expected in [
        (None, [0, 1, 2, 3, 4]),
        ("name = 'm1'", [1, 3]),
        ("model_type = 'agent'", [0]),
        ("params.depth = '2'", [2]),
        ("tags.n != '2'", [0, 1, 3, 4]),
        ("metrics.score >= 0.2", [2, 3, 4]),
        ("metrics.score >= 0.2 AND name = 'm0'", [2, 4]),
        (f"source_run_id = '{run.info.run_id}'", [0, 1, 2, 3, 4]),
        (f"model_id IN ('{ids[1]}', '{ids[4]}')", [1, 4]),
        ("name LIKE 'm%' AND params.depth != '0'", [1, 2, 3, 4]),
        ("creation_timestamp > 1700000000000", [0, 1, 2, 3, 4]),
    ]:
        same(found(text), expected, str(text))
    same(found(order=[{"field_name": "metrics.score", "ascending": False}]), [4, 3, 2, 1, 0], "by metric")
    held_out = [{"dataset_name": "held out", "dataset_digest": data.digest}]
    same(found("metrics.score > 0", datasets=held_out), [3, 4], "metric on a dataset")
    page = client.search_logged_models([there], max_results=2)
    pages = list(page)
    while page.token:
        page = client.search_logged_models([there], max_results=2, page_token=page.token)
        pages += page
    same(sorted(index_of[m.model_id] for m in pages), [0, 1, 2, 3, 4], "pages")

    client.set_logged_model_tags(ids[0], {"n": "zero", "new": "x"})
    client.delete_logged_model_tag(ids[0], "new")
    same(mlflow.get_logged_model(ids[0]).tags.get("n"), "zero", "tag")
    assert "new" not in mlflow.get_logged_model(ids[0]).tags
    mlflow.finalize_logged_model(ids[1], "FAILED")
    same(mlflow.get_logged_model(ids[1]).status.value, "FAILED", "status")
    client.delete_logged_model(ids[4])
    same(found(), [0, 1, 2, 3], "after one was deleted")
    refused(lambda: mlflow.get_logged_model("m-none"), "RESOURCE_DOES_NOT_EXIST", "m-none")


def check_evaluation():
    mlflow.set_experiment(unique("evaluate"))
    x, y = rows()
    data = x.assign(y=y)
    with mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(classifier(), name="model")
        result = mlflow.models.evaluate(
            logged.model_uri, data, targets="y", model_type="classifier", evaluator_config={"log_model_explainability": False}
        )
    expected = float((classifier().predict(x) == y).mean())
    same(result.metrics["accuracy_score"], expected, "accuracy")
    logged_run = mlflow.get_run(run.info.run_id)
    same(logged_run.data.metrics["accuracy_score"], expected, "logged accuracy")
    names = {file.path for file in MlflowClient().list_artifacts(run.info.run_id)}
    assert {"confusion_matrix.png", "roc_curve_plot.png"} <= names, names
    same(len(logged_run.inputs.dataset_inputs), 1, "datasets")
    assert "accuracy_score" in {m.key for m in mlflow.get_logged_model(logged.model_id).metrics}


if __name__ == "__main__":
    harness.main()
