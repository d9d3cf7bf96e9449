//! The recorder: puts records into the queue of the writer, which it starts and stops.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tidemill_core::Clock;

use super::declare::RecordsSpec;
use super::queue::{FlushError, Queue};
use super::redact::RedactKey;
use super::settings::{EndpointRules, LogSettings, Rules};
use super::writer::{DirLock, Shared, Writer};
use super::{LogError, segment};
use crate::{Record, Recorder};

/// The inference log of a process. Clones share it; dropping the last closes it.
#[derive(Clone)]
pub struct InferenceLog {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<DirLock>>,
    declared: Mutex<Declared>,
}

/// What endpoints and server declare about records.
#[derive(Clone, Debug, Default)]
struct Declared {
    default: RecordsSpec,
    endpoints: BTreeMap<String, RecordsSpec>,
    /// Read when something is to be hidden.
    key: Option<RedactKey>,
}

/// What became of the records of an endpoint since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Written into a segment.
    pub recorded: u64,
    /// Lost: the queue was full, or the disk refused.
    pub dropped: u64,
    /// Bytes of the segment that is open.
    pub open_bytes: u64,
}

impl fmt::Debug for InferenceLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InferenceLog").field("settings", &self.inner.shared.settings).finish_non_exhaustive()
    }
}

impl InferenceLog {
    /// Opens the log in its folder, closes what a killed process left open, and starts the writer.
    ///
    /// # Errors
    ///
    /// Where another process has the folder, or it cannot be written.
    pub fn open(settings: LogSettings, rules: Rules, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let dir = settings.dir.clone();
        fs_err::create_dir_all(&dir).map_err(LogError::io("make", &dir))?;
        let lock = DirLock::take(&dir).map_err(LogError::io("lock", &dir))?;
        let lock = lock.ok_or_else(|| LogError::Busy(dir.clone()))?;
        let recovered = segment::recover(&dir)?;
        if recovered.segments > 0 {
            tracing::info!(
                segments = recovered.segments,
                records = recovered.records,
                cut_bytes = recovered.cut,
                "closed segments of the inference log that were left open"
            );
        }
        let shared = Arc::new(Shared {
            queue: Queue::new(settings.queue_records.max(1), settings.queue_bytes),
            settings,
            rules: ArcSwap::from_pointee(rules),
            written: Mutex::new(HashMap::new()),
            sealed: tokio::sync::Notify::new(),
            clock,
        });
        let writer = Writer::new(shared.clone());
        let thread = std::thread::Builder::new()
            .name("inference-log".to_owned())
            .spawn(move || writer.run())
            .map_err(LogError::io("start the writer of", &dir))?;
        shared.queue.set_writer(thread.thread().clone());
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                writer: Mutex::new(Some(thread)),
                lock: Mutex::new(Some(lock)),
                declared: Mutex::default(),
            }),
        })
    }

    /// Puts other rules in place; they hold for the next record that the writer takes.
    pub fn set_rules(&self, rules: Rules) {
        self.inner.shared.rules.store(Arc::new(rules));
    }

    /// Declares what holds for endpoints, and models that are asked directly, as far as they declare nothing themselves.
    ///
    /// # Errors
    ///
    /// Where values are to be hidden and the secret cannot be had.
    pub fn set_default(&self, default: RecordsSpec) -> Result<(), LogError> {
        self.declare_with(|declared| declared.default = default)
    }

    /// Changes what is declared, and puts the rules that follow from it in place. Where that cannot be, both stay as they were.
    fn declare_with(&self, change: impl FnOnce(&mut Declared)) -> Result<(), LogError> {
        let mut current = self.inner.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut declared = current.clone();
        change(&mut declared);
        let default = declared.default.rules();
        let endpoints: BTreeMap<String, EndpointRules> = declared
            .endpoints
            .iter()
            .map(|(name, spec)| (name.clone(), spec.or(&declared.default).rules()))
            .collect();
        let hides = |rules: &EndpointRules| !rules.redact.is_empty();
        if declared.key.is_none() && (hides(&default) || endpoints.values().any(hides)) {
            declared.key = Some(RedactKey::open(&self.inner.shared.settings.redact_key)?);
        }
        self.set_rules(Rules::with_default(endpoints, default, declared.key.as_ref()));
        *current = declared;
        Ok(())
    }

    /// The rules.
    pub fn rules(&self) -> Arc<Rules> {
        self.inner.shared.rules()
    }

    /// The settings.
    pub fn settings(&self) -> &LogSettings {
        &self.inner.shared.settings
    }

    /// Waits until every record that was taken before is on the disk. Blocks; call it on a thread that may.
    ///
    /// # Errors
    ///
    /// Where records since the last flush could not be written, the log is closed, or a minute has passed.
    pub fn flush(&self) -> Result<(), LogError> {
        let failed = |why: String| {
            let path = self.inner.shared.settings.dir.clone();
            LogError::Io { action: "write records below", path, source: std::io::Error::other(why) }
        };
        self.inner.shared.queue.flush(Duration::from_mins(1)).map_err(|error| match error {
            FlushError::Failed(why) => failed(why),
            FlushError::Closed => LogError::Closed,
            FlushError::Late => failed("the disk did not answer for a minute".to_owned()),
        })
    }

    /// Counts by endpoint.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
        for (endpoint, dropped) in self.inner.shared.queue.drops() {
            counts.entry(endpoint.to_string()).or_default().dropped = dropped;
        }
        let written = self.inner.shared.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (endpoint, written) in written.iter() {
            let entry = counts.entry(endpoint.to_string()).or_default();
            (entry.recorded, entry.open_bytes) = (written.records, written.bytes);
        }
        counts
    }

    /// Takes no more records, writes what waits, closes the segments and ends the writer.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Waits until a segment was closed.
    pub(crate) async fn sealed(&self) {
        self.inner.shared.sealed.notified().await;
    }
}

impl Inner {
    fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that panicked has said so already.
        let _ = writer.map(JoinHandle::join);
        // Another process may have the folder now.
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Recorder for InferenceLog {
    fn wants(&self, endpoint: &str, id: &str) -> bool {
        self.inner.shared.rules.load().samples(endpoint, id)
    }

    fn declare(&self, endpoint: &str, records: &RecordsSpec) -> Result<(), String> {
        let declared = self.declare_with(|declared| {
            declared.endpoints.insert(endpoint.to_owned(), records.clone());
        });
        declared.map_err(|error| format!("its records cannot be kept as declared: {error}"))
    }

    fn record(&self, record: Record) {
        self.inner.shared.queue.push(record);
    }
}
