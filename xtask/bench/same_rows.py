"""Fails unless two Parquet files hold the same rows, in any order and with any widths of numbers."""

import sys

import duckdb

ours, theirs = sys.argv[1:]
columns = [row[0] for row in duckdb.sql(f"describe select * from '{theirs}'").fetchall()]


def rows(path: str) -> str:
    casts = []
    for column in columns:
        casts.append(f'coalesce(cast(try_cast("{column}" as double) as varchar), cast("{column}" as varchar)) as "{column}"')
    return f"select {', '.join(casts)} from '{path}'"


for left, right in [(ours, theirs), (theirs, ours)]:
    missing = duckdb.sql(f"select count(*) from ({rows(left)} except all {rows(right)})").fetchall()[0][0]
    if missing:
        sys.exit(f"{missing} rows of {left} are not in {right}")
