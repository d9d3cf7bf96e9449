//! Sketches as plain numbers in the column's own type. Nothing is counted here.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::association::{Beside, Strength};
use super::column::ColumnProfile;
use super::frequent::{Frequent, Sample};
use super::relations::{Key, Relations};
use super::stats::{
    Association, AssociationKind, Bar, ColumnStats, Correlation, Distinct, Duplicates, MissingTogether,
    Quantiles, TableStats, TopValue,
};
use super::{Profile, hll};
use crate::ColumnType;
use crate::value::{Value, cell, float, shorten};

const PROBABILITIES: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];
const TOP: usize = 10;
const PATTERNS: usize = 20;
/// Most bars of a histogram.
const BARS: usize = 40;
/// Most pairs of columns that are listed.
const PAIRS: usize = 1225;

pub(super) fn table(profile: &Profile) -> TableStats {
    let empty = Relations::default();
    let relations = profile.relations.as_ref().unwrap_or(&empty);
    let nulls = |place: u32| profile.columns.get(place as usize).map_or(0, |column| column.nulls);
    let mut together: Vec<MissingTogether> = relations
        .null_together
        .iter()
        .map(|(&(a, b), &rows)| MissingTogether {
            columns: [name(profile, a), name(profile, b)],
            rows,
            overlap: rows as f64 / nulls(a).saturating_add(nulls(b)).saturating_sub(rows).max(1) as f64,
        })
        .collect();
    together.sort_by_key(|pair| std::cmp::Reverse(pair.rows));
    together.truncate(PAIRS);
    let correlations = correlations(profile);
    let duplicates = relations.key.as_ref().map(|key| Duplicates {
        key: key.columns.iter().map(|&place| name(profile, place)).collect(),
        rows: repeated(key),
        exact: key.exact.is_some(),
    });
    TableStats {
        rows: profile.rows,
        columns: profile.describe(),
        duplicates,
        missing_together: together,
        associations: associations(profile, relations, &correlations),
        correlations,
    }
}

/// Every column beside the target, strongest first; correlations that are known anyway are among them.
fn associations(profile: &Profile, relations: &Relations, known: &[Correlation]) -> Vec<Association> {
    let Some(beside) = &relations.associations else { return Vec::new() };
    let target = name(profile, beside.target);
    let mut found: Vec<Association> = known
        .iter()
        .filter_map(|Correlation { columns: [a, b], r, rows }| {
            let column = if *a == target { b } else { Some(a).filter(|_| *b == target)? };
            let kind = AssociationKind::Correlation;
            Some(Association { column: column.clone(), kind, value: *r, rows: *rows })
        })
        .collect();
    for (place, column) in &beside.columns {
        let Some((strength, rows)) = column.as_ref().and_then(Beside::strength) else { continue };
        let (kind, value) = match strength {
            Strength::Correlation(r) => (AssociationKind::Correlation, r),
            Strength::CramersV(v) => (AssociationKind::CramersV, v),
            Strength::CorrelationRatio(eta) => (AssociationKind::CorrelationRatio, eta),
        };
        let column = name(profile, *place);
        // The same correlation may be known of a pair of numbers.
        if !found.iter().any(|other| other.column == column) {
            found.push(Association { column, kind, value, rows });
        }
    }
    found.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
    found
}

/// The name of the column at a place.
fn name(profile: &Profile, place: u32) -> String {
    profile.columns.get(place as usize).map(|column| column.name.clone()).unwrap_or_default()
}

/// Pairs of numeric columns, strongest first.
pub(super) fn correlations(profile: &Profile) -> Vec<Correlation> {
    let Some(relations) = &profile.relations else { return Vec::new() };
    let count = relations.numeric.len();
    let places = (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j)));
    let mut correlations: Vec<Correlation> = places
        .zip(&relations.pairs)
        .filter_map(|((i, j), pair)| {
            let columns = [name(profile, relations.numeric[i]), name(profile, relations.numeric[j])];
            Some(Correlation { columns, r: pair.correlation()?, rows: pair.count })
        })
        .collect();
    correlations.sort_by(|a, b| b.r.abs().total_cmp(&a.r.abs()));
    correlations
}

fn repeated(key: &Key) -> u64 {
    key.exact.unwrap_or_else(|| {
        // What the sketch cannot tell from none is none.
        let estimate = key.rows.saturating_sub(key.distinct.estimate());
        let noise = (3.0 * hll::RELATIVE_ERROR * key.rows as f64) as u64;
        if estimate > noise { key.least.max(estimate) } else { key.least }
    })
}

pub(super) fn describe(column: &ColumnProfile) -> ColumnStats {
    let kind = column.column_type;
    let show = |sample: &Sample| show(sample, kind, &column.data_type);
    let numeric = matches!(kind, ColumnType::Int | ColumnType::Float | ColumnType::Bool);
    let ordered =
        matches!(kind, ColumnType::Int | ColumnType::Float | ColumnType::Date | ColumnType::Timestamp);
    let number = matches!(kind, ColumnType::Int | ColumnType::Float);
    let numbers = &column.numbers;
    let moments = Some(&numbers.moments).filter(|_| numeric);
    let text = kind == ColumnType::String && column.count > 0;
    ColumnStats {
        name: column.name.clone(),
        column_type: kind,
        data_type: column.data_type.clone(),
        count: column.count,
        nulls: column.nulls,
        nan: numbers.nan,
        positive_infinite: numbers.positive_infinite,
        negative_infinite: numbers.negative_infinite,
        zero: number.then_some(numbers.zero),
        negative: number.then_some(numbers.negative),
        true_count: (kind == ColumnType::Bool).then(|| column.count.saturating_sub(numbers.zero)),
        distinct: distinct(column),
        min: column.min.as_ref().map(show),
        max: column.max.as_ref().map(show),
        mean: moments.filter(|moments| moments.count > 0).map(|moments| moments.mean),
        std: moments.and_then(super::moments::Moments::std),
        skewness: moments.filter(|_| number).and_then(super::moments::Moments::skewness),
        kurtosis: moments.filter(|_| number).and_then(super::moments::Moments::kurtosis),
        quantiles: if ordered { quantiles(column) } else { None },
        histogram: if ordered { histogram(column) } else { Vec::new() },
        top: top(&column.frequent, TOP, show),
        mean_length: text.then_some(numbers.moments.mean),
        min_length: numbers.least.filter(|_| text).map(|length| length as u64),
        max_length: numbers.greatest.filter(|_| text).map(|length| length as u64),
        patterns: patterns(column),
    }
}

fn distinct(column: &ColumnProfile) -> Distinct {
    match (column.frequent.exact_distinct(), &column.distinct) {
        (Some(count), _) => Distinct { estimate: count, exact: true, relative_error: 0.0 },
        (None, sketch) => Distinct {
            estimate: sketch.as_ref().map_or(0, super::hll::Hll::estimate).min(column.count),
            exact: false,
            relative_error: hll::RELATIVE_ERROR,
        },
    }
}

fn quantiles(column: &ColumnProfile) -> Option<Quantiles> {
    let sketch = &column.numbers.quantiles;
    let values = sketch.quantiles(&PROBABILITIES)?;
    Some(Quantiles {
        points: PROBABILITIES.into_iter().zip(values.into_iter().map(|found| value(found, column))).collect(),
        rank_error: sketch.rank_error(),
    })
}

fn histogram(column: &ColumnProfile) -> Vec<Bar> {
    let bins = column.numbers.grid.bins(BARS);
    bins.into_iter()
        .map(|(from, to, count)| match column.column_type {
            // Edges between whole numbers are not whole where the bins are narrower than 1.
            ColumnType::Int => Bar { from: float(from), to: float(to), count },
            _ => Bar { from: value(from, column), to: value(to, column), count },
        })
        .collect()
}

fn patterns(column: &ColumnProfile) -> Vec<TopValue> {
    if column.column_type != ColumnType::String {
        return Vec::new();
    }
    let shown = |sample: &Sample| show(sample, ColumnType::String, "");
    match &column.masks {
        Some(masks) => top(masks, PATTERNS, shown),
        None => top(&column.shapes(), PATTERNS, shown),
    }
}

fn top(frequent: &Frequent, n: usize, show: impl Fn(&Sample) -> Value) -> Vec<TopValue> {
    let error = frequent.error();
    let found = frequent.top(n).into_iter();
    found.map(|(value, count)| TopValue { value: show(value), count, error }).collect()
}

/// A number of a sketch as a value of its column.
fn value(number: f64, column: &ColumnProfile) -> Value {
    let kind = column.column_type;
    let sample = match kind {
        ColumnType::Int | ColumnType::Date | ColumnType::Timestamp => Sample::Int(number as i64),
        _ => Sample::Float(number),
    };
    show(&sample, kind, &column.data_type)
}

/// The sample as a value of its column.
pub(super) fn show(sample: &Sample, kind: ColumnType, data_type: &str) -> Value {
    match (sample, kind) {
        (Sample::Int(value), ColumnType::Bool) => Value::Bool(*value != 0),
        (Sample::Int(value), ColumnType::Date | ColumnType::Timestamp) => time(*value, data_type),
        (Sample::Int(value), _) => Value::from(*value),
        (Sample::Float(value), ColumnType::Int) => Value::from(*value as u64),
        (Sample::Float(value), _) => float(*value),
        (Sample::Text(text), _) => Value::from(shorten(text.to_string())),
    }
}

/// A time or date in its column's unit, as text.
pub(crate) fn time_text(value: i64, data_type: &str) -> String {
    let value = time(value, data_type);
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn time(value: i64, data_type: &str) -> Value {
    let Ok(target) = data_type.parse::<DataType>() else { return Value::from(value) };
    let mut array: ArrayRef = Arc::new(Int64Array::from(vec![value]));
    if target == DataType::Date32 {
        array = cast(&array, &DataType::Int32).unwrap_or(array);
    }
    cast(&array, &target).map_or(Value::from(value), |array| cell(&array, 0))
}
