//! Measures how much the group-commit writer takes: `cargo run --release -p tidemill-db --example ingest_rate`.
//!
//! For SQLite (in a temporary directory, or the directory given as first argument) and PostgreSQL (a server of its
//! own, or the address given as second argument; `-` leaves it out), with durable commits, closed loop: 1, 8 and 64
//! writers of single points and of single events, 8 writers of 1,000-point batches, 8 writers that make runs, and 8
//! writers that make runs with 5 tags, log 10 parameters and 10 metrics in a batch and end them. Each for four
//! seconds, on one database that grows. Then the time to open an existing SQLite database and look 50 keys up, as a
//! run with nothing to do does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests and measuring programs fail where their helpers fail, and print what they find"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_core::{Actor, Digest, EventKind, NewEvent, RunId, SystemClock, Timestamp};
use tidemill_db::tracking::{Batch, Experiment, KeyValue, Metric, NewTrackedRun, RunStatus, Stage};
use tidemill_db::{Db, Ingest};

const PERIOD: Duration = Duration::from_secs(4);

#[derive(Clone, Copy)]
enum Load {
    Points(usize),
    Event,
    /// Make a run.
    Run,
    /// Make a run, log a batch, end it.
    WholeRun,
}

const LOADS: [(Load, &[usize]); 5] = [
    (Load::Points(1), &[1, 8, 64]),
    (Load::Points(1000), &[8]),
    (Load::Event, &[1, 8, 64]),
    (Load::Run, &[8]),
    (Load::WholeRun, &[8]),
];

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let directory = args.next().map_or_else(|| tempfile::tempdir().unwrap().keep(), Into::into);
    let path = directory.join("rate.db");
    println!("sqlite");
    measure(path.to_str().unwrap()).await;
    opening(path.to_str().unwrap()).await;
    match args.next() {
        Some(url) if url == "-" => {}
        Some(url) => {
            println!("postgres");
            measure(&url).await;
        }
        None => {
            println!("postgres");
            measure(tidemill_testkit::Postgres::durable().database().url()).await;
        }
    }
    fs_err::remove_dir_all(directory).unwrap();
}

async fn measure(url: &str) {
    let db = open(url).await;
    prepare(&db).await;
    db.close().await.unwrap();
    for (load, writers) in LOADS {
        for writers in writers {
            let db = open(url).await;
            rate(&db, load, *writers).await;
            db.close().await.unwrap();
        }
    }
}

async fn open(url: &str) -> Db {
    Db::open(url, Arc::new(SystemClock)).await.unwrap()
}

/// An experiment with a run for each writer of points.
async fn prepare(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    let experiment = Experiment {
        id: 1,
        name: "rate".to_owned(),
        artifact_location: "mlflow-artifacts:/1".to_owned(),
        stage: Stage::Active,
        created_at: AT,
        updated_at: AT,
        tags: Vec::new(),
    };
    tx.create_experiment(&experiment).await.unwrap();
    tx.commit(vec![event()]).await.unwrap();
    for writer in 0..64 {
        make_run(&db.ingest(), run_of(writer)).await;
    }
}

async fn rate(db: &Db, load: Load, writers: usize) {
    let (begun, cpu) = (Instant::now(), cpu());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let ingest = db.ingest();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < PERIOD {
                let asked = Instant::now();
                call(&ingest, load, writer, waits.len()).await;
                waits.push(asked.elapsed());
            }
            waits
        });
    }
    let mut waits: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let seconds = begun.elapsed().as_secs_f64();
    waits.sort_unstable();
    let quantile = |q: f64| waits[((waits.len() - 1) as f64 * q) as usize].as_secs_f64() * 1000.0;
    let (name, rows) = match load {
        Load::Points(rows) => ("points", rows),
        Load::Event => ("events", 1),
        Load::Run => ("runs made", 1),
        Load::WholeRun => ("runs with 25 values", 1),
    };
    println!(
        "  {writers:3} writers x {rows:4} {name}: {:8.0}/s, wait p50 {:6.2} ms, p99 {:6.2} ms, CPU {:6.1} us each",
        (waits.len() * rows) as f64 / seconds,
        quantile(0.5),
        quantile(0.99),
        (self::cpu() - cpu) * 1e6 / (waits.len() * rows) as f64,
    );
}

/// CPU seconds of this process so far, by user and system.
fn cpu() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |i: usize| fields[i].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

async fn call(ingest: &Ingest, load: Load, writer: usize, call: usize) {
    match load {
        Load::Points(rows) => {
            let metrics = points(call, rows);
            ingest.log(run_of(writer), Batch { metrics, ..Batch::default() }).await.unwrap();
        }
        Load::Event => drop(ingest.events(vec![event()]).await.unwrap()),
        Load::Run => make_run(ingest, new_id()).await,
        Load::WholeRun => {
            let run = new_id();
            make_run(ingest, run).await;
            let params = (0..10).map(|i| pair("param", i, call)).collect();
            let mut metrics = points(call, 10);
            metrics.iter_mut().for_each(|metric| metric.step = 0);
            ingest.log(run, Batch { params, metrics, ..Batch::default() }).await.unwrap();
            let status = RunStatus::Finished;
            let end = Batch { status: Some(status), ended_at: Some(AT), ..Batch::default() };
            let kind = EventKind::TrackingRunMoved { run, status: status.word().to_owned() };
            ingest.update_run(run, end, NewEvent { kind, ..event() }).await.unwrap();
        }
    }
}

async fn make_run(ingest: &Ingest, id: RunId) {
    let name = format!("run {}", id.short());
    let kind = EventKind::TrackingRunCreated { run: id, experiment: 1, name: name.clone() };
    let new = NewTrackedRun {
        id,
        experiment: 1,
        name,
        user: "ana".to_owned(),
        status: RunStatus::Running,
        started_at: Some(AT),
        ended_at: None,
        artifact_uri: None,
    };
    let tags = (0..5).map(|i| pair("mlflow.tag", i, i)).collect();
    ingest.create_run(new, Batch { tags, ..Batch::default() }, NewEvent { kind, ..event() }).await.unwrap();
}

const AT: Timestamp = Timestamp::from_millis(1_763_935_200_000);

fn run_of(writer: usize) -> RunId {
    RunId::from_entropy([writer as u8; 16])
}

/// Different in each call, and as scattered as random ones.
fn new_id() -> RunId {
    static MADE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let digest = Digest::of(&number.to_le_bytes()).to_string();
    digest[3..35].parse().unwrap()
}

fn pair(key: &str, i: usize, value: usize) -> KeyValue {
    KeyValue { key: format!("{key}.{i}"), value: format!("value {value}") }
}

fn points(call: usize, rows: usize) -> Vec<Metric> {
    (0..rows)
        .map(|row| Metric {
            key: format!("metric {}", row % 20),
            value: 1.0 / (row + call + 1) as f64,
            at: AT.plus(Duration::from_millis(call as u64)),
            step: (call * rows + row) as i64,
            dataset_name: None,
            dataset_digest: None,
            model_id: None,
            run_id: None,
        })
        .collect()
}

fn event() -> NewEvent {
    let kind = EventKind::StorePushed { remote: "s3://bucket/prefix".to_owned(), bytes: 1 };
    NewEvent { at: Timestamp::from_millis(1), actor: Actor::user("ana"), kind, cause: None }
}

async fn opening(path: &str) {
    let keys: Vec<Digest> = (0..50_u8).map(|i| Digest::of(&[i])).collect();
    let mut times: Vec<[Duration; 3]> = Vec::new();
    for _ in 0..21 {
        let begun = Instant::now();
        let db = Db::open(path, Arc::new(SystemClock)).await.unwrap();
        let opened = begun.elapsed();
        db.step_cache_many(&keys).await.unwrap();
        let read = begun.elapsed();
        db.close().await.unwrap();
        times.push([opened, read, begun.elapsed()]);
    }
    times.sort_unstable_by_key(|times| times[2]);
    let [opened, read, closed] = times[times.len() / 2].map(|time| time.as_secs_f64() * 1000.0);
    println!(
        "  open {opened:.2} ms, with 50 keys looked up {read:.2} ms, with close {closed:.2} ms (median of 21)"
    );
}
