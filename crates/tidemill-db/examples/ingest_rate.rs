//! Measures how much the group-commit writer takes: `cargo run --release -p tidemill-db --example ingest_rate`.
//!
//! For SQLite (in a temporary directory, or the directory given as first argument) and PostgreSQL (a server of its
//! own, or the address given as second argument), with durable commits, closed loop: 1, 8 and 64 writers of single
//! points and of single events, and 8 writers of 1,000-point batches. Each for four seconds. Then the time to open
//! an existing SQLite database and look 50 keys up, as a run with nothing to do does.

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
use tidemill_db::{Db, Point};

const PERIOD: Duration = Duration::from_secs(4);

#[derive(Clone, Copy)]
enum Load {
    Points(usize),
    Event,
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let directory = args.next().map_or_else(|| tempfile::tempdir().unwrap().keep(), Into::into);
    let path = directory.join("rate.db");
    println!("sqlite");
    measure(path.to_str().unwrap()).await;
    opening(path.to_str().unwrap()).await;
    println!("postgres");
    match args.next() {
        Some(url) => measure(&url).await,
        None => measure(tidemill_testkit::Postgres::durable().database().url()).await,
    }
    fs_err::remove_dir_all(directory).unwrap();
}

async fn measure(url: &str) {
    let loads =
        [(Load::Points(1), [1, 8, 64].as_slice()), (Load::Points(1000), &[8]), (Load::Event, &[1, 8, 64])];
    for (load, writers) in loads {
        for writers in writers {
            let db = Db::open(url, Arc::new(SystemClock)).await.unwrap();
            rate(&db, load, *writers).await;
            db.close().await.unwrap();
        }
    }
}

async fn rate(db: &Db, load: Load, writers: usize) {
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let ingest = db.ingest();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while begun.elapsed() < PERIOD {
                let asked = Instant::now();
                match load {
                    Load::Points(rows) => ingest.metrics(points(writer, waits.len(), rows)).await.unwrap(),
                    Load::Event => drop(ingest.events(vec![event()]).await.unwrap()),
                }
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
    };
    println!(
        "  {writers:3} writers x {rows:4} {name}: {:8.0} rows/s, wait p50 {:6.2} ms, p99 {:6.2} ms",
        (waits.len() * rows) as f64 / seconds,
        quantile(0.5),
        quantile(0.99),
    );
}

fn points(writer: usize, call: usize, rows: usize) -> Vec<Point> {
    let run = RunId::from_entropy([writer as u8; 16]);
    let at = Timestamp::from_millis(1_763_935_200_000 + call as i64);
    (0..rows)
        .map(|row| Point {
            run,
            key: format!("metric {}", row % 20),
            step: (call * rows + row) as i64,
            at,
            value: 1.0 / (row + call + 1) as f64,
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
