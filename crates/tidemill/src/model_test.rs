//! Tests of a trained model, as the project file declares them, judged on what the step that is released wrote.

mod baseline;
mod behaviour;
mod columns;
mod compared;
mod floor;
mod judged;
mod made;
mod operation;
mod quality;
mod rescore;
mod rivals;
mod settle;
mod slices;
mod subject;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tidemill_core::declare::{Metric, Step, TaskKind, Training};
use tidemill_core::{Digest, canonical_json};
use tidemill_data::Table;
use tidemill_project::{ModelTest, Project};
use tidemill_train::fit::PREDICTIONS_KEY;
use tidemill_train::report::{MetricValue, Report};

use crate::app::App;
use crate::failure::Failure;
use crate::output::number;
use crate::step::train::file;
use made::{Made, Shape};

pub(crate) use tidemill_core::{Evidence, Outcome, TestResult};

pub(crate) use columns::check_columns;
pub(crate) use rivals::{Rivals, rivals};
pub(crate) use subject::{Subject, subject, trained};

/// What tests take for granted where the project file does not say.
pub(crate) mod granted {
    pub(crate) use super::behaviour::{ROUNDING, SHARE};
    pub(crate) use super::compared::MARGIN;
    pub(crate) use super::floor::LEVEL;
    pub(crate) use super::made::THRESHOLD;
    pub(crate) use super::operation::ALONE;
    pub(crate) use super::quality::{BINS, DEPTH, LEAST};
    pub(crate) use super::rivals::VERSIONS;
}

/// Raised when the same tests of the same model come out otherwise.
const JUDGED: u32 = 3;

/// Identity of a model's content together with the tests, the rows that were declared for them, and the versions that it is
/// compared with: results with the same key need not be computed again.
pub(crate) fn key(
    project: &Project,
    model: &Digest,
    rows: Option<&Digest>,
    rivals: &Rivals,
) -> anyhow::Result<String> {
    let record = serde_json::json!({
        "format": Evidence::FORMAT, "judged": JUDGED, "model": model, "tests": project.tests,
        "champion": rivals.champion_name(), "versions": rivals.version_names(), "held_out": project.held_out, "rows": rows,
        "objective": rows.and(project.objective.as_ref()), "hidden": hidden(project),
    });
    Ok(Digest::of(&canonical_json(&record)?).to_string())
}

/// Columns whose values no result may show: those that any dataset redacts, by their names, under which steps pass them on.
fn hidden(project: &Project) -> BTreeSet<String> {
    project.data.values().flat_map(|data| data.redact.iter().cloned()).collect()
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
    /// What is known of a model that a command made.
    made: Option<&'a Made>,
    /// Columns whose values are not shown.
    hidden: &'a BTreeSet<String>,
}

/// Judges every declared test on the model that a step wrote, which lies in `folder` and has this content.
pub(crate) fn judge(
    app: &App<'_>,
    subject: &Subject<'_>,
    folder: &Path,
    content: &Digest,
    key: String,
    rivals: &Rivals,
) -> anyhow::Result<Evidence> {
    let (step, training): (&Step, &Training) = (&subject.step, &subject.training);
    let made = subject.made();
    let made = made.as_ref();
    let hidden = &hidden(&app.project);
    let case = &Case { app, step, training, folder, content, rivals, made, hidden };
    let evidence = |results| Evidence {
        format: Evidence::FORMAT,
        step: step.name.clone(),
        key,
        content: Some(*content),
        results,
    };
    let model = match made {
        None => Judged::read(folder)?,
        Some(made) => match made::read(case, made) {
            Ok(model) => model,
            // A model that cannot be asked has passed nothing, whatever would have been tested.
            Err(error) => {
                let name = "the model answers the held-out rows".to_owned();
                return Ok(evidence(vec![settle::settled(name, Err(error))?]));
            }
        },
    };
    let mut results = Vec::new();
    for test in &app.project.tests {
        match test {
            ModelTest::Metric(test) => results.push(model.metric(test)?),
            ModelTest::Cost(test) => {
                results.push(model.against_champion(case, test.max_regression)?);
            }
            ModelTest::Baseline(test) => results.push(model.baseline(case, test)?),
            ModelTest::Slice(test) => results.extend(model.slices(case, test)?),
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
    Ok(evidence(results))
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

/// A model with its answers to the held-out rows.
struct Judged {
    /// What these come to.
    metrics: Vec<MetricValue>,
    task: TaskKind,
    target: String,
    /// Whether there are two classes, of which one is acted on.
    decides: bool,
    /// How a model that a command made answers; of a training, as the trainer does.
    shape: Option<Shape>,
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
        let report = report(folder)?;
        Ok(Self {
            metrics: report.test,
            task: report.task.kind,
            target: report.task.target,
            decides: report.decision.is_some(),
            shape: None,
            predictions,
            decision,
            held_out: OnceCell::new(),
            exported: OnceCell::new(),
            answers: OnceCell::new(),
            others: RefCell::default(),
        })
    }
}
