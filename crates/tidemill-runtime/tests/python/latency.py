"""Medians of calls through Python's onnxruntime, one thread, in microseconds: `latency.py FOLDER` of `suite.py`."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(sys.argv[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
answer = {}


def decode(value):
    if value["type"] == "string":
        return np.array(value["texts"], dtype=object).reshape(value["shape"])
    return np.frombuffer(bytes.fromhex(value["hex"]), dtype=value["type"]).reshape(value["shape"])


for model in json.loads((folder / "suite.json").read_text())["models"]:
    if not model["calls"]:
        continue
    session = onnxruntime.InferenceSession(str(folder / model["file"]), options, providers=["CPUExecutionProvider"])
    inputs = {key: decode(value) for key, value in model["calls"][0]["inputs"].items()}
    if any(value.ndim == 0 or len(value) < 2 for value in inputs.values()):
        continue
    medians = []
    for rows in [1, 64]:
        feed = {key: value[np.arange(rows) % len(value)] for key, value in inputs.items()}
        times, start = [], time.perf_counter()
        while time.perf_counter() - start < 0.2:
            before = time.perf_counter()
            session.run(None, feed)
            times.append(time.perf_counter() - before)
        medians.append(sorted(times)[len(times) // 2] * 1e6)
    answer[model["name"]] = medians
json.dump(answer, sys.stdout)
