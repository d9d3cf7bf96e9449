//! What any training must do, whatever its data: checks that need no code and no limits from anybody.
//!
//! They train on a sample of the table, so that they take seconds.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Float64Type, Schema};
use tidemill_core::declare::{Algorithm, GbdtParams, Metric, Split, SplitBy, TaskKind, Training};
use tidemill_core::{Digest, Outcome, Quiet};
use tidemill_stats::interval::paired_difference;
use tidemill_stats::random::Random;

use super::disturb::{shuffled, shuffled_by};
use super::leak::{sample, texts};
use crate::fit::{self, Fitted, read};
use crate::frame::Table;
use crate::metric::{name, row_losses};
use crate::onnx::to_onnx;
use crate::{Error, Result};

/// Rows of the sample.
const ROWS: usize = 2_000;
/// Most boosting rounds on it.
const ROUNDS: u32 = 50;
/// Rows that are to be learnt by heart.
const FEW: usize = 32;
/// How often each of them is in the table of that check, so that none is held out with all of its copies.
const COPIES: usize = 8;
/// Accuracy, or R² for regression, that counts as learnt by heart.
const BY_HEART: f64 = 0.95;
/// Chance of calling luck a leak.
const LUCK: f64 = 0.001;

/// One check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// What is checked.
    pub name: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found.
    pub message: String,
}

/// Trains on a sample of the table, as declared but small, and looks whether it does what a training must.
///
/// # Errors
/// Those of [`fit()`](crate::fit::fit()) on a table that cannot be learned from at all.
pub fn smoke(batches: &[RecordBatch], training: &Training) -> Result<Vec<Sign>> {
    smoke_by(&|rows, training| fit::fit(rows, training, 0, &Quiet), batches, training)
}

/// What trains: of this crate, or in a test one that has a fault.
type Fit<'a> = &'a dyn Fn(&[RecordBatch], &Training) -> Result<Fitted>;

fn smoke_by(fit: Fit<'_>, batches: &[RecordBatch], training: &Training) -> Result<Vec<Sign>> {
    let rows = sample(batches, ROWS, training.seed)?;
    let small = small(training);
    let fitted = fit(std::slice::from_ref(&rows), &small)?;
    Ok(vec![
        random_rows(fit, &rows, &small),
        loss_falls(fit, &rows, &small, &fitted),
        by_heart(fit, &rows, &small, &fitted),
        numbers(&rows, &fitted)?,
        same_bytes(fit, &rows, &small, &fitted)?,
        chance_level(fit, &rows, &small)?,
    ])
}

fn sign(name: &'static str, good: bool, message: String) -> Sign {
    Sign { name, outcome: if good { Outcome::Passed } else { Outcome::Failed }, message }
}

/// The declared training without what takes time: no search, no folds, few rounds, rows held out at random.
fn small(training: &Training) -> Training {
    let gbdt = training.gbdt.as_ref().map(|params| GbdtParams {
        rounds: params.rounds.min(ROUNDS),
        early_stopping: None,
        ..params.clone()
    });
    let rounds = || GbdtParams { rounds: ROUNDS, ..GbdtParams::default() };
    Training {
        gbdt: (training.algorithm == Algorithm::Gbdt).then(|| gbdt.unwrap_or_else(rounds)),
        split: Split { by: SplitBy::Random, ..Split::default() },
        cv: None,
        search: None,
        costs: None,
        metrics: None,
        // The column of the split is a time or a group, which nobody declared as something to learn from.
        drop: training.drop.iter().cloned().chain(split_column(training)).collect(),
        ..training.clone()
    }
}

fn split_column(training: &Training) -> Option<String> {
    let uses = |by| matches!(by, SplitBy::Time | SplitBy::Group);
    let used = uses(training.split.by) || training.cv.as_ref().is_some_and(|cv| uses(cv.by));
    let column = training.split.column.clone().filter(|_| used)?;
    let is_named = training.columns.as_ref().is_some_and(|columns| columns.contains(&column));
    (!is_named && !training.drop.contains(&column)).then_some(column)
}

/// One step on rows that are valid column by column and otherwise random.
fn random_rows(fit: Fit<'_>, rows: &RecordBatch, training: &Training) -> Sign {
    const NAME: &str = "one step on random valid rows";
    let one = Training {
        gbdt: training.gbdt.clone().map(|params| GbdtParams { rounds: 1, ..params }),
        linear: training.linear.clone().map(|mut params| {
            params.max_iterations = 1;
            params
        }),
        ..training.clone()
    };
    let mut random = rows.clone();
    for (item, field) in rows.schema().fields().iter().enumerate() {
        let seed = training.seed.wrapping_add(item as u64);
        random = match shuffled(&random, field.name(), seed) {
            Ok(random) => random,
            Err(error) => return sign(NAME, false, error.to_string()),
        };
    }
    match fit(&[random], &one) {
        Ok(fitted) => {
            let bad = not_numbers(&fitted.predictions);
            sign(
                NAME,
                bad == 0,
                format!("{bad} of {} answers are not numbers", fitted.predictions.num_rows()),
            )
        }
        Err(error) => sign(NAME, false, format!("it ends with an error: {error}")),
    }
}

fn loss_of(training: &Training) -> Metric {
    match training.task.as_ref().map(|task| task.kind) {
        Some(TaskKind::Regression) => Metric::Rmse,
        _ => Metric::LogLoss,
    }
}

/// The loss on the training rows, after the training against that of a constant answer to the same rows.
fn loss_falls(fit: Fit<'_>, rows: &RecordBatch, training: &Training, fitted: &Fitted) -> Sign {
    const NAME: &str = "the loss falls";
    if training.algorithm == Algorithm::Prior {
        let message = "`prior` answers with a constant".to_owned();
        return Sign { name: NAME, outcome: Outcome::NotJudged, message };
    }
    let metric = loss_of(training);
    let constant = Training { algorithm: Algorithm::Prior, gbdt: None, linear: None, ..training.clone() };
    let of = |fitted: &Fitted| {
        fitted.report.train.iter().find(|value| value.metric == metric).and_then(|value| value.value)
    };
    let before = match fit(std::slice::from_ref(rows), &constant) {
        Ok(constant) => of(&constant),
        Err(error) => return sign(NAME, false, error.to_string()),
    };
    let (before, after) = (before.unwrap_or(f64::NAN), of(fitted).unwrap_or(f64::NAN));
    let message = format!("{} on the training rows from {before:.4} to {after:.4}", name(metric));
    sign(NAME, after < before * (1.0 - 1e-9), message)
}

/// Trees that may grow as they like must learn a few rows by heart.
fn by_heart(fit: Fit<'_>, rows: &RecordBatch, training: &Training, fitted: &Fitted) -> Sign {
    const NAME: &str = "32 rows are learnt by heart";
    let open = |message: String| Sign { name: NAME, outcome: Outcome::NotJudged, message };
    if training.algorithm != Algorithm::Gbdt {
        return open("a model of so few parameters need not be able to".to_owned());
    }
    let few = match few_rows(rows, training, fitted) {
        Ok(few) if few.len() == FEW => few,
        Ok(few) => return open(format!("only {} rows have inputs of their own", few.len())),
        Err(error) => return sign(NAME, false, error.to_string()),
    };
    let copies: UInt64Array = (0..COPIES).flat_map(|_| few.iter().copied()).collect();
    let free = GbdtParams {
        rounds: 300,
        learning_rate: 0.3,
        min_rows_per_leaf: 1,
        min_hessian: 0.0,
        // A declared direction is part of what is learnt, and so may keep it from learning by heart: left out here.
        ..GbdtParams::default()
    };
    let training = Training { gbdt: Some(free), weight: None, ..training.clone() };
    let metric = match loss_of(&training) {
        Metric::Rmse => Metric::R2,
        _ => Metric::Accuracy,
    };
    let learnt =
        take_record_batch(rows, &copies).map_err(Error::from).and_then(|table| fit(&[table], &training));
    match learnt {
        Ok(learnt) => {
            let found = learnt.report.train.iter().find(|value| value.metric == metric);
            let value = found.and_then(|value| value.value).unwrap_or(f64::NAN);
            sign(NAME, value >= BY_HEART, format!("{} {value:.4} on them", name(metric)))
        }
        Err(error) => sign(NAME, false, format!("it ends with an error: {error}")),
    }
}

/// Rows with different inputs, from each class in turn, so that there is something to tell apart.
fn few_rows(rows: &RecordBatch, training: &Training, fitted: &Fitted) -> Result<Vec<u64>> {
    let inputs: Vec<String> = fitted.signature.inputs.iter().map(|input| input.name.clone()).collect();
    let target = training.task.as_ref().map(|task| task.target.clone()).ok_or(Error::NoTask)?;
    let classes = match loss_of(training) {
        Metric::Rmse => vec![String::new(); rows.num_rows()],
        _ => texts(rows, &[target])?,
    };
    let mut seen: HashSet<String> = HashSet::new();
    let mut by_class: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (row, text) in texts(rows, &inputs)?.into_iter().enumerate() {
        if seen.insert(text) {
            by_class.entry(classes[row].as_str()).or_default().push(row as u64);
        }
    }
    let longest = by_class.values().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| by_class.values().filter_map(move |rows| rows.get(turn)));
    Ok(turns.take(FEW).copied().collect())
}

/// Answers of a table of predictions that are not finite numbers.
fn not_numbers(predictions: &RecordBatch) -> usize {
    let is_answer = |name: &str| name == "prediction" || name.starts_with("probability");
    let schema = predictions.schema();
    let answers = schema
        .fields()
        .iter()
        .zip(predictions.columns())
        .filter(|(field, column)| is_answer(field.name()) && *column.data_type() == DataType::Float64);
    answers
        .map(|(_, column)| {
            let column = column.as_primitive::<Float64Type>();
            column.iter().filter(|value| !value.is_some_and(f64::is_finite)).count()
        })
        .sum()
}

/// Answers are numbers, on the held-out rows and on a row of which nothing is known.
fn numbers(rows: &RecordBatch, fitted: &Fitted) -> Result<Sign> {
    let bad = not_numbers(&fitted.predictions);
    let fields: Vec<_> =
        rows.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let nothing = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let empty = RecordBatch::try_new(Arc::clone(&schema), nothing)?;
    let scores = fitted.model.scores(&Table::new(schema, vec![empty])?)?;
    let on_nothing = scores.values.iter().all(|value| value.is_finite());
    let word = if on_nothing { "a number" } else { "not a number" };
    let message = format!(
        "{bad} of {} held-out answers are not numbers; where all inputs are missing the answer is {word}",
        fitted.predictions.num_rows()
    );
    Ok(sign("answers are numbers", bad == 0 && on_nothing, message))
}

/// Two trainings with one seed give one model, to the byte.
fn same_bytes(fit: Fit<'_>, rows: &RecordBatch, training: &Training, fitted: &Fitted) -> Result<Sign> {
    let again = fit(std::slice::from_ref(rows), training)?;
    let (first, second) = (Digest::of(&to_onnx(&fitted.model)?), Digest::of(&to_onnx(&again.model)?));
    let message = if first == second { format!("{first}") } else { format!("{first} and {second}") };
    Ok(sign("the same seed gives the same model", first == second, message))
}

/// A model that learnt labels in a random order must not be better on held-out rows than one that answers with a constant.
fn chance_level(fit: Fit<'_>, rows: &RecordBatch, training: &Training) -> Result<Sign> {
    const NAME: &str = "shuffled labels give chance level";
    let target = training.task.as_ref().map(|task| task.target.as_str()).ok_or(Error::NoTask)?;
    let random = [shuffled_by(rows, target, Random::new(training.seed, 1))?];
    let constant = Training { algorithm: Algorithm::Prior, gbdt: None, linear: None, ..training.clone() };
    let losses = |training: &Training| -> Result<Vec<f64>> {
        let fitted = fit(&random, training)?;
        Ok(row_losses(&read(&fitted.predictions)?.0))
    };
    let (ours, constant) = (losses(training)?, losses(&constant)?);
    Ok(told(NAME, &ours, &constant, name(loss_of(training))))
}

/// Whether losses are below those of a constant answer beyond luck.
fn told(name: &'static str, ours: &[f64], constant: &[f64], metric: &str) -> Sign {
    let gains: Vec<f64> = ours.iter().zip(constant).map(|(ours, constant)| constant - ours).collect();
    let Some(gain) = paired_difference(&gains) else {
        let message = "there are too few held-out rows".to_owned();
        return Sign { name, outcome: Outcome::NotJudged, message };
    };
    let p = gain.p_above(0.0);
    let is_told = gain.mean > 0.0 && p < LUCK;
    let message = format!(
        "loss ({metric}) {} than a constant's by {:.4} on {} held-out rows, p = {p:.3}",
        if gain.mean > 0.0 { "lower" } else { "higher" },
        gain.mean.abs(),
        gains.len()
    );
    sign(name, !is_told, message)
}

#[cfg(test)]
mod tests;
