//! Records finished steps on a thread of its own, in groups: the store is synced once for a group, then its steps go
//! into the journal. So the disk works on one step while the next one runs, and a recorded step always has its
//! outputs on disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use crate::{Contents, Error, Journal, RunStarted, StepFinished};

/// Steps that may wait to be recorded before a worker waits too.
const QUEUE: usize = 256;

/// What is to be recorded.
pub(super) enum Entry {
    /// The run begins.
    Started(Box<RunStarted>),
    /// A step ended.
    Finished(Box<StepFinished>),
}

#[derive(Default)]
pub(super) struct Recorder {
    broken: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl Recorder {
    /// The queue into the recorder.
    pub(super) fn queue() -> (SyncSender<Entry>, Receiver<Entry>) {
        sync_channel(QUEUE)
    }

    /// Whether recording failed; the run should end.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// What went wrong.
    pub(super) fn into_result(self) -> Result<(), Error> {
        match self.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Records until the queue is closed. After an error the rest is dropped: a step whose record is lost runs again.
    pub(super) fn work(&self, queue: &Receiver<Entry>, contents: &dyn Contents, journal: &dyn Journal) {
        while let Ok(first) = queue.recv() {
            let mut group = vec![first];
            group.extend(queue.try_iter());
            if self.is_broken() {
                continue;
            }
            if let Err(error) = record(&group, contents, journal) {
                *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                self.broken.store(true, Ordering::SeqCst);
            }
        }
    }
}

fn record(group: &[Entry], contents: &dyn Contents, journal: &dyn Journal) -> Result<(), Error> {
    if group.iter().any(|entry| matches!(entry, Entry::Finished(step) if step.cached().is_some())) {
        contents.sync()?;
    }
    for entry in group {
        match entry {
            Entry::Started(run) => journal.run_started(run)?,
            Entry::Finished(step) => journal.step_finished(step)?,
        }
    }
    Ok(())
}
