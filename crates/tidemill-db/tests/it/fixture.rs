//! A fresh database of either kind, and values to put into it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tidemill_core::{Actor, Digest, EventKind, NewEvent, RunId, StepState, SystemClock, Timestamp};
use tidemill_db::tracking::{Batch, Experiment, KeyValue, Metric, NewTrackedRun, RunInfo, RunStatus, Stage};
use tidemill_db::{Db, NewRun, Owner, StepResult, StepRun};
use tidemill_testkit::{Database, Postgres};

/// Makes two tests, `sqlite::NAME` and `postgres::NAME`, of each async function that takes a [`Fixture`].
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::fixture::Fixture::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::fixture::Fixture::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both;

pub(crate) struct Fixture {
    pub(crate) db: Db,
    pub(crate) url: String,
    _kept: Kept,
}

#[expect(dead_code, reason = "held for what dropping them removes")]
enum Kept {
    Directory(tempfile::TempDir),
    Database(Database),
}

impl Fixture {
    /// Until PostgreSQL knows of more than 200 rows in each of these tables.
    pub(crate) async fn until_analyzed(&self, tables: &[&str]) {
        let names = tables.iter().map(|table| format!("'{table}'")).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT CAST(reltuples > 200 AS TEXT) FROM pg_class WHERE relname IN ({names})");
        let until = Instant::now() + Duration::from_secs(20);
        while self.rows(&sql).await != vec!["true"; tables.len()] {
            assert!(Instant::now() < until, "the tables were not analyzed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = directory.path().join("a b%20c?.db").to_str().unwrap().to_owned();
        Self { db: open(&url).await, url, _kept: Kept::Directory(directory) }
    }

    pub(crate) async fn postgres() -> Self {
        let database = Postgres::shared().database();
        let url = database.url().to_owned();
        Self { db: open(&url).await, url, _kept: Kept::Database(database) }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }

    /// Runs SQL behind the back of the crate.
    pub(crate) async fn sql(&self, sql: &str) {
        self.try_sql(sql).await.unwrap();
    }

    pub(crate) async fn try_sql(&self, sql: &str) -> sqlx::Result<()> {
        let text = sqlx::AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            sqlx::raw_sql(text).execute(&mut PgConnection::connect(&self.url).await?).await?;
        } else {
            sqlx::raw_sql(text).execute(&mut sqlite(&self.url).await).await?;
        }
        Ok(())
    }

    /// What a query for one column of text gives.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        let text = sqlx::AssertSqlSafe(sql.to_owned());
        if self.is_postgres() {
            sqlx::query_scalar(text)
                .fetch_all(&mut PgConnection::connect(&self.url).await.unwrap())
                .await
                .unwrap()
        } else {
            sqlx::query_scalar(text).fetch_all(&mut sqlite(&self.url).await).await.unwrap()
        }
    }

    /// The root and the frontier that are stored.
    pub(crate) async fn head_row(&self) -> (String, String) {
        let sql = "SELECT root, frontier FROM log_head";
        if self.is_postgres() {
            sqlx::query_as(sql).fetch_one(&mut PgConnection::connect(&self.url).await.unwrap()).await.unwrap()
        } else {
            sqlx::query_as(sql).fetch_one(&mut sqlite(&self.url).await).await.unwrap()
        }
    }

    /// Switches off what guards the log, as somebody with the rights of the owner could.
    pub(crate) async fn unguard(&self) {
        let on = if self.is_postgres() { " ON event" } else { "" };
        self.sql(&format!("DROP TRIGGER event_no_update{on}; DROP TRIGGER event_no_delete{on};")).await;
    }
}

/// A connection of our own, with SQLite's defaults.
pub(crate) async fn sqlite(path: &str) -> SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    sqlx::ConnectOptions::connect(&options).await.unwrap()
}

pub(crate) async fn open(url: &str) -> Db {
    Db::open(url, Arc::new(SystemClock)).await.unwrap()
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) fn run_id(number: u8) -> RunId {
    RunId::from_entropy([number; 16])
}

/// Something harmless to append.
pub(crate) fn pushed(remote: &str, bytes: u64) -> NewEvent {
    event(i64::try_from(bytes).unwrap(), EventKind::StorePushed { remote: remote.to_owned(), bytes })
}

pub(crate) fn event(millis: i64, kind: EventKind) -> NewEvent {
    NewEvent { at: at(millis), actor: Actor::user("ana"), kind, cause: None }
}

pub(crate) fn new_run(id: RunId, started: i64) -> NewRun {
    NewRun {
        id,
        project: "flights".to_owned(),
        plan: digest("plan"),
        commit: Some("c0ffee".to_owned()),
        started_at: at(started),
        cause: Some(1),
        owner: Owner { host: "h".to_owned(), pid: 42, boot: "b".to_owned(), started: 7 },
    }
}

pub(crate) fn started(id: RunId, millis: i64) -> NewEvent {
    event(millis, EventKind::RunStarted { run: id, commit: None, plan: digest("plan") })
}

pub(crate) fn step(run: RunId, name: &str) -> StepRun {
    StepRun {
        run,
        step: name.to_owned(),
        key: digest(&format!("key of {name}")),
        state: StepState::Ran,
        attempt: 1,
        exit_code: Some(0),
        outputs: Some(digest(&format!("outputs of {name}"))),
        log: Some(digest(&format!("log of {name}"))),
        started_at: at(10),
        ended_at: at(20),
        reason: Some("{\"new\":true}".to_owned()),
    }
}

pub(crate) fn result(step: &StepRun) -> StepResult {
    StepResult {
        key: step.key,
        outputs: format!("{{\"out.parquet\":\"{}\"}}", digest(&format!("file of {}", step.step))),
        run: step.run,
        created_at: step.ended_at,
        duration_ms: 10,
    }
}

pub(crate) fn step_finished(step: &StepRun) -> NewEvent {
    event(
        step.ended_at.millis(),
        EventKind::StepFinished {
            run: step.run,
            step: step.step.clone(),
            state: step.state,
            key: step.key,
            outputs: step.outputs,
            exit_code: step.exit_code,
            duration_ms: 10,
        },
    )
}

/// A run that has begun.
pub(crate) async fn begun(db: &Db, number: u8, started_at: i64) -> RunId {
    let id = run_id(number);
    let mut tx = db.begin().await.unwrap();
    tx.start_run(&new_run(id, started_at)).await.unwrap();
    tx.commit(vec![started(id, started_at)]).await.unwrap();
    id
}

/// An experiment of that number.
pub(crate) async fn experiment(db: &Db, id: i64) -> Experiment {
    let experiment = Experiment {
        id,
        name: format!("experiment {id}"),
        artifact_location: format!("mlflow-artifacts:/{id}"),
        stage: Stage::Active,
        created_at: at(1),
        updated_at: at(1),
        tags: vec![pair("team", "tide")],
    };
    let mut tx = db.begin().await.unwrap();
    tx.create_experiment(&experiment).await.unwrap();
    let kind = EventKind::ExperimentCreated { experiment: id, name: experiment.name.clone() };
    tx.commit(vec![event(1, kind)]).await.unwrap();
    experiment
}

pub(crate) fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_owned() }
}

pub(crate) fn metric(key: &str, step: i64, millis: i64, value: f64) -> Metric {
    Metric {
        key: key.to_owned(),
        value,
        at: at(millis),
        step,
        dataset_name: None,
        dataset_digest: None,
        model_id: None,
        run_id: None,
    }
}

pub(crate) fn new_tracked(id: RunId, experiment: i64) -> NewTrackedRun {
    NewTrackedRun {
        id,
        experiment,
        name: format!("run {}", id.short()),
        user: "ana".to_owned(),
        status: RunStatus::Running,
        started_at: Some(at(5)),
        ended_at: None,
        artifact_uri: None,
    }
}

pub(crate) fn created(run: &NewTrackedRun) -> NewEvent {
    let (id, name) = (run.id, run.name.clone());
    event(5, EventKind::TrackingRunCreated { run: id, experiment: run.experiment, name })
}

pub(crate) fn moved(run: RunId, status: RunStatus) -> NewEvent {
    event(6, EventKind::TrackingRunMoved { run, status: status.word().to_owned() })
}

/// A tracked run of an experiment that is there.
pub(crate) async fn tracked(db: &Db, id: RunId, experiment: i64) -> RunInfo {
    let run = new_tracked(id, experiment);
    let event = created(&run);
    db.ingest().create_run(run, Batch::default(), event).await.unwrap()
}

pub(crate) fn metrics(metrics: Vec<Metric>) -> Batch {
    Batch { metrics, ..Batch::default() }
}

/// Whether two numbers are the same, with NaN the same as itself.
pub(crate) fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan()
}
