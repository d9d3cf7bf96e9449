//! Tests of how good a model is beyond one figure: for whom, and whether it knows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::OneOrMany;

/// No slice is much worse than the other rows, whichever columns describe it. All conjunctions of values and ranges of
/// the columns are looked at, and many looks are accounted for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorstSliceTest {
    /// By how much the mean loss of a slice may be above that of all other rows; only what is beyond chance fails.
    pub max_worse: f64,
    /// The loss of a row; `error` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<SliceLoss>,
    /// Columns that may describe a slice; the model's inputs where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<OneOrMany>,
    /// Most conditions of a slice, 1 to 3; 2 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Slices with fewer rows are not looked at; 100 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_rows: Option<u64>,
}

/// The loss of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SliceLoss {
    /// 1 for a wrong answer; the absolute error for regression.
    #[default]
    Error,
    /// Negative logarithm of the probability of what was true.
    LogLoss,
    /// What the decision costs, as the objective declares.
    Cost,
}

/// Probabilities mean what they say: of rows with about the same probability, that share is positive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CalibrationTest {
    /// Greatest expected calibration error over bins of equal mass. What a perfectly calibrated model could have by chance
    /// on so few rows is no failure.
    pub max_error: f64,
    /// Number of bins; 15 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<u32>,
    /// Least slope of the calibration line; below 1 the model is too sure. Fails only where the interval is below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_slope: Option<f64>,
    /// Greatest slope of the calibration line; above 1 it is not sure enough. Fails only where the interval is above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_slope: Option<f64>,
    /// Columns; every value of each must be calibrated by itself too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<OneOrMany>,
    /// Values of `by` with fewer rows are not judged; 100 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_rows: Option<u64>,
}

/// Groups of people are treated alike. Gaps are between the groups at the two ends; a gap above its limit fails where its
/// interval excludes the limit, and is no evidence otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FairnessTest {
    /// Columns whose values are the groups. The model need not learn from them.
    pub attributes: OneOrMany,
    /// Greatest difference of the rates of positive answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demographic_parity: Option<f64>,
    /// Least ratio of the rates of positive answers, lowest over highest; 0.8 is the "80 % rule".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity_ratio: Option<f64>,
    /// Greatest difference of the true positive rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equal_opportunity: Option<f64>,
    /// Greatest difference of the true positive rates or of the false positive rates, whichever is larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equalized_odds: Option<f64>,
    /// Groups with fewer rows are not judged; 100 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_rows: Option<u64>,
}
