//! What the metadata still refers to, and how old runs leave it.

use std::collections::BTreeSet;

use tidemill_core::Digest;

use crate::{Db, Result, Tx};

/// How much is kept. Dataset versions and the log are always kept, and so is every running run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Keep only this many of the latest runs, and of the step cache only what these runs used; `None` keeps all.
    pub runs: Option<usize>,
}

/// What [`Tx::prune`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Their steps.
    pub steps: u64,
    /// Results in the step cache.
    pub results: u64,
}

impl Db {
    /// Every digest that the metadata would refer to after [`Tx::prune`] with the same `keep`: dataset contents,
    /// plans, lock files, outputs, logs, evidence, and all digests in the output records of the step cache.
    ///
    /// Not every one names a stored object: a collector ignores those that its store does not have.
    pub async fn roots(&self, keep: &Keep) -> Result<BTreeSet<Digest>> {
        let _ = keep;
        Err(self.unfinished())
    }
}

impl Tx {
    /// Removes the runs, steps and results that `keep` does not cover. Commit it with a `StoreSwept` event.
    pub async fn prune(&mut self, keep: &Keep) -> Result<Pruned> {
        let _ = keep;
        Err(self.unfinished())
    }
}
