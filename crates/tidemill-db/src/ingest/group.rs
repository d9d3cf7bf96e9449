//! One group as one transaction.

use std::sync::Arc;
use std::time::Duration;

use super::decide::{Plan, decide};
use super::direct::{DirectWriter, WriterThread};
use super::state::State;
use super::work::{Answer, Work};
use super::write;
use crate::backend::{Context, Either, Hand, Pools, SqlitePools, Transact};
use crate::events::Head;
use crate::growth::{self, Growth};
use crate::tracking::load::LoadError;
use crate::{Error, Result, dialect};

/// How often a group is tried when another server's transaction is in its way.
const ATTEMPTS: u32 = 10;

/// One for each request of a group: its answer, or why it was refused.
pub(super) type Answers = Vec<Result<Answer>>;

pub(super) struct GroupWriter {
    pools: Arc<Pools>,
    ctx: Arc<Context>,
    /// On SQLite, started for the first group.
    thread: Option<WriterThread>,
    growth: Growth,
}

impl GroupWriter {
    pub(super) fn new(pools: Arc<Pools>, ctx: Arc<Context>) -> Self {
        Self { pools, ctx, thread: None, growth: Growth::new(growth::RUNS) }
    }

    /// Nothing more comes.
    pub(super) async fn end(self) {
        if let Some(thread) = self.thread {
            thread.end().await;
        }
    }

    /// Writes a group durably: an answer for each of its requests, or why it was refused.
    pub(super) async fn commit(&mut self, group: Vec<Work>) -> Answers {
        let pools = Arc::clone(&self.pools);
        match pools.as_ref() {
            Either::Sqlite(pools) => self.commit_on_thread(pools, group).await,
            Either::Postgres(pool) => {
                let answers = commit(&mut Way::Postgres { pools: &pools, ctx: &self.ctx }, &group).await;
                let made = |(work, answer): &(&Work, &Result<Answer>)| {
                    matches!(work, Work::Create { .. }) && answer.is_ok()
                };
                self.growth.made(pool, group.iter().zip(&answers).filter(made).count());
                answers
            }
        }
    }

    async fn commit_on_thread(&mut self, pools: &SqlitePools, group: Vec<Work>) -> Answers {
        let count = group.len();
        let thread = match self.thread.take() {
            Some(thread) => Ok(thread),
            None => WriterThread::start(pools.ingest.clone(), Arc::clone(&self.ctx)),
        };
        let thread = match thread {
            Ok(thread) => thread,
            Err(error) => return all_fail(count, self.ctx.fail("start a thread")(sqlx::Error::Io(error))),
        };
        match thread.write(&pools.write, &self.ctx, group).await {
            Some(answers) => {
                self.thread = Some(thread);
                answers
            }
            // It panicked, and the group went with it: another thread writes the next one.
            None => all_fail(count, self.ctx.fail("write")(sqlx::Error::WorkerCrashed)),
        }
    }
}

/// How a group is written.
pub(super) enum Way<'a> {
    Postgres { pools: &'a Pools, ctx: &'a Arc<Context> },
    Direct(&'a mut DirectWriter),
}

impl Way<'_> {
    /// As one transaction.
    async fn write(&mut self, group: &[Work]) -> Result<Answers, Failure> {
        match self {
            Self::Direct(writer) => writer.write(group).await,
            Self::Postgres { pools, ctx } => {
                let mut attempt = 1;
                loop {
                    match write_on_postgres(pools, ctx, group).await {
                        Err(Failure::Transient(_)) if attempt < ATTEMPTS => {
                            tokio::time::sleep(Duration::from_millis(u64::from(attempt))).await;
                            attempt += 1;
                        }
                        done => return done,
                    }
                }
            }
        }
    }
}

/// Writes a group: an answer for each of its requests, or why it was refused.
pub(super) async fn commit(way: &mut Way<'_>, group: &[Work]) -> Answers {
    match way.write(group).await {
        Ok(answers) => answers,
        Err(Failure::Rows(error)) if group.len() == 1 => vec![Err(error)],
        // The schema does not allow somebody's rows, which no decision foresaw: each stands for itself.
        Err(Failure::Rows(_)) => {
            let mut answers = Vec::with_capacity(group.len());
            for one in group.chunks(1) {
                match way.write(one).await {
                    Ok(answer) => answers.extend(answer),
                    Err(failure) => answers.push(Err(failure.into_error())),
                }
            }
            answers
        }
        Err(failure) => all_fail(group.len(), failure.into_error()),
    }
}

/// All writers take their locks in one order: the log's head, where they may need it, then experiments, runs by
/// number, and everything else.
async fn write_on_postgres(pools: &Pools, ctx: &Arc<Context>, group: &[Work]) -> Result<Answers, Failure> {
    let (mut tx, head) = if group.iter().any(Work::may_append) {
        let (tx, head) = Head::begin(pools, ctx).await.map_err(Failure::Other)?;
        (tx, Some(head))
    } else {
        (Transact::write(pools, ctx).await.map_err(Failure::Other)?, None)
    };
    let log_size = head.as_ref().map_or(0, Head::size);
    let state = State::read(tx.conn().into(), group, log_size).await;
    let state = state.map_err(|error| Failure::sort(ctx, "read runs", error))?;
    let (answers, written) = carry_out(ctx, tx.conn().into(), head, state, group).await?;
    if let Some(written) = written {
        tx.appended = written.last;
        tx.commit().await.map_err(Failure::Other)?;
    }
    Ok(answers)
}

/// What a group wrote: the number of its last event, where it has one.
pub(super) struct Written {
    pub(super) last: Option<u64>,
}

/// Decides on the requests of a group and writes what comes of it, in a transaction that was begun; nothing where nothing does.
pub(super) async fn carry_out(
    ctx: &Context,
    mut hand: Hand<'_>,
    head: Option<Head>,
    mut state: State,
    group: &[Work],
) -> Result<(Answers, Option<Written>), Failure> {
    let mut plan = Plan::default();
    let answers: Answers = group.iter().map(|work| decide(&mut state, &mut plan, work)).collect();
    if plan.is_empty() {
        return Ok((answers, None));
    }
    let written = write::write(hand.reborrow(), &mut state, &plan).await;
    written.map_err(|error| Failure::sort(ctx, "store what was logged", error))?;
    let seqs = match head {
        Some(mut head) => head.append_on(hand, ctx, &plan.events).await.map_err(Failure::Other)?,
        None => Vec::new(),
    };
    Ok((answers, Some(Written { last: seqs.last().copied() })))
}

pub(super) fn all_fail(count: usize, error: Error) -> Answers {
    let error = Arc::new(error);
    (0..count).map(|_| Err(Error::Group(Arc::clone(&error)))).collect()
}

/// Why a group was not written.
pub(super) enum Failure {
    /// Another server's transaction was in the way.
    Transient(Error),
    /// The rows break a rule of the schema.
    Rows(Error),
    Other(Error),
}

impl Failure {
    pub(super) fn sort(ctx: &Context, action: &'static str, error: impl Into<LoadError>) -> Self {
        let error = match error.into() {
            LoadError::Driver(error) => error,
            LoadError::Stored(error) => return Self::Other(error),
        };
        let (transient, rows) = (dialect::is_transient(&error), dialect::is_constraint(&error));
        let error = ctx.fail(action)(error);
        match (transient, rows) {
            (true, _) => Self::Transient(error),
            (false, true) => Self::Rows(error),
            (false, false) => Self::Other(error),
        }
    }

    fn into_error(self) -> Error {
        match self {
            Self::Transient(error) | Self::Rows(error) | Self::Other(error) => error,
        }
    }
}
