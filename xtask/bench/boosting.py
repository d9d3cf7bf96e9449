"""Fits a peer on the rows: TOOL PARQUET OUT. Writes ROC AUC, log loss and the seconds of fitting as JSON."""

import json
import os
import sys
import time

import numpy as np
import pyarrow.parquet as pq
from sklearn.metrics import log_loss, roc_auc_score

tool, path, out = sys.argv[1:]
table = pq.read_table(path)
y = table["y"].to_numpy()
x = np.column_stack([table[name].to_numpy() for name in table.column_names if name.startswith("x")])
test = table["at"].to_numpy() >= len(y) * 4 // 5
threads = os.cpu_count()

started = time.perf_counter()
if tool == "lightgbm":
    import lightgbm

    model = lightgbm.LGBMClassifier(
        n_estimators=100, learning_rate=0.1, num_leaves=31, min_child_samples=20, max_bin=255, n_jobs=threads, verbose=-1
    )
else:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.1, max_leaf_nodes=31, min_samples_leaf=20, early_stopping=False
    )
model.fit(x[~test], y[~test])
fit = time.perf_counter() - started

p = model.predict_proba(x[test])[:, 1]
with open(out, "w") as file:
    json.dump({"roc_auc": roc_auc_score(y[test], p), "log_loss": log_loss(y[test], p), "fit_seconds": fit}, file)
