//! The model beside a simple one that learned from the same rows.

use arrow::array::RecordBatch;
use tidemill_core::Quiet;
use tidemill_core::declare::{Costs, Metric, TaskKind, Training};
use tidemill_project::{BaselineTest, DecideBy};
use tidemill_train::fit::{compare_costs, fit};
use tidemill_train::metric;
use tidemill_train::probe::compare;
use tidemill_train::report::MetricValue;

use super::floor::LEVEL;
use super::settle::{Found, settled};
use super::{Case, Judged, Outcome, TestResult, named, outcome};
use crate::output::number;

impl Judged {
    /// Trains the simple model on the same rows and compares the two on the same test rows.
    pub(super) fn baseline(&self, case: &Case<'_>, test: &BaselineTest) -> anyhow::Result<TestResult> {
        let (simple, by) = (test.beats, test.metric.as_deref());
        let training = case.training;
        let declared = Training {
            algorithm: simple,
            cv: None,
            search: None,
            gbdt: None,
            linear: None,
            ..training.clone()
        };
        let other = fit(&case.table()?, &declared, 0, &Quiet)?;
        let word = serde_json::to_value(simple)?.as_str().unwrap_or_default().to_owned();
        let costs = training.costs.as_ref().filter(|_| by.is_none_or(|by| by == "cost"));
        if let Some(costs) = costs.filter(|_| self.decides) {
            let name = format!("cheaper than {word}");
            return settled(name, self.cheaper(&other.predictions, costs, training.seed, test));
        }
        let metric = by.and_then(named).unwrap_or(match self.task {
            TaskKind::Classification => Metric::LogLoss,
            TaskKind::Regression => Metric::Rmse,
        });
        let value = |all: &[MetricValue]| all.iter().find(|found| found.metric == metric)?.value;
        let name = format!("better than {word} by {}", metric::name(metric));
        let (Some(ours), Some(theirs)) = (value(&self.metrics), value(&other.report.test)) else {
            let message = format!("the trainings do not report {}", metric::name(metric));
            return Ok(TestResult::new(name, Outcome::NotJudged, message));
        };
        if test.by == Some(DecideBy::Estimate) {
            let good = metric::is_better(metric, ours, theirs);
            let message = format!("{} against {}", number(ours), number(theirs));
            return Ok(TestResult::new(name, outcome(good), message));
        }
        settled(name, self.better(&other.predictions, metric, test.confidence.unwrap_or(LEVEL)))
    }

    /// Better by a metric, beyond chance on the same rows.
    fn better(&self, simple: &RecordBatch, metric: Metric, level: f64) -> anyhow::Result<Found> {
        let found = compare(&self.predictions, simple, metric, level)?;
        let gain = found.gain;
        let message = format!(
            "{} against {}, gain {} ({} to {})",
            number(found.new),
            number(found.old),
            number(gain.estimate),
            number(gain.low),
            number(gain.high)
        );
        let words = ("better", "worse");
        Ok(proven(gain.low > 0.0, gain.high < 0.0, words, &message).compared(&found))
    }

    fn cheaper(
        &self,
        simple: &RecordBatch,
        costs: &Costs,
        seed: u64,
        test: &BaselineTest,
    ) -> anyhow::Result<Found> {
        let paired = compare_costs(&self.predictions, simple, costs, seed)?;
        let (low, high) = match test.confidence {
            None => (paired.lower, paired.upper),
            Some(level) => {
                let gain = compare(&self.predictions, simple, Metric::Cost, level)?.gain;
                (-gain.high, -gain.low)
            }
        };
        let unit = costs.currency.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let message = format!(
            "{} against {}{unit} per decision, difference {} ({} to {})",
            number(paired.new),
            number(paired.old),
            number(paired.difference),
            number(low),
            number(high)
        );
        let found = if test.by == Some(DecideBy::Estimate) {
            Found::new(paired.difference < 0.0, message)
        } else {
            proven(high < 0.0, low > 0.0, ("cheaper", "dearer"), &message)
        };
        Ok(found
            .figure("new", paired.new)
            .figure("old", paired.old)
            .figure("difference", paired.difference)
            .figure("low", low)
            .figure("high", high))
    }
}

/// What must be proven: the whole interval on the good side. "No evidence" is said as such and is not a pass.
fn proven(is_good: bool, is_bad: bool, (good, bad): (&str, &str), message: &str) -> Found {
    if is_good {
        Found::new(true, format!("{good}: {message}"))
    } else if is_bad {
        Found::new(false, format!("{bad}: {message}"))
    } else {
        Found::new(false, format!("no evidence that it is {good}: {message}"))
    }
}
