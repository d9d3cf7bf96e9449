//! How long work says how far it is, and how it learns that it should stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a progress bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Files.
    Files,
    /// Rows of a table.
    Rows,
    /// Anything else: rounds, folds, trials.
    Items,
}

/// Receives the progress of one long piece of work. Methods are called from many threads and must be cheap.
pub trait Progress: Send + Sync {
    /// A phase begins, for example `hashing`; `total` is `None` where it is not known.
    fn begin(&self, phase: &str, total: Option<u64>, unit: Unit);
    /// `n` more are done.
    fn advance(&self, n: u64);
    /// Whether to stop. Work checks it at least every few hundred milliseconds and ends with its crate's
    /// `Cancelled` error, leaving nothing half-written.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Shows nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) {}
    fn advance(&self, _: u64) {}
}

/// A flag that asks work to stop; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop; stays set.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Progress for Cancel {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) {}
    fn advance(&self, _: u64) {}
    fn cancelled(&self) -> bool {
        self.is_cancelled()
    }
}
