//! What waits for the writer: bounded in records and bytes, and cheap to put into.
//!
//! A caller holds the lock for one push of a pointer; the writer for one swap of two lists. Nobody is woken for a
//! record: the writer looks every few milliseconds, and is woken only when the queue is half full or somebody waits
//! for a flush.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::codec;
use crate::Record;

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Told when something was flushed, or the writer has ended.
    flushed: Condvar,
    records: usize,
    bytes: usize,
    /// The writer's thread, to be woken.
    writer: Mutex<Option<std::thread::Thread>>,
    was_woken: AtomicBool,
    drops: Mutex<HashMap<Arc<str>, u64>>,
}

#[derive(Debug, Default)]
struct Waiting {
    // Boxes, because what moves when the list grows is then a pointer for each record.
    #[expect(clippy::vec_box, reason = "the list is swapped and grown under a lock that callers take")]
    records: Vec<Box<Record>>,
    bytes: usize,
    is_closed: bool,
    has_ended: bool,
    /// Flushes that were asked for and done, by number.
    asked: u64,
    done: u64,
    /// Records that are lost for good because they could not be written.
    failed: Option<String>,
}

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    #[expect(clippy::vec_box, reason = "as in the queue")]
    pub(crate) records: Vec<Box<Record>>,
    /// The number of the newest flush that somebody waits for.
    pub(crate) asked: u64,
    pub(crate) is_closed: bool,
}

impl Queue {
    pub(crate) fn new(records: usize, bytes: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            flushed: Condvar::new(),
            records,
            bytes,
            writer: Mutex::new(None),
            was_woken: AtomicBool::new(false),
            drops: Mutex::default(),
        }
    }

    /// Puts a record in; counts it where there is no room.
    pub(crate) fn push(&self, record: Record) {
        let size = codec::memory_bytes(&record);
        let record = Box::new(record);
        let mut waiting = self.lock();
        let has_room = waiting.records.len() < self.records && waiting.bytes + size <= self.bytes;
        if waiting.is_closed || !has_room {
            drop(waiting);
            self.count_drop(&record.endpoint, 1);
            self.wake();
            return;
        }
        waiting.bytes += size;
        waiting.records.push(record);
        let is_filling = waiting.records.len() > self.records / 2 || waiting.bytes > self.bytes / 2;
        drop(waiting);
        if is_filling {
            self.wake();
        }
    }

    pub(crate) fn count_drop(&self, endpoint: &Arc<str>, records: u64) {
        let mut drops = self.drops.lock().unwrap_or_else(PoisonError::into_inner);
        *drops.entry(endpoint.clone()).or_default() += records;
    }

    /// Dropped records by endpoint.
    pub(crate) fn drops(&self) -> HashMap<Arc<str>, u64> {
        self.drops.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes everything; `taken` is emptied by the caller and its memory used again.
    pub(crate) fn take(&self, taken: &mut Taken) {
        self.was_woken.store(false, Ordering::Relaxed);
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.records, &mut taken.records);
        waiting.bytes = 0;
        (taken.asked, taken.is_closed) = (waiting.asked, waiting.is_closed);
    }

    /// Waits until everything that was put in before is durable.
    ///
    /// # Errors
    ///
    /// What went wrong when it could not be written, and where the writer has ended.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let until = Instant::now() + timeout;
        let mut waiting = self.lock();
        waiting.asked += 1;
        let mine = waiting.asked;
        drop(waiting);
        self.unpark();
        let mut waiting = self.lock();
        loop {
            if waiting.done >= mine {
                return waiting.failed.take().map_or(Ok(()), |why| Err(FlushError::Failed(why)));
            }
            if waiting.has_ended {
                return Err(FlushError::Closed);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(FlushError::Late);
            }
            waiting = self.flushed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The writer has made durable what was there when flush number `done` was asked for.
    pub(crate) fn flushed(&self, done: u64, failed: Option<String>) {
        let mut waiting = self.lock();
        waiting.done = waiting.done.max(done);
        if failed.is_some() {
            waiting.failed = failed;
        }
        drop(waiting);
        self.flushed.notify_all();
    }

    /// Nothing more is taken.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.unpark();
    }

    /// The writer has ended.
    pub(crate) fn ended(&self) {
        let mut waiting = self.lock();
        (waiting.is_closed, waiting.has_ended) = (true, true);
        drop(waiting);
        self.flushed.notify_all();
    }

    pub(crate) fn set_writer(&self, thread: std::thread::Thread) {
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Wakes the writer, once until it has looked.
    fn wake(&self) {
        if !self.was_woken.swap(true, Ordering::Relaxed) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            thread.unpark();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a flush did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FlushError {
    /// Some records since the last flush could not be written.
    Failed(String),
    /// The writer has ended.
    Closed,
    /// It took too long.
    Late,
}
