"""Fits a peer on the rows of `gbdt_bench`: TOOL ROWS. Prints seconds of fitting and log loss, as that program does."""

import os
import sys
import time

import numpy as np
from sklearn.metrics import log_loss

COLUMNS = 30
U = np.uint64


def uniform(rows: int, stream: int) -> np.ndarray:
    """Column `stream`, row by row: SplitMix64 of row and stream as a number below 1."""
    with np.errstate(over="ignore"):
        z = np.arange(rows, dtype=U) * U(0x9E3779B97F4A7C15) + U(stream) * U(0xD1B54A32D192ED03)
        z += U(0x9E3779B97F4A7C15)
        z = (z ^ (z >> U(30))) * U(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> U(27))) * U(0x94D049BB133111EB)
        return ((z ^ (z >> U(31))) >> U(11)).astype(np.float64) * 2.0**-53


def table(rows: int, stream: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.column_stack([uniform(rows, stream + column) for column in range(COLUMNS)])
    z = (
        2.0 * np.sin(6.0 * x[:, 0])
        + 8.0 * (x[:, 1] - 0.5) * (x[:, 2] - 0.5)
        + (x[:, 3] > 0.7)
        + 2.0 * x[:, 4] ** 2
        + x[:, 5] * x[:, 6] * x[:, 7]
        - 3.0 * np.abs(x[:, 8] - 0.5)
        + 0.5 * x[:, 9]
        - 1.5
    )
    return x, (uniform(rows, stream + 100) < 1.0 / (1.0 + np.exp(-z))).astype(np.int64)


tool, rows = sys.argv[1], int(sys.argv[2])
x, y = table(rows, 0)
test, truth = table(200_000, 1000)
if tool == "lightgbm":
    import lightgbm

    model = lightgbm.LGBMClassifier(
        n_estimators=100,
        learning_rate=0.1,
        num_leaves=31,
        min_child_samples=20,
        max_bin=255,
        n_jobs=os.cpu_count(),
        verbose=-1,
    )
else:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.1, max_leaf_nodes=31, min_samples_leaf=20, early_stopping=False
    )
started = time.perf_counter()
model.fit(x, y)
fit = time.perf_counter() - started
print(f"train {fit:.3f} s, log loss {log_loss(truth, model.predict_proba(test)[:, 1]):.6f}")
