"""Scores a table with ONNX Runtime and pyarrow, batch by batch, as one would write it: MODEL ROWS OUT."""

import sys

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

model, rows, out = sys.argv[1:]
# A large batch is shared among the cores, which is ONNX Runtime's default.
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
schema = pa.schema([("label", pa.int64()), ("probabilities", pa.list_(pa.float32(), 2))])
with pq.ParquetWriter(out, schema) as writer:
    for batch in pq.ParquetFile(rows).iter_batches(batch_size=65_536):
        x = np.column_stack([column.to_numpy() for column in batch.columns])
        label, probabilities = session.run(["label", "probabilities"], {"X": x})
        pairs = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), 2)
        writer.write_batch(pa.record_batch([pa.array(label), pairs], schema=schema))
