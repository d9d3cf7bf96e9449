"""DuckDB's SUMMARIZE of the Parquet file given."""

import os
import sys

import duckdb

connection = duckdb.connect(config={"threads": os.cpu_count()})
print(connection.execute(f"summarize select * from read_parquet('{sys.argv[1]}')").fetchall())
