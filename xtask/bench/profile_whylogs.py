"""A profile by whylogs of a Parquet or CSV file, batch by batch so that it need not be held whole: PATH."""

import sys

import pandas
import pyarrow.parquet
from whylogs.core import DatasetProfile

path = sys.argv[1]
if path.endswith(".csv"):
    batches = pandas.read_csv(path, chunksize=100_000)
else:
    batches = (batch.to_pandas() for batch in pyarrow.parquet.ParquetFile(path).iter_batches(100_000))
profile = DatasetProfile()
for batch in batches:
    profile.track(pandas=batch)
print(profile.view().to_pandas())
