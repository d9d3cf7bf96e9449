"""Writes a table of 30 columns of mixed types, the same every time, as Parquet or CSV by the name's ending: PATH ROWS."""

import sys

import duckdb

connection = duckdb.connect(config={"threads": 1})
columns = ["i::bigint as id"]
columns += [f"case when hash(i, {n}) % 20 = 0 then null else hash(i, {n}) / 1.8e19 * {n + 1} end as real_{n}" for n in range(10)]
columns += [f"(hash(i, {n + 100}) % 50)::integer as few_{n}" for n in range(5)]
columns += [f"(hash(i, {n + 200}) % 1000000000)::bigint as many_{n}" for n in range(4)]
columns += [f"'kind ' || (hash(i, {n + 300}) % 30) as kind_{n}" for n in range(4)]
columns += [f"hex(hash(i, {n + 400})) as name_{n}" for n in range(2)]
columns += [f"hash(i, {n + 500}) % 3 = 0 as truth_{n}" for n in range(3)]
columns += ["timestamp '2024-01-01' + to_seconds(i * 15) as at"]
form = "(format csv, header)" if sys.argv[1].endswith(".csv") else "(format parquet, compression snappy)"
connection.execute(f"copy (select {', '.join(columns)} from range({int(sys.argv[2])}) t(i)) to '{sys.argv[1]}' {form}")
