//! How much the group-commit writer has to do, for whoever looks after a server.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Ingest;

/// What the writer did since the database was opened, and what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestLoad {
    /// Requests that were written, or refused for what they hold.
    pub requests: u64,
    /// Groups that they were written in: one commit each, as long as nothing had to be tried again.
    pub groups: u64,
    /// Requests that wait or are being written now.
    pub waiting: u64,
}

/// The counters behind an [`IngestLoad`].
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) groups: AtomicU64,
    waiting: AtomicU64,
}

impl Counts {
    /// One more waits as long as the value lives, also where its caller goes away.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    pub(super) fn load(&self) -> IngestLoad {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        IngestLoad { requests: get(&self.requests), groups: get(&self.groups), waiting: get(&self.waiting) }
    }
}

pub(super) struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ingest {
    /// How much there is to do.
    pub fn load(&self) -> IngestLoad {
        self.counts().load()
    }
}
