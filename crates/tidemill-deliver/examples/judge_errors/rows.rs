//! What the example prints with `--json` and `cargo xtask bench judge` reads: one file for both, so that they agree.

use serde::{Deserialize, Serialize};

/// Parts of streams of a healthy candidate that are rolled back, from 0 to 1.
#[derive(Serialize, Deserialize)]
pub(crate) struct Healthy {
    pub(crate) kind: String,
    pub(crate) share: f64,
    pub(crate) budget: f64,
    pub(crate) judge: f64,
    pub(crate) reference: f64,
    pub(crate) peeking_z: f64,
    pub(crate) argo_limit_0: f64,
    pub(crate) argo_limit_3: f64,
    pub(crate) flagger_count_5: f64,
}

/// Parts of streams of a candidate at its `reject` limit.
#[derive(Serialize, Deserialize)]
pub(crate) struct AtLimit {
    pub(crate) kind: String,
    pub(crate) share: f64,
    pub(crate) budget: f64,
    pub(crate) shipped: f64,
}

/// Middle numbers of requests to a verdict.
#[derive(Serialize, Deserialize)]
pub(crate) struct Speed {
    pub(crate) kind: String,
    pub(crate) share: f64,
    /// How much worse the candidate is, as a part of the mean.
    pub(crate) harm: f64,
    /// Whether it is to be certified below a margin, or found to be harmful.
    pub(crate) certifies: bool,
    pub(crate) judge: Option<u64>,
    pub(crate) reference: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Tables {
    pub(crate) repetitions: u64,
    pub(crate) healthy: Vec<Healthy>,
    pub(crate) at_limit: Vec<AtLimit>,
    pub(crate) speed: Vec<Speed>,
}
