//! The bounded queue of one database and the task that empties it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::GROUP_ROWS;
use super::group::GroupWriter;
use super::load::Counts;
use super::work::{Answer, Work};
use crate::backend::{Context, Pools};
use crate::{Error, Result};

/// Requests that may wait. Further callers wait for room.
const QUEUE: usize = 1024;
/// Rows that may wait or be at work, so that the memory of the queue has a bound.
const WAITING_ROWS: usize = 6 * GROUP_ROWS;
/// The longest time for which a group waits for the requests that the one before it had.
const GROUP_WAIT: Duration = Duration::from_millis(1);

/// The way to write for many concurrent tasks. Each call returns once its rows are durably committed.
///
/// A call whose future is dropped may still be written. Use it within one Tokio runtime.
#[derive(Clone)]
pub struct Ingest {
    queue: Arc<Shared>,
}

impl Ingest {
    pub(super) async fn send(&self, work: Work) -> Result<Answer> {
        let _waiting = self.queue.counts.wait();
        let (reply, answer) = oneshot::channel();
        let rows = u32::try_from(work.rows().min(WAITING_ROWS)).unwrap_or_default();
        let room = Arc::clone(&self.queue.room).acquire_many_owned(rows).await.map_err(|_| self.closed())?;
        let sender = self.queue.sender().ok_or_else(|| self.closed())?;
        sender.send(Request { work, reply, room }).await.map_err(|_| self.closed())?;
        // Not kept while waiting, or closing the queue would wait for the answers that it waits for itself.
        drop(sender);
        answer.await.map_err(|_| self.closed())?
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.queue.counts
    }

    pub(super) fn closed(&self) -> Error {
        Error::Closed { place: self.queue.ctx.place.clone() }
    }
}

/// The queue of one database; its task starts with the first request.
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    pools: Arc<Pools>,
    ctx: Arc<Context>,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
    state: Mutex<State>,
}

enum State {
    Idle,
    Running { sender: mpsc::Sender<Request>, task: JoinHandle<()> },
    Closed,
}

impl Queue {
    pub(crate) fn new(pools: Arc<Pools>, ctx: Arc<Context>) -> Self {
        let room = Arc::new(Semaphore::new(WAITING_ROWS));
        let (counts, state) = (Arc::default(), Mutex::new(State::Idle));
        Self { shared: Arc::new(Shared { pools, ctx, room, counts, state }) }
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
                let writer = GroupWriter::new(Arc::clone(&self.pools), Arc::clone(&self.ctx));
                let task = tokio::spawn(run(writer, receiver, Arc::clone(&self.counts)));
                *state = State::Running { sender: sender.clone(), task };
                Some(sender)
            }
        }
    }
}

/// A request with the room that it takes up until it is answered.
struct Request {
    work: Work,
    reply: oneshot::Sender<Result<Answer>>,
    room: OwnedSemaphorePermit,
}

async fn run(mut writer: GroupWriter, mut receiver: mpsc::Receiver<Request>, counts: Arc<Counts>) {
    let mut last = 0;
    while let Some(group) = next_group(&mut receiver, last).await {
        last = group.len();
        let mut work = Vec::with_capacity(group.len());
        let mut replies = Vec::with_capacity(group.len());
        for request in group {
            work.push(request.work);
            replies.push((request.reply, request.room));
        }
        let requests = work.len() as u64;
        // It frees the group before anybody is told, or callers would fill the queue while this still takes memory.
        let answers = writer.commit(work).await;
        counts.groups.fetch_add(1, Ordering::Relaxed);
        counts.requests.fetch_add(requests, Ordering::Relaxed);
        for ((reply, room), answer) in replies.into_iter().zip(answers) {
            drop(room);
            drop(reply.send(answer));
        }
    }
    writer.end().await;
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
