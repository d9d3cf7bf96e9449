//! Tests of a trained model, as the project file declares them, judged on what a `train` step wrote.

mod behaviour;
mod columns;
mod compared;
mod judged;
mod operation;
mod quality;
mod rescore;
mod rivals;
mod settle;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tidemill_core::declare::{Action, Algorithm, Costs, Metric, Step, Training};
use tidemill_core::{Digest, Quiet, canonical_json};
use tidemill_data::Table;
use tidemill_project::{ModelTest, Project};
use tidemill_train::fit::{PREDICTIONS_KEY, by_slice, compare_costs, fit};
use tidemill_train::metric;
use tidemill_train::report::Report;

use crate::app::App;
use crate::failure::Failure;
use crate::output::{number, plural};
use crate::step::train::file;

pub(crate) use tidemill_core::{Evidence, Outcome, TestResult};

/// The training whose model the project is about: that of the step which is released, where that one trains; else the step called
/// `train`, or else the first one declared.
pub(crate) fn subject<'s>(project: &Project, steps: &'s [Step]) -> Option<(&'s Step, &'s Training)> {
    let released = project.release.as_ref().and_then(|release| release.step.as_deref());
    let trainings = steps.iter().filter_map(|step| match &step.action {
        Action::Train(training) => Some((step, training.as_ref())),
        Action::Run { .. } | Action::Sql { .. } => None,
    });
    let first = trainings.clone().next();
    let mut of = |name: &str| trainings.clone().find(|(step, _)| step.name == name);
    released.and_then(&mut of).or_else(|| of("train")).or(first)
}

pub(crate) use columns::check_columns;
pub(crate) use rivals::{Rivals, rivals};

/// Identity of a model's content together with the tests, and the versions that it is compared with: results with the
/// same key need not be computed again.
pub(crate) fn key(project: &Project, model: &Digest, rivals: &Rivals) -> anyhow::Result<String> {
    let record = serde_json::json!({
        "format": Evidence::FORMAT, "model": model, "tests": project.tests, "champion": rivals.champion_name(),
        "versions": rivals.version_names(),
    });
    Ok(Digest::of(&canonical_json(&record)?).to_string())
}

/// What tests of one model have in common.
#[derive(Clone, Copy)]
struct Case<'a> {
    app: &'a App<'a>,
    step: &'a Step,
    training: &'a Training,
    /// Where the model lies.
    folder: &'a Path,
    /// What it is, to the byte.
    content: &'a Digest,
    rivals: &'a Rivals,
}

/// Judges every declared test on the model that `step` wrote, whose folder has this content.
pub(crate) fn judge(
    app: &App<'_>,
    (step, training): (&Step, &Training),
    content: &Digest,
    key: String,
    rivals: &Rivals,
) -> anyhow::Result<Evidence> {
    let out = step.outs.first().map(|out| app.root.join(&out.path)).unwrap_or_default();
    let model = Judged::read(&out)?;
    let case = &Case { app, step, training, folder: &out, content, rivals };
    let mut results = Vec::new();
    for test in &app.project.tests {
        match test {
            ModelTest::Metric(test) => results.push(model.metric(&test.name, test.min, test.max)),
            ModelTest::Cost(test) => {
                results.push(model.against_champion(case, test.max_regression)?);
            }
            ModelTest::Baseline(test) => {
                results.push(model.baseline(case, test.beats, test.metric.as_deref())?);
            }
            ModelTest::Slice(test) => {
                for column in test.by.as_slice() {
                    results.push(model.slice(column, &test.metric, (test.min, test.max), test.min_rows)?);
                }
            }
            ModelTest::Parity(test) => {
                results.push(model.parity(case, test.max_abs)?);
            }
            ModelTest::Champion(test) => results.push(model.champion(case, test)?),
            ModelTest::Flips(test) => results.push(model.flips(case, test)?),
            ModelTest::WorstSlice(test) => results.push(model.worst_slice(case, test)?),
            ModelTest::Calibration(test) => results.extend(model.calibration(case, test)?),
            ModelTest::Fairness(test) => results.extend(model.fairness(case, test)?),
            ModelTest::Robustness(test) => results.extend(model.robustness(case, test)?),
            ModelTest::Invariance(test) => results.push(model.invariance(case, test)?),
            ModelTest::Direction(test) => results.push(model.direction(case, test)?),
            ModelTest::Leakage(test) => results.extend(model.leakage(case, test)?),
            ModelTest::Staleness(test) => results.push(model.staleness(case, test)?),
            ModelTest::Size(test) => results.push(operation::size(case, test)?),
            ModelTest::Latency(test) => results.push(model.latency(case, test)?),
            ModelTest::Smoke(_) => results.extend(operation::smoke(case)?),
        }
    }
    Ok(Evidence { format: Evidence::FORMAT, step: step.name.clone(), key, results })
}

/// Reads a training's report.
pub(crate) fn report(folder: &Path) -> anyhow::Result<Report> {
    let path = folder.join(file::REPORT);
    let bytes = fs_err::read(&path)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(format!("`{}` is not a training report: {error}", path.display()))
            .hint("it was changed by hand or written by another version; run the step again with --force")
            .into()
    })
}

/// A model's folder, read.
struct Judged {
    report: Report,
    predictions: arrow::array::RecordBatch,
    /// Classes, threshold and costs behind the predictions, as JSON text.
    decision: String,
    /// The rows that the predictions are about; read at the first test that asks the model again.
    held_out: OnceCell<arrow::array::RecordBatch>,
    /// The exported model; loaded at the first test that asks it.
    exported: OnceCell<rescore::Model>,
    /// What it answers to the held-out rows.
    answers: OnceCell<rescore::Answers>,
    /// What it and other versions answer to them, or why the two cannot be compared.
    others: RefCell<BTreeMap<u64, Result<judged::Both, String>>>,
}

/// A metric by its name in the project file.
fn named(name: &str) -> Option<Metric> {
    serde_json::from_value(Value::String(name.to_owned())).ok()
}

/// Whether a value is within bounds, and the bounds in words.
fn within(value: f64, min: Option<f64>, max: Option<f64>) -> (bool, String) {
    let good = min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max);
    let words = match (min, max) {
        (Some(min), Some(max)) => format!("{} to {}", number(min), number(max)),
        (Some(min), None) => format!("at least {}", number(min)),
        (None, Some(max)) => format!("at most {}", number(max)),
        (None, None) => "any value".to_owned(),
    };
    (good, words)
}

fn outcome(good: bool) -> Outcome {
    if good { Outcome::Passed } else { Outcome::Failed }
}

impl Judged {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let predictions = crate::table::whole(&Table::open(&[folder.join(file::PREDICTIONS)], None)?)?;
        let decision = fs_err::read_to_string(folder.join(file::DECISION))?;
        let schema = predictions.schema().as_ref().clone();
        let schema = schema.with_metadata(HashMap::from([(PREDICTIONS_KEY.to_owned(), decision.clone())]));
        let predictions = predictions.with_schema(Arc::new(schema))?;
        Ok(Self {
            report: report(folder)?,
            predictions,
            decision,
            held_out: OnceCell::new(),
            exported: OnceCell::new(),
            answers: OnceCell::new(),
            others: RefCell::default(),
        })
    }

    fn metric(&self, name: &str, min: Option<f64>, max: Option<f64>) -> TestResult {
        let found = named(name).and_then(|metric| self.report.metric(metric));
        let value = found.and_then(|found| found.value);
        let (good, bounds) = within(value.unwrap_or(f64::NAN), min, max);
        let test = format!("{name} {bounds}");
        let Some(value) = value else {
            let message = format!("the training does not report {name}");
            return TestResult::new(test, Outcome::NotJudged, message);
        };
        let interval = found
            .and_then(|found| found.interval.as_ref())
            .map(|i| format!(" ({} to {})", number(i.lower), number(i.upper)))
            .unwrap_or_default();
        TestResult::new(test, outcome(good), format!("{}{interval}", number(value)))
    }

    /// Trains the simple model on the same rows and compares the two on the same test rows.
    fn baseline(&self, case: &Case<'_>, simple: Algorithm, by: Option<&str>) -> anyhow::Result<TestResult> {
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
        if let Some(costs) = costs.filter(|_| self.report.decision.is_some()) {
            return self.cheaper(&other.predictions, costs, training.seed, &word);
        }
        let metric = by.and_then(named).unwrap_or(match self.report.task.kind {
            tidemill_core::declare::TaskKind::Classification => Metric::LogLoss,
            tidemill_core::declare::TaskKind::Regression => Metric::Rmse,
        });
        let value = |report: &Report| report.metric(metric).and_then(|found| found.value);
        let test = format!("better than {word} by {}", metric::name(metric));
        let (Some(ours), Some(theirs)) = (value(&self.report), value(&other.report)) else {
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

    fn slice(
        &self,
        column: &str,
        name: &str,
        (min, max): (Option<f64>, Option<f64>),
        min_rows: Option<u64>,
    ) -> anyhow::Result<TestResult> {
        let rows = usize::try_from(min_rows.unwrap_or(100))?;
        let (_, bounds) = within(0.0, min, max);
        let test = format!("{name} {bounds} for every {column}");
        let Some(metric) = named(name) else {
            let message = format!("`{name}` is not a metric of the trainer");
            return Ok(TestResult::new(test, Outcome::NotJudged, message));
        };
        let slices = by_slice(&self.predictions, column, metric, rows)?;
        let judged: Vec<_> =
            slices.iter().filter_map(|slice| slice.metric.map(|value| (slice, value))).collect();
        let worst = judged.iter().min_by(|a, b| {
            let (low, high) = if metric::is_better(metric, 1.0, 0.0) { (a.1, b.1) } else { (b.1, a.1) };
            low.total_cmp(&high)
        });
        let Some((slice, value)) = worst else {
            let message =
                format!("no value of `{column}` has {} on the test side", plural(rows as u64, "row"));
            return Ok(TestResult::new(test, Outcome::NotJudged, message));
        };
        let good = judged.iter().all(|(_, value)| within(*value, min, max).0);
        let message = format!(
            "worst of {}: {} with {} on {}",
            plural(judged.len() as u64, "slice"),
            slice.value.as_deref().unwrap_or("missing"),
            number(*value),
            plural(slice.rows, "row")
        );
        Ok(TestResult::new(test, outcome(good), message))
    }
}
