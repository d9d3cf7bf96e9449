"""Makes what the servers of models are asked for: OUT.

Two gradient-boosted classifiers of 100 trees on 30 features, `model.onnx` and `other.onnx`, the first also as LightGBM's own
`model.txt`; and `rows.json` with rows, and ONNX Runtime's probabilities of both models for them.
"""

import json
import pathlib
import sys

import lightgbm
import numpy as np
import onnxruntime
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

out = pathlib.Path(sys.argv[1])
generator = np.random.default_rng(20261126)


def sample(count):
    # Few digits, as numbers in requests have.
    return generator.standard_normal((count, 30)).round(4).astype(np.float32)


def target(x):
    score = 1.2 * x[:, 0] - 0.8 * x[:, 1] ** 2 + np.sin(3 * x[:, 2]) + x[:, 3] * x[:, 4] + 0.3 * x[:, 7:12].sum(axis=1)
    return (score + generator.logistic(size=len(x)) > 0).astype(np.int64)


rows = sample(1024)
written = {"rows": [[float(f"{value:.4f}") for value in row] for row in rows]}
for name, rate in [("model", 0.1), ("other", 0.03)]:
    x = sample(50_000)
    model = lightgbm.LGBMClassifier(n_estimators=100, num_leaves=31, learning_rate=rate, n_jobs=1, verbose=-1).fit(x, target(x))
    onnx = convert_lightgbm(model, initial_types=[("X", FloatTensorType([None, 30]))], zipmap=False)
    (out / f"{name}.onnx").write_bytes(onnx.SerializeToString())
    session = onnxruntime.InferenceSession(str(out / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    [probabilities] = session.run(["probabilities"], {"X": rows})
    written[name] = [float(value) for value in probabilities[:, 1]]
    if name == "model":
        model.booster_.save_model(out / "model.txt")
(out / "rows.json").write_text(json.dumps(written))
