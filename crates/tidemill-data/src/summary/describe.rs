//! Sketches as plain numbers in the column's own type. Nothing is counted here.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::column::ColumnSummary;
use super::frequent::Sample;
use super::{ColumnStats, Distinct, Quantiles, TopValue, hll, kll};
use crate::value::{Value, cell, float};
use crate::{ColumnType, value};

const PROBABILITIES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
const TOP: usize = 10;

pub(super) fn describe(column: &ColumnSummary) -> ColumnStats {
    let kind = column.column_type;
    let show = |sample: &Sample| show(sample, kind, &column.data_type);
    let numeric = matches!(kind, ColumnType::Int | ColumnType::Float | ColumnType::Bool);
    let moments = &column.moments;
    let mean = (numeric && moments.count > 0).then_some(moments.mean);
    let std = (numeric && moments.count > 1).then(|| (moments.squares / (moments.count - 1) as f64).sqrt());
    let distinct = match column.frequent.exact_distinct() {
        Some(count) => Distinct { estimate: count, exact: true, relative_error: 0.0 },
        None => Distinct {
            estimate: column.distinct.estimate().min(column.count),
            exact: false,
            relative_error: hll::RELATIVE_ERROR,
        },
    };
    let quantiles = column.quantiles.quantiles(&PROBABILITIES).map(|values| Quantiles {
        points: PROBABILITIES
            .into_iter()
            .zip(values.into_iter().map(|value| show(&number(value, kind))))
            .collect(),
        rank_error: if column.quantiles.is_exact() { 0.0 } else { kll::RANK_ERROR },
    });
    let (top, error) = column.frequent.top(TOP, order);
    ColumnStats {
        name: column.name.clone(),
        column_type: kind,
        data_type: column.data_type.clone(),
        count: column.count,
        nulls: column.nulls,
        distinct,
        min: column.min.as_ref().map(show),
        max: column.max.as_ref().map(show),
        mean,
        std,
        quantiles,
        top: top.into_iter().map(|(value, count)| TopValue { value: show(value), count, error }).collect(),
        mean_length: (kind == ColumnType::String && column.count > 0)
            .then(|| column.characters as f64 / column.count as f64),
    }
}

/// An order of samples of one column.
fn order(a: &Sample, b: &Sample) -> Ordering {
    match (a, b) {
        (Sample::Int(a), Sample::Int(b)) => a.cmp(b),
        (Sample::Float(a), Sample::Float(b)) => a.total_cmp(b),
        (Sample::Text(a), Sample::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

fn number(value: f64, kind: ColumnType) -> Sample {
    match kind {
        ColumnType::Int | ColumnType::Date | ColumnType::Timestamp => Sample::Int(value as i64),
        _ => Sample::Float(value),
    }
}

/// The sample as a value of its column.
pub(super) fn show(sample: &Sample, kind: ColumnType, data_type: &str) -> Value {
    match (sample, kind) {
        (Sample::Int(value), ColumnType::Bool) => Value::Bool(*value != 0),
        (Sample::Int(value), ColumnType::Date | ColumnType::Timestamp) => time(*value, data_type),
        (Sample::Int(value), _) => Value::from(*value),
        (Sample::Float(value), ColumnType::Int) => Value::from(*value as u64),
        (Sample::Float(value), _) => float(*value),
        (Sample::Text(text), _) => Value::from(value::shorten(text.to_string())),
    }
}

fn time(value: i64, data_type: &str) -> Value {
    let Ok(target) = data_type.parse::<DataType>() else { return Value::from(value) };
    let mut array: ArrayRef = Arc::new(Int64Array::from(vec![value]));
    if target == DataType::Date32 {
        array = cast(&array, &DataType::Int32).unwrap_or(array);
    }
    cast(&array, &target).map_or(Value::from(value), |array| cell(&array, 0))
}
