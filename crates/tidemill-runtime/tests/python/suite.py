"""Makes models with the libraries that people train with, and ONNX Runtime's answers to them.

`suite.py FOLDER [GROUP ...]` writes one ONNX file for each model and `suite.json` with inputs and outputs. Numbers
travel as the hexadecimal digits of their bytes, so that NaN and infinities do too.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import numpy as np
import onnxruntime

import crafted
import libraries
import networks
import own
import scikit

GROUPS = {
    "scikit": scikit.cases,
    "libraries": libraries.cases,
    "crafted": crafted.cases,
    "networks": networks.cases,
    "own": own.cases,
}


def encode(value):
    array = np.asarray(value)
    if array.dtype.kind in "OUS":
        return {"type": "string", "shape": list(array.shape), "texts": [str(x) for x in array.ravel()]}
    return {"type": str(array.dtype), "shape": list(array.shape), "hex": array.tobytes().hex()}


def answer(value):
    """A list of maps as a matrix whose columns are in the order of the keys of the first."""
    if isinstance(value, list):
        keys = list(value[0]) if value else []
        return {"keys": [str(key) for key in keys], **encode(np.array([[row[key] for key in keys] for row in value], dtype=np.float32).reshape(len(value), len(keys)))}
    return encode(value)


def write(folder, groups):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    listing, problems = [], []
    for group in groups:
        for name, make, feeds in GROUPS[group]():
            try:
                model = make()
                blob = model if isinstance(model, bytes) else model.SerializeToString()
                session = onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # the converters' own limits
                problems.append(f"{group}/{name}: {type(error).__name__}: {str(error)[:200]}")
                continue
            file = f"{group}-{name}.onnx".replace("/", "-")
            (folder / file).write_bytes(blob)
            calls = []
            for feed in feeds(session) if callable(feeds) else feeds:
                try:
                    outputs = session.run(None, feed)
                except Exception as error:
                    # What ONNX Runtime refuses, such as an empty batch for some operators, is not compared.
                    problems.append(f"{group}/{name}: call: {str(error)[:160]}")
                    continue
                calls.append(
                    {
                        "inputs": {key: encode(value) for key, value in feed.items()},
                        "outputs": [answer(value) for value in outputs],
                    }
                )
            outputs = [output.name for output in session.get_outputs()]
            listing.append({"name": f"{group}/{name}", "file": file, "outputs": outputs, "calls": calls})
    (folder / "suite.json").write_text(json.dumps({"models": listing, "problems": problems}))


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2:] or list(GROUPS))
