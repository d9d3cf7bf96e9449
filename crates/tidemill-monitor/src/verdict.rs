//! What a window comes to.

use serde::{Deserialize, Serialize};
use tidemill_core::Timestamp;
use tidemill_project::Detector;
use tidemill_stats::drift::DomainClassifier;

use crate::releases::AnsweredBy;
use crate::restate::Restated;

/// How a monitor stands after a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing speaks against it.
    Ok,
    /// The rule is broken.
    Broken,
    /// There is too little to say anything. An alert stays as it is.
    NoData,
}

impl State {
    /// The word as it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Broken => "broken",
            Self::NoData => "no_data",
        }
    }
}

/// What a window comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How the monitor stands.
    pub state: State,
    /// The figure that was judged, in the unit of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Lower end of its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// What it was held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Why, in one sentence without a full stop.
    pub why: String,
    /// What it may have cost in this window, in the currency of the objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<f64>,
    /// The numbers behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What the window adds to what is remembered of versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<AnsweredBy>,
    /// What it was before outcomes came that changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restated: Option<Restated>,
    /// Of inputs that were compared, how well a classifier tells the window's rows from those of the reference, and by which columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<DomainClassifier>,
}

impl Verdict {
    /// Nothing can be said.
    pub fn no_data(why: impl Into<String>) -> Self {
        Self::of(State::NoData, why)
    }

    pub(crate) fn of(state: State, why: impl Into<String>) -> Self {
        Self {
            state,
            value: None,
            low: None,
            high: None,
            limit: None,
            why: why.into(),
            at_risk: None,
            evidence: None,
            counted: Vec::new(),
            restated: None,
            classifier: None,
        }
    }
}

/// The numbers behind a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Evidence {
    /// Of a comparison with a reference.
    Drift {
        /// What it was compared with.
        against: String,
        /// Rows of the reference.
        rows_reference: u64,
        /// Rows of the window.
        rows: u64,
        /// Share of columns that moved much, weighted by importance.
        major_share: f64,
        /// p-value of the window: the smallest over columns, and over pairs of columns, after Benjamini and Hochberg's correction, and of the
        /// classifier, times how many families of tests there are.
        p: Option<f64>,
        /// The level that p had to reach, from all windows before (LORD++).
        level: f64,
        /// The columns that moved, by importance times shift, the largest first; at most 20.
        columns: Vec<Moved>,
        /// The pairs of columns that no longer go together as they did, the largest change first; at most 20.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pairs: Vec<Parted>,
        /// Columns that were not compared.
        skipped: Vec<String>,
    },
    /// Of labels.
    Quality {
        /// Predictions of the window.
        predictions: u64,
        /// Those whose label is there.
        labelled: u64,
        /// Mean cost of a decision, where the objective names costs.
        cost_per_decision: Option<f64>,
        /// What decisions on the same rows would have cost without a model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        without: Option<Without>,
        /// How the estimate from before the labels did.
        estimate: Option<super::Checked>,
    },
    /// Of an estimate without labels.
    Estimate {
        /// Predictions of the window.
        predictions: u64,
        /// Rows that the probabilities were calibrated on.
        calibrated_on: u64,
        /// What must hold for it to be right.
        assumption: String,
    },
    /// Of latency and errors.
    Service {
        /// Requests.
        requests: u64,
        /// Of these, how many failed.
        failed: u64,
        /// 99th percentile of latency, in milliseconds.
        p99_ms: Option<f64>,
        /// Requests that took longer than the limit.
        slow: Option<u64>,
    },
    /// Of requests and answers.
    Inputs {
        /// Requests.
        requests: u64,
        /// Those that were refused as invalid.
        invalid: u64,
        /// Those with values outside of the training range.
        outside: u64,
        /// Rows that were answered.
        rows: u64,
        /// Those whose answer is NaN or infinite.
        not_finite: u64,
    },
    /// Of the business number.
    Kpi {
        /// Outcomes that carry it.
        outcomes: u64,
        /// Mean of the like windows before.
        #[serde(alias = "median")]
        expected: f64,
        /// How many these are.
        windows: u64,
    },
    /// Of a stream.
    Stream {
        /// What notices changes.
        detector: Detector,
        /// Values of the window.
        values: u64,
        /// Values since the stream was first looked at.
        seen: u64,
        /// The level before the change that breaks the rule.
        usual: Option<f64>,
        /// The level that it moved to.
        moved_to: Option<f64>,
        /// How many values came since it probably began.
        values_since: Option<u64>,
        /// The last known time before that.
        began: Option<Timestamp>,
    },
}

/// Mean cost of a decision where nothing is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Without {
    /// Where one never acts.
    pub never: f64,
    /// Where one always acts.
    pub always: f64,
}

/// A column that moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Its name.
    pub column: String,
    /// `major` or `minor`.
    pub level: tidemill_stats::drift::Level,
    /// Its share of the importance of all columns.
    pub importance: f64,
    /// Share of rows that would have to change for both sides to agree.
    pub shift: f64,
    /// p-value after correction over columns.
    pub p: Option<f64>,
    /// Why, in words.
    pub why: String,
}

/// A pair of columns that no longer go together as they did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parted {
    /// Their names.
    pub columns: [String; 2],
    /// `major` or `minor`.
    pub level: tidemill_stats::drift::Level,
    /// Spearman's correlation of the reference.
    pub reference: f64,
    /// The same of the window.
    pub current: f64,
    /// p-value after correction over pairs.
    pub p: f64,
    /// What became of them, in words; of a column of categories it names the category.
    pub why: String,
}

/// How much is decided with the predictions of a window, and what that costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Exposure {
    /// Decisions in the window.
    pub decisions: u64,
    /// Mean cost of a decision, as it was on the rows that the model was tested on.
    pub cost_per_decision: Option<f64>,
}

impl Exposure {
    /// What `share` of the decisions costs: the most that can be lost where nothing is known of them any more.
    pub fn of_share(self, share: f64) -> Option<f64> {
        self.cost_per_decision.map(|cost| cost * self.decisions as f64 * share.clamp(0.0, 1.0))
    }
}
