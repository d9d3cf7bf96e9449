//! The step cache: what a step with a certain key gave.

use std::collections::HashMap;

use tidemill_core::{Digest, RunId, Timestamp};

use crate::{Db, Result, Tx};

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// The step's cache key.
    pub key: Digest,
    /// The record of its outputs, as JSON text. Opaque here, except that every digest in it (`b3:…`) counts as
    /// referred to in [`Db::roots`].
    pub outputs: String,
    /// The run that did it.
    pub run: RunId,
    /// When.
    pub created_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

impl Db {
    /// The result stored under a key.
    pub async fn step_cache(&self, key: Digest) -> Result<Option<StepResult>> {
        Ok(self.step_cache_many(&[key]).await?.remove(&key))
    }

    /// The results stored under many keys, in one query; keys without one are absent.
    pub async fn step_cache_many(&self, keys: &[Digest]) -> Result<HashMap<Digest, StepResult>> {
        let _ = keys;
        Err(self.unfinished())
    }
}

impl Tx {
    /// Puts a result into the cache, replacing one with the same key.
    pub async fn put_step_result(&mut self, result: &StepResult) -> Result<()> {
        let _ = result;
        Err(self.unfinished())
    }

    /// Notes that results were used at `at`. This alone is no state change and needs no event.
    pub async fn touch_cache(&mut self, keys: &[Digest], at: Timestamp) -> Result<()> {
        let _ = (keys, at);
        Err(self.unfinished())
    }
}
