//! Tests of the exported model as a thing to run, and of the training as a thing to trust.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Share;

/// No column gives the answer away, and no held-out row was learnt from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeakageTest {
    /// The best that one input alone may do on the held-out rows: ROC AUC, or R² for regression; 0.98 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_alone: Option<f64>,
    /// Greatest share of the held-out rows whose inputs and target are those of a training row too; not looked at where not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_overlap: Option<Share>,
}

/// The exported model is small enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SizeTest {
    /// Size of the exported model at most, in megabytes of 1,000,000 bytes.
    pub max_mb: f64,
}

/// The exported model answers in time, in the runtime that serves it, without the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LatencyTest {
    /// 99 of 100 calls take at most this long, in milliseconds.
    pub p99_ms: f64,
    /// Rows of a call; 1 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
}

/// The training does what any training must: one step on random valid rows, the loss falls, 32 rows are learnt by heart, no
/// answer is not a number, the same seed gives the same bytes, shuffled labels give chance level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmokeTest {}
