"""The feature step in DuckDB: reads `features.sql` and `data/`, writes `features.parquet`."""

import os

import duckdb

connection = duckdb.connect(config={"threads": os.cpu_count()})
for table, path in [
    ("flights", "data/flights/*.parquet"),
    ("weather", "data/weather.parquet"),
    ("planes", "data/planes.parquet"),
]:
    connection.execute(f"create view {table} as select * from read_parquet('{path}')")
with open("features.sql") as file:
    query = file.read()
connection.execute(f"copy ({query}) to 'features.parquet' (format parquet, compression zstd)")
