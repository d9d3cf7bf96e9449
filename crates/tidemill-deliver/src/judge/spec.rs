//! What a judge is told: metrics, their limits, and the budget for errors.

use serde::{Deserialize, Serialize};
use tidemill_core::declare::MOST_SLICED;

/// The metric that counts failed requests.
pub const ERRORS: &str = "errors";
/// The metric that counts refused requests: those that were wrong by what the model takes, and those that came while it was too busy.
pub const REFUSALS: &str = "refusals";
/// The metric that counts slow requests.
pub const LATENCY: &str = "latency";
/// The metric of decisions that differ from the incumbent's on the same request; for shadows.
pub const AGREEMENT: &str = "agreement";
/// The metric of how far scores are from the incumbent's on the same request; for shadows.
pub const SCORES_APART: &str = "score_difference";

/// A judge: metrics that must not get worse, and how often it may be wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Chance of a wrong rollback over the whole rollout, and chance of advancing a candidate at a `reject` limit; between 0 and 1.
    pub error_budget: f64,
    /// What must not get worse.
    pub metrics: Vec<Metric>,
    /// Groups of requests that are judged by themselves; none where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<Slices>,
}

/// Groups of requests that are judged by themselves, each for every metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slices {
    /// Inputs of the model; requests with the same value of one are a group.
    pub by: Vec<String>,
    /// The most values of an input that are groups; all others of it are one.
    pub most: u32,
    /// Requests of each arm from which on a group is judged.
    pub min_samples: u64,
}

/// Something that must not get worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, unique within a judge.
    pub name: String,
    /// What is measured and how much worse it may be.
    #[serde(flatten)]
    pub kind: Kind,
    /// When it is known.
    #[serde(default)]
    pub tier: Tier,
    /// Harm rolls back; otherwise harm holds, and a person decides.
    #[serde(default = "yes")]
    pub critical: bool,
    /// Advancing needs proof that harm is below the `reject` limit; otherwise harm is only looked for.
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

/// When a metric is known, from seconds to months.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// With the answer.
    #[default]
    Operational,
    /// With some minutes of answers.
    Behavioural,
    /// From what people do next.
    Proxy,
    /// With the true outcome.
    Label,
    /// With the business number.
    Business,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Higher is worse.
    #[default]
    Lower,
    /// Lower is worse.
    Higher,
}

impl Better {
    /// What a difference is multiplied with to be harm.
    pub(crate) fn sign(self) -> f64 {
        match self {
            Self::Lower => 1.0,
            Self::Higher => -1.0,
        }
    }
}

/// An amount of harm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// In the metric's own unit.
    Absolute(f64),
    /// As a part of the baseline's mean.
    Relative(f64),
}

impl Amount {
    /// The number, whatever it is relative to.
    pub fn number(self) -> f64 {
        match self {
            Self::Absolute(number) | Self::Relative(number) => number,
        }
    }
}

/// What is measured and how much worse it may be. Harm up to `tolerate` never rolls back and harm of `reject` never advances, both within
/// the error budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// The rate of an unwanted event, for example of errors; limits are ratios to the baseline's rate.
    EventRate {
        /// A ratio of at least 1.
        tolerate: f64,
        /// A ratio above `tolerate`.
        reject: f64,
        /// A rate of the candidate below which nothing is harmed whatever the ratio is: without events of either arm, a ratio can
        /// never be proven.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        negligible: Option<f64>,
    },
    /// A share of requests, by the difference of the shares.
    Binary {
        /// Which way is better.
        #[serde(default)]
        better: Better,
        /// Harm up to here is none.
        tolerate: Amount,
        /// Harm from here on must not pass.
        reject: Amount,
        /// Harm that is to be found quickly.
        effect: Amount,
    },
    /// A mean of any values, by the difference of the means.
    Continuous {
        /// Which way is better.
        #[serde(default)]
        better: Better,
        /// Harm up to here is none.
        tolerate: Amount,
        /// Harm from here on must not pass.
        reject: Amount,
        /// Harm that is to be found quickly.
        effect: Amount,
    },
    /// A mean of values that cannot leave a range, for example of money by a cost matrix; exact whatever their distribution is.
    BoundedMean {
        /// Which way is better.
        #[serde(default)]
        better: Better,
        /// The least value.
        least: f64,
        /// The largest value.
        most: f64,
        /// Harm up to here is none, in the values' unit.
        tolerate: f64,
        /// Harm from here on must not pass, in the values' unit.
        reject: f64,
    },
    /// Differences between two answers to the same request, candidate minus baseline; for shadows.
    Paired {
        /// Which way is better.
        #[serde(default)]
        better: Better,
        /// The least difference.
        least: f64,
        /// The largest difference.
        most: f64,
        /// Harm up to here is none.
        tolerate: f64,
        /// Harm from here on must not pass.
        reject: f64,
    },
    /// An event that must not happen more than so often at all, for example answers that are not a number. Not a test: the limit is hard.
    Event {
        /// The most events of the candidate.
        max: u64,
    },
}

/// Why a judge cannot be as it is declared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// The budget is no chance.
    #[error("`error_budget` is {0}, but must be above 0 and below 1")]
    Budget(f64),
    /// Two metrics of one name.
    #[error("metric `{0}` is declared twice")]
    Twice(String),
    /// Nothing to judge by.
    #[error("the judge has no metric")]
    NoMetric,
    /// Limits that contradict each other.
    #[error("metric `{metric}`: {problem}")]
    Metric {
        /// The metric.
        metric: String,
        /// What is wrong.
        problem: String,
    },
    /// No slice can be judged, or too many.
    #[error(
        "`slices` is by {columns} inputs with {most} values each; expected 1 to {MOST_SLICED} different inputs, and at least one value"
    )]
    Slices {
        /// Different inputs.
        columns: usize,
        /// Values of each.
        most: u32,
    },
}

impl Spec {
    /// The metric by which the best of several candidates is chosen where nobody says by which: the first that needs proof and comes of
    /// outcomes, else the first.
    pub fn decisive(&self) -> Option<&Metric> {
        let is_decisive =
            |metric: &&Metric| metric.needs_proof() && matches!(metric.tier, Tier::Label | Tier::Business);
        self.metrics.iter().find(is_decisive).or(self.metrics.first())
    }

    /// Whether the declaration makes sense.
    pub fn check(&self) -> Result<(), SpecError> {
        if !(self.error_budget > 0.0 && self.error_budget < 1.0) {
            return Err(SpecError::Budget(self.error_budget));
        }
        if self.metrics.is_empty() {
            return Err(SpecError::NoMetric);
        }
        if let Some(Slices { by, most, .. }) = &self.slices {
            let different = by.iter().collect::<std::collections::BTreeSet<_>>().len();
            if *most == 0 || different != by.len() || !(1..=MOST_SLICED).contains(&different) {
                return Err(SpecError::Slices { columns: different, most: *most });
            }
        }
        for (at, metric) in self.metrics.iter().enumerate() {
            if self.metrics[..at].iter().any(|before| before.name == metric.name) {
                return Err(SpecError::Twice(metric.name.clone()));
            }
            metric
                .kind
                .check()
                .map_err(|problem| SpecError::Metric { metric: metric.name.clone(), problem })?;
        }
        Ok(())
    }
}

impl Kind {
    /// What is wrong with the limits, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::EventRate { tolerate, reject, negligible } => {
                finite(&[*tolerate, *reject])?;
                if let Some(rate) = negligible
                    && !(*rate > 0.0 && *rate < 1.0)
                {
                    return Err(format!("`negligible` is {rate}, but must be above 0 and below 1"));
                }
                if *tolerate < 1.0 || reject <= tolerate {
                    return Err(format!(
                        "`tolerate` is {tolerate} and `reject` is {reject}, but 1 <= tolerate < reject must hold"
                    ));
                }
            }
            Self::Binary { tolerate, reject, effect, .. }
            | Self::Continuous { tolerate, reject, effect, .. } => {
                finite(&[tolerate.number(), reject.number(), effect.number()])?;
                if effect.number() <= 0.0 {
                    return Err(format!("`effect` is {}, but must be above 0", effect.number()));
                }
                if let (Amount::Absolute(low), Amount::Absolute(high))
                | (Amount::Relative(low), Amount::Relative(high)) = (tolerate, reject)
                    && high < low
                {
                    return Err(format!("`reject` is {high}, below `tolerate`, which is {low}"));
                }
            }
            Self::BoundedMean { least, most, tolerate, reject, .. }
            | Self::Paired { least, most, tolerate, reject, .. } => {
                finite(&[*least, *most, *tolerate, *reject])?;
                if most <= least {
                    return Err(format!("`most` is {most}, not above `least`, which is {least}"));
                }
                if reject < tolerate {
                    return Err(format!("`reject` is {reject}, below `tolerate`, which is {tolerate}"));
                }
            }
            Self::Event { .. } => {}
        }
        Ok(())
    }
}

fn finite(numbers: &[f64]) -> Result<(), String> {
    match numbers.iter().find(|number| !number.is_finite()) {
        Some(number) => Err(format!("{number} is not a finite number")),
        None => Ok(()),
    }
}
