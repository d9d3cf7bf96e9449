//! What outcomes say about answers: money by the objective's costs, the quality of scores, and the business number.
//!
//! Rows are answers of both arms that were joined with what became known later. Here they become observations of a judge; where they
//! come from is the caller's. All of it is pure, so the same rows give the same looks.

mod observe;
#[cfg(test)]
mod tests;
mod value;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::declare::Costs;
use tidemill_core::{Digest, Timestamp};

use crate::judge::{Metric, Spec};

pub use observe::{Row, observations};
pub use value::{Answer, Label};

/// Money per decision, between arms that answer different requests.
pub const COST: &str = "cost";
/// Money per decision, both arms on the same request.
pub const PAIRED_COST: &str = "paired_cost";
/// Quality of scores, between arms that answer different requests.
pub const QUALITY: &str = "quality";
/// Quality of scores, both arms on the same request.
pub const PAIRED_QUALITY: &str = "paired_quality";
/// The business number of the requests that an arm answered.
pub const KPI: &str = "kpi";

/// How outcomes become numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// The outcome that says what was true.
    pub label: String,
    /// The label for which somebody should have acted, as text; `1` and `true` are the same.
    pub positive: String,
    /// What decisions cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
    /// From which score on somebody acts, for releases that do not say so themselves.
    pub threshold: f64,
    /// The same for releases that do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<(Digest, f64)>,
    /// By what scores are measured.
    #[serde(default)]
    pub quality: Quality,
    /// The outcome that is the business number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kpi: Option<String>,
    /// How long after a request its outcomes are known. A request enters the judge when this time has passed, never before: what is
    /// known early is not like the rest.
    pub delay: Duration,
    /// The same of the business number, where it has a time of its own; then `delay` is that of the label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kpi_delay: Option<Duration>,
}

impl Measures {
    /// From which score on somebody acts on what a release says.
    pub fn threshold_of(&self, release: Digest) -> f64 {
        self.thresholds
            .iter()
            .find(|(known, _)| *known == release)
            .map_or(self.threshold, |(_, threshold)| *threshold)
    }

    /// Whether a judge looks at anything that comes from outcomes.
    pub fn feeds(spec: &Spec) -> bool {
        let is_ours = |metric: &Metric| {
            [COST, PAIRED_COST, QUALITY, PAIRED_QUALITY, KPI].contains(&metric.name.as_str())
        };
        spec.metrics.iter().any(is_ours)
    }
}

/// By what scores are measured; lower is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// The squared distance of the score from what was true, 0 to 1.
    #[default]
    Brier,
    /// The logarithm of the score of what was true, negated; scores are drawn to 0.001 and 0.999, so it is at most 6.91.
    LogLoss,
    /// Whether the decision was wrong, 0 or 1.
    ErrorRate,
}

impl Quality {
    /// The largest value.
    pub fn most(self) -> f64 {
        match self {
            Self::Brier | Self::ErrorRate => 1.0,
            Self::LogLoss => 6.91,
        }
    }
}

/// A stretch of time under one table of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The table's revision.
    pub revision: u64,
    /// After this moment requests were routed by it.
    pub from: Timestamp,
    /// Until this moment, inclusive; then another table was on its way. None while it is in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The candidate's share, in ten thousandths.
    pub candidate: u32,
    /// The incumbent's.
    pub incumbent: u32,
    /// Of how many of ten thousand requests the candidate got copies.
    pub shadow: u32,
}

impl Epoch {
    /// Whether a request of this moment was routed by it.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from < at && self.until.is_none_or(|until| at <= until)
    }

    /// The candidate's part of the requests of both arms; none where not both answered.
    pub fn share(&self) -> Option<f64> {
        (self.candidate > 0 && self.incumbent > 0)
            .then(|| f64::from(self.candidate) / f64::from(self.candidate + self.incumbent))
    }
}
