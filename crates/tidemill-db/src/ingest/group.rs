//! One group as one transaction.

use std::sync::Arc;
use std::time::Duration;

use super::decide::{Plan, decide};
use super::few::{self, Answers, FewWriter, Unwritten};
use super::growth::{self, Growth};
use super::state::State;
use super::work::{Answer, Work};
use super::write;
use crate::backend::{Context, Either, Pools, SqlitePools, Transact};
use crate::events::Head;
use crate::tracking::load::LoadError;
use crate::{Error, Result, dialect};

/// How often a group is tried when another server's transaction is in its way.
const ATTEMPTS: u32 = 10;

pub(super) struct GroupWriter {
    pools: Arc<Pools>,
    ctx: Arc<Context>,
    /// Started for the first group that it takes.
    few: Option<FewWriter>,
    growth: Growth,
}

impl GroupWriter {
    pub(super) fn new(pools: Arc<Pools>, ctx: Arc<Context>) -> Self {
        Self { pools, ctx, few: None, growth: Growth::default() }
    }

    /// Nothing more comes.
    pub(super) async fn end(self) {
        if let Some(few) = self.few {
            few.end().await;
        }
    }

    /// Writes a group durably: an answer for each of its requests, or why it was refused.
    pub(super) async fn commit(&mut self, mut group: Vec<Work>) -> Answers {
        if let Either::Sqlite(pools) = self.pools.as_ref()
            && few::is_few(&group)
            && let Some(few) = started(&mut self.few, &pools.few)
        {
            let (back, written) = few.write(&pools.write, group).await;
            group = back;
            match written {
                Ok(answers) => return answers,
                Err(Unwritten::Locked) => {
                    let (place, waited) = (self.ctx.place.clone(), self.ctx.busy_timeout);
                    return all_fail(&group, Error::Locked { place, waited });
                }
                // As any other group it is told why, or each of its requests is.
                Err(Unwritten::Other) => {}
            }
        }
        let answers = self.commit_any(&group).await;
        self.grown(&group, &answers);
        answers
    }

    /// After many new runs PostgreSQL is told, while others go on.
    fn grown(&mut self, group: &[Work], answers: &[Result<Answer>]) {
        let Either::Postgres(pool) = self.pools.as_ref() else { return };
        let made =
            |(work, answer): &(&Work, &Result<Answer>)| matches!(work, Work::Create { .. }) && answer.is_ok();
        let Some(made) = self.growth.add(group.iter().zip(answers).filter(made).count()) else { return };
        let pool = pool.clone();
        tokio::spawn(async move {
            if let Err(error) = growth::analyze(&pool, made).await {
                tracing::debug!(%error, "the tables of runs were not analyzed");
            }
        });
    }

    async fn commit_any(&self, group: &[Work]) -> Answers {
        match self.write(group).await {
            Ok(answers) => answers,
            Err(Failure::Rows(error)) if group.len() == 1 => vec![Err(error)],
            // The schema does not allow somebody's rows, which no decision foresaw: each stands for itself.
            Err(Failure::Rows(_)) => {
                let mut answers = Vec::with_capacity(group.len());
                for one in group.chunks(1) {
                    match self.write(one).await {
                        Ok(answer) => answers.extend(answer),
                        Err(failure) => answers.push(Err(failure.into_error())),
                    }
                }
                answers
            }
            Err(failure) => all_fail(group, failure.into_error()),
        }
    }

    async fn write(&self, group: &[Work]) -> Result<Answers, Failure> {
        let mut attempt = 1;
        loop {
            match self.try_write(group).await {
                Err(Failure::Transient(_)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt))).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// A transaction, the log's head where the group may need it, and what is known of what the group touches.
    async fn begin(&self, group: &[Work]) -> Result<(Transact, Option<Head>, State), Failure> {
        let with_head = group.iter().any(Work::may_append);
        if let Either::Sqlite(pools) = self.pools.as_ref() {
            match self.begin_together(pools, group, with_head).await {
                Ok(begun) => return Ok(begun),
                Err(LoadError::Driver(error)) if dialect::is_locked(&error) => {
                    return Err(Failure::Other(self.ctx.fail("begin writing")(error)));
                }
                // One after the other they say what is wrong, or find another connection.
                Err(_) => {}
            }
        }
        let (mut tx, head) = if with_head {
            let (tx, head) = Head::begin(&self.pools, &self.ctx).await.map_err(Failure::Other)?;
            (tx, Some(head))
        } else {
            (Transact::write(&self.pools, &self.ctx).await.map_err(Failure::Other)?, None)
        };
        let state = State::read(tx.conn(), group, head.as_ref().map_or(0, Head::size)).await;
        let state = state.map_err(|error| Failure::sort(&self.ctx, "read runs", error))?;
        Ok((tx, head, state))
    }

    async fn begin_together(
        &self,
        pools: &SqlitePools,
        group: &[Work],
        with_head: bool,
    ) -> Result<(Transact, Option<Head>, State), LoadError> {
        let mut tx = pools.write.turn().await?;
        let (mut state, stored) = State::begin(&mut tx, group, with_head).await?;
        let head = if with_head { Some(Head::of(&self.ctx, stored)?) } else { None };
        state.log_size = head.as_ref().map_or(0, Head::size);
        Ok((Transact::of_write(&self.ctx, tx), head, state))
    }

    /// All writers take their locks in one order: the log's head, where they may need it, then experiments, runs by
    /// number, and everything else.
    async fn try_write(&self, group: &[Work]) -> Result<Answers, Failure> {
        let fail = |action| move |error| Failure::sort(&self.ctx, action, error);
        let (mut tx, mut head, mut state) = self.begin(group).await?;
        let mut plan = Plan::default();
        let answers: Answers = group.iter().map(|work| decide(&mut state, &mut plan, work)).collect();
        if plan.is_empty() {
            return Ok(answers);
        }
        write::write(tx.conn(), &mut state, &plan).await.map_err(fail("store what was logged"))?;
        if let Some(head) = &mut head {
            head.append(&mut tx, &plan.events).await.map_err(Failure::Other)?;
        }
        tx.commit().await.map_err(Failure::Other)?;
        Ok(answers)
    }
}

/// The thread for a few points, started where it was not; none where the system has no thread.
fn started<'w>(few: &'w mut Option<FewWriter>, settings: &few::Settings) -> Option<&'w FewWriter> {
    if few.is_none() {
        match FewWriter::start(settings.clone()) {
            Ok(writer) => *few = Some(writer),
            Err(error) => tracing::debug!(%error, "no thread for a few points"),
        }
    }
    few.as_ref()
}

fn all_fail(group: &[Work], error: Error) -> Answers {
    let error = Arc::new(error);
    group.iter().map(|_| Err(Error::Group(Arc::clone(&error)))).collect()
}

/// Why a group was not written.
enum Failure {
    /// Another server's transaction was in the way.
    Transient(Error),
    /// The rows break a rule of the schema.
    Rows(Error),
    Other(Error),
}

impl Failure {
    fn sort(ctx: &Context, action: &'static str, error: impl Into<LoadError>) -> Self {
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
