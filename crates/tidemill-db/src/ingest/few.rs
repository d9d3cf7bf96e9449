//! Groups of a few points and nothing else on SQLite, which is what training loops make: a thread writes them on a connection of
//! its own, with one way there and one back, where other groups take a way to the thread of sqlx's connection for each statement.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tidemill_core::RunId;
use tokio::sync::oneshot;

use super::decide::writable;
use super::points::{Point, direct};
use super::work::{Answer, Work};
use crate::tracking::experiments::parse_stage;
use crate::tracking::{Batch, Metric, Stage};
use crate::writer::{SqliteTurn, SqliteWriter};
use crate::{Error, Result};

/// Points that such a group has at most: on so many others wait no longer than for a group of another kind.
const MOST: usize = 128;

/// One for each request of a group: its answer, or why it was refused.
pub(super) type Answers = Vec<Result<Answer>>;

/// A request for points of a run and nothing else.
struct Points<'a> {
    run: RunId,
    metrics: &'a [Metric],
}

/// Whether a group has nothing but a few points.
pub(super) fn is_few(group: &[Work]) -> bool {
    let mut count = 0;
    group.iter().all(|work| {
        count += points_of(work).map_or(MOST + 1, |points| points.metrics.len());
        count <= MOST
    })
}

fn points_of(work: &Work) -> Option<Points<'_>> {
    let Work::Write { run, batch, event: None } = work else { return None };
    let Batch {
        status,
        ended_at,
        name,
        params,
        metrics,
        tags,
        removed_tags,
        datasets,
        model_inputs,
        model_outputs,
    } = batch;
    let only = status.is_none()
        && ended_at.is_none()
        && name.is_none()
        && params.is_empty()
        && tags.is_empty()
        && removed_tags.is_empty()
        && datasets.is_empty()
        && model_inputs.is_empty()
        && model_outputs.is_empty();
    let plain = !metrics.is_empty() && metrics.iter().all(|metric| metric.model_id.is_none());
    (only && plain).then_some(Points { run: *run, metrics })
}

/// What the thread's connection is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    /// Pages of the write-ahead log after which they are brought into the file.
    pub(crate) checkpoint: u32,
    /// The length in bytes to which the log's file is cut then.
    pub(crate) log_bytes: u64,
    /// What it may keep of the file, in KiB.
    pub(crate) cache_kib: u32,
}

/// A group, with the right to write until it is written.
struct Job {
    group: Vec<Work>,
    turn: SqliteTurn,
    reply: oneshot::Sender<(Vec<Work>, Result<Answers, Unwritten>)>,
}

/// Why a group was not written. Nothing of it was.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// Others were at work for longer than one waits.
    Locked,
    /// Whatever it was, another way to write will say it.
    Other,
}

impl From<rusqlite::Error> for Unwritten {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            _ => {
                tracing::debug!(%error, "a group of points takes the long way");
                Self::Other
            }
        }
    }
}

impl From<Error> for Unwritten {
    fn from(_: Error) -> Self {
        Self::Other
    }
}

/// The thread, which starts with the first group and ends when this is dropped.
pub(super) struct FewWriter {
    jobs: mpsc::Sender<Job>,
    ended: oneshot::Receiver<()>,
}

impl FewWriter {
    pub(super) fn start(settings: Settings) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("points".to_owned()).spawn(move || {
            let mut conn = None;
            for Job { group, turn, reply } in waiting {
                let answers = write(&mut conn, &settings, &group);
                drop(turn);
                // Whoever stopped waiting has what was written all the same.
                drop(reply.send((group, answers)));
            }
            drop((conn, end));
        })?;
        Ok(Self { jobs, ended })
    }

    /// Writes such a group durably; gives it back with an answer to each request.
    pub(super) async fn write(
        &self,
        writer: &SqliteWriter,
        group: Vec<Work>,
    ) -> (Vec<Work>, Result<Answers, Unwritten>) {
        let turn = match writer.wait().await {
            Ok(turn) => turn,
            Err(sqlx::Error::PoolTimedOut) => return (group, Err(Unwritten::Locked)),
            Err(_) => return (group, Err(Unwritten::Other)),
        };
        let (reply, answer) = oneshot::channel();
        match self.jobs.send(Job { group, turn, reply }) {
            // The thread panicked, and with it the group went.
            Ok(()) => answer.await.unwrap_or_else(|_| (Vec::new(), Err(Unwritten::Other))),
            Err(mpsc::SendError(Job { group, .. })) => (group, Err(Unwritten::Other)),
        }
    }

    /// Ends the thread; its connection is closed then.
    pub(super) async fn end(self) {
        drop(self.jobs);
        // It says nothing, it only ends.
        drop(self.ended.await);
    }
}

fn write(conn: &mut Option<Connection>, settings: &Settings, group: &[Work]) -> Result<Answers, Unwritten> {
    let mut c = match conn.take() {
        Some(c) => c,
        None => open(settings)?,
    };
    let answers = write_on(&mut c, group)?;
    // After an error another connection is opened for the next group.
    *conn = Some(c);
    Ok(answers)
}

fn open(settings: &Settings) -> rusqlite::Result<Connection> {
    let Settings { path, busy_timeout, checkpoint, log_bytes, cache_kib } = settings;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let c = Connection::open_with_flags(path, flags)?;
    c.busy_timeout(*busy_timeout)?;
    for (name, value) in [
        ("synchronous", "FULL"),
        ("foreign_keys", "ON"),
        ("cache_size", &format!("-{cache_kib}")),
        ("journal_size_limit", &log_bytes.to_string()),
        ("wal_autocheckpoint", &checkpoint.to_string()),
    ] {
        c.pragma_update(None, name, value)?;
    }
    Ok(c)
}

fn write_on(c: &mut Connection, group: &[Work]) -> Result<Answers, Unwritten> {
    let tx = c.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut runs = HashMap::new();
    let mut points = Vec::new();
    let mut answers = Vec::with_capacity(group.len());
    for Points { run, metrics } in group.iter().filter_map(points_of) {
        let known = match runs.entry(run) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(read_run(&tx, run)?),
        };
        let answer = writable(run, known.map(|(_, stage)| stage));
        if let (Ok(()), Some((row, _))) = (&answer, known) {
            points.extend(metrics.iter().map(|metric| Point::of(row, metric)));
        }
        answers.push(answer.map(|()| Answer::Done));
    }
    if !points.is_empty() {
        direct::put(&tx, points)?;
        tx.commit()?;
    }
    Ok(answers)
}

/// The row of a run and its stage, where it is there.
fn read_run(c: &Connection, run: RunId) -> Result<Option<(i64, Stage)>, Unwritten> {
    match direct::run(c, &run.to_string())? {
        Some((row, stage)) => Ok(Some((row, parse_stage("run", &stage)?))),
        None => Ok(None),
    }
}
