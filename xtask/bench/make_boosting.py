"""Writes rows for boosting: ROWS OUT. 30 numeric columns, a binary target from a known rule with noise."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

count, path = int(sys.argv[1]), sys.argv[2]
generator = np.random.default_rng(20261123)
x = generator.standard_normal((count, 30))
score = (
    1.2 * x[:, 0]
    - 0.8 * x[:, 1] ** 2
    + np.sin(3 * x[:, 2])
    + x[:, 3] * x[:, 4]
    + 0.5 * (x[:, 5] > 0.3) * x[:, 6]
    + 0.3 * x[:, 7:12].sum(axis=1)
)
y = (score + generator.logistic(size=count) > 0).astype(np.int64)
table = pa.table({f"x{i:02}": x[:, i] for i in range(30)} | {"y": y})
pq.write_table(table, path, compression="zstd")
