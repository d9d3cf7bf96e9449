//! SQL: repeatable bytes, results as DuckDB's, clear refusals.

use std::path::{Path, PathBuf};

use tidemill_core::{Cancel, Hint, Progress, Quiet};
use tidemill_data::sql::{SqlJob, SqlOutcome, SqlTable, assert as assert_sql, run};
use tidemill_data::{Error, Table};

use crate::python::{flights, months, python};

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn job(&self, text: &str, tables: Vec<SqlTable>) -> SqlJob {
        SqlJob {
            text: text.to_owned(),
            source: "sql/test.sql".to_owned(),
            tables,
            out: self.path("out.parquet"),
            memory_limit: 256 << 20,
            spill_dir: self.path("spill"),
            partitions: 2,
        }
    }
}

fn table(name: &str, paths: &[PathBuf]) -> SqlTable {
    let paths = paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    SqlTable { name: name.to_owned(), paths, format: None }
}

fn example() -> Vec<SqlTable> {
    vec![
        table("flights", &months(12)),
        table("weather", &[flights().join("weather.parquet")]),
        table("planes", &[flights().join("planes.parquet")]),
    ]
}

fn block<T>(threads: usize, future: impl Future<Output = T>) -> T {
    let mut builder = match threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.max(1)).enable_all().build().unwrap().block_on(future)
}

fn go(job: &SqlJob) -> Result<SqlOutcome, Error> {
    block(2, run(job, &Quiet))
}

/// Queries whose rows come together in different ways: joins of every kind, groups, unions, windows, sets.
const QUERIES: [&str; 14] = [
    "select f.carrier, f.origin, f.dest, w.temp, p.seats from flights f left join weather w on w.origin = f.origin and \
     w.time_hour = f.time_hour left join planes p on p.tailnum = f.tailnum where f.arr_delay is not null",
    "select tailnum, avg(arr_delay * 0.1) as a, sum(distance / 7.0) as s, stddev(air_time) as d, count(*) as n \
     from flights group by tailnum",
    "select avg(arr_delay * 0.1) as a, sum(distance / 7.0) as s, corr(distance, air_time) as c from flights",
    "select carrier, dest from flights where month = 1 union all select carrier, dest from flights where month = 2",
    "select a.carrier, count(*) as n, sum(a.x) as s from (select carrier, arr_delay / 3.0 as x from flights where month < 4 \
     union all select carrier, dep_delay / 3.0 from flights where month > 6) a group by a.carrier",
    "select carrier, dest from flights union select origin, carrier from flights",
    "select dest from flights intersect select origin from flights",
    "select p.tailnum, f.flight from flights f full outer join planes p on p.tailnum = f.tailnum and f.month = 3",
    "select p.tailnum from planes p where not exists (select 1 from flights f where f.tailnum = p.tailnum and f.month = 2)",
    "select carrier, flight, row_number() over (partition by carrier order by arr_delay) as r from flights where month = 5",
    "select * from flights where arr_delay > (select avg(arr_delay) from flights) limit 5000",
    "select carrier, array_agg(distinct dest) as d, sum(distinct air_time * 0.1) as s, count(distinct tailnum) as n, \
     median(arr_delay) as m, approx_distinct(flight) as x, approx_percentile_cont(arr_delay, 0.9) as q, \
     first_value(flight) as f, string_agg(distinct origin, ',') as o from flights group by carrier",
    "select x.d, x.s from (select carrier as c, dest as d, sum(distance * 0.3) as s from flights group by carrier, dest) x \
     join (select distinct dest as d from flights where month = 7) y on x.d = y.d order by x.d limit 50",
    "with recursive t(n) as (select 1 union all select n + 1 from t where n < 20) select f.n, g.n as m from t f, t g",
];

#[test]
fn same_bytes_for_every_number_of_threads_and_every_timing() {
    let bench = Bench::new();
    for query in QUERIES {
        let mut first: Option<Vec<u8>> = None;
        for round in 0..6 {
            let mut job = bench.job(query, example());
            job.partitions = [1, 2, 4, 8, 3, 16][round];
            block([1, 2, 4, 0, 8, 3][round], run(&job, &Quiet)).unwrap();
            let bytes = fs_err::read(&job.out).unwrap();
            match &first {
                None => first = Some(bytes),
                Some(first) => assert!(*first == bytes, "round {round} differs: {query}"),
            }
        }
    }
}
