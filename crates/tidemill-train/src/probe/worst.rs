//! The slices of rows on which a model is worst, found over any columns and told in words.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use tidemill_stats::sample::{Sample, sorted};
use tidemill_stats::slices::{Codes, Search, codes_of, worst_slices};

use super::column;
use crate::fit::read;
use crate::metric::{Truth, row_errors, row_losses};
use crate::{Error, Result};

/// A column of numbers with at most so many values is one of categories.
const FEW: usize = 12;
/// Ranges that a column of more numbers is cut into, of about equally many rows each.
const RANGES: u32 = 5;

/// What a row is bad by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// 1 for a wrong answer, the absolute error of a number.
    Error,
    /// Negative log likelihood.
    LogLoss,
    /// What the decision costs.
    Cost,
}

/// The loss of every row of a table of predictions.
///
/// # Errors
/// [`Error::Unfit`] where the table holds no predictions or none for such a loss.
pub fn losses(predictions: &RecordBatch, loss: Loss) -> Result<Vec<f64>> {
    let (scored, about) = read(predictions)?;
    match (loss, &scored.truth) {
        (Loss::Error, _) => Ok(row_errors(&scored, about.threshold)),
        (Loss::LogLoss, Truth::Classes { .. }) => Ok(row_losses(&scored)),
        (Loss::LogLoss, Truth::Numbers(_)) => Err(Error::Unfit("log loss is for classification".into())),
        (Loss::Cost, _) => {
            let costs = about.costs.ok_or_else(|| Error::Unfit("no costs are declared".into()))?;
            crate::fit::row_costs(predictions, &costs)
        }
    }
}

/// The weight of every row of a table of predictions, where its training has weights.
///
/// # Errors
/// [`Error::Unfit`] where the table holds no predictions.
pub fn row_weights(predictions: &RecordBatch) -> Result<Option<Vec<f64>>> {
    Ok(read(predictions)?.0.weights)
}

/// A column as codes, and the condition that each code is, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Coded {
    /// The code of every row.
    pub codes: Vec<u32>,
    /// One a code, such as `carrier = EV` or `12 < wind ≤ 20`.
    pub conditions: Vec<String>,
}

/// Codes of a column: its values where they are few or not numbers, ranges of about equally many rows otherwise; missing
/// values are a code of their own. Values with fewer than `rare` rows share one.
///
/// # Errors
/// [`Error::UnknownColumn`]; [`Error::Arrow`] for a column whose values have no text.
pub fn coded(rows: &RecordBatch, name: &str, rare: usize) -> Result<Coded> {
    let array = column(rows, name)?;
    if array.data_type().is_numeric() {
        let numbers = cast(array, &DataType::Float64)?;
        let numbers: Vec<f64> =
            numbers.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let values = sorted(numbers.iter().copied().filter(|value| !value.is_nan()).collect());
        let distinct = values.windows(2).filter(|pair| pair[0] < pair[1]).count() + 1;
        if distinct > FEW {
            return Ok(ranges(name, &numbers, &values));
        }
    }
    let texts = cast(array, &DataType::Utf8)?;
    let texts: Vec<Option<&str>> = texts.as_string::<i32>().iter().collect();
    let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for text in &texts {
        *counts.entry(*text).or_default() += 1;
    }
    let mut conditions = Vec::new();
    let mut code_of: BTreeMap<Option<&str>, u32> = BTreeMap::new();
    for (text, _) in counts.iter().filter(|(_, count)| **count >= rare.max(1)) {
        code_of.insert(*text, conditions.len() as u32);
        conditions.push(text.map_or_else(|| format!("{name} is missing"), |text| format!("{name} = {text}")));
    }
    let others = conditions.len() as u32;
    if code_of.len() < counts.len() {
        conditions.push(format!("{name} is a rare value"));
    }
    let codes = texts.iter().map(|text| code_of.get(text).copied().unwrap_or(others)).collect();
    Ok(Coded { codes, conditions })
}

fn ranges(name: &str, numbers: &[f64], values: &[f64]) -> Coded {
    let sample = Sample::exact(values);
    let quantile = |range: u32| sample.quantile(f64::from(range) / f64::from(RANGES));
    let mut edges: Vec<f64> = (1..RANGES).filter_map(quantile).collect();
    edges.dedup();
    let (codes, levels) = codes_of(numbers, &edges);
    let words = |code: u32| match (
        code.checked_sub(1).and_then(|at| edges.get(at as usize)),
        edges.get(code as usize),
    ) {
        _ if code + 1 == levels => format!("{name} is missing"),
        (None, Some(upper)) => format!("{name} ≤ {}", short(*upper)),
        (Some(lower), Some(upper)) => format!("{} < {name} ≤ {}", short(*lower), short(*upper)),
        (Some(lower), None) => format!("{name} > {}", short(*lower)),
        (None, None) => format!("any {name}"),
    };
    Coded { codes, conditions: (0..levels).map(words).collect() }
}

/// A number in at most five significant digits, which is what people compare.
fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.4e}").parse().unwrap_or(value);
    rounded.to_string()
}

/// A slice that is worse than the other rows.
#[derive(Clone, Debug, PartialEq)]
pub struct BadSlice {
    /// Its conditions, joined by `and`.
    pub conditions: String,
    /// Its rows.
    pub rows: u64,
    /// Mean loss of its rows.
    pub mean: f64,
    /// Mean loss of all other rows.
    pub others: f64,
    /// One-sided p-value of being worse, after Benjamini and Hochberg over all conjunctions that were looked at.
    pub p: f64,
    /// Whether it is worse beyond chance, and by more than the search allows.
    pub is_flagged: bool,
}

impl BadSlice {
    /// By how much its mean loss is above that of the other rows.
    pub fn worse(&self) -> f64 {
        self.mean - self.others
    }
}

/// Searches conjunctions of conditions for those whose mean loss is above that of the other rows, and returns them by how
/// far, those that are flagged first. Losses are one a row, in any unit and of any sign; rows count by their weights where there are
/// any.
///
/// # Errors
/// [`Error::Unfit`] where columns and losses are not of the same rows or losses are no numbers.
pub fn worst(
    columns: &[Coded],
    losses: &[f64],
    weights: Option<&[f64]>,
    search: &Search,
) -> Result<Vec<BadSlice>> {
    if columns.iter().any(|column| column.codes.len() != losses.len()) {
        return Err(Error::Unfit("columns and losses are not of the same rows".into()));
    }
    if losses.iter().any(|loss| !loss.is_finite()) {
        return Err(Error::Unfit("a loss is not a number".into()));
    }
    // The search takes losses from zero up; what earns money shifts all of them alike.
    let least = losses.iter().copied().fold(0.0, f64::min);
    let shifted: Vec<f64> = losses.iter().map(|loss| loss - least).collect();
    let codes: Vec<Codes<'_>> = columns
        .iter()
        .map(|column| Codes { codes: &column.codes, levels: column.conditions.len() as u32 })
        .collect();
    // Nothing is found where there is no loss at all.
    let found = worst_slices(&codes, &shifted, weights, search).unwrap_or_default();
    let mut slices: Vec<BadSlice> = found
        .into_iter()
        .filter(|slice| slice.mean > slice.others)
        .map(|slice| {
            let words = slice.conditions.iter().filter_map(|(column, code)| {
                columns.get(*column)?.conditions.get(*code as usize).map(String::as_str)
            });
            BadSlice {
                conditions: words.collect::<Vec<&str>>().join(" and "),
                rows: slice.rows,
                mean: slice.mean + least,
                others: slice.others + least,
                p: slice.p_adjusted,
                is_flagged: slice.flagged,
            }
        })
        .collect();
    slices.sort_by(|a, b| b.is_flagged.cmp(&a.is_flagged).then(b.worse().total_cmp(&a.worse())));
    Ok(slices)
}
