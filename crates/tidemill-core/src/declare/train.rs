//! What a `train` step declares.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Costs, Task};

/// One training with the built-in tabular trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Which algorithm.
    pub algorithm: Algorithm,
    /// The table: an output of another step, a file, or a dataset.
    pub features: String,
    /// What is predicted; the objective's task where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Columns to learn from; every column but the target, weight, group, time and `drop` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Columns to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Columns to treat as categories although they hold numbers. Text columns are always categories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categorical: Vec<String>,
    /// Column of row weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// How rows are held out for testing.
    #[serde(default)]
    pub split: Split,
    /// Cross-validation on the training rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cv: Option<Cv>,
    /// Parameter search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Parameters of `gbdt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gbdt: Option<GbdtParams>,
    /// Parameters of `ridge` and `logistic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<LinearParams>,
    /// What errors cost; the objective's costs where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
    /// Metrics to report; all that fit the task where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<Metric>>,
    /// The seed of everything random.
    #[serde(default)]
    pub seed: u64,
}

/// Which algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Histogram gradient boosting of decision trees.
    Gbdt,
    /// Linear regression with an L2 penalty.
    Ridge,
    /// Logistic regression with an L2 penalty; softmax for more than two classes.
    Logistic,
    /// The mean or the class frequencies: what a model must beat.
    Prior,
}

/// How rows are held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// By what.
    #[serde(default)]
    pub by: SplitBy,
    /// Share of rows held out, above 0 and below 1.
    #[serde(default = "fifth")]
    pub test: f64,
    /// Column of times (`by: time`; the objective's time where not given) or groups (`by: group`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

impl Default for Split {
    fn default() -> Self {
        Self { by: SplitBy::default(), test: fifth(), column: None }
    }
}

fn fifth() -> f64 {
    0.2
}

/// How rows are assigned to the two sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// The latest rows are held out.
    Time,
    /// Rows are drawn at random.
    #[default]
    Random,
    /// Whole groups are held out.
    Group,
    /// At random within each class.
    Stratified,
}

/// Cross-validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cv {
    /// Number of folds, at least 2.
    pub folds: u32,
    /// How folds are made; `time` gives growing windows.
    #[serde(default)]
    pub by: SplitBy,
}

/// Parameter search on the training rows; the best parameters are fitted again on all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Grid or random.
    pub method: SearchMethod,
    /// Candidate values by parameter name.
    pub space: IndexMap<String, Vec<Value>>,
    /// Number of trials for `random`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<u32>,
    /// What decides.
    pub metric: Metric,
}

/// How candidates are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchMethod {
    /// Every combination.
    Grid,
    /// Combinations drawn without replacement.
    Random,
}

/// A measure of a model on held-out rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of right answers.
    Accuracy,
    /// Negative mean log likelihood, natural logarithm.
    LogLoss,
    /// Area under the receiver operating characteristic.
    RocAuc,
    /// Average precision.
    PrAuc,
    /// Harmonic mean of precision and recall at the decision threshold; macro average for more classes.
    F1,
    /// Mean squared error of the probability.
    Brier,
    /// Expected calibration error over ten equal-width bins.
    CalibrationError,
    /// Root mean squared error.
    Rmse,
    /// Mean absolute error.
    Mae,
    /// Coefficient of determination.
    R2,
    /// Expected cost per decision at the threshold that minimises it on the training side.
    Cost,
}

/// Parameters of histogram gradient boosting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GbdtParams {
    /// Boosting rounds; the upper bound with early stopping.
    pub rounds: u32,
    /// Shrinkage of every tree.
    pub learning_rate: f64,
    /// Leaves of a tree.
    pub max_leaves: u32,
    /// Depth of a tree; 0 is unbounded.
    pub max_depth: u32,
    /// Fewest rows in a leaf.
    pub min_rows_per_leaf: u32,
    /// Least sum of second derivatives in a leaf.
    pub min_hessian: f64,
    /// L2 penalty of leaf values.
    pub l2: f64,
    /// Histogram bins of a column, 2–255, without the one for missing values.
    pub max_bins: u32,
    /// Share of columns that a tree may use, above 0 and at most 1.
    pub column_share: f64,
    /// Share of rows that a tree learns from, above 0 and at most 1.
    pub row_share: f64,
    /// Stop when so many rounds brought nothing on held-out training rows; off where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<u32>,
    /// Share of training rows that early stopping holds out.
    pub validation_share: f64,
    /// Per column: 1 where predictions may only rise with it, -1 where they may only fall.
    pub monotone: IndexMap<String, i8>,
}

impl Default for GbdtParams {
    fn default() -> Self {
        Self {
            rounds: 100,
            learning_rate: 0.1,
            max_leaves: 31,
            max_depth: 0,
            min_rows_per_leaf: 20,
            min_hessian: 1e-3,
            l2: 0.0,
            max_bins: 255,
            column_share: 1.0,
            row_share: 1.0,
            early_stopping: None,
            validation_share: 0.1,
            monotone: IndexMap::new(),
        }
    }
}

/// Parameters of ridge and logistic regression. Numeric columns are standardised, missing values take the
/// mean, categories are one-hot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LinearParams {
    /// L2 penalty on standardised coefficients (the intercept is free), as scikit-learn's `Ridge(alpha)`;
    /// `1/C` of its `LogisticRegression`.
    pub l2: f64,
    /// Most iterations of the solver.
    pub max_iterations: u32,
    /// Categories of a column kept as columns of their own; the rest share one.
    pub max_categories: u32,
}

impl Default for LinearParams {
    fn default() -> Self {
        Self { l2: 1.0, max_iterations: 100, max_categories: 64 }
    }
}
