//! What a training says about itself: plain data, the same bytes on every run with the same inputs.
//!
//! Durations, host names and thread counts are deliberately not here.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_core::declare::{Algorithm, Costs, Metric, SearchMethod, SplitBy, TaskKind};

use crate::frame::{ClassLabel, Source};
use crate::metric::{CalibrationBin, Interval};

/// Version of the report's form; raised when a field changes its meaning or goes away.
pub const REPORT_VERSION: u32 = 1;

/// The report of one training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// Which algorithm.
    pub algorithm: Algorithm,
    /// What was predicted.
    pub task: TaskReport,
    /// The seed of everything random.
    pub seed: u64,
    /// Parameters that were used, after the search, defaults included.
    pub parameters: IndexMap<String, Value>,
    /// How rows were held out.
    pub split: SplitReport,
    /// Metrics on the test rows, with intervals; the first one is the headline.
    pub test: Vec<MetricValue>,
    /// The same metrics on the rows that were learnt from, without intervals.
    pub train: Vec<MetricValue>,
    /// Resamples behind each interval.
    pub resamples: u64,
    /// How probabilities become decisions; two classes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionReport>,
    /// Calibration of the test rows, ten bins; empty for regression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibration: Vec<CalibrationBin>,
    /// `confusion[truth][label]` on the test rows, in weights; classes as in the task. Empty for regression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<f64>>,
    /// Permutation importance on test rows, the most important column first.
    pub importance: Vec<ColumnImportance>,
    /// Which metric the importance is in.
    pub importance_metric: Metric,
    /// Cross-validation on the training rows, with the parameters used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cv: Option<CvReport>,
    /// Parameter search on the training rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchReport>,
    /// Boosting rounds that the model has; `gbdt` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u64>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
}

impl Report {
    /// The value of a metric on the test rows.
    pub fn metric(&self, metric: Metric) -> Option<&MetricValue> {
        self.test.iter().find(|value| value.metric == metric)
    }

    /// The report as indented JSON with a line end, the same bytes for the same report.
    pub fn to_json(&self) -> String {
        // Every part is plain data with text keys, so there is nothing that JSON cannot hold.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// What was predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Classification or regression.
    pub kind: TaskKind,
    /// The target column.
    pub target: String,
    /// The classes; for two, the negative one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassReport>,
    /// Columns that were learnt from.
    pub features: Vec<String>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Its value in the target column.
    pub class: ClassLabel,
    /// Its rows on the training side.
    pub train_rows: u64,
    /// Its rows on the test side.
    pub test_rows: u64,
    /// Its share of the weight of the training rows.
    pub train_share: f64,
    /// Its share of the weight of the test rows.
    pub test_share: f64,
}

/// How rows were held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitReport {
    /// By what.
    pub by: SplitBy,
    /// The column of times or groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// All rows.
    pub rows: u64,
    /// Rows learnt from, the validation rows included.
    pub train_rows: u64,
    /// Of these, rows that stopped the boosting or chose the threshold and that the final model has not seen.
    pub validation_rows: u64,
    /// Rows held out for testing.
    pub test_rows: u64,
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricValue {
    /// Which.
    pub metric: Metric,
    /// Its value; `None` where it is not defined on the rows.
    pub value: Option<f64>,
    /// 95 % bootstrap interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// How probabilities become decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionReport {
    /// The class that is acted on.
    pub positive: ClassLabel,
    /// Act where its probability reaches this.
    pub threshold: f64,
    /// Which rows chose the threshold; never the test rows.
    pub chosen_on: ChosenOn,
    /// What decisions cost, where costs are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostReport>,
}

/// Which rows chose the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChosenOn {
    /// None: one half, because there are no costs.
    Fixed,
    /// The held-out sides of the cross-validation.
    OutOfFold,
    /// A part of the training rows that the model which answered had not seen.
    Validation,
}

/// What decisions cost, per row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostReport {
    /// The costs as declared.
    pub costs: Costs,
    /// Mean cost of a decision on the test rows.
    pub model: f64,
    /// Its 95 % bootstrap interval.
    pub model_interval: Option<Interval>,
    /// Mean cost of never acting on the test rows.
    pub never: f64,
    /// Its interval.
    pub never_interval: Option<Interval>,
    /// Mean cost of always acting on the test rows.
    pub always: f64,
    /// Its interval.
    pub always_interval: Option<Interval>,
    /// The cheaper baseline's cost minus the model's: what the model saves with each decision.
    pub saving: f64,
    /// Interval of that saving, from the same resamples for both.
    pub saving_interval: Option<Interval>,
    /// Mean cost at the threshold on the rows that chose it.
    pub chosen_cost: f64,
    /// The threshold of a perfectly calibrated model, for comparison.
    pub calibrated_threshold: Option<f64>,
    /// Share of test weight that is acted on.
    pub acted: f64,
}

/// Importance of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnImportance {
    /// Its name.
    pub column: String,
    /// Mean loss of the metric when the column is shuffled; above 0 where the model uses it to good effect.
    pub mean: f64,
    /// Standard deviation over the repeats.
    pub std: f64,
}

/// Cross-validation on the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CvReport {
    /// How folds were made.
    pub by: SplitBy,
    /// Each fold.
    pub folds: Vec<FoldReport>,
    /// Each metric over the folds.
    pub metrics: Vec<CvMetric>,
}

/// One fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldReport {
    /// Rows learnt from.
    pub train_rows: u64,
    /// Rows validated on.
    pub test_rows: u64,
    /// Metrics on these, with decisions at the threshold that costs least over all folds together.
    pub metrics: Vec<MetricValue>,
}

/// One metric over the folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CvMetric {
    /// Which.
    pub metric: Metric,
    /// Plain mean over the folds where it is defined.
    pub mean: Option<f64>,
    /// Standard deviation over these folds (of the sample, n - 1).
    pub std: Option<f64>,
}

/// Parameter search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchReport {
    /// Grid or random.
    pub method: SearchMethod,
    /// What decided.
    pub metric: Metric,
    /// Held-out sides per trial: the folds, or 1 for a single validation split.
    pub folds: u64,
    /// Every trial, in the order they were made.
    pub trials: Vec<TrialReport>,
    /// Index of the best one.
    pub best: u64,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// The parameters that were varied.
    pub parameters: IndexMap<String, Value>,
    /// Mean of the metric over the held-out sides.
    pub value: Option<f64>,
    /// The metric on each held-out side.
    pub folds: Vec<Option<f64>>,
}

/// What the model takes and gives, for serving and for parity checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// Inputs in order; each is a column of values.
    pub inputs: Vec<InputSpec>,
    /// Outputs in order.
    pub outputs: Vec<OutputSpec>,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// How tables hold it.
    pub source: Source,
    /// The categories that training rows had; none for numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// Numbers a row.
    pub width: u64,
    /// The classes that the numbers are probabilities of; none for regression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassLabel>,
}

/// A metric by iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Its name, for example `train_log_loss`.
    pub name: String,
    /// Its value after each round, from the first.
    pub values: Vec<f64>,
}
