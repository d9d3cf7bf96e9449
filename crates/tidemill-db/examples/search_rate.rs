//! Measures searches over runs: `cargo run --release -p tidemill-db --example search_rate [RUNS…]`.
//!
//! For SQLite (in a temporary directory) and PostgreSQL (a server of its own), with 2,000, 20,000 and 200,000 runs unless
//! said otherwise, four fifths of them in one experiment: filters from very selective to matching nothing, several orders,
//! and of each the first page of 100, one in the middle and the last one. Prints the median and the slowest of several
//! repetitions in milliseconds, the runs included. `SEARCH_RATE_ONLY=sqlite` or `=postgres` measures one of them.

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

use sqlx::{AssertSqlSafe, Connection as _};
use tidemill_core::SystemClock;
use tidemill_db::Db;
use tidemill_db::search::{Condition, Cursor, Field, Op, Operand, OrderBy, RunSearch};
use tidemill_db::tracking::Stage;

const PAGE: usize = 100;
const REPEAT: usize = 15;

#[tokio::main]
async fn main() {
    let sizes: Vec<i64> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![2_000, 20_000, 200_000] } else { sizes };
    let only = std::env::var("SEARCH_RATE_ONLY").unwrap_or_default();
    for runs in sizes {
        if only != "postgres" {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("search.db");
            measure("sqlite", path.to_str().unwrap(), runs).await;
        }
        if only != "sqlite" {
            let database = tidemill_testkit::Postgres::durable().database();
            measure("postgres", database.url(), runs).await;
        }
    }
}

async fn measure(name: &str, url: &str, runs: i64) {
    let db = Db::open(url, Arc::new(SystemClock)).await.unwrap();
    let begun = Instant::now();
    fill(url, runs).await;
    println!("{name}, {runs} runs (filled in {:.0} s)", begun.elapsed().as_secs_f64());
    println!("  {:<58} {:>7} {:>15} {:>15} {:>15}", "", "found", "first", "middle", "last");
    for (title, conditions, order) in questions() {
        ask(&db, title, conditions, order).await;
    }
    db.close().await.unwrap();
}

fn metric(key: &str, op: Op, value: f64) -> Condition {
    Condition { field: Field::Metric(key.to_owned()), op, value: Operand::Number(value) }
}

fn param(key: &str, op: Op, value: &str) -> Condition {
    Condition { field: Field::Param(key.to_owned()), op, value: Operand::Text(value.to_owned()) }
}

fn by(field: Field, descending: bool) -> Vec<OrderBy> {
    vec![OrderBy { field, descending }]
}

type Question = (&'static str, Vec<Condition>, Vec<OrderBy>);

fn questions() -> Vec<Question> {
    let metric_order = |key: &str, descending| by(Field::Metric(key.to_owned()), descending);
    let adam = || param("optimizer", Op::Eq, "adam");
    vec![
        ("everything, newest first", vec![], vec![]),
        ("everything by loss", vec![], metric_order("loss", false)),
        ("everything by steps, the same for all", vec![], metric_order("steps", true)),
        ("everything by a rare metric", vec![], metric_order("rare", true)),
        ("everything by optimizer", vec![], by(Field::Param("optimizer".to_owned()), false)),
        ("everything by lr", vec![], by(Field::Param("lr".to_owned()), true)),
        ("everything by end time", vec![], by(Field::Attribute("end_time".to_owned()), true)),
        ("loss < 0.5, adam by loss", vec![metric("loss", Op::Lt, 0.5), adam()], metric_order("loss", false)),
        (
            "loss < 0.5, adam by accuracy",
            vec![metric("loss", Op::Lt, 0.5), adam()],
            metric_order("accuracy", true),
        ),
        (
            "loss < 0.01, adam by accuracy",
            vec![metric("loss", Op::Lt, 0.01), adam()],
            metric_order("accuracy", true),
        ),
        (
            "loss < 0.0005, adam by loss",
            vec![metric("loss", Op::Lt, 0.0005), adam()],
            metric_order("loss", true),
        ),
        (
            "loss < 2, adam by accuracy",
            vec![metric("loss", Op::Lt, 2.0), adam()],
            metric_order("accuracy", true),
        ),
        (
            "loss > 0.1, adam by accuracy",
            vec![metric("loss", Op::Gt, 0.1), adam()],
            metric_order("accuracy", true),
        ),
        ("loss < 0, adam by loss", vec![metric("loss", Op::Lt, 0.0), adam()], metric_order("loss", false)),
        (
            "loss < 0.5, accuracy > 0.5: together nothing, by accuracy",
            vec![metric("loss", Op::Lt, 0.5), metric("twin", Op::Gt, 0.5)],
            metric_order("accuracy", true),
        ),
        ("adam, newest first", vec![adam()], vec![]),
        ("lr = one of 5,000, newest first", vec![param("lr", Op::Eq, "0.1234")], vec![]),
        ("lr LIKE 0.12%, by loss", vec![param("lr", Op::Like, "0.12%")], metric_order("loss", false)),
        ("lr LIKE %77, by loss", vec![param("lr", Op::Like, "%77")], metric_order("loss", false)),
        ("loss < 0.5, adam, newest first", vec![metric("loss", Op::Lt, 0.5), adam()], vec![]),
    ]
}

async fn ask(db: &Db, title: &str, conditions: Vec<Condition>, order: Vec<OrderBy>) {
    let mut search = RunSearch {
        experiments: vec![1],
        stages: vec![Stage::Active],
        conditions,
        order,
        limit: PAGE,
        after: None,
    };
    // The places of all pages, by way of large ones.
    let mut places: Vec<(usize, Option<Cursor>)> = vec![(0, None)];
    let mut found = 0;
    search.limit = 5_000;
    let last = loop {
        let page = db.search_runs(&search).await.unwrap();
        found += page.items.len();
        match page.next {
            Some(next) => {
                places.push((found, Some(next.clone())));
                search.after = Some(next);
            }
            None => break places.last().cloned().unwrap(),
        }
    };
    search.limit = PAGE;
    let middle = places[places.len() / 2].1.clone();
    // From the last large page on in small ones.
    search.after = last.1;
    let mut end = search.after.clone();
    while let Some(next) = db.search_runs(&search).await.unwrap().next {
        end = Some(next.clone());
        search.after = Some(next);
    }
    let mut times = Vec::new();
    for after in [None, middle, end] {
        search.after = after;
        let mut waits: Vec<Duration> = Vec::new();
        for _ in 0..REPEAT {
            let begun = Instant::now();
            db.search_runs(&search).await.unwrap();
            waits.push(begun.elapsed());
        }
        waits.sort_unstable();
        let shown = |wait: Duration| wait.as_secs_f64() * 1000.0;
        times.push(format!("{:>6.1} ({:>6.1})", shown(waits[REPEAT / 2]), shown(waits[REPEAT - 1])));
    }
    println!("  {title:<58} {found:>7} {:>15} {:>15} {:>15}", times[0], times[1], times[2]);
}

/// Rows in bulk, as a year of work would leave them. `{n}` counts from 1.
async fn fill(url: &str, runs: i64) {
    const TABLES: &[&str] = &[
        "INSERT INTO experiment (id, name, artifact_location, stage, created_at, updated_at)
            SELECT n, 'experiment ' || n, 'mlflow-artifacts:/' || n, 'active', n, n FROM {ten}",
        "INSERT INTO run (id, uuid, experiment_id, name, user_name, status, stage, artifact_uri, started_at, ended_at)
            SELECT n, {uuid}, CASE WHEN n % 5 = 0 THEN 2 + n % 8 ELSE 1 END, 'run ' || n, 'user ' || (n % 20),
                CASE WHEN n % 50 = 0 THEN 'FAILED' ELSE 'FINISHED' END,
                CASE WHEN n % 100 = 7 THEN 'deleted' ELSE 'active' END,
                'mlflow-artifacts:/1/' || n, 1700000000000 + n * 977, 1700000000000 + n * 977 + n * 7919 % 100003
            FROM {all}",
        "INSERT INTO run_param (run_id, key, value) SELECT n, 'optimizer',
            CASE n * 7919 % 4 WHEN 0 THEN 'adam' WHEN 1 THEN 'sgd' WHEN 2 THEN 'lion' ELSE 'rmsprop' END FROM {all}",
        "INSERT INTO run_param (run_id, key, value) SELECT n, 'lr', '0.' || (n * 104729 % 5000) FROM {all}",
        "INSERT INTO run_param (run_id, key, value) SELECT n, 'layers', '' || (n % 12) FROM {all}",
        "INSERT INTO run_tag (run_id, key, value) SELECT n, 'mlflow.runName', 'run ' || n FROM {all}",
        "INSERT INTO run_tag (run_id, key, value) SELECT n, 'mlflow.user', 'user ' || (n % 20) FROM {all}",
        "INSERT INTO series (run_id, name, last_step, last_at, last_value, last_is_nan, ordered)
            SELECT n, 'loss', 10, n, (n * 7907 % 100003) / 100003.0, 0, 1 FROM {all}",
        "INSERT INTO series (run_id, name, last_step, last_at, last_value, last_is_nan, ordered)
            SELECT n, 'twin', 10, n, (n * 7907 % 100003) / 100003.0, 0, 1 FROM {all}",
        "INSERT INTO series (run_id, name, last_step, last_at, last_value, last_is_nan, ordered)
            SELECT n, 'accuracy', 10, n, (n * 6971 % 99991) / 99991.0, 0, 1 FROM {all}",
        "INSERT INTO series (run_id, name, last_step, last_at, last_value, last_is_nan, ordered)
            SELECT n, 'steps', 10, n, 1000.0, 0, 1 FROM {all}",
        "INSERT INTO series (run_id, name, last_step, last_at, last_value, last_is_nan, ordered)
            SELECT n, 'rare', 10, n, n * 1.0, 0, 1 FROM {all} WHERE n % 400 = 1",
    ];
    for table in TABLES {
        let (count, uuid) = if url.starts_with("postgres") {
            ("generate_series(1, {n}) AS g(n)", "md5(n::text)")
        } else {
            (
                "(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {n}) SELECT n FROM g)",
                "printf('%08x%024x', n * 7919 % 1000003, n)",
            )
        };
        let text = table
            .replace("{ten}", &count.replace("{n}", "10"))
            .replace("{all}", &count.replace("{n}", &runs.to_string()))
            .replace("{uuid}", uuid);
        let text = AssertSqlSafe(text);
        if url.starts_with("postgres") {
            let mut c = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::raw_sql(text).execute(&mut c).await.unwrap();
        } else {
            let mut c = sqlx::SqliteConnection::connect(&format!("sqlite://{url}")).await.unwrap();
            sqlx::raw_sql(text).execute(&mut c).await.unwrap();
        }
    }
}
