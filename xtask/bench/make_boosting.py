"""Writes rows for boosting: ROWS OUT DRAW. 30 numeric columns, a binary target from a known rule with noise, and the row's number.

Each draw is another table of the same kind. All tools test on the last fifth of the rows.
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

count, path, draw = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
generator = np.random.default_rng([20261123, draw])
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
table = pa.table({f"x{i:02}": x[:, i] for i in range(30)} | {"y": y, "at": np.arange(count)})
pq.write_table(table, path, compression="zstd")
