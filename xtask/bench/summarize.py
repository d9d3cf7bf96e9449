"""DuckDB's SUMMARIZE of the Parquet or CSV file given."""

import os
import sys

import duckdb

connection = duckdb.connect(config={"threads": os.cpu_count()})
reader = "read_csv" if sys.argv[1].endswith(".csv") else "read_parquet"
print(connection.execute(f"summarize select * from {reader}('{sys.argv[1]}')").fetchall())
