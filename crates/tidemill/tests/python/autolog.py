"""Autologging of scikit-learn, XGBoost and LightGBM: what a training in plain code leaves behind."""

import functools
import json

import harness
import mlflow
import numpy as np
from harness import same, unique
from mlflow import MlflowClient
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@functools.cache
def rows():
    return make_classification(150, 5, random_state=5)


def last_run(experiment):
    [run] = mlflow.search_runs([experiment.experiment_id], max_results=1, output_format="list")
    return MlflowClient().get_run(run.info.run_id)


def model_of(run):
    """The one logged model of a run."""
    [output] = run.outputs.model_outputs
    model = mlflow.get_logged_model(output.model_id)
    same((model.status.value, model.source_run_id), ("READY", run.info.run_id), "logged model")
    return model


def artifacts(run):
    return {file.path for file in MlflowClient().list_artifacts(run.info.run_id)}


def check_scikit_learn():
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LogisticRegression

    x, y = rows()
    experiment = mlflow.set_experiment(unique("sklearn"))
    mlflow.sklearn.autolog(log_input_examples=True)
    try:
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5))
        pipeline.fit(x, y)
        run = last_run(experiment)
        same(run.info.status, "FINISHED", "status")
        same(run.data.params["logisticregression__C"], "0.5", "param")
        same(run.data.metrics["training_accuracy_score"], pipeline.score(x, y), "metric")
        same(run.data.tags["estimator_name"], "Pipeline", "tag")
        [data] = run.inputs.dataset_inputs
        same({tag.key: tag.value for tag in data.tags}, {"mlflow.data.context": "train"}, "dataset's tag")
        assert {"estimator.html", "training_confusion_matrix.png"} <= artifacts(run), artifacts(run)
        model = model_of(run)
        assert "training_accuracy_score" in {metric.key for metric in model.metrics}, model.metrics
        loaded = mlflow.sklearn.load_model(model.model_uri)
        assert np.array_equal(loaded.predict_proba(x), pipeline.predict_proba(x))

        from sklearn.metrics import roc_auc_score

        with mlflow.start_run() as active:
            forest = RandomForestRegressor(5, random_state=1).fit(*make_regression(60, 3, random_state=2))
            assert forest.predict(np.zeros((2, 3))).shape == (2,)
            mlflow.log_param("mine", "beside")
        run = MlflowClient().get_run(active.info.run_id)
        same((run.data.params["n_estimators"], run.data.params["mine"]), ("5", "beside"), "params")
        assert run.data.metrics["training_r2_score"] > 0.5, run.data.metrics

        with mlflow.start_run() as active:
            fitted = LogisticRegression().fit(x, y)
            roc_auc_score(y, fitted.predict(x))
        metrics = MlflowClient().get_run(active.info.run_id).data.metrics
        assert any(key.startswith("roc_auc_score") for key in metrics), metrics
    finally:
        mlflow.sklearn.autolog(disable=True)


def check_grid_search():
    from sklearn.tree import DecisionTreeClassifier

    experiment = mlflow.set_experiment(unique("grid"))
    mlflow.sklearn.autolog(max_tuning_runs=4)
    try:
        grid = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 3], "min_samples_leaf": [1, 5]}, cv=2)
        grid.fit(*rows())
    finally:
        mlflow.sklearn.autolog(disable=True)
    runs = mlflow.search_runs([experiment.experiment_id], output_format="list")
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    same((len(parents), len(children)), (1, 4), "runs")
    [parent] = parents
    same(parent.data.params["best_max_depth"], str(grid.best_params_["max_depth"]), "best parameter")
    same(parent.data.metrics["best_cv_score"], grid.best_score_, "best score")
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    best = max(run.data.metrics["mean_test_score"] for run in children)
    same(best, grid.best_score_, "score of the best child")
    assert "cv_results.csv" in artifacts(parent), artifacts(parent)
    best_run = mlflow.search_runs(
        [experiment.experiment_id], "tags.mlflow.parentRunId != ''", order_by=["metrics.mean_test_score DESC"], max_results=1
    )
    same(best_run["metrics.mean_test_score"].iloc[0], grid.best_score_, "best child by search")


def check_xgboost():
    import xgboost

    x, y = rows()
    experiment = mlflow.set_experiment(unique("xgboost"))
    mlflow.xgboost.autolog(importance_types=["weight", "gain"])
    try:
        train, valid = xgboost.DMatrix(x[:100], y[:100]), xgboost.DMatrix(x[100:], y[100:])
        told = {}
        booster = xgboost.train(
            {"max_depth": 2, "eta": 0.3, "objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "nthread": 1},
            train,
            12,
            evals=[(train, "train"), (valid, "valid")],
            early_stopping_rounds=50,
            evals_result=told,
            verbose_eval=False,
        )
        run = last_run(experiment)
        same((run.data.params["eta"], run.data.params["num_boost_round"]), ("0.3", "12"), "params")
        # Training stops early, so a last point at the best iteration follows the curve.
        history = MlflowClient().get_metric_history(run.info.run_id, "valid-logloss")
        by_step = {}
        for point in history:
            by_step.setdefault(point.step, point.value)
        same([by_step[step] for step in range(12)], told["valid"]["logloss"], "curve")
        assert run.data.metrics["best_iteration"] == booster.best_iteration, run.data.metrics
        assert {"feature_importance_weight.json", "feature_importance_gain.png"} <= artifacts(run), artifacts(run)
        weights = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/feature_importance_weight.json")
        same(weights, booster.get_score(importance_type="weight"), "importance")
        loaded = mlflow.xgboost.load_model(model_of(run).model_uri)
        assert np.array_equal(loaded.predict(valid), booster.predict(valid))

        classifier = xgboost.XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1).fit(x, y)
        run = last_run(experiment)
        same(run.data.params["num_boost_round"], "4", "param")
        pyfunc = mlflow.pyfunc.load_model(model_of(run).model_uri)
        assert np.array_equal(pyfunc.predict(x), classifier.predict(x))
    finally:
        mlflow.xgboost.autolog(disable=True)


def check_lightgbm():
    import lightgbm

    x, y = rows()
    experiment = mlflow.set_experiment(unique("lightgbm"))
    mlflow.lightgbm.autolog()
    try:
        train = lightgbm.Dataset(x[:100], y[:100])
        told = {}
        machine = lightgbm.train(
            {"objective": "binary", "num_leaves": 5, "metric": ["binary_logloss"], "verbose": -1, "num_threads": 1},
            train,
            10,
            valid_sets=[train, lightgbm.Dataset(x[100:], y[100:], reference=train)],
            valid_names=["train", "valid"],
            callbacks=[lightgbm.record_evaluation(told)],
        )
        run = last_run(experiment)
        same((run.data.params["num_leaves"], run.data.params["num_boost_round"]), ("5", "10"), "params")
        history = MlflowClient().get_metric_history(run.info.run_id, "valid-binary_logloss")
        curve = [point.value for point in sorted(history, key=lambda point: point.step)]
        same(curve, told["valid"]["binary_logloss"], "curve")
        loaded = mlflow.lightgbm.load_model(model_of(run).model_uri)
        assert np.array_equal(loaded.predict(x), machine.predict(x))
        assert {"feature_importance_split.json", "feature_importance_gain.json"} <= artifacts(run), artifacts(run)
        schema = json.loads(run.inputs.dataset_inputs[0].dataset.schema)
        assert schema, run.inputs
    finally:
        mlflow.lightgbm.autolog(disable=True)


if __name__ == "__main__":
    harness.main()
