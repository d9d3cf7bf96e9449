//! What became of the rows of a dataset that are outcomes.

use serde::{Deserialize, Serialize};

/// A version of a dataset as outcomes of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomesOfDataset {
    /// The endpoint.
    pub endpoint: String,
    /// The dataset.
    pub dataset: String,
    /// Its version.
    pub version: u64,
    /// Its rows.
    pub rows: u64,
    /// Rows without a key, and those that say nothing yet.
    pub skipped: u64,
    /// Outcomes that were there from before.
    pub known: u64,
    /// Rows that hold no outcome.
    pub rejected: u64,
    /// New outcomes that were joined with a request.
    pub matched: u64,
    /// Of these, how many were late.
    pub late: u64,
    /// New outcomes that say what the request's outcome of the name says already.
    pub duplicate: u64,
    /// New outcomes that stand no longer, since one that is later by its time says otherwise.
    pub corrected: u64,
    /// New outcomes for which no record fitted within the time that is declared.
    pub unmatched: u64,
    /// New outcomes that wait for their records: what becomes of them is told when it is known.
    pub waiting: u64,
}
