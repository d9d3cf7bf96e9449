"""Writes rows for batch scoring: COUNT OUT. 30 columns of single precision."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

count, path = int(sys.argv[1]), sys.argv[2]
generator = np.random.default_rng(20261127)
names = [f"x{index:02}" for index in range(30)]
schema = pa.schema([(name, pa.float32()) for name in names])
with pq.ParquetWriter(path, schema) as writer:
    for begin in range(0, count, 500_000):
        part = min(500_000, count - begin)
        writer.write_table(pa.table([generator.standard_normal(part, dtype=np.float32) for _ in names], schema=schema))
