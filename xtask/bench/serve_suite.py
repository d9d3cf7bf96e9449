"""Models for the evaluator alone: MODEL.onnx OUT. In the form of `crates/tidemill-runtime/tests/python/suite.py`, with
ONNX Runtime's answers.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "crates/tidemill-runtime/tests/python"))

import networks
import numpy as np
import suite
from skl2onnx import to_onnx
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

model, out = sys.argv[1:]
noise = np.random.default_rng(5)
x = noise.normal(size=(5_000, 30)).astype(np.float32)
y = (x[:, 0] + x[:, 1] * x[:, 2] + noise.logistic(size=len(x)) > 0).astype(np.int64)


def converted(fitted):
    return to_onnx(fitted.fit(x, y), x[:1], options={"zipmap": False}, target_opset={"": 18, "ai.onnx.ml": 3})


def cases():
    rows = [{"X": noise.normal(size=(64, 30)).astype(np.float32)}]
    yield "boosting", pathlib.Path(model).read_bytes, rows
    yield "forest", lambda: converted(RandomForestClassifier(100, max_depth=10, random_state=1)), rows
    yield "linear", lambda: converted(make_pipeline(StandardScaler(), PCA(10), LogisticRegression())), rows
    yield "cnn", networks.cnn, [{"x": noise.normal(size=(64, 1, 14, 14)).astype(np.float32)}]
    yield "transformer", networks.transformer, [{"x": noise.normal(size=(64, 12, 32)).astype(np.float32)}]


suite.GROUPS["bench"] = cases
suite.write(pathlib.Path(out), ["bench"])
