//! Tests of a model: limits that make sense, metrics and losses that fit the task.

use std::ops::RangeInclusive;

use tidemill_core::declare::{Metric, TaskKind};
use tidemill_core::did_you_mean;

use super::{Check, metric_named};
use crate::node::{Cursor, Span};
use crate::report::Report;
use crate::{
    CalibrationTest, ChampionTest, CostTest, DirectionTest, FairnessTest, LatencyTest, LeakageTest,
    ModelTest, Project, RobustnessTest, SliceLoss, SliceTest, StalenessTest, WorstSliceTest,
};

/// That the table which the model learns from has every column that a test of the model names. What a project file does not say is
/// known to whoever has the table.
///
/// # Errors
/// Every column that it does not have, with its place and the name that was probably meant.
pub fn check_test_columns(project: &Project, table: &str, columns: &[&str]) -> Result<(), Report> {
    let mut check = Check::new(project);
    for (i, test) in project.tests.iter().enumerate() {
        let at = check.root().key("tests").item(i).key(test.name());
        for (key, named) in test.columns() {
            for (number, name) in named.iter().enumerate() {
                if columns.contains(&name.as_str()) {
                    continue;
                }
                let hint = did_you_mean(name, columns.iter().copied());
                let message = format!("`{table}` has no column `{name}`");
                check.add(&at.key(key).item(number).span, message, "", hint);
            }
        }
    }
    check.report().into_result(())
}

/// Most conditions of a slice that is searched for: beyond it there are more slices than anybody reads.
const DEEPEST: u32 = 3;

impl Check<'_> {
    pub(super) fn tests(&mut self) {
        let project = self.project;
        for (i, test) in project.tests.iter().enumerate() {
            let at = self.root().key("tests").item(i);
            match test {
                ModelTest::Metric(test) => {
                    let at = at.key("metric");
                    self.metric(&test.name, &at.key("name").span);
                    self.confidence(test.confidence, &at);
                    self.bounds(test.min, test.max, &at);
                }
                ModelTest::Cost(test) => self.cost(test, &at.key("cost")),
                ModelTest::Baseline(test) => {
                    self.confidence(test.confidence, &at.key("baseline"));
                    if let Some(metric) = &test.metric {
                        self.metric(metric, &at.key("baseline").key("metric").span);
                    }
                }
                ModelTest::Slice(test) => self.slice(test, &at.key("slice")),
                ModelTest::Parity(test) => {
                    self.not_below_zero("a difference", Some(test.max_abs), "max_abs", &at.key("parity"));
                }
                ModelTest::Champion(test) => self.champion(test, &at.key("champion")),
                ModelTest::Flips(test) => {
                    let at = at.key("flips");
                    self.classes("right and wrong answers", &at);
                    if let Some(columns) = &test.by {
                        self.some_columns(columns.as_slice(), "by", &at);
                    }
                }
                ModelTest::WorstSlice(test) => self.worst_slice(test, &at.key("worst_slice")),
                ModelTest::Calibration(test) => self.calibration(test, &at.key("calibration")),
                ModelTest::Fairness(test) => self.fairness(test, &at.key("fairness")),
                ModelTest::Robustness(test) => {
                    let at = at.key("robustness");
                    self.confidence(test.confidence, &at);
                    self.robustness(test, &at);
                }
                ModelTest::Invariance(test) => {
                    let at = at.key("invariance");
                    self.not_target(&test.column, &at);
                    self.not_below_zero("a change", Some(test.max_change), "max_change", &at);
                }
                ModelTest::Direction(test) => self.direction(test, &at.key("direction")),
                ModelTest::Leakage(test) => self.leakage(test, &at.key("leakage")),
                ModelTest::Staleness(test) => self.staleness(test, &at.key("staleness")),
                ModelTest::Size(test) => self.above_zero("a size", test.max_mb, "max_mb", &at.key("size")),
                ModelTest::Latency(test) => self.latency(test, &at.key("latency")),
                ModelTest::Smoke(_) => {}
            }
        }
    }

    fn confidence(&mut self, confidence: Option<f64>, at: &Cursor<'_>) {
        if confidence.is_some_and(|confidence| !(confidence > 0.5 && confidence < 1.0)) {
            let wanted = "a number above 0.5 and below 1, for example 0.95";
            self.add(&at.key("confidence").span, "not a confidence", wanted, None);
        }
    }

    fn cost(&mut self, test: &CostTest, at: &Cursor<'_>) {
        self.costs(&at.key);
        if test.max_regression < 0.0 {
            let span = at.key("max_regression").span;
            self.add(&span, "a regression below 0 is an improvement", "a number of at least 0", None);
        }
    }

    fn slice(&mut self, test: &SliceTest, at: &Cursor<'_>) {
        self.metric(&test.metric, &at.key("metric").span);
        self.bounds(test.min, test.max, at);
        self.some_columns(test.by.as_slice(), "by", at);
    }

    fn champion(&mut self, test: &ChampionTest, at: &Cursor<'_>) {
        self.metric(&test.metric, &at.key("metric").span);
        self.not_below_zero("a margin", test.margin, "margin", at);
        let has_scale = match metric_named(&test.metric) {
            Some(
                Metric::Accuracy
                | Metric::RocAuc
                | Metric::PrAuc
                | Metric::F1
                | Metric::Brier
                | Metric::CalibrationError
                | Metric::R2,
            ) => true,
            Some(Metric::LogLoss | Metric::Rmse | Metric::Mae | Metric::Cost) => false,
            // Written by a command, of which the test will say so.
            None => true,
        };
        if !has_scale && test.margin.is_none() {
            let message = format!("`{}` has no scale of its own, and no margin is given", test.metric);
            self.add(&at.key, message, "`margin`, in units of the metric", None);
        }
    }

    fn worst_slice(&mut self, test: &WorstSliceTest, at: &Cursor<'_>) {
        self.not_below_zero("a difference", Some(test.max_worse), "max_worse", at);
        if let Some(columns) = &test.columns {
            self.some_columns(columns.as_slice(), "columns", at);
        }
        self.count("conditions", test.depth, &(1..=DEEPEST), "depth", at);
        match test.loss {
            Some(SliceLoss::LogLoss) if self.task() == Some(TaskKind::Regression) => {
                self.add(&at.key("loss").span, "`log_loss` is no loss for regression", "`error`", None);
            }
            Some(SliceLoss::Cost) => self.costs(&at.key("loss").span),
            _ => {}
        }
    }

    fn calibration(&mut self, test: &CalibrationTest, at: &Cursor<'_>) {
        self.classes("probabilities", at);
        self.limit_of_share("a calibration error", Some(test.max_error), "max_error", at);
        if let Some(columns) = &test.by {
            self.some_columns(columns.as_slice(), "by", at);
        }
        self.count("bins", test.bins, &(2..=1_000), "bins", at);
        if let (Some(min), Some(max)) = (test.min_slope, test.max_slope)
            && min > max
        {
            let message = format!("`min_slope` {min} is above `max_slope` {max}");
            self.add(&at.key("min_slope").span, message, "", None);
        }
    }

    fn fairness(&mut self, test: &FairnessTest, at: &Cursor<'_>) {
        self.classes("positive answers", at);
        self.some_columns(test.attributes.as_slice(), "attributes", at);
        let limits = [
            ("demographic_parity", test.demographic_parity),
            ("parity_ratio", test.parity_ratio),
            ("equal_opportunity", test.equal_opportunity),
            ("equalized_odds", test.equalized_odds),
        ];
        for (key, limit) in limits {
            self.limit_of_share("a limit of a rate", limit, key, at);
        }
        if limits.iter().all(|(_, limit)| limit.is_none()) {
            let expected =
                "at least one of `demographic_parity`, `parity_ratio`, `equal_opportunity`, `equalized_odds`";
            self.add(&at.key, "no limit is given", expected, None);
        }
    }

    fn robustness(&mut self, test: &RobustnessTest, at: &Cursor<'_>) {
        self.metric(&test.metric, &at.key("metric").span);
        self.not_below_zero("a loss", Some(test.max_loss), "max_loss", at);
        if test.noise.is_none() && test.missing.is_none() && test.shuffle.is_none() {
            let expected = "at least one of `noise`, `missing`, `shuffle`";
            self.add(&at.key, "the rows are not damaged", expected, None);
        }
        if let Some(noise) = test.noise {
            self.above_zero("noise", noise, "noise", at);
        }
        if test.missing.is_some_and(|share| share.0 <= 0.0) {
            self.add(&at.key("missing").span, "no value goes missing", "a share above 0", None);
        }
        for (key, columns) in [("shuffle", &test.shuffle), ("columns", &test.columns)] {
            let Some(columns) = columns else { continue };
            self.some_columns(columns.as_slice(), key, at);
        }
    }

    fn direction(&mut self, test: &DirectionTest, at: &Cursor<'_>) {
        self.not_target(&test.column, at);
        if let Some(raise) = test.raise {
            self.above_zero("a rise", raise, "raise", at);
        }
        self.not_below_zero("a tolerance", test.tolerance, "tolerance", at);
    }

    fn leakage(&mut self, test: &LeakageTest, at: &Cursor<'_>) {
        self.limit_of_share("ROC AUC or R²", test.max_alone, "max_alone", at);
    }

    fn staleness(&mut self, test: &StalenessTest, at: &Cursor<'_>) {
        self.metric(&test.metric, &at.key("metric").span);
        self.not_below_zero("a loss", Some(test.max_loss), "max_loss", at);
        if test.max_age.0.is_zero() {
            self.add(&at.key("max_age").span, "every version is older than that", "a longer time", None);
        }
        self.count("versions", test.versions, &(1..=100), "versions", at);
    }

    fn latency(&mut self, test: &LatencyTest, at: &Cursor<'_>) {
        self.above_zero("a time", test.p99_ms, "p99_ms", at);
        self.count("rows of a call", test.rows, &(1..=10_000), "rows", at);
    }

    /// That decisions have costs.
    fn costs(&mut self, span: &Span) {
        if self.project.objective.as_ref().is_none_or(|objective| objective.costs.is_none()) {
            let hint = "add `costs:` to `objective`".to_owned();
            self.add(span, "the objective names no costs", "", Some(hint));
        }
    }

    /// That the task has what only classification has.
    fn classes(&mut self, what: &str, at: &Cursor<'_>) {
        if self.task() == Some(TaskKind::Regression) {
            let message = format!("a regression has no {what}");
            self.add(&at.key, message, "a task of classification", None);
        }
    }

    fn not_target(&mut self, column: &str, at: &Cursor<'_>) {
        if self.project.objective.as_ref().is_some_and(|objective| objective.task.target == column) {
            let message = format!("`{column}` is what is predicted");
            self.add(&at.key("column").span, message, "an input of the model", None);
        }
    }

    fn some_columns(&mut self, columns: &[String], key: &str, at: &Cursor<'_>) {
        if columns.is_empty() {
            self.add(&at.key(key).span, "no columns are named", "at least one column", None);
        }
    }

    fn not_below_zero(&mut self, what: &str, value: Option<f64>, key: &str, at: &Cursor<'_>) {
        if value.is_some_and(|value| value < 0.0) {
            let message = format!("{what} is never below 0");
            self.add(&at.key(key).span, message, "a number of at least 0", None);
        }
    }

    fn above_zero(&mut self, what: &str, value: f64, key: &str, at: &Cursor<'_>) {
        if value <= 0.0 {
            let message = format!("{what} of {value}");
            self.add(&at.key(key).span, message, "a number above 0", None);
        }
    }

    fn count(
        &mut self,
        what: &str,
        value: Option<u32>,
        range: &RangeInclusive<u32>,
        key: &str,
        at: &Cursor<'_>,
    ) {
        if value.is_some_and(|value| !range.contains(&value)) {
            let expected = format!("a number from {} to {}", range.start(), range.end());
            self.add(&at.key(key).span, format!("not a number of {what}"), &expected, None);
        }
    }

    fn limit_of_share(&mut self, what: &str, value: Option<f64>, key: &str, at: &Cursor<'_>) {
        if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            let message = format!("{what} is from 0 to 1");
            self.add(&at.key(key).span, message, "a number from 0 to 1", None);
        }
    }
}
