//! On SQLite a thread writes the groups, on a connection of its own without sqlx: there is one way to it and one back for a group,
//! where each statement would take one to the thread of sqlx's connection.

use std::sync::{Arc, mpsc};

use rusqlite::{Connection, OptionalExtension as _};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::few::{self, Unwritten};
use super::group::{Answers, Failure, Way, all_fail, carry_out, commit};
use super::state::State;
use super::work::Work;
use crate::backend::{Context, Hand};
use crate::direct::{File, carried};
use crate::events::Head;
use crate::writer::{SqliteTurn, SqliteWriter};
use crate::{Error, Result, dialect};

/// Statements that the connection keeps prepared.
const STATEMENTS: usize = 256;

/// What the connection is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) file: File,
    /// Pages of the write-ahead log after which they are brought into the file.
    pub(crate) checkpoint: u32,
    /// The length in bytes to which the log's file is cut then.
    pub(crate) log_bytes: u64,
}

impl Settings {
    fn open(&self) -> rusqlite::Result<Connection> {
        let pragmas = [
            ("synchronous", "FULL"),
            ("foreign_keys", "ON"),
            ("journal_size_limit", &self.log_bytes.to_string()),
            ("wal_autocheckpoint", &self.checkpoint.to_string()),
        ];
        self.file.open(STATEMENTS, &pragmas)
    }
}

/// A group, with the right to write until it is written.
struct Job {
    group: Vec<Work>,
    turn: SqliteTurn,
    reply: oneshot::Sender<Answers>,
}

/// The thread; it ends when this is dropped.
pub(super) struct WriterThread {
    jobs: mpsc::Sender<Job>,
    ended: oneshot::Receiver<()>,
}

impl WriterThread {
    pub(super) fn start(settings: Settings, ctx: Arc<Context>) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let (end, ended) = oneshot::channel();
        let runtime = Handle::current();
        std::thread::Builder::new().name("ingest".to_owned()).spawn(move || {
            let mut writer = DirectWriter { settings, ctx, conn: None };
            for Job { group, turn, reply } in waiting {
                // It waits for nothing but locks and the disk.
                let answers = runtime.block_on(writer.commit(&group));
                drop((turn, group));
                // Whoever stopped waiting has what was written all the same.
                drop(reply.send(answers));
            }
            drop((writer, end));
        })?;
        Ok(Self { jobs, ended })
    }

    /// Writes a group durably; gives an answer to each request. None if the thread is no more.
    pub(super) async fn write(
        &self,
        writer: &SqliteWriter,
        ctx: &Context,
        group: Vec<Work>,
    ) -> Option<Answers> {
        let turn = match writer.wait().await {
            Ok(turn) => turn,
            Err(error) => return Some(all_fail(group.len(), ctx.fail("begin writing")(error))),
        };
        let (reply, answers) = oneshot::channel();
        self.jobs.send(Job { group, turn, reply }).ok()?;
        answers.await.ok()
    }

    /// Ends the thread; its connection is closed then.
    pub(super) async fn end(self) {
        drop(self.jobs);
        // It says nothing, it only ends.
        drop(self.ended.await);
    }
}

/// What the thread writes with.
pub(super) struct DirectWriter {
    settings: Settings,
    ctx: Arc<Context>,
    /// Opened for the first group, and again after an error that it did not get over.
    conn: Option<Connection>,
}

impl DirectWriter {
    async fn commit(&mut self, group: &[Work]) -> Answers {
        if few::is_few(group) {
            match self.write_few(group) {
                Ok(answers) => return answers,
                Err(Unwritten::Locked) => {
                    let (place, waited) = (self.ctx.place.clone(), self.ctx.busy_timeout);
                    return all_fail(group.len(), Error::Locked { place, waited });
                }
                // As any other group it is told why, or each of its requests is.
                Err(Unwritten::Other) => {}
            }
        }
        commit(&mut Way::Direct(self), group).await
    }

    fn write_few(&mut self, group: &[Work]) -> Result<Answers, Unwritten> {
        let mut c = self.connection()?;
        let answers = few::write(&mut c, group)?;
        self.conn = Some(c);
        Ok(answers)
    }

    /// The connection, or another one.
    fn connection(&mut self) -> rusqlite::Result<Connection> {
        match self.conn.take() {
            Some(c) => Ok(c),
            None => self.settings.open(),
        }
    }

    /// As one transaction.
    pub(super) async fn write(&mut self, group: &[Work]) -> Result<Answers, Failure> {
        let mut c = self.begin().map_err(|error| Failure::sort(&self.ctx, "begin writing", error))?;
        let written = write_on(&mut c, &self.ctx, group).await;
        // Nothing is begun any more where all of it was written.
        if c.is_autocommit() || c.execute_batch("ROLLBACK").is_ok() {
            self.conn = Some(c);
        }
        written
    }

    /// The connection in a transaction that holds the write lock; another one, where the one that there was does not work any more.
    fn begin(&mut self) -> sqlx::Result<Connection> {
        let mut c = self.connection().map_err(carried)?;
        if let Err(error) = c.execute_batch(dialect::SQLITE_WRITE).map_err(carried) {
            if dialect::is_locked(&error) {
                self.conn = Some(c);
                return Err(error);
            }
            c = self.settings.open().map_err(carried)?;
            c.execute_batch(dialect::SQLITE_WRITE).map_err(carried)?;
        }
        Ok(c)
    }
}

async fn write_on(c: &mut Connection, ctx: &Context, group: &[Work]) -> Result<Answers, Failure> {
    let head = if group.iter().any(Work::may_append) {
        let stored = read_head(c).map_err(|error| Failure::sort(ctx, "read the log's head", error))?;
        Some(Head::of(ctx, stored).map_err(Failure::Other)?)
    } else {
        None
    };
    let log_size = head.as_ref().map_or(0, Head::size);
    let state = State::read(Hand::Direct(c), group, log_size).await;
    let state = state.map_err(|error| Failure::sort(ctx, "read runs", error))?;
    let (answers, written) = carry_out(ctx, Hand::Direct(c), head, state, group).await?;
    if let Some(written) = written {
        c.execute_batch("COMMIT").map_err(|error| Failure::sort(ctx, "commit", error))?;
        ctx.grew(written.last);
    }
    Ok(answers)
}

/// The log's size and frontier.
fn read_head(c: &Connection) -> rusqlite::Result<Option<(i64, String)>> {
    let mut statement = c.prepare_cached(dialect::HEAD)?;
    statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}
