//! Storing and recording together what several writers have received.
//!
//! One task takes all that waits, stores the small files with one sync, records all paths in one transaction and only
//! then answers. While it works the next group gathers, so that a model of ten files costs little more than one file.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tidemill_core::{Clock, Timestamp};
use tidemill_db::Db;
use tidemill_db::artifacts::Artifact;
use tidemill_store::{Entry, Hold, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::artifacts::ArtifactPath;
use crate::artifacts::intake::{Received, SMALL, ended};
use crate::{Code, Error, Result};

/// Files that may wait; further writers wait for room.
const WAITING: usize = 256;
/// Bytes after which a group takes no further file.
const GROUP_BYTES: usize = 16 * SMALL;

/// The way to record files. Its task starts with the first file and ends with the last clone.
#[derive(Clone)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    db: Db,
    store: Store,
    clock: Arc<dyn Clock>,
    sender: Mutex<Option<mpsc::Sender<Request>>>,
}

struct Request {
    path: ArtifactPath,
    content: Received,
    reply: oneshot::Sender<Result<Artifact>>,
}

impl Queue {
    pub(crate) fn new(db: Db, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Shared { db, store, clock, sender: Mutex::default() }) }
    }

    /// Stores and records a file; durable on return.
    pub(crate) async fn put(&self, path: ArtifactPath, content: Received) -> Result<Artifact> {
        let (reply, answer) = oneshot::channel();
        let closed =
            || Error::new(Code::TemporarilyUnavailable, "the server is closing; try again in a moment");
        self.sender().send(Request { path, content, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    fn sender(&self) -> mpsc::Sender<Request> {
        let mut slot = self.shared.sender.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(sender) if !sender.is_closed() => sender.clone(),
            _ => {
                let (sender, receiver) = mpsc::channel(WAITING);
                let worker = Worker {
                    db: self.shared.db.clone(),
                    store: self.shared.store.clone(),
                    clock: Arc::clone(&self.shared.clock),
                };
                tokio::spawn(worker.run(receiver));
                *slot = Some(sender.clone());
                sender
            }
        }
    }
}

struct Worker {
    db: Db,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Worker {
    async fn run(self, mut receiver: mpsc::Receiver<Request>) {
        while let Some(first) = receiver.recv().await {
            let mut bytes = first.weight();
            let mut group = vec![first];
            while bytes < GROUP_BYTES
                && let Ok(next) = receiver.try_recv()
            {
                bytes += next.weight();
                group.push(next);
            }
            self.write(group).await;
        }
    }

    async fn write(&self, group: Vec<Request>) {
        let (mut requests, mut small, mut holds) = (Vec::new(), Vec::new(), Vec::new());
        for Request { path, content, reply } in group {
            let entry = match content {
                Received::Small(bytes) => {
                    small.push(bytes);
                    None
                }
                Received::Stored(entry, hold) => {
                    holds.push(hold);
                    Some(entry)
                }
            };
            requests.push((path, entry, reply));
        }
        let mut stored = match self.store(small).await {
            Ok((entries, hold)) => {
                holds.extend(hold);
                entries.into_iter()
            }
            Err(error) => {
                let error = Arc::new(error);
                for (_, _, reply) in requests {
                    drop(reply.send(Err(shared(&error))));
                }
                return;
            }
        };
        let now = self.clock.now();
        let (mut artifacts, mut replies) = (Vec::new(), Vec::new());
        for (path, entry, reply) in requests {
            if let Some(entry) = entry.or_else(|| stored.next()) {
                artifacts.push(artifact(&path, &entry, now));
                replies.push(reply);
            }
        }
        self.record(artifacts, replies).await;
        drop(holds);
    }

    async fn store(&self, small: Vec<Bytes>) -> Result<(Vec<Entry>, Option<Hold>)> {
        if small.is_empty() {
            return Ok((Vec::new(), None));
        }
        let store = self.store.clone();
        let done = spawn_blocking(move || {
            let hold = store.hold()?;
            Ok((store.put_many(&small, true)?, Some(hold)))
        });
        done.await.map_err(ended)?
    }

    async fn record(&self, artifacts: Vec<Artifact>, replies: Vec<oneshot::Sender<Result<Artifact>>>) {
        match self.db.put_artifacts(&artifacts).await {
            Ok(()) => {
                for (reply, artifact) in replies.into_iter().zip(artifacts) {
                    drop(reply.send(Ok(artifact)));
                }
            }
            // Somebody's path is in the way of something: everybody gets an answer of their own.
            Err(tidemill_db::Error::Exists { .. }) => {
                for (reply, artifact) in replies.into_iter().zip(artifacts) {
                    let done = self.db.put_artifacts(std::slice::from_ref(&artifact)).await;
                    drop(reply.send(done.map(|()| artifact).map_err(refusal)));
                }
            }
            Err(error) => {
                let error = Arc::new(Error::from(error));
                for reply in replies {
                    drop(reply.send(Err(shared(&error))));
                }
            }
        }
    }
}

impl Request {
    fn weight(&self) -> usize {
        match &self.content {
            Received::Small(bytes) => bytes.len() + 1024,
            Received::Stored(..) => 1024,
        }
    }
}

pub(crate) fn artifact(path: &ArtifactPath, entry: &Entry, at: Timestamp) -> Artifact {
    let path = path.as_str().to_owned();
    Artifact { path, digest: entry.digest, bytes: entry.bytes, sha256: entry.sha256, at }
}

/// What a client is told when the database does not take a path.
pub(crate) fn refusal(error: tidemill_db::Error) -> Error {
    match error {
        tidemill_db::Error::Exists { name, .. } => Error::invalid(format!(
            "Invalid path: '{name}' cannot be both a file and a folder; delete it first or choose another name"
        )),
        error => error.into(),
    }
}

/// One error for several callers.
fn shared(error: &Arc<Error>) -> Error {
    Error { code: error.code, message: error.message.clone(), source: Some(Box::new(Arc::clone(error))) }
}
