//! Group commit: many small concurrent writes become one transaction.
//!
//! One task takes what waits in a bounded queue, reduces it, writes one statement per table, commits, and only
//! then answers every caller. Under load the next group forms while the last one is synced to disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidemill_core::NewEvent;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::backend::{Context, Pools, Transact};
use crate::cache::put_results;
use crate::events::Head;
use crate::metrics::put_points;
use crate::runs::{no_such_run, put_steps};
use crate::{Error, Point, Result, StepResult, StepRun, dialect};

/// Requests that may wait. Further callers wait for room.
const QUEUE: usize = 1024;
/// Rows after which a group takes no further request.
const GROUP_ROWS: usize = 10_000;
/// The longest time for which a group waits for the requests that the one before it had.
const GROUP_WAIT: Duration = Duration::from_millis(1);
/// How often a group is tried when another server's transaction is in its way.
const ATTEMPTS: u32 = 10;

/// The way to write for many concurrent tasks. Each call returns once its rows are durably committed.
///
/// A call whose future is dropped may still be written. Use it within one Tokio runtime.
#[derive(Clone)]
pub struct Ingest {
    queue: Arc<Shared>,
}

impl Ingest {
    /// Stores metric points; all of them or, on error, none. More than 10,000 are written in several parts, in
    /// order, each all or none.
    pub async fn metrics(&self, mut points: Vec<Point>) -> Result<()> {
        while points.len() > GROUP_ROWS {
            let rest = points.split_off(GROUP_ROWS);
            self.send(Work { points: std::mem::replace(&mut points, rest), ..Work::default() }).await?;
        }
        if !points.is_empty() {
            self.send(Work { points, ..Work::default() }).await?;
        }
        Ok(())
    }

    /// Appends events and gives their sequence numbers; the events of one call stand together, in order.
    pub async fn events(&self, events: Vec<NewEvent>) -> Result<Vec<u64>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        self.send(Work { events, ..Work::default() }).await
    }

    /// Records that a step ended, as [`crate::Tx::finish_step`], and appends its event; gives the event's number.
    pub async fn step_finished(
        &self,
        step: StepRun,
        result: Option<StepResult>,
        event: NewEvent,
    ) -> Result<u64> {
        let work = Work { step: Some((step, result)), events: vec![event], ..Work::default() };
        Ok(self.send(work).await?.first().copied().unwrap_or_default())
    }

    async fn send(&self, work: Work) -> Result<Vec<u64>> {
        let (reply, answer) = oneshot::channel();
        let closed = || Error::Closed { place: self.queue.ctx.place.clone() };
        let sender = self.queue.sender().ok_or_else(closed)?;
        sender.send(Request { work, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

/// The queue of one database; its task starts with the first request.
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    pools: Arc<Pools>,
    ctx: Arc<Context>,
    state: Mutex<State>,
}

enum State {
    Idle,
    Running { sender: mpsc::Sender<Request>, task: JoinHandle<()> },
    Closed,
}

impl Queue {
    pub(crate) fn new(pools: Arc<Pools>, ctx: Arc<Context>) -> Self {
        Self { shared: Arc::new(Shared { pools, ctx, state: Mutex::new(State::Idle) }) }
    }

    pub(crate) fn handle(&self) -> Ingest {
        Ingest { queue: Arc::clone(&self.shared) }
    }

    /// Takes no further request and waits until those that are there are written.
    pub(crate) async fn finish(&self) {
        let before = {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, State::Closed)
        };
        if let State::Running { sender, task } = before {
            drop(sender);
            if let Err(error) = task.await {
                tracing::error!(%error, "the group-commit task ended early");
            }
        }
    }
}

impl Shared {
    fn sender(&self) -> Option<mpsc::Sender<Request>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Running { sender, .. } if !sender.is_closed() => Some(sender.clone()),
            State::Closed => None,
            State::Idle | State::Running { .. } => {
                let (sender, receiver) = mpsc::channel(QUEUE);
                let writer = GroupWriter { pools: Arc::clone(&self.pools), ctx: Arc::clone(&self.ctx) };
                let task = tokio::spawn(writer.run(receiver));
                *state = State::Running { sender: sender.clone(), task };
                Some(sender)
            }
        }
    }
}

/// What one caller wants to be written, all or none.
#[derive(Default)]
struct Work {
    points: Vec<Point>,
    step: Option<(StepRun, Option<StepResult>)>,
    events: Vec<NewEvent>,
}

impl Work {
    fn rows(&self) -> usize {
        self.points.len() + self.events.len() + usize::from(self.step.is_some())
    }
}

struct Request {
    work: Work,
    reply: oneshot::Sender<Result<Vec<u64>>>,
}

struct GroupWriter {
    pools: Arc<Pools>,
    ctx: Arc<Context>,
}

impl GroupWriter {
    async fn run(self, mut receiver: mpsc::Receiver<Request>) {
        let mut last = 0;
        while let Some(group) = next_group(&mut receiver, last).await {
            last = group.len();
            self.commit(group).await;
        }
    }

    async fn commit(&self, group: Vec<Request>) {
        let (work, replies): (Vec<Work>, Vec<_>) =
            group.into_iter().map(|request| (request.work, request.reply)).unzip();
        match self.write(&work).await {
            Ok(seqs) => {
                for (reply, seqs) in replies.into_iter().zip(seqs) {
                    drop(reply.send(Ok(seqs)));
                }
            }
            // Somebody's rows are not allowed: everybody gets an answer of their own.
            Err(Failure::Rows(error)) if work.len() == 1 => {
                if let Some(reply) = replies.into_iter().next() {
                    drop(reply.send(Err(error)));
                }
            }
            Err(Failure::Rows(_)) => {
                for (reply, work) in replies.into_iter().zip(work) {
                    let answer = self.write(&[work]).await.map(|mut seqs| seqs.pop().unwrap_or_default());
                    drop(reply.send(answer.map_err(Failure::into_error)));
                }
            }
            Err(failure) => {
                let error = Arc::new(failure.into_error());
                for reply in replies {
                    drop(reply.send(Err(Error::Group(Arc::clone(&error)))));
                }
            }
        }
    }

    async fn write(&self, work: &[Work]) -> Result<Vec<Vec<u64>>, Failure> {
        let mut attempt = 1;
        loop {
            match self.try_write(work).await {
                Err(Failure::Transient(_)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt))).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// One transaction; gives the sequence numbers of each request's events.
    async fn try_write(&self, work: &[Work]) -> Result<Vec<Vec<u64>>, Failure> {
        let mut tx = Transact::write(&self.pools, &self.ctx).await.map_err(Failure::Other)?;
        let fail = |action| move |error| Failure::sort(&self.ctx, action, error);
        let points: Vec<&Point> = work.iter().flat_map(|work| &work.points).collect();
        if !points.is_empty() {
            put_points(tx.conn(), &points).await.map_err(fail("store metrics"))?;
        }
        let mut steps = HashMap::new();
        let mut results = HashMap::new();
        for (step, result) in work.iter().filter_map(|work| work.step.as_ref()) {
            steps.insert((step.run, &step.step, step.attempt), step);
            results.extend(result.iter().map(|result| (result.key, result)));
        }
        // All writers take their locks in one order: series, the log's head, everything else.
        let events: Vec<NewEvent> = work.iter().flat_map(|work| work.events.iter().cloned()).collect();
        let mut seqs = Vec::new();
        if !events.is_empty() {
            let mut head = Head::lock(&mut tx).await.map_err(Failure::Other)?;
            seqs = head.append(&mut tx, &events).await.map_err(|error| match error {
                Error::NotFound { .. } => Failure::Rows(error),
                error => Failure::Other(error),
            })?;
        }
        if !steps.is_empty() {
            let steps: Vec<&StepRun> = steps.into_values().collect();
            put_steps(tx.conn(), &steps).await.map_err(|error| {
                if dialect::is_constraint(&error) {
                    return Failure::Rows(no_such_run(&self.ctx, steps[0], error));
                }
                Failure::sort(&self.ctx, "record steps", error)
            })?;
        }
        if !results.is_empty() {
            let results: Vec<&StepResult> = results.into_values().collect();
            put_results(tx.conn(), &results).await.map_err(fail("record results"))?;
        }
        tx.commit().await.map_err(Failure::Other)?;
        let mut seqs = seqs.into_iter();
        Ok(work.iter().map(|work| seqs.by_ref().take(work.events.len()).collect()).collect())
    }
}

/// Takes all that waits, up to a limit. If less waits than the last group had, it waits up to a millisecond for
/// its equals: callers that were answered together ask again together.
async fn next_group(receiver: &mut mpsc::Receiver<Request>, last: usize) -> Option<Vec<Request>> {
    let first = receiver.recv().await?;
    let mut rows = first.work.rows();
    let mut group = vec![first];
    let deadline = tokio::time::Instant::now() + GROUP_WAIT;
    while rows < GROUP_ROWS {
        let next = match receiver.try_recv() {
            Ok(request) => request,
            Err(_) if group.len() < last => match tokio::time::timeout_at(deadline, receiver.recv()).await {
                Ok(Some(request)) => request,
                Ok(None) | Err(_) => break,
            },
            Err(_) => break,
        };
        rows += next.work.rows();
        group.push(next);
    }
    Some(group)
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
    fn sort(ctx: &Context, action: &'static str, error: sqlx::Error) -> Self {
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
