//! The writer thread: takes what waits, hides what must be hidden, encodes, writes out, and syncs in groups.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tidemill_core::Clock;

use super::codec;
use super::queue::{Queue, Taken};
use super::segment::{self, SegmentWriter, WriteError};
use super::settings::{LogSettings, Rules};
use crate::Record;

/// What the writer has done for an endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// What callers and the writer share.
pub(crate) struct Shared {
    pub(crate) settings: LogSettings,
    pub(crate) queue: Queue,
    /// Looked at by every request, which must not wait for another one.
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) written: Mutex<HashMap<Arc<str>, Written>>,
    /// Told when a segment was closed.
    pub(crate) sealed: tokio::sync::Notify,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Shared {
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }
}

/// How often the queue is looked at while records come, and at rest.
const BUSY: Duration = Duration::from_millis(10);
const REST: Duration = Duration::from_millis(100);
/// A buffer is written out when it has so many bytes, and at the end of each look.
const BUFFER: usize = 1 << 20;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    open: HashMap<Arc<str>, SegmentWriter>,
    last_sync: Instant,
    /// What went wrong since the last flush.
    failed: Option<String>,
    /// When a failure was last logged, so that a full disk does not fill the log too.
    last_warning: Option<Instant>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: HashMap::new(), last_sync: Instant::now(), failed: None, last_warning: None }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        // Whoever waits for a flush is told, also where this thread panics.
        struct Ended(Arc<Shared>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.0.queue.ended();
            }
        }
        let _ended = Ended(self.shared.clone());
        let mut taken = Taken::default();
        let mut flushed = 0;
        let mut idle = BUSY;
        loop {
            self.shared.queue.take(&mut taken);
            idle = if taken.records.is_empty() { (idle * 2).min(REST) } else { BUSY };
            self.write(&mut taken);
            let is_asked = taken.asked > flushed;
            if is_asked || taken.is_closed || self.last_sync.elapsed() >= self.shared.settings.flush {
                self.sync();
            }
            if is_asked {
                flushed = taken.asked;
                self.shared.queue.flushed(flushed, self.failed.take());
            }
            if taken.is_closed {
                break;
            }
            self.roll();
            std::thread::park_timeout(idle.min(self.shared.settings.flush));
        }
        let open: Vec<Arc<str>> = self.open.keys().cloned().collect();
        open.iter().for_each(|endpoint| self.seal(endpoint));
    }

    fn write(&mut self, taken: &mut Taken) {
        if taken.records.is_empty() {
            return;
        }
        let rules = self.shared.rules();
        let mut counts: HashMap<Arc<str>, u64> = HashMap::new();
        let mut records = std::mem::take(&mut taken.records);
        for mut record in records.drain(..) {
            codec::bound(&mut record);
            if let Some(redactor) = rules.redactor(&record.endpoint) {
                redactor.apply(&mut record);
            }
            if self.append(&record) {
                match counts.get_mut(&record.endpoint) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(record.endpoint.clone(), 1);
                    }
                }
            }
            taken.spend(record);
        }
        taken.records = records;
        let touched: Vec<Arc<str>> = counts.keys().cloned().collect();
        touched.iter().for_each(|endpoint| self.write_out(endpoint));
        let mut written = self.shared.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (endpoint, records) in counts {
            let bytes = self.open.get(&endpoint).map_or(0, SegmentWriter::bytes);
            let entry = written.entry(endpoint).or_default();
            entry.records += records;
            entry.bytes = bytes;
        }
        if taken.records.capacity() > 16_384 {
            taken.records.shrink_to(16_384);
        }
    }

    fn append(&mut self, record: &Record) -> bool {
        if !self.open.contains_key(&record.endpoint) {
            let now = self.shared.clock.now();
            match SegmentWriter::create(&self.shared.settings.dir, &record.endpoint, now) {
                Ok(segment) => {
                    self.open.insert(record.endpoint.clone(), segment);
                }
                Err(source) => {
                    self.lost(&record.endpoint, 1, &source);
                    return false;
                }
            }
        }
        let roll = self.shared.settings.roll;
        let Some(segment) = self.open.get_mut(&record.endpoint) else { return false };
        if !segment.append(record) {
            let why = std::io::Error::other(format!("a record has more than {} bytes", segment::MAX_PAYLOAD));
            self.lost(&record.endpoint, 1, &why);
            return false;
        }
        let is_full = segment.pending() >= BUFFER;
        if segment.is_crowded() || segment.rows >= roll.rows || segment.bytes() >= roll.bytes {
            self.seal(&record.endpoint);
        } else if is_full {
            self.write_out(&record.endpoint);
        }
        true
    }

    fn write_out(&mut self, endpoint: &Arc<str>) {
        let Some(segment) = self.open.get_mut(endpoint) else { return };
        if let Err(error) = segment.write_out() {
            self.gave_up(endpoint, &error);
        }
    }

    fn sync(&mut self) {
        self.last_sync = Instant::now();
        let dirty: Vec<Arc<str>> = self
            .open
            .iter()
            .filter(|(_, open)| open.is_dirty)
            .map(|(endpoint, _)| endpoint.clone())
            .collect();
        for endpoint in dirty {
            if let Some(Err(source)) = self.open.get_mut(&endpoint).map(SegmentWriter::sync) {
                // After a failed sync nobody knows what is on the disk: this file is not written further.
                self.gave_up(&endpoint, &WriteError::from(source));
            }
        }
    }

    /// Closes segments that are old.
    fn roll(&mut self) {
        let (now, age) = (self.shared.clock.now(), self.shared.settings.roll.age);
        let old = |open: &SegmentWriter| open.rows > 0 && now.since(open.opened) >= age;
        let due: Vec<Arc<str>> =
            self.open.iter().filter(|(_, open)| old(open)).map(|(endpoint, _)| endpoint.clone()).collect();
        due.iter().for_each(|endpoint| self.seal(endpoint));
    }

    fn seal(&mut self, endpoint: &Arc<str>) {
        let Some(segment) = self.open.remove(endpoint) else { return };
        match segment.seal() {
            Ok(_) => self.shared.sealed.notify_one(),
            Err(error) => self.lost(endpoint, error.records, &error.source),
        }
    }

    fn gave_up(&mut self, endpoint: &Arc<str>, error: &WriteError) {
        self.lost(endpoint, error.records, &error.source);
        if !error.is_usable {
            // What is whole in it is recovered by the next start.
            self.open.remove(endpoint);
        }
    }

    fn lost(&mut self, endpoint: &Arc<str>, records: u64, why: &std::io::Error) {
        self.shared.queue.count_drop(endpoint, records);
        self.failed = Some(format!("records of `{endpoint}` could not be written: {why}"));
        if self.last_warning.is_none_or(|last| last.elapsed() > Duration::from_secs(10)) {
            self.last_warning = Some(Instant::now());
            tracing::error!(%endpoint, records, error = %why, "records of requests could not be written and are lost");
        }
    }
}

/// Held by the process that writes into the folder, until dropped.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: std::fs::File,
}

impl DirLock {
    /// `None` where another process holds it.
    pub(crate) fn take(dir: &Path) -> std::io::Result<Option<Self>> {
        let path: PathBuf = dir.join("lock");
        let file =
            fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(path)?.into_parts().0;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
