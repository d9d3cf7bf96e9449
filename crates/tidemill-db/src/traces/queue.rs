//! The bounded way in: what waits is written together, in one transaction, before its senders hear of it.
//!
//! Clients send spans one by one, each in a request of its own; without groups every one of them would wait for the
//! disk by itself.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::backend::{Context, Either, Pools, Transact};
use crate::growth::{self, Growth};
use crate::traces::write::{self, TraceWork};
use crate::traces::{NewTrace, SpanBatch};
use crate::{Db, Error, Result, dialect};

/// Requests that may wait. Further callers wait for room.
const QUEUE: usize = 256;
/// Bytes of text after which a group takes no further request.
const GROUP_BYTES: usize = 16 << 20;
/// Requests after which a group takes no further one.
const GROUP_REQUESTS: usize = 256;
/// How often a group is tried when another transaction is in its way.
const ATTEMPTS: u32 = 10;

impl Db {
    /// Stores what a client says about a whole trace. It overrides what spans said. Returns once it is durable.
    ///
    /// Fails with [`Error::NotFound`] where the experiment is not there.
    pub async fn put_trace(&self, trace: NewTrace) -> Result<()> {
        self.trace_queue().send(TraceWork { traces: vec![trace], spans: Vec::new() }).await
    }

    /// Stores spans, all or none, and makes the traces that are not there. Returns once they are durable. The same
    /// span again changes nothing.
    ///
    /// Fails with [`Error::NotFound`] where the experiment of a new trace is not there.
    pub async fn put_spans(&self, spans: Vec<SpanBatch>) -> Result<()> {
        if spans.iter().all(|batch| batch.spans.is_empty()) {
            return Ok(());
        }
        self.trace_queue().send(TraceWork { traces: Vec::new(), spans }).await
    }
}

/// The queue of one database; its task starts with the first request.
pub(crate) struct TraceQueue {
    pools: Arc<Pools>,
    ctx: Arc<Context>,
    state: Mutex<State>,
}

enum State {
    Idle,
    Running { sender: mpsc::Sender<Request>, task: JoinHandle<()> },
    Closed,
}

struct Request {
    work: TraceWork,
    reply: oneshot::Sender<Result<()>>,
}

impl TraceQueue {
    pub(crate) fn new(pools: Arc<Pools>, ctx: Arc<Context>) -> Self {
        Self { pools, ctx, state: Mutex::new(State::Idle) }
    }

    /// Takes no further request and waits until those that are there are written.
    pub(crate) async fn finish(&self) {
        let before = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, State::Closed)
        };
        if let State::Running { sender, task } = before {
            drop(sender);
            if let Err(error) = task.await {
                tracing::error!(%error, "the task that writes traces ended early");
            }
        }
    }

    async fn send(&self, work: TraceWork) -> Result<()> {
        let closed = || Error::Closed { place: self.ctx.place.clone() };
        let (reply, answer) = oneshot::channel();
        let sender = self.sender().ok_or_else(closed)?;
        sender.send(Request { work, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    fn sender(&self) -> Option<mpsc::Sender<Request>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Running { sender, .. } if !sender.is_closed() => Some(sender.clone()),
            State::Closed => None,
            State::Idle | State::Running { .. } => {
                let (sender, receiver) = mpsc::channel(QUEUE);
                let growth = Growth::new(growth::TRACES);
                let writer = Writer { pools: Arc::clone(&self.pools), ctx: Arc::clone(&self.ctx), growth };
                let task = tokio::spawn(writer.run(receiver));
                *state = State::Running { sender: sender.clone(), task };
                Some(sender)
            }
        }
    }
}

struct Writer {
    pools: Arc<Pools>,
    ctx: Arc<Context>,
    growth: Growth,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Request>) {
        while let Some(first) = receiver.recv().await {
            let mut bytes = first.work.bytes();
            let mut group = vec![first];
            while bytes < GROUP_BYTES && group.len() < GROUP_REQUESTS {
                let Ok(next) = receiver.try_recv() else { break };
                bytes += next.work.bytes();
                group.push(next);
            }
            let traces = group.iter().map(|request| request.work.traces()).sum();
            self.commit(group).await;
            if let Either::Postgres(pool) = self.pools.as_ref() {
                self.growth.made(pool, traces);
            }
        }
    }

    async fn commit(&self, group: Vec<Request>) {
        let (work, replies): (Vec<TraceWork>, Vec<_>) =
            group.into_iter().map(|request| (request.work, request.reply)).unzip();
        if work.len() > 1 && self.write(&together(&work)).await.is_ok() {
            replies.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
            return;
        }
        // Alone, or somebody's rows are not allowed: everybody gets an answer of their own.
        for (work, reply) in work.iter().zip(replies) {
            drop(reply.send(self.write(work).await));
        }
    }

    async fn write(&self, work: &TraceWork) -> Result<()> {
        let mut attempt = 1;
        loop {
            let mut tx = Transact::write(&self.pools, &self.ctx).await?;
            match write::put(tx.conn(), work).await {
                Ok(()) => return tx.commit().await,
                Err(error) if dialect::is_transient(&error) && attempt < ATTEMPTS => {
                    drop(tx);
                    tokio::time::sleep(std::time::Duration::from_millis(u64::from(attempt))).await;
                    attempt += 1;
                }
                Err(error) if dialect::is_constraint(&error) => {
                    tracing::debug!(%error, "traces are not allowed");
                    return Err(Error::NotFound { what: "experiment", name: work.experiments() });
                }
                Err(error) => return Err(self.ctx.fail("store traces")(error)),
            }
        }
    }
}

fn together(work: &[TraceWork]) -> TraceWork {
    TraceWork {
        traces: work.iter().flat_map(|work| work.traces.iter().cloned()).collect(),
        spans: work.iter().flat_map(|work| work.spans.iter().cloned()).collect(),
    }
}

impl TraceWork {
    fn bytes(&self) -> usize {
        let spans = self.spans.iter().flat_map(|batch| &batch.spans).map(|span| span.body.len() + 256);
        spans.sum::<usize>() + self.traces.len() * 1024
    }

    /// How many traces it is about, of those that come with spans alone a batch for each.
    fn traces(&self) -> usize {
        self.traces.len() + self.spans.len()
    }

    fn experiments(&self) -> String {
        let traces = self.traces.iter().map(|trace| trace.info.experiment);
        let mut ids: Vec<i64> = traces.chain(self.spans.iter().map(|batch| batch.experiment)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}
