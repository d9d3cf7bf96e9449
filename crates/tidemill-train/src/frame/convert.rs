//! Arrow arrays to numbers and text, whatever their encoding.
//!
//! No knowledge of roles or of training: callers say what a refused type was to be used for.

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use crate::Result;

/// How a type can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Booleans.
    Bool,
    /// Whole numbers.
    Int,
    /// 16 or 32-bit floating point.
    Float,
    /// 64-bit floating point, decimals, and columns of nulls.
    Double,
    /// Text.
    Text,
    /// Timestamps, dates, times.
    Time,
    /// Everything else.
    Other,
}

/// The family of a type; dictionaries and run-end encodings count as their values.
pub(super) fn family(data_type: &DataType) -> Family {
    use DataType as T;
    match data_type {
        T::Boolean => Family::Bool,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
            Family::Int
        }
        T::Float16 | T::Float32 => Family::Float,
        T::Float64
        | T::Decimal32(..)
        | T::Decimal64(..)
        | T::Decimal128(..)
        | T::Decimal256(..)
        | T::Null => Family::Double,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => Family::Text,
        T::Timestamp(..) | T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) => Family::Time,
        T::Dictionary(_, values) => family(values),
        T::RunEndEncoded(_, values) => family(values.data_type()),
        _ => Family::Other,
    }
}

/// The array as plain values: dictionaries and run-end encodings unpacked.
pub(super) fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(_, values) => Ok(cast(array, values)?),
        DataType::RunEndEncoded(_, values) => Ok(cast(array, values.data_type())?),
        _ => Ok(ArrayRef::clone(array)),
    }
}

/// Appends the array's numbers to `into`, NaN where missing; whole numbers beyond 2^53 lose their last digits.
pub(super) fn append_numbers(array: &ArrayRef, into: &mut Vec<f64>) -> Result<()> {
    let array = cast(&plain(array)?, &DataType::Float64)?;
    let array = array.as_primitive::<Float64Type>();
    if array.null_count() == 0 {
        into.extend_from_slice(array.values());
    } else {
        into.extend(array.iter().map(|value| value.unwrap_or(f64::NAN)));
    }
    Ok(())
}

/// The array's values as text; other types than text in Arrow's display form.
pub(super) fn texts(array: &ArrayRef) -> Result<LargeStringArray> {
    let array = cast(&plain(array)?, &DataType::LargeUtf8)?;
    Ok(array.as_string::<i64>().clone())
}
