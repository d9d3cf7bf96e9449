//! The model beside a simple one that learned from the same rows.

use tidemill_core::Quiet;
use tidemill_core::declare::{Algorithm, Costs, Metric, TaskKind, Training};
use tidemill_train::fit::{compare_costs, fit};
use tidemill_train::metric;
use tidemill_train::report::MetricValue;

use super::{Case, Judged, Outcome, TestResult, named, outcome};
use crate::output::number;

impl Judged {
    /// Trains the simple model on the same rows and compares the two on the same test rows.
    pub(super) fn baseline(
        &self,
        case: &Case<'_>,
        simple: Algorithm,
        by: Option<&str>,
    ) -> anyhow::Result<TestResult> {
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
            return self.cheaper(&other.predictions, costs, training.seed, &word);
        }
        let metric = by.and_then(named).unwrap_or(match self.task {
            TaskKind::Classification => Metric::LogLoss,
            TaskKind::Regression => Metric::Rmse,
        });
        let value = |all: &[MetricValue]| all.iter().find(|found| found.metric == metric)?.value;
        let test = format!("better than {word} by {}", metric::name(metric));
        let (Some(ours), Some(theirs)) = (value(&self.metrics), value(&other.report.test)) else {
            let message = format!("the trainings do not report {}", metric::name(metric));
            return Ok(TestResult::new(test, Outcome::NotJudged, message));
        };
        let good = metric::is_better(metric, ours, theirs);
        Ok(TestResult::new(test, outcome(good), format!("{} against {}", number(ours), number(theirs))))
    }

    fn cheaper(
        &self,
        simple: &arrow::array::RecordBatch,
        costs: &Costs,
        seed: u64,
        word: &str,
    ) -> anyhow::Result<TestResult> {
        let paired = compare_costs(&self.predictions, simple, costs, seed)?;
        let unit = costs.currency.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let message = format!(
            "{} against {}{unit} per decision, difference {} ({} to {})",
            number(paired.new),
            number(paired.old),
            number(paired.difference),
            number(paired.lower),
            number(paired.upper)
        );
        // The whole interval must be on the good side: "no evidence" is not a pass.
        Ok(TestResult::new(format!("cheaper than {word}"), outcome(paired.upper < 0.0), message))
    }
}
