//! What the types cannot say: whether names exist, sections fit together, numbers make sense.
//!
//! Everything here is decided from the project alone. What depends on parameter files or templates is checked
//! again by `resolve`, with the same functions.

mod cron;
mod data;
mod deliver;
mod graph;
mod held_out;
mod model_test;
mod outcomes;
mod path;
mod steps;
mod training;
mod trigger;

use tidemill_core::declare::{Metric, TaskKind};
use tidemill_core::did_you_mean;

use crate::Project;
use crate::node::{Cursor, Span};
use crate::report::{Diagnostic, Report};

pub use model_test::check_test_columns;
pub use outcomes::{TableColumn, check_outcome_columns};

pub(crate) use graph::{Read, StepIo, check_graph};
pub(crate) use path::{clean, is_glob, is_url};
pub(crate) use steps::is_sql_file;
pub(crate) use training::check_training;

/// Every problem of a project that is well-formed.
pub(crate) fn check(project: &Project) -> Report {
    let mut check = Check::new(project);
    check.data();
    check.steps();
    check.tests();
    check.held_out();
    check.release();
    check.monitors();
    check.receivers();
    check.triggers();
    check.store();
    check.serving();
    check.outcomes();
    check.report()
}

pub(crate) struct Check<'p> {
    pub(crate) project: &'p Project,
    pub(crate) problems: Vec<Diagnostic>,
}

impl<'p> Check<'p> {
    pub(crate) fn new(project: &'p Project) -> Self {
        Self { project, problems: Vec::new() }
    }

    /// The problems with their places.
    fn report(self) -> Report {
        let mut report = Report::default();
        let text = self.project.source.text();
        for problem in self.problems {
            report.push(self.project.source.file(), &text, problem);
        }
        report
    }

    fn root(&self) -> Cursor<'p> {
        self.project.source.cursor()
    }

    fn add(&mut self, span: &Span, message: impl Into<String>, expected: &str, hint: Option<String>) {
        let mut problem = Diagnostic::new(span, message).hint(hint);
        problem.expected = (!expected.is_empty()).then(|| expected.to_owned());
        self.problems.push(problem);
    }

    /// A secret where none may stand; its line is not shown.
    fn add_secret(&mut self, span: &Span, message: impl Into<String>, hint: &str) {
        self.problems.push(Diagnostic::new(span, message).hint(hint.to_owned()).concealed());
    }

    fn task(&self) -> Option<TaskKind> {
        self.project.objective.as_ref().map(|objective| objective.task.kind)
    }

    /// A name that must be one of a few.
    fn known<'k>(&mut self, what: &str, name: &str, known: impl IntoIterator<Item = &'k str>, span: &Span) {
        let known: Vec<&str> = known.into_iter().collect();
        if !known.contains(&name) {
            let hint = did_you_mean(name, known);
            self.add(span, format!("there is no {what} `{name}`"), "", hint);
        }
    }

    /// Bounds of which one must be there, in order.
    fn bounds(&mut self, min: Option<f64>, max: Option<f64>, at: &Cursor<'_>) {
        match (min, max) {
            (None, None) => {
                self.add(&at.key, "neither `min` nor `max` is given", "one of them or both", None);
            }
            (Some(min), Some(max)) if min > max => {
                self.add(&at.key("min").span, format!("`min` {min} is above `max` {max}"), "", None);
            }
            _ => {}
        }
    }

    /// The name of a metric: built-in and fit for the task, or written by a command, which only a run can tell.
    fn metric(&mut self, name: &str, span: &Span) {
        let Some(metric) = metric_named(name) else {
            let own_metrics = self.project.pipeline.values().any(|step| step.run.is_some());
            if !own_metrics {
                self.add(span, format!("there is no metric `{name}`"), "", did_you_mean(name, METRICS));
            } else if let Some(meant) = tidemill_core::closest(name, METRICS).filter(|m| m.len() > 3) {
                self.add(
                    span,
                    format!("there is no metric `{name}`"),
                    "",
                    Some(format!("did you mean `{meant}`?")),
                );
            }
            return;
        };
        if let Some(task) = self.task()
            && !fits(metric, task)
        {
            let other = METRICS.iter().filter(|m| metric_named(m).is_some_and(|m| fits(m, task)));
            let known = other.map(|m| format!("`{m}`")).collect::<Vec<_>>().join(", ");
            self.add(
                span,
                format!("`{name}` is no metric for {}", task_word(task)),
                &format!("one of {known}"),
                None,
            );
        }
    }
}

/// Built-in metrics as they stand in a project file.
pub(crate) const METRICS: [&str; 11] = [
    "accuracy",
    "log_loss",
    "roc_auc",
    "pr_auc",
    "f1",
    "brier",
    "calibration_error",
    "rmse",
    "mae",
    "r2",
    "cost",
];

pub(crate) fn metric_named(name: &str) -> Option<Metric> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

pub(crate) fn fits(metric: Metric, task: TaskKind) -> bool {
    match metric {
        Metric::Rmse | Metric::Mae | Metric::R2 => task == TaskKind::Regression,
        Metric::Accuracy
        | Metric::LogLoss
        | Metric::RocAuc
        | Metric::PrAuc
        | Metric::F1
        | Metric::Brier
        | Metric::CalibrationError
        | Metric::Cost => task == TaskKind::Classification,
    }
}

pub(crate) fn task_word(task: TaskKind) -> &'static str {
    match task {
        TaskKind::Classification => "classification",
        TaskKind::Regression => "regression",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_listed() {
        let schema = schemars::schema_for!(Metric).to_value();
        let named: Vec<_> = schema["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["const"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(named, METRICS);
    }
}
