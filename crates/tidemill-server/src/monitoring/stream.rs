//! The values of streams, as they stand in the records.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use tidemill_core::Timestamp;
use tidemill_monitor::StreamOf;
use tidemill_serve::record::EventTimes;
use tidemill_serve::record::answers::Answers;

/// Values of a stream, each with the time at which its request came.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(Vec<(Timestamp, f64)>);

/// Values that are held of a window. One with more is judged on its first so many.
const MOST: usize = 1_000_000;

impl Values {
    /// Takes those of a batch: one a request of latency and errors, else one a row that was answered.
    pub(super) fn take(&mut self, of: &StreamOf, batch: &RecordBatch, answers: &Answers) {
        let Some(times) = EventTimes::of(batch) else { return };
        let texts = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let (status, kind) = (texts("status"), texts("error_kind"));
        let status =
            |row: usize| status.filter(|texts| texts.is_valid(row)).map_or("", |texts| texts.value(row));
        let is_invalid =
            |row: usize| kind.is_some_and(|texts| texts.is_valid(row) && texts.value(row) == "invalid");
        let rows = numbers(batch, "row");
        let is_first = |row: usize| rows.as_ref().is_none_or(|rows| rows.value(row) == 0.0);
        let named = match of {
            StreamOf::Latency => numbers(batch, "latency_us"),
            StreamOf::Column(name) => numbers(batch, &format!("input_{name}")),
            StreamOf::Outcome(name) => numbers(batch, &format!("outcome_{name}")),
            StreamOf::Score | StreamOf::Error => None,
        };
        let number =
            |row: usize| named.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row));
        for row in 0..batch.num_rows() {
            let value = match of {
                StreamOf::Latency => number(row).filter(|_| is_first(row)).map(|micros| micros / 1_000.0),
                // What a caller did wrong is no failure of the service.
                StreamOf::Error => {
                    is_first(row).then(|| f64::from(u8::from(status(row) == "failed" && !is_invalid(row))))
                }
                _ if status(row) != "answered" => None,
                StreamOf::Score => answers.score(row),
                StreamOf::Column(_) | StreamOf::Outcome(_) => number(row),
            };
            if let Some(value) = value.filter(|value| value.is_finite())
                && self.0.len() < MOST
            {
                self.0.push((times.arrived(row), value));
            }
        }
    }

    /// In the order in which requests came.
    pub(super) fn in_order(&self) -> Vec<f64> {
        let mut values = self.0.clone();
        values.sort_by_key(|(came, _)| *came);
        values.into_iter().map(|(_, value)| value).collect()
    }
}

/// A column of numbers or truth values; a text that looks like a number is none.
fn numbers(batch: &RecordBatch, name: &str) -> Option<arrow::array::Float64Array> {
    let column = batch.column_by_name(name)?;
    if !(column.data_type().is_numeric() || *column.data_type() == DataType::Boolean) {
        return None;
    }
    cast(column, &DataType::Float64).ok()?.as_primitive_opt::<Float64Type>().cloned()
}
