//! Tests of what a model answers when its inputs change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DecideBy;
use crate::{OneOrMany, Share};

/// Rows that are a little wrong do not make the model much worse. Each kind of damage that is named is a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RobustnessTest {
    /// What is measured on the damaged rows.
    pub metric: String,
    /// By how much it may be worse than on the rows as they are.
    pub max_loss: f64,
    /// Normal noise on every number, in standard deviations of its column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// Share of the values that go missing, drawn for each column by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Share>,
    /// Columns whose values are put into a random order, one column at a time: no single source may carry the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<OneOrMany>,
    /// Columns that `noise` and `missing` touch; the model's inputs where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<OneOrMany>,
    /// What decides: `estimate`, the measured loss, where not given, or `interval`, that of the loss on the same rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<DecideBy>,
    /// How sure the interval is: above 0.5 and below 1, 0.95 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

/// A column does not change the prediction: every held-out row is asked with the column's other values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvarianceTest {
    /// The column. Up to ten of its values are tried, the most frequent ones.
    pub column: String,
    /// Greatest change of the prediction: of the number, or of any class's probability.
    pub max_change: f64,
    /// Least share of the rows for which it holds; 95% where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}

/// The prediction goes one way only as a column rises: of the number, or of the positive class's probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectionTest {
    /// The column, which holds numbers.
    pub column: String,
    /// What the prediction must not do when the column rises.
    pub must_not: MustNot,
    /// By how much the column is raised; by one standard deviation where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raise: Option<f64>,
    /// How far the prediction may go the wrong way; 0.000001 where not given, for rounding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// Least share of the rows for which it holds; 95% where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}

/// What a prediction must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MustNot {
    /// Become larger.
    Rise,
    /// Become smaller.
    Fall,
}
