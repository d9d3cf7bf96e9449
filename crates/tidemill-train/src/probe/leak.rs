//! Whether something gives the answer away.

use std::collections::HashSet;

use arrow::array::{Array, RecordBatch};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tidemill_core::Quiet;
use tidemill_core::declare::{Algorithm, GbdtParams, Metric, TaskKind, Training};
use tidemill_stats::random::Random;

use super::column;
use crate::{Error, Result, fit};

/// Rows that single columns are tried on: enough to tell 0.98 from less.
const ROWS: usize = 5_000;
/// Trees on one column.
const ROUNDS: u32 = 20;

/// What one column does by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Alone {
    /// The column.
    pub column: String,
    /// ROC AUC on held-out rows, or R² for regression; `None` where it is not defined, for example without variation.
    pub value: Option<f64>,
}

/// Learns from each of `columns` alone, with a few trees on at most 5,000 rows, and measures on rows held out as the training
/// declares. The best first.
///
/// # Errors
/// Those of [`fit()`](crate::fit::fit()) but for columns that nothing can be learnt from.
pub fn alone(batches: &[RecordBatch], training: &Training, columns: &[String]) -> Result<Vec<Alone>> {
    let rows = sample(batches, ROWS, training.seed)?;
    let metric = match training.task.as_ref().map(|task| task.kind) {
        Some(TaskKind::Regression) => Metric::R2,
        _ => Metric::RocAuc,
    };
    let mut found = Vec::with_capacity(columns.len());
    for name in columns {
        let one = Training {
            algorithm: Algorithm::Gbdt,
            columns: Some(vec![name.clone()]),
            drop: Vec::new(),
            categorical: training.categorical.iter().filter(|other| *other == name).cloned().collect(),
            cv: None,
            search: None,
            gbdt: Some(GbdtParams { rounds: ROUNDS, ..GbdtParams::default() }),
            linear: None,
            costs: None,
            metrics: Some(vec![metric]),
            ..training.clone()
        };
        let value = match fit::fit(std::slice::from_ref(&rows), &one, 0, &Quiet) {
            Ok(fitted) => fitted.report.metric(metric).and_then(|found| found.value),
            Err(Error::NoFeatures | Error::MetricUndefined { .. }) => None,
            Err(error) => return Err(error),
        };
        found.push(Alone { column: name.clone(), value });
    }
    found.sort_by(|a, b| {
        let value = |alone: &Alone| alone.value.unwrap_or(f64::NEG_INFINITY);
        value(b).total_cmp(&value(a))
    });
    Ok(found)
}

/// How many of the `held_out` rows have the same values in all of `columns` as a row that is not held out.
///
/// # Errors
/// [`Error::UnknownColumn`]; [`Error::Arrow`] for values that have no text.
pub fn overlap<S: std::hash::BuildHasher>(
    batches: &[RecordBatch],
    held_out: &HashSet<u64, S>,
    columns: &[String],
) -> Result<u64> {
    let mut learnt: HashSet<String> = HashSet::new();
    let mut held: Vec<String> = Vec::new();
    let mut number = 0;
    for batch in batches {
        for text in texts(batch, columns)? {
            if held_out.contains(&number) {
                held.push(text);
            } else {
                learnt.insert(text);
            }
            number += 1;
        }
    }
    Ok(held.iter().filter(|text| learnt.contains(*text)).count() as u64)
}

/// Each row's values in these columns as one text; lengths keep `a`, `bc` and `ab`, `c` apart.
pub(super) fn texts(rows: &RecordBatch, columns: &[String]) -> Result<Vec<String>> {
    let options = FormatOptions::default();
    let mut texts = vec![String::new(); rows.num_rows()];
    for name in columns {
        let array = column(rows, name)?;
        let format = ArrayFormatter::try_new(array.as_ref(), &options)?;
        for (row, text) in texts.iter_mut().enumerate() {
            if array.is_null(row) {
                text.push_str("-;");
            } else {
                let value = format.value(row).to_string();
                text.push_str(&format!("{}:{value};", value.len()));
            }
        }
    }
    Ok(texts)
}

/// At most so many rows, drawn without replacement, in the table's order.
pub(super) fn sample(batches: &[RecordBatch], most: usize, seed: u64) -> Result<RecordBatch> {
    let Some(first) = batches.first() else {
        return Err(Error::TooFewRows { rows: 0, what: "a training", least: 1 });
    };
    let whole = concat_batches(&first.schema(), batches)?;
    if whole.num_rows() <= most {
        return Ok(whole);
    }
    let mut rows: Vec<u64> = (0..whole.num_rows() as u64).collect();
    Random::new(seed, 0).shuffle(&mut rows);
    rows.truncate(most);
    rows.sort_unstable();
    Ok(take_record_batch(&whole, &rows.into_iter().collect::<arrow::array::UInt64Array>())?)
}
