//! Writes of a run to its tracked runs, behind the work: steps do not wait for the disk.
//!
//! Writes to one tracked run keep their order; those to several are committed together. The first failure is kept and
//! told when the run ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tidemill_core::{NewEvent, RunId};
use tidemill_db::tracking::{Batch, NewTrackedRun};
use tidemill_db::{Error, Ingest};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

/// Writes that may wait before a step waits for them.
const QUEUE: usize = 1024;
/// What comes within this time is written together, unless somebody waits for it: short steps follow one another quickly.
const GATHER: Duration = Duration::from_millis(50);
/// Where the disk is slow it is as long as the writing before took, and no longer than this.
const LONGEST_GATHER: Duration = Duration::from_millis(100);

/// One write.
pub(super) enum Write {
    Create(Box<NewTrackedRun>, Box<Batch>, NewEvent),
    Log(RunId, Box<Batch>),
    Update(RunId, Box<Batch>, NewEvent),
}

impl Write {
    fn run(&self) -> RunId {
        match self {
            Self::Create(run, ..) => run.id,
            Self::Log(run, _) | Self::Update(run, ..) => *run,
        }
    }
}

enum Message {
    Write(Box<Write>),
    Flush(oneshot::Sender<Result<(), Error>>),
}

/// The way to write.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Message>,
    pending: Arc<Pending>,
    runtime: Handle,
}

/// How many writes are not done yet.
#[derive(Default)]
pub(crate) struct Pending {
    count: AtomicUsize,
    done: Notify,
    /// Somebody waits.
    asked: Notify,
}

impl Pending {
    /// Waits until everything that was asked for before is written. A client must find the run that it was told of.
    pub(crate) async fn settled(&self) {
        loop {
            let done = self.done.notified();
            if self.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            self.asked.notify_one();
            done.await;
        }
    }

    fn less(&self, by: usize) {
        self.count.fetch_sub(by, Ordering::SeqCst);
        self.done.notify_waiters();
    }
}

impl Queue {
    pub(super) fn new(ingest: Ingest, runtime: Handle) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let pending = Arc::new(Pending::default());
        runtime.spawn(work(ingest, receiver, Arc::clone(&pending)));
        Self { sender, pending, runtime }
    }

    pub(super) fn pending(&self) -> Arc<Pending> {
        Arc::clone(&self.pending)
    }

    /// Asks for a write; waits only where too many wait already. Called from threads outside of the runtime.
    pub(super) fn write(&self, write: Write) {
        self.pending.count.fetch_add(1, Ordering::SeqCst);
        if self.sender.blocking_send(Message::Write(Box::new(write))).is_err() {
            self.pending.less(1);
        }
    }

    /// Returns when everything is written, with the first failure.
    pub(super) fn flush(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        if self.sender.blocking_send(Message::Flush(reply)).is_err() {
            return Ok(());
        }
        self.runtime.block_on(answer).unwrap_or(Ok(()))
    }
}

async fn work(ingest: Ingest, mut receiver: mpsc::Receiver<Message>, pending: Arc<Pending>) {
    let mut failure: Option<Error> = None;
    let mut waiting = Vec::new();
    let (mut begun, mut took) = (false, Duration::ZERO);
    while receiver.recv_many(&mut waiting, QUEUE).await > 0 {
        // The run itself is there at once.
        if begun {
            gather(&mut receiver, &mut waiting, &pending, took.clamp(GATHER, LONGEST_GATHER)).await;
        }
        begun = true;
        let mut by_run: BTreeMap<RunId, Vec<Write>> = BTreeMap::new();
        let mut flushes = Vec::new();
        let mut count = 0;
        for message in waiting.drain(..) {
            match message {
                Message::Write(write) => {
                    count += 1;
                    by_run.entry(write.run()).or_default().push(*write);
                }
                Message::Flush(reply) => flushes.push(reply),
            }
        }
        let start = Instant::now();
        let results = join_all(by_run.into_values().map(|writes| in_order(&ingest, writes))).await;
        took = start.elapsed();
        failure = failure.or_else(|| results.into_iter().find_map(Result::err));
        pending.less(count);
        for reply in flushes {
            // Nobody waits any more where the answer cannot be sent.
            let _ = reply.send(failure.take().map_or(Ok(()), Err));
        }
    }
}

/// Waits a little for more to write at once.
async fn gather(
    receiver: &mut mpsc::Receiver<Message>,
    waiting: &mut Vec<Message>,
    pending: &Pending,
    wait: Duration,
) {
    let over = tokio::time::sleep(wait);
    tokio::pin!(over);
    while waiting.len() < QUEUE && !waiting.iter().any(|message| matches!(message, Message::Flush(_))) {
        tokio::select! {
            next = receiver.recv() => match next {
                Some(next) => waiting.push(next),
                None => return,
            },
            () = pending.asked.notified() => return,
            () = &mut over => return,
        }
    }
}

async fn in_order(ingest: &Ingest, writes: Vec<Write>) -> Result<(), Error> {
    for write in writes {
        match write {
            Write::Create(run, batch, event) => drop(ingest.create_run(*run, *batch, event).await?),
            Write::Log(run, batch) => ingest.log(run, *batch).await?,
            Write::Update(run, batch, event) => drop(ingest.update_run(run, *batch, event).await?),
        }
    }
    Ok(())
}
