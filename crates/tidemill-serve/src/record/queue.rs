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
    /// Records that were written. Who puts another one in frees what such a record holds, so that threads which make records all the time get
    /// their memory back; what the writer frees would be its own.
    #[expect(clippy::vec_box, reason = "as above")]
    spent: Vec<Box<Record>>,
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
    /// Records that were written, as far as they are given back.
    #[expect(clippy::vec_box, reason = "as in the queue")]
    spent: Vec<Box<Record>>,
    /// The number of the newest flush that somebody waits for.
    pub(crate) asked: u64,
    pub(crate) is_closed: bool,
}

/// Written records that are kept for the memory which they hold, and the most that each may hold.
const MOST_SPENT: usize = 1_024;
const SPENT_BYTES: usize = 4 << 10;

impl Taken {
    /// A record was written, or is lost.
    pub(crate) fn spend(&mut self, record: Box<Record>) {
        if self.spent.len() < MOST_SPENT && codec::memory_bytes(&record) <= SPENT_BYTES {
            self.spent.push(record);
        }
    }
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
        let mut waiting = self.lock();
        let has_room = waiting.records.len() < self.records && waiting.bytes + size <= self.bytes;
        if waiting.is_closed || !has_room {
            drop(waiting);
            self.count_drop(&record.endpoint, 1);
            self.wake();
            return;
        }
        waiting.bytes += size;
        let (record, written) = match waiting.spent.pop() {
            Some(mut place) => {
                let written = std::mem::replace(&mut *place, record);
                (place, Some(written))
            }
            None => (Box::new(record), None),
        };
        waiting.records.push(record);
        let is_filling = waiting.records.len() > self.records / 2 || waiting.bytes > self.bytes / 2;
        drop(waiting);
        drop(written);
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

    /// Takes everything; `taken` is emptied by the caller and its memory used again. What it has spent goes to who puts records in, or at rest
    /// is freed.
    pub(crate) fn take(&self, taken: &mut Taken) {
        self.was_woken.store(false, Ordering::Relaxed);
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.records, &mut taken.records);
        waiting.bytes = 0;
        (taken.asked, taken.is_closed) = (waiting.asked, waiting.is_closed);
        if taken.records.is_empty() {
            std::mem::swap(&mut waiting.spent, &mut taken.spent);
        } else {
            let room = MOST_SPENT.saturating_sub(waiting.spent.len());
            let from = taken.spent.len().saturating_sub(room);
            waiting.spent.extend(taken.spent.drain(from..));
        }
        drop(waiting);
        taken.spent.clear();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::segment::tests::record;

    #[test]
    fn written_records_are_given_to_who_puts_others_in() {
        let (queue, mut taken) = (Queue::new(10, 1 << 20), Taken::default());
        let put = |number: u64| queue.push(record(number, 0));
        let spent = || queue.lock().spent.len();
        (0..3).for_each(put);
        queue.take(&mut taken);
        std::mem::take(&mut taken.records).into_iter().for_each(|record| taken.spend(record));
        put(3);
        assert_eq!(spent(), 0);
        queue.take(&mut taken);
        assert_eq!(spent(), 3);
        put(4);
        assert_eq!(spent(), 2, "one was used");
        assert_eq!(queue.lock().records[0].id, record(4, 0).id);
        taken.records.clear();
        queue.take(&mut taken);
        assert_eq!((taken.records.len(), spent()), (1, 2));
        // At rest all is freed.
        taken.records.clear();
        queue.take(&mut taken);
        assert_eq!((taken.records.len(), spent(), taken.spent.len()), (0, 0, 0));
    }

    #[test]
    fn large_records_are_freed_where_they_were_written() {
        let mut taken = Taken::default();
        let large = Record { warnings: vec!["w".repeat(SPENT_BYTES)], ..record(1, 0) };
        taken.spend(Box::new(large));
        assert!(taken.spent.is_empty());
        (0..2 * MOST_SPENT as u64).for_each(|number| taken.spend(Box::new(record(number, 0))));
        assert_eq!(taken.spent.len(), MOST_SPENT);
    }
}
