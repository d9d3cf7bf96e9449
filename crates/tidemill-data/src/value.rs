//! One cell of a table as a plain value, for samples and messages. Not for bulk work: that stays in Arrow arrays.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use indexmap::IndexMap;
pub use serde_json::Value;

/// One row: column name to value, in the table's order.
pub type Row = IndexMap<String, Value>;

/// Longest text kept in a sample, in characters; longer ones end in `…`.
pub(crate) const LONGEST: usize = 200;

/// The value at `row`: numbers, truth values and nulls as such; dates and times in ISO 8601 and everything
/// else as text; floats that JSON cannot hold as `NaN`, `inf`, `-inf`.
pub(crate) fn cell(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Float16 => float(array.as_primitive::<Float16Type>().value(row).to_f64()),
        // Through the shortest text, so that 0.1 of single precision shows as 0.1.
        DataType::Float32 => {
            float(array.as_primitive::<Float32Type>().value(row).to_string().parse().unwrap_or(f64::NAN))
        }
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::UInt64 => Value::from(array.as_primitive::<UInt64Type>().value(row)),
        other if other.is_integer() => arrow::compute::cast(&array.slice(row, 1), &DataType::Int64)
            .map_or(Value::Null, |one| Value::from(one.as_primitive::<Int64Type>().value(0))),
        _ => text(array, row),
    }
}

/// The rows at `rows` of `batch`.
pub(crate) fn row(batch: &RecordBatch, row: usize) -> Row {
    let fields = batch.schema_ref().fields();
    fields
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| (field.name().clone(), cell(array, row)))
        .collect()
}

pub(crate) fn float(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number)
}

fn text(array: &dyn Array, row: usize) -> Value {
    let options = FormatOptions::new();
    let shown = match ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(error) => format!("<{error}>"),
    };
    Value::from(shorten(shown))
}

/// At most [`LONGEST`] characters of `text`.
pub(crate) fn shorten(text: String) -> String {
    cut(text, LONGEST)
}

/// At most `most` characters of `text`; a longer one ends in `…`.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
    text
}
