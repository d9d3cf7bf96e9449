"""Writes a table of 20 columns as Parquet, drawn from the same distributions for every seed: PATH ROWS SEED."""

import sys

import numpy
import pyarrow
import pyarrow.parquet

path, rows, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random = numpy.random.default_rng(seed)
columns = {}
for n in range(6):
    columns[f"normal_{n}"] = random.normal(n, n + 1, rows)
for n in range(4):
    columns[f"lognormal_{n}"] = random.lognormal(n / 4, 0.5, rows)
for n in range(4):
    columns[f"count_{n}"] = random.poisson(5 + 20 * n, rows)
for n in range(6):
    kinds = numpy.array([f"kind {k}" for k in range(4 + 3 * n)])
    share = 1 / numpy.arange(1, len(kinds) + 1)
    columns[f"kind_{n}"] = kinds[random.choice(len(kinds), rows, p=share / share.sum())]
pyarrow.parquet.write_table(pyarrow.table(columns), path)
