//! What is known of an endpoint's traffic, and what that says of each metric of a judge.

use super::source::{Distribution, Source};
use crate::judge::{AGREEMENT, ERRORS, LATENCY, SCORES_APART, Spec};
use crate::outcome::{COST, KPI, PAIRED_COST, PAIRED_QUALITY, QUALITY};

/// In this part of requests two versions of a model answer differently, where nobody has seen how often.
pub const DISAGREEMENT: f64 = 0.1;

/// The part of requests that is slow, where none were seen: what is slow is what one of twenty is.
const SLOW: f64 = 0.05;

/// What is known of the incumbent, measured or assumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The part of requests that fails.
    pub errors: Option<f64>,
    /// The part of requests that is slow.
    pub slow: Option<f64>,
    /// Money per decision.
    pub cost: Option<Distribution>,
    /// How bad scores are.
    pub quality: Option<Distribution>,
    /// The business number.
    pub kpi: Option<Distribution>,
    /// Differences of money between a shadow and the incumbent on the same request, where shadows were seen.
    pub paired_cost: Option<Distribution>,
    /// The same of how bad scores are.
    pub paired_quality: Option<Distribution>,
    /// In this part of requests a candidate answers differently, where no shadow was seen.
    pub disagreement: f64,
    /// Labels per request.
    pub labels: f64,
    /// Business numbers per request.
    pub kpis: f64,
    /// Hours after which outcomes are judged.
    pub delay: f64,
    /// The same of business numbers, where they have a time of their own.
    pub kpi_delay: Option<f64>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            errors: None,
            slow: None,
            cost: None,
            quality: None,
            kpi: None,
            paired_cost: None,
            paired_quality: None,
            disagreement: DISAGREEMENT,
            labels: 1.0,
            kpis: 1.0,
            delay: 0.0,
            kpi_delay: None,
        }
    }
}

impl Known {
    /// What it says of each metric of a judge, in its order.
    pub fn sources(&self, judge: &Spec) -> Vec<Option<Source>> {
        judge.metrics.iter().map(|metric| self.source(&metric.name)).collect()
    }

    fn source(&self, metric: &str) -> Option<Source> {
        let rate = |rate: Option<f64>| {
            let level = rate?;
            Some(Source { distribution: Distribution::Rate(level), level, per_request: 1.0, delay: 0.0 })
        };
        let late = |distribution: &Option<Distribution>, per_request: f64| {
            let distribution = distribution.clone()?;
            let (level, delay) = (distribution.mean(), self.delay);
            Some(Source { distribution, level, per_request, delay })
        };
        let paired = |seen: &Option<Distribution>, values: &Option<Distribution>| {
            let level = values.as_ref().map_or(0.0, Distribution::mean);
            let distribution =
                seen.clone().or_else(|| Some(values.as_ref()?.differences(self.disagreement)))?;
            Some(Source { level, distribution, per_request: self.labels, delay: self.delay })
        };
        match metric {
            ERRORS => rate(self.errors),
            LATENCY => rate(self.slow.or(Some(SLOW))),
            COST => late(&self.cost, self.labels),
            QUALITY => late(&self.quality, self.labels),
            KPI => {
                let delay = self.kpi_delay.unwrap_or(self.delay);
                late(&self.kpi, self.kpis).map(|source| Source { delay, ..source })
            }
            PAIRED_COST => paired(&self.paired_cost, &self.cost),
            PAIRED_QUALITY => paired(&self.paired_quality, &self.quality),
            AGREEMENT | SCORES_APART => {
                // Harm is the difference itself, so what has none agrees wherever it is asked.
                let distribution = Distribution::Values(vec![(0.0, 1.0)]);
                Some(Source { distribution, level: 0.0, per_request: 1.0, delay: 0.0 })
            }
            _ => None,
        }
    }
}
