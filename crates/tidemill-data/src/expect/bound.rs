//! Values of a project file against values of a column: numbers, dates and times, text. Rules are in `row`.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{Array, ArrayRef};
use arrow::compute::{max as greatest, min as least};
use arrow::datatypes::{DataType, TimeUnit};
use serde_json::Value;

use crate::plain::Plain;
use crate::read::scalar;
use crate::{ColumnType, Error, hash};
use twox_hash::XxHash3_64;

/// Sets of values that come from a project file, not from an adversary.
#[derive(Default)]
pub(super) struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash::mix(self.0, XxHash3_64::oneshot(bytes));
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = hash::mix(self.0, u64::from(byte));
    }

    fn write_i64(&mut self, value: i64) {
        self.0 = hash::mix(self.0, value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Set<T> = HashSet<T, BuildHasherDefault<Quick>>;

/// A declared value in the terms of a column's type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bound {
    Int(i64),
    Float(f64),
    Text(String),
    /// Nanoseconds since the epoch.
    Time(i128),
}

impl Bound {
    /// The value for a column of `kind`; a message where it cannot be compared with it.
    pub(super) fn of(value: &Value, kind: ColumnType) -> Result<Self, String> {
        let wrong = || format!("{value} cannot be compared with a column of type {kind}");
        match (kind, value) {
            (ColumnType::Int | ColumnType::Float, Value::Number(number)) => match number.as_i64() {
                Some(whole) => Ok(Self::Int(whole)),
                None => number.as_f64().map(Self::Float).ok_or_else(wrong),
            },
            (ColumnType::Bool, Value::Bool(truth)) => Ok(Self::Int(i64::from(*truth))),
            (ColumnType::String, Value::String(text)) => Ok(Self::Text(text.clone())),
            // Codes such as 7 or true are text in the data and something else in YAML.
            (ColumnType::String, Value::Number(_) | Value::Bool(_)) => Ok(Self::Text(value.to_string())),
            (ColumnType::Date | ColumnType::Timestamp, Value::String(text)) => {
                let micros = scalar::parse_moment(text);
                micros.map(|micros| Self::Time(i128::from(micros) * 1000)).ok_or_else(|| {
                    format!("{value} is not a date (`2013-01-31`) or a time (`2013-01-31T12:00:00Z`)")
                })
            }
            _ => Err(wrong()),
        }
    }
}

/// The allowed values of a column.
pub(super) struct Allowed {
    whole: Set<i64>,
    floats: Vec<f64>,
    texts: Set<String>,
    times: HashSet<i128>,
}

impl Allowed {
    pub(super) fn of(values: &[Value], kind: ColumnType) -> Result<Self, String> {
        let mut allowed =
            Self { whole: Set::default(), floats: Vec::new(), texts: Set::default(), times: HashSet::new() };
        for value in values.iter().filter(|value| !value.is_null()) {
            match Bound::of(value, kind)? {
                Bound::Int(value) => {
                    allowed.whole.insert(value);
                    allowed.floats.push(value as f64);
                }
                Bound::Float(value) => allowed.floats.push(value),
                Bound::Text(value) => {
                    allowed.texts.insert(value);
                }
                Bound::Time(value) => {
                    allowed.times.insert(value);
                }
            }
        }
        Ok(allowed)
    }

    /// The rows whose value is not null and not in the set.
    pub(super) fn outside(&self, array: &ArrayRef) -> Result<Vec<usize>, Error> {
        let factor = nanos(array.data_type());
        rows(array, |value| !self.has(&value, factor))
    }

    /// The rows whose value is in the set.
    pub(super) fn inside(&self, array: &ArrayRef) -> Result<Vec<usize>, Error> {
        let factor = nanos(array.data_type());
        rows(array, |value| self.has(&value, factor))
    }

    fn has(&self, value: &Cell<'_>, factor: i128) -> bool {
        match *value {
            Cell::Int(value) if factor > 0 => self.times.contains(&scale(value, factor)),
            Cell::Int(value) => self.whole.contains(&value) || self.floats.contains(&(value as f64)),
            Cell::Float(value) => self.floats.contains(&value),
            Cell::Text(text) => self.texts.contains(text),
        }
    }
}

/// The rows whose value is not null and below `min` or above `max`. NaN is within nothing.
pub(super) fn beyond(
    array: &ArrayRef,
    min: Option<&Bound>,
    max: Option<&Bound>,
) -> Result<Vec<usize>, Error> {
    let factor = nanos(array.data_type());
    let compare = |value: &Cell<'_>, bound: &Bound| match (value, bound) {
        (Cell::Int(value), Bound::Time(bound)) => Some(scale(*value, factor).cmp(bound)),
        (Cell::Int(value), Bound::Int(bound)) => Some(value.cmp(bound)),
        (Cell::Int(value), Bound::Float(bound)) => (*value as f64).partial_cmp(bound),
        (Cell::Float(value), Bound::Int(bound)) => value.partial_cmp(&(*bound as f64)),
        (Cell::Float(value), Bound::Float(bound)) => value.partial_cmp(bound),
        (Cell::Text(value), Bound::Text(bound)) => Some((*value).cmp(bound.as_str())),
        _ => None,
    };
    let outside = |value: &Cell<'_>| {
        let low = min.is_some_and(|min| compare(value, min).is_none_or(std::cmp::Ordering::is_lt));
        low || max.is_some_and(|max| compare(value, max).is_none_or(std::cmp::Ordering::is_gt))
    };
    // Where the ends are inside everything is, and the ends of numbers are found many at a time. NaN is greater than all.
    let ends = match Plain::of(array)? {
        Plain::Int(values, _) => {
            least(&values).zip(greatest(&values)).map(|(a, b)| [Cell::Int(a), Cell::Int(b)])
        }
        Plain::Float(values) => {
            least(&values).zip(greatest(&values)).map(|(a, b)| [Cell::Float(a), Cell::Float(b)])
        }
        Plain::Text(_) => return rows(array, |value| outside(&value)),
    };
    match ends {
        None => Ok(Vec::new()),
        Some(ends) if !ends.iter().any(&outside) => Ok(Vec::new()),
        Some(_) => rows(array, |value| outside(&value)),
    }
}

/// One value of a column.
enum Cell<'a> {
    Int(i64),
    Float(f64),
    Text(&'a str),
}

/// The rows that are not null and for which `test` holds.
fn rows(array: &ArrayRef, test: impl Fn(Cell<'_>) -> bool) -> Result<Vec<usize>, Error> {
    let holds = |(row, value): (usize, Option<Cell<'_>>)| value.is_some_and(&test).then_some(row);
    Ok(match Plain::of(array)? {
        Plain::Int(values, _) => {
            values.iter().map(|value| value.map(Cell::Int)).enumerate().filter_map(holds).collect()
        }
        Plain::Float(values) => {
            values.iter().map(|value| value.map(Cell::Float)).enumerate().filter_map(holds).collect()
        }
        Plain::Text(values) => {
            values.iter().map(|value| value.map(Cell::Text)).enumerate().filter_map(holds).collect()
        }
    })
}

/// Nanoseconds of one unit of a date or time; 0 for other types.
fn nanos(kind: &DataType) -> i128 {
    match kind {
        DataType::Dictionary(_, values) => nanos(values),
        DataType::Date32 => 86_400_000_000_000,
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
        _ => 0,
    }
}

fn scale(value: i64, factor: i128) -> i128 {
    i128::from(value) * factor
}
