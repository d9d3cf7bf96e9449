"""Rows that the models are asked for."""

import numpy as np


def thresholds(model):
    """Split points of the trees of a model by feature."""
    found = {}
    for node in model.graph.node:
        if node.op_type.startswith("TreeEnsemble"):
            attributes = {a.name: a for a in node.attribute}
            if "nodes_values" in attributes:
                modes = attributes["nodes_modes"].strings
                pairs = zip(attributes["nodes_featureids"].ints, attributes["nodes_values"].floats, modes)
                for feature, value, mode in pairs:
                    if mode != b"LEAF":
                        found.setdefault(feature, []).append(value)
    return found


def with_special(x, model=None, missing=True, seed=7):
    """Copies of rows with NaN, infinities, -0.0 and values that are exactly split points."""
    noise = np.random.default_rng(seed)
    special = x[: min(len(x), 24)].copy()
    values = [0.0, -0.0, 1e30, -1e30]
    if missing:
        values += [np.nan, np.inf, -np.inf]
    for row in special[:12]:
        for column in noise.choice(len(row), max(1, len(row) // 3), replace=False):
            row[column] = noise.choice(values)
    if model is not None:
        for feature, points in thresholds(model).items():
            for row in special[12:]:
                if noise.random() < 0.7:
                    row[feature] = noise.choice(points)
    return np.concatenate([x, special]).astype(x.dtype)


def feeds(x, model=None, missing=True, name=None):
    """Batches of many rows, of one, and of none."""

    def make(session):
        key = name or session.get_inputs()[0].name
        rows = with_special(x, model() if callable(model) else model, missing)
        return [{key: rows}, {key: rows[:1]}, {key: rows[:0]}]

    return make
