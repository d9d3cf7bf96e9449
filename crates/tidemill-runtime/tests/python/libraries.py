"""Models of LightGBM and XGBoost through onnxmltools."""

import functools

import lightgbm
import numpy as np
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from rows import feeds
from scikit import BINARY, MULTI, NUMBER, TEST, X

TYPES = [("X", FloatTensorType([None, X.shape[1]]))]


def case(name, convert, model, target, **more):
    @functools.cache
    def make():
        return convert(model.fit(X, target), initial_types=TYPES, **more)

    return name, make, lambda session: feeds(TEST, make())(session)


def cases():
    light = dict(n_estimators=40, num_leaves=15, min_child_samples=5, verbose=-1)
    yield case("lightgbm-binary", convert_lightgbm, lightgbm.LGBMClassifier(**light), BINARY)
    yield case("lightgbm-binary-matrix", convert_lightgbm, lightgbm.LGBMClassifier(**light), BINARY, zipmap=False)
    yield case("lightgbm-multi", convert_lightgbm, lightgbm.LGBMClassifier(**light), MULTI, zipmap=False)
    yield case("lightgbm-regressor", convert_lightgbm, lightgbm.LGBMRegressor(**light), NUMBER)
    yield case("lightgbm-forest", convert_lightgbm, lightgbm.LGBMRegressor(boosting_type="rf", subsample=0.7, subsample_freq=1, **light), NUMBER)
    holes = X.copy()
    holes[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    categories = np.random.default_rng(2).integers(0, 6, len(X)).astype(np.float32)
    mixed = holes.copy()
    mixed[:, 7] = categories

    @functools.cache
    def categorical():
        model = lightgbm.LGBMClassifier(**light).fit(mixed, BINARY, categorical_feature=[7])
        return convert_lightgbm(model, initial_types=TYPES, zipmap=False)

    asked = TEST.copy()
    asked[:, 7] = np.arange(len(TEST)) % 8
    yield "lightgbm-categories", categorical, lambda session: feeds(asked, categorical())(session)
    boost = dict(n_estimators=30, max_depth=5)
    yield case("xgboost-binary", convert_xgboost, xgboost.XGBClassifier(**boost), BINARY)
    yield case("xgboost-multi", convert_xgboost, xgboost.XGBClassifier(**boost), MULTI)
    yield case("xgboost-regressor", convert_xgboost, xgboost.XGBRegressor(**boost), NUMBER)
    yield case("xgboost-forest", convert_xgboost, xgboost.XGBRFRegressor(**boost), NUMBER)
    yield case("xgboost-ranker-like", convert_xgboost, xgboost.XGBRegressor(objective="reg:logistic", **boost), BINARY)
