//! Times a feature step on the 336,776 flights of the example project: two joins, written as Parquet.
//!
//! `cargo run --release -p tidemill-data --example sql_bench [ROUNDS] [THREADS]` prints the seconds of every round and
//! the best of them, then the start-up time of a trivial query.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tidemill_core::Quiet;
use tidemill_data::sql::{SqlJob, SqlTable, run};

const QUERY: &str = "
select f.carrier, f.origin, f.dest, f.distance, f.hour, f.minute, f.time_hour,
       extract(dow from f.time_hour) as weekday, f.month,
       w.temp, w.dewp, w.humid, w.wind_speed, w.precip, w.pressure, w.visib,
       f.year - p.year as plane_age, p.seats, p.manufacturer,
       case when f.arr_delay > 30 then 1 else 0 end as late
from flights f
left join weather w on w.origin = f.origin and w.time_hour = f.time_hour
left join planes p on p.tailnum = f.tailnum
where f.arr_delay is not null";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(7), |text| text.parse())?;
    let threads: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights/data");
    let scratch = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let job = |text: &str, name: &str, tables: Vec<SqlTable>| SqlJob {
        text: text.to_owned(),
        source: "bench.sql".to_owned(),
        tables,
        out: scratch.path().join(name),
        memory_limit: 1 << 30,
        spill_dir: scratch.path().join("spill"),
        partitions: threads,
    };
    let table = |name: &str, paths: Vec<PathBuf>| SqlTable {
        name: name.to_owned(),
        paths: paths.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
        format: None,
    };
    let months = (1..=12).map(|month| data.join(format!("flights/2013-{month:02}.parquet"))).collect();
    let tables = vec![
        table("flights", months),
        table("weather", vec![data.join("weather.parquet")]),
        table("planes", vec![data.join("planes.parquet")]),
    ];
    let mut out = std::io::stdout();
    for (name, text, tables) in [
        ("two joins", QUERY.to_owned(), tables.clone()),
        (
            "two joins, ordered",
            format!("{QUERY} order by f.time_hour, f.origin, f.carrier, f.flight"),
            tables,
        ),
        ("select 1", "select 1 as one".to_owned(), Vec::new()),
    ] {
        let job = job(&text, "out.parquet", tables);
        let mut best = f64::INFINITY;
        let mut rows = 0;
        for _ in 0..rounds {
            let start = Instant::now();
            rows = runtime.block_on(run(&job, &Quiet))?.rows;
            let seconds = start.elapsed().as_secs_f64();
            best = best.min(seconds);
            write!(out, "{seconds:.4} ")?;
        }
        writeln!(out, "\n{name}: best {best:.4} s, {rows} rows, {threads} threads")?;
    }
    Ok(())
}
