//! Tests that set a model beside other versions of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{OneOrMany, Period, Share};

/// No worse than the champion on the same held-out rows: the interval of the paired difference must lie above the
/// margin, so that "no evidence" is not a pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChampionTest {
    /// What decides.
    pub metric: String,
    /// How much worse still counts as no worse, in units of the metric; 0.005 where not given, for metrics from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
}

/// Few rows that the champion answers rightly are answered wrongly now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlipsTest {
    /// Greatest share of the held-out rows that were right and are wrong now.
    pub max: Share,
    /// Columns by which the slices with the most of them are named; the model's inputs where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<OneOrMany>,
}

/// Older versions are still good on today's held-out rows: the curve of quality over age. Where versions lose more than
/// `max_loss` before they are `max_age` old, models age faster than that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StalenessTest {
    /// What decides.
    pub metric: String,
    /// Versions up to this age are judged; older ones are shown.
    pub max_age: Period,
    /// By how much they may be worse than this model, in units of the metric.
    pub max_loss: f64,
    /// How many of the newest versions are asked; 5 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<u32>,
}
