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

/// Set by [`same_bytes_in_another_process`] for the process that it starts.
const ELSEWHERE: &str = "TIDEMILL_TEST_SQL_OUT";

fn digests() -> Vec<String> {
    let bench = Bench::new();
    let digest = |query: &&str| {
        let job = bench.job(query, example());
        go(&job).unwrap();
        tidemill_core::Digest::of(&fs_err::read(&job.out).unwrap()).to_string()
    };
    QUERIES.iter().map(digest).collect()
}

#[test]
fn same_bytes_in_another_process() {
    let here = digests();
    if let Some(out) = std::env::var_os(ELSEWHERE) {
        fs_err::write(Path::new(&out), here.join("\n")).unwrap();
        return;
    }
    let bench = Bench::new();
    let out = bench.path("digests");
    // Hash seeds and addresses differ from process to process.
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sql::same_bytes_in_another_process"])
        .env(ELSEWHERE, &out)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let there = fs_err::read_to_string(&out).unwrap();
    for ((query, here), there) in QUERIES.iter().zip(&here).zip(there.lines()) {
        assert_eq!(here, there, "{query}");
    }
}

#[test]
fn results_are_those_of_duckdb() {
    let bench = Bench::new();
    let script = "
import sys, json, duckdb
out, sql, flights, weather, planes = sys.argv[1:6]
c = duckdb.connect()
c.execute(f\"create view flights as select * from read_parquet('{flights}')\")
c.execute(f\"create view weather as select * from read_parquet('{weather}')\")
c.execute(f\"create view planes as select * from read_parquet('{planes}')\")
c.execute(f\"create view ours as select * from read_parquet('{out}')\")
c.execute('create table theirs as ' + open(sql).read())
cols = [r[0] for r in c.execute('describe theirs').fetchall()]
keys = ', '.join(cols)
import math
floats = [i for i, r in enumerate(c.execute('describe theirs').fetchall()) if r[1] in ('DOUBLE', 'FLOAT')]
def rows(table):
    key = lambda row: (str([v for i, v in enumerate(row) if i not in floats]),
                       [(v is None, round(v or 0.0, 3)) for i, v in enumerate(row) if i in floats])
    return sorted(c.execute(f'select {keys} from {table}').fetchall(), key=key)
def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)
    return a == b
ours, theirs = rows('ours'), rows('theirs')
a = sum(not all(map(same, x, y)) for x, y in zip(ours, theirs)) + abs(len(ours) - len(theirs))
print(json.dumps([a, len(theirs)]))
";
    for query in
        [QUERIES[0], QUERIES[1], QUERIES[3], QUERIES[4], QUERIES[5], QUERIES[6], QUERIES[7], QUERIES[8]]
    {
        let job = bench.job(query, example());
        let rows = go(&job).unwrap().rows;
        let sql = bench.path("query.sql");
        fs_err::write(&sql, query).unwrap();
        let all = flights().join("flights/*.parquet");
        let (weather, planes) = (flights().join("weather.parquet"), flights().join("planes.parquet"));
        let found = python(script, &[&job.out, &sql, &all, &weather, &planes]);
        assert_eq!(found, serde_json::json!([0, rows]), "{query}");
    }
}

#[test]
fn every_format_is_read_as_by_our_readers() {
    let bench = Bench::new();
    let csv = bench.path("a file.csv");
    fs_err::write(&csv, "id,day,x\n1,2013-01-31,0.5\n2,NA,1\n").unwrap();
    let json = bench.path("b*?.jsonl");
    fs_err::write(&json, "{\"id\": 1, \"label\": \"p\"}\n{\"id\": 2}\n").unwrap();
    let parquet = bench.path("with #%20 space.parquet");
    fs_err::copy(flights().join("airlines.parquet"), &parquet).unwrap();
    let job = bench.job(
        "select a.id, a.day, a.x, b.label, (select count(*) from c) as n from a join b on a.id = b.id order by a.id",
        vec![table("a", &[csv]), table("b", &[json]), table("c", &[parquet])],
    );
    let outcome = go(&job).unwrap();
    assert_eq!(outcome.rows, 2);
    let kinds: Vec<&str> = outcome.columns.iter().map(|column| column.data_type.as_str()).collect();
    assert_eq!(kinds, ["Int64", "Date32", "Float64", "Utf8", "Int64"]);
    let back = Table::open(&[job.out], None).unwrap();
    assert_eq!(back.rows(), 2);
}

#[test]
fn refusals_name_the_place() {
    let bench = Bench::new();
    for (text, place, message, hint) in [
        (
            "select carrier\nfrom flihgts",
            "2:6",
            "there is no table `flihgts`",
            Some("did you mean `flights`?"),
        ),
        (
            "select 1 as x,\n  carier from flights",
            "2:3",
            "there is no column `carier`",
            Some("did you mean `carrier`?"),
        ),
        (
            "select f.carier from flights f",
            "1:8",
            "there is no column `f.carier`",
            Some("did you mean `carrier`?"),
        ),
        ("select carrier\nfrom flights\nwhere", "", "expected", None),
        ("select carrier frm flights x y", "1:20", "expected: end of statement, found: flights", None),
        ("select flor(1.5)", "1:8", "there is no function `flor`", Some("did you mean `floor`?")),
        (
            "select now() as t",
            "1:8",
            "`now` does not give the same answer every time",
            Some("as a parameter"),
        ),
        ("select current_date as t", "1:8", "`current_date` does not", Some("as a parameter")),
        ("select current_timestamp as t", "1:8", "`current_timestamp` does not", Some("as a parameter")),
        ("select random() as r", "1:8", "`random` does not give", Some("derive the value")),
        ("select * from flights where year = (select uuid())", "1:44", "`uuid` does not", None),
        ("create table x as select 1", "1:1", "`CREATE` is not allowed", Some("one `select`")),
        ("copy flights to 'x.csv'", "1:1", "`COPY` is not allowed", None),
        ("insert into flights select * from flights", "1:1", "`INSERT` is not allowed", None),
        ("drop table flights", "1:1", "`DROP` is not allowed", None),
        ("explain select 1", "1:1", "`EXPLAIN` is not allowed", None),
        ("set datafusion.execution.target_partitions = 8", "1:1", "`SET` is not allowed", None),
        (
            "create external table x stored as csv location '/etc/passwd'",
            "1:1",
            "`CREATE` is not allowed",
            None,
        ),
        ("select 1; select 2", "", "2 statements", None),
        ("", "", "there is no query", None),
        ("-- nothing", "", "there is no query", None),
        ("select * from '/etc/passwd'", "1:15", "there is no table", None),
        ("select * from information_schema.tables", "1:34", "there is no table", None),
        ("select 1 as a, 2 as a", "", "", None),
    ] {
        let error = go(&bench.job(text, example())).unwrap_err();
        let shown = error.to_string();
        let start =
            if place.is_empty() { "sql/test.sql".to_owned() } else { format!("sql/test.sql:{place}: ") };
        assert!(shown.starts_with(&start), "{text}: {shown}");
        assert!(shown.contains(message), "{text}: {shown}");
        if let Some(hint) = hint {
            assert!(error.hint().unwrap_or_default().contains(hint), "{text}: {:?}", error.hint());
        }
        assert!(!bench.path("out.parquet").exists(), "{text}");
    }
}

#[test]
fn bad_files_are_named_before_anything_is_written() {
    let bench = Bench::new();
    let whole = fs_err::read(flights().join("planes.parquet")).unwrap();
    let cut = bench.path("cut.parquet");
    fs_err::write(&cut, &whole[..whole.len() / 2]).unwrap();
    fs_err::write(bench.path("out.parquet"), "before").unwrap();
    let error = go(&bench.job("select * from t", vec![table("t", &[cut])])).unwrap_err();
    assert!(error.to_string().contains("cut.parquet` is truncated"), "{error}");
    assert_eq!(fs_err::read_to_string(bench.path("out.parquet")).unwrap(), "before");
}

#[test]
fn work_that_does_not_fit_spills_and_gives_the_same() {
    let bench = Bench::new();
    let query =
        "select * from flights order by arr_delay, tailnum, time_hour, flight, dest, origin, dep_time";
    let mut job = bench.job(query, example());
    let roomy = go(&job).unwrap();
    let expected = fs_err::read(&job.out).unwrap();
    assert_eq!(roomy.spilled_bytes, 0);
    job.memory_limit = 24 << 20;
    let tight = go(&job).unwrap();
    assert!(tight.spilled_bytes > 0);
    assert!(fs_err::read(&job.out).unwrap() == expected);
    assert_eq!(fs_err::read_dir(bench.path("spill")).unwrap().count(), 0);
}

#[test]
fn too_little_memory_is_said_so() {
    let bench = Bench::new();
    let mut job = bench.job(
        "select a.flight from flights a join flights b on a.tailnum = b.tailnum and a.day = b.day",
        example(),
    );
    job.memory_limit = 1 << 20;
    let error = go(&job).unwrap_err();
    assert!(error.to_string().contains("the query needs more memory than it may use"), "{error}");
    assert!(error.hint().unwrap().contains("`memory`"));
    assert!(!job.out.exists());
}

#[test]
fn cancelled_work_stops_and_leaves_nothing() {
    struct After(std::sync::atomic::AtomicU32);
    impl Progress for After {
        fn begin(&self, _: &str, _: Option<u64>, _: tidemill_core::Unit) {}
        fn advance(&self, _: u64) {}
        fn cancelled(&self) -> bool {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 2
        }
    }
    let bench = Bench::new();
    let endless = bench.job(
        "select sum(a.distance * b.air_time + c.dep_delay) as n from flights a, flights b, flights c",
        example(),
    );
    for threads in [0, 2] {
        let stopped = block(threads, run(&endless, &After(std::sync::atomic::AtomicU32::new(0))));
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    }
    let cancel = Cancel::new();
    cancel.cancel();
    assert!(matches!(block(2, run(&bench.job(QUERIES[0], example()), &cancel)), Err(Error::Cancelled)));
    assert_eq!(
        fs_err::read_dir(bench.folder.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().is_file())
            .count(),
        0
    );
}

#[test]
fn assertions() {
    let tables = example();
    let asked = |text: &str| block(2, assert_sql(text, &tables));
    assert!(asked("select count(*) = 336776 from flights").unwrap().passed);
    assert!(!asked("select count(*) = 1 from flights").unwrap().passed);
    // Nothing known is not true.
    assert!(!asked("select null = 1").unwrap().passed);
    assert!(asked("select true from planes").unwrap_err().to_string().contains("rows"));
    assert!(asked("select 1").is_err());
}
