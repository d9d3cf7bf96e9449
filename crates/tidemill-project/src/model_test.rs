//! Tests of a trained model.

mod behaviour;
mod compared;
mod operation;
mod quality;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_core::declare::Algorithm;

use crate::OneOrMany;

pub use behaviour::{DirectionTest, InvarianceTest, MustNot, RobustnessTest};
pub use compared::{ChampionTest, FlipsTest, StalenessTest};
pub use operation::{LatencyTest, LeakageTest, SizeTest, SmokeTest};
pub use quality::{CalibrationTest, FairnessTest, SliceLoss, WorstSliceTest};

/// A test that a trained model must pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelTest {
    /// A metric on the held-out rows is within bounds.
    Metric(MetricTest),
    /// The expected cost per decision against the champion.
    Cost(CostTest),
    /// A simple model must not be as good.
    Baseline(BaselineTest),
    /// The metric holds in every slice of the held-out rows.
    Slice(SliceTest),
    /// The exported model answers as the trained one did.
    Parity(ParityTest),
    /// No worse than the champion on the same held-out rows.
    Champion(ChampionTest),
    /// Few rows that the champion answers rightly are answered wrongly now.
    Flips(FlipsTest),
    /// No slice is much worse than the other rows, whichever columns describe it.
    WorstSlice(WorstSliceTest),
    /// Probabilities mean what they say.
    Calibration(CalibrationTest),
    /// Groups of people are treated alike.
    Fairness(FairnessTest),
    /// Rows that are a little wrong do not make the model much worse.
    Robustness(RobustnessTest),
    /// A column does not change the prediction.
    Invariance(InvarianceTest),
    /// The prediction goes one way only as a column rises.
    Direction(DirectionTest),
    /// No column gives the answer away, and no held-out row was learnt from.
    Leakage(LeakageTest),
    /// Older versions are still good on today's held-out rows.
    Staleness(StalenessTest),
    /// The exported model is small enough.
    Size(SizeTest),
    /// The exported model answers in time.
    Latency(LatencyTest),
    /// The training does what any training must; needs no code and no limits.
    Smoke(SmokeTest),
}

impl ModelTest {
    /// The name as it stands in a project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Metric(_) => "metric",
            Self::Cost(_) => "cost",
            Self::Baseline(_) => "baseline",
            Self::Slice(_) => "slice",
            Self::Parity(_) => "parity",
            Self::Champion(_) => "champion",
            Self::Flips(_) => "flips",
            Self::WorstSlice(_) => "worst_slice",
            Self::Calibration(_) => "calibration",
            Self::Fairness(_) => "fairness",
            Self::Robustness(_) => "robustness",
            Self::Invariance(_) => "invariance",
            Self::Direction(_) => "direction",
            Self::Leakage(_) => "leakage",
            Self::Staleness(_) => "staleness",
            Self::Size(_) => "size",
            Self::Latency(_) => "latency",
            Self::Smoke(_) => "smoke",
        }
    }

    /// The columns that it names, each with the key under which it does.
    pub fn columns(&self) -> Vec<(&'static str, &[String])> {
        match self {
            Self::Slice(test) => vec![("by", test.by.as_slice())],
            Self::Flips(test) => vec![("by", some(test.by.as_ref()))],
            Self::WorstSlice(test) => vec![("columns", some(test.columns.as_ref()))],
            Self::Calibration(test) => vec![("by", some(test.by.as_ref()))],
            Self::Fairness(test) => vec![("attributes", test.attributes.as_slice())],
            Self::Robustness(test) => {
                vec![("columns", some(test.columns.as_ref())), ("shuffle", some(test.shuffle.as_ref()))]
            }
            Self::Invariance(test) => vec![("column", std::slice::from_ref(&test.column))],
            Self::Direction(test) => vec![("column", std::slice::from_ref(&test.column))],
            Self::Metric(_)
            | Self::Cost(_)
            | Self::Baseline(_)
            | Self::Parity(_)
            | Self::Champion(_)
            | Self::Leakage(_)
            | Self::Staleness(_)
            | Self::Size(_)
            | Self::Latency(_)
            | Self::Smoke(_) => Vec::new(),
        }
    }
}

fn some(columns: Option<&OneOrMany>) -> &[String] {
    columns.map(OneOrMany::as_slice).unwrap_or_default()
}

/// What decides about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecideBy {
    /// The figure as it was measured on these rows.
    Estimate,
    /// What other rows of the same kind could have come to: passed where the whole interval is on the good side of the limit, failed where it
    /// is on the other. Else there is no evidence, and the test is not judged.
    Interval,
}

/// A metric on the held-out rows is within bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricTest {
    /// The metric: a built-in one such as `roc_auc`, or one that a `run` step writes.
    pub name: String,
    /// At least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// At most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What decides: `estimate` or `interval`. The measured value, where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<DecideBy>,
    /// How sure the interval is: above 0.5 and below 1, 0.95 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

/// The expected cost per decision against the champion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostTest {
    /// By how much of the champion's cost it may be higher; 0 allows no regression.
    pub max_regression: f64,
}

/// A simple model must not be as good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineTest {
    /// The simple model's algorithm.
    pub beats: Algorithm,
    /// What decides; expected cost where the objective names costs, otherwise log loss or RMSE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// What decides: `estimate` or `interval`. The interval, where not given: better by chance is not better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<DecideBy>,
    /// How sure the interval is: above 0.5 and below 1, 0.95 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

/// The metric holds in every slice of the held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SliceTest {
    /// Columns; every value of each is a slice.
    pub by: OneOrMany,
    /// The metric.
    pub metric: String,
    /// At least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// At most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Slices with fewer rows are not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_rows: Option<u64>,
}

/// The exported model answers as the trained one did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParityTest {
    /// Greatest absolute difference of any prediction.
    pub max_abs: f64,
}
