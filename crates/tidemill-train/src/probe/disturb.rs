//! Rows that were changed on purpose: noise, missing values, another order, other values.
//!
//! Types stay as they are, so that whatever took the rows takes the changed ones; everything random follows from a seed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, UInt64Array};
use arrow::compute::{CastOptions, cast, cast_with_options, nullif, take};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use tidemill_stats::random::Random;
use tidemill_stats::sample::Moments;

use super::column;
use crate::Result;

/// Whether a column holds numbers.
///
/// # Errors
/// [`crate::Error::UnknownColumn`].
pub fn is_number(rows: &RecordBatch, name: &str) -> Result<bool> {
    Ok(column(rows, name)?.data_type().is_numeric())
}

/// The rows with normal noise of `deviations` standard deviations on these columns of numbers; others stay.
///
/// # Errors
/// [`crate::Error::UnknownColumn`].
pub fn with_noise(rows: &RecordBatch, columns: &[String], deviations: f64, seed: u64) -> Result<RecordBatch> {
    let mut changed = rows.clone();
    for (item, name) in columns.iter().enumerate() {
        if is_number(rows, name)? {
            let mut random = Random::new(seed, item as u64);
            let width = deviations * deviation(rows, name)?;
            changed = moved(&changed, name, |value| value + width * random.normal())?;
        }
    }
    Ok(changed)
}

/// The rows with a share of the values of each of these columns missing.
///
/// # Errors
/// [`crate::Error::UnknownColumn`].
pub fn with_missing(rows: &RecordBatch, columns: &[String], share: f64, seed: u64) -> Result<RecordBatch> {
    let mut changed = rows.clone();
    for (item, name) in columns.iter().enumerate() {
        let mut random = Random::new(seed, item as u64);
        let gone: BooleanArray = (0..rows.num_rows()).map(|_| Some(random.unit() < share)).collect();
        let array = nullif(column(&changed, name)?, &gone)?;
        changed = with_column(&changed, name, array)?;
    }
    Ok(changed)
}

/// The rows with the values of one column in a random order.
///
/// # Errors
/// [`crate::Error::UnknownColumn`].
pub fn shuffled(rows: &RecordBatch, name: &str, seed: u64) -> Result<RecordBatch> {
    shuffled_by(rows, name, Random::new(seed, 0))
}

/// The rows with the values of one column in an order that `random` draws.
pub(super) fn shuffled_by(rows: &RecordBatch, name: &str, mut random: Random) -> Result<RecordBatch> {
    let mut order: Vec<u64> = (0..rows.num_rows() as u64).collect();
    random.shuffle(&mut order);
    let array = take(column(rows, name)?, &UInt64Array::from(order), None)?;
    with_column(rows, name, array)
}

/// For each of the most frequent values of a column, at most `most`, the first row that has it; missing is no value.
///
/// # Errors
/// [`crate::Error::UnknownColumn`]; [`crate::Error::Arrow`] for a column whose values have no text.
pub fn values_of(rows: &RecordBatch, name: &str, most: usize) -> Result<Vec<(String, usize)>> {
    let texts = cast(column(rows, name)?, &DataType::Utf8)?;
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for (row, text) in texts.as_string::<i32>().iter().enumerate() {
        if let Some(text) = text {
            counts.entry(text).or_insert((0, row)).0 += 1;
        }
    }
    let mut values: Vec<(usize, usize, &str)> =
        counts.into_iter().map(|(text, (count, row))| (count, row, text)).collect();
    values.sort_by_key(|(count, row, _)| (std::cmp::Reverse(*count), *row));
    values.truncate(most);
    Ok(values.into_iter().map(|(_, row, text)| (text.to_owned(), row)).collect())
}

/// The rows, all with the value that a column has in one of them.
///
/// # Errors
/// [`crate::Error::UnknownColumn`].
pub fn replaced(rows: &RecordBatch, name: &str, with: usize) -> Result<RecordBatch> {
    let same = UInt64Array::from(vec![with as u64; rows.num_rows()]);
    let array = take(column(rows, name)?, &same, None)?;
    with_column(rows, name, array)
}

/// The rows with a column of numbers raised, by one standard deviation where not given; and by how much.
///
/// # Errors
/// [`crate::Error::UnknownColumn`].
pub fn raised(rows: &RecordBatch, name: &str, by: Option<f64>) -> Result<(RecordBatch, f64)> {
    let by = match by {
        Some(by) => by,
        None => {
            let deviation = deviation(rows, name)?;
            // Whole numbers rise by at least one.
            if column(rows, name)?.data_type().is_integer() { deviation.round().max(1.0) } else { deviation }
        }
    };
    Ok((moved(rows, name, |value| value + by)?, by))
}

fn numbers(rows: &RecordBatch, name: &str) -> Result<Float64Array> {
    Ok(cast(column(rows, name)?, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

/// The standard deviation of a column of numbers; 0 for fewer than two.
fn deviation(rows: &RecordBatch, name: &str) -> Result<f64> {
    let values: Vec<f64> = numbers(rows, name)?.iter().flatten().filter(|value| value.is_finite()).collect();
    Ok(Moments::of(&values).and_then(|moments| moments.sample_variance()).map_or(0.0, f64::sqrt))
}

/// The rows with every number of a column passed through `change`. Whole numbers stay whole; one that would leave the
/// column's type stays as it is.
fn moved(rows: &RecordBatch, name: &str, mut change: impl FnMut(f64) -> f64) -> Result<RecordBatch> {
    let old = column(rows, name)?;
    let kind = old.data_type().clone();
    let whole = kind.is_integer();
    let new: Float64Array = numbers(rows, name)?
        .iter()
        .map(|value| value.map(|value| if whole { change(value).round() } else { change(value) }))
        .collect();
    let new = cast_with_options(&new, &kind, &CastOptions { safe: true, ..CastOptions::default() })?;
    let kept = arrow::compute::is_null(&new)?;
    let array = arrow::compute::kernels::zip::zip(&kept, old, &new)?;
    with_column(rows, name, array)
}

fn with_column(rows: &RecordBatch, name: &str, array: ArrayRef) -> Result<RecordBatch> {
    let schema = rows.schema();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let field = field.as_ref().clone();
            if field.name() == name { field.with_nullable(true) } else { field }
        })
        .collect();
    let columns = schema
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, old)| if field.name() == name { Arc::clone(&array) } else { Arc::clone(old) });
    let columns = columns.collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
