"""Models that our own trainer wrote, kept as files in `tests/fixtures`."""

from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parent.parent / "fixtures"
KINDS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(bool)": np.bool_, "tensor(string)": object}


def column(noise, kind, count):
    if kind is object:
        return np.array(noise.choice(["red", "green", "blue", "never seen", ""], count), dtype=object).reshape(-1, 1)
    if kind is np.int64:
        return noise.integers(-2, 14, (count, 1))
    if kind is np.bool_:
        return noise.random((count, 1)) < 0.5
    values = noise.normal(size=(count, 1)) * 3
    values[noise.random((count, 1)) < 0.2] = np.nan
    values[noise.random((count, 1)) < 0.05] = np.inf
    return values.astype(kind)


def batches(session):
    noise = np.random.default_rng(9)
    return [{i.name: column(noise, KINDS[i.type], count) for i in session.get_inputs()} for count in [80, 1, 0]]


def cases():
    for path in sorted(FIXTURES.glob("own-*.onnx")):
        yield path.stem, path.read_bytes, batches
