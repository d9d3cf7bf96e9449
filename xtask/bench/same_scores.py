"""Fails unless two tables of scores are equal within single precision, in the same order: OURS THEIRS."""

import sys

import numpy as np
import pyarrow.parquet as pq

ours, theirs = (pq.ParquetFile(path) for path in sys.argv[1:])
if ours.metadata.num_rows != theirs.metadata.num_rows:
    sys.exit(f"{ours.metadata.num_rows} rows instead of {theirs.metadata.num_rows}")


def pieces(file):
    for batch in file.iter_batches(batch_size=100_000, columns=["label", "probabilities"]):
        yield batch["label"].to_numpy(), batch["probabilities"].flatten().to_numpy().reshape(-1, 2)


for number, ((label, scores), (other_label, other_scores)) in enumerate(zip(pieces(ours), pieces(theirs))):
    largest = np.abs(scores - other_scores).max()
    # Where both classes are as likely, rounding decides.
    wrong = (label != other_label) & (np.abs(other_scores[:, 1] - 0.5) > 1e-6)
    if largest > 2e-6 or wrong.any():
        sys.exit(f"piece {number}: scores differ by {largest}, {wrong.sum()} labels are others")
