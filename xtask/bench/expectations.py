"""The ten expectations of the case `expectations` as one DuckDB query over the Parquet file given; fails if one is broken."""

import os
import sys

import duckdb

connection = duckdb.connect(config={"threads": os.cpu_count()})
checks = connection.execute(
    f"""select count(*) >= 1000,
    count(*) = count(id),
    count(distinct id) = count(*),
    count(*) filter (where not few_0 between 0 and 49) = 0,
    count(*) filter (where not real_1 between 0 and 2.1) = 0,
    count(*) filter (where kind_0 not in ({', '.join(f"'kind {n}'" for n in range(30))})) = 0,
    count(*) filter (where not regexp_matches(name_0, '^[0-9A-F]+$')) = 0,
    avg(real_2) between 1 and 2,
    quantile_disc(many_0, 0.5) between 400000000 and 600000000,
    count(*) filter (where length(name_1) > 16) = 0
    from read_parquet('{sys.argv[1]}')"""
).fetchone()
sys.exit(0 if all(checks) else 1)
