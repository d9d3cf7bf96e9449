//! Columns of any Arrow type as one of three plain ones: whole numbers, floats, text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{ColumnType, Error};

/// What whole numbers stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Truth,
    Time,
}

/// A column as one of three types.
pub(crate) enum Plain {
    Int(Int64Array, Kind),
    Float(Float64Array),
    Text(StringArray),
}

impl Plain {
    pub(crate) fn of(array: &ArrayRef) -> Result<Self, Error> {
        let decoded = match array.data_type() {
            DataType::Dictionary(_, values) => {
                cast(array, values).map_err(Error::arrow("read a dictionary"))?
            }
            _ => array.clone(),
        };
        let array = &decoded;
        Ok(match (ColumnType::of(array.data_type()), array.data_type()) {
            // The upper half of the range does not fit; as floats these numbers keep their order.
            (ColumnType::Int, DataType::UInt64) => Self::Float(cast_to::<Float64Type>(array)?),
            (ColumnType::Int, _) => Self::Int(cast_to::<Int64Type>(array)?, Kind::Number),
            (ColumnType::Bool, _) => Self::Int(cast_to::<Int64Type>(array)?, Kind::Truth),
            (ColumnType::Timestamp | ColumnType::Date, _) => {
                Self::Int(cast_to::<Int64Type>(array)?, Kind::Time)
            }
            (ColumnType::Float, _) => Self::Float(cast_to::<Float64Type>(array)?),
            (ColumnType::String, _) => {
                let text = cast(array, &DataType::Utf8).map_err(Error::arrow("read text"))?;
                Self::Text(text.as_string::<i32>().clone())
            }
            (ColumnType::Other, _) => {
                let options = FormatOptions::new();
                let shown =
                    ArrayFormatter::try_new(array, &options).map_err(Error::arrow("show a column"))?;
                let text = |row| (!array.is_null(row)).then(|| shown.value(row).to_string());
                Self::Text((0..array.len()).map(text).collect())
            }
        })
    }
}

/// The numbers of a column of numbers, truth values or times as floats.
pub(crate) fn floats(array: &ArrayRef) -> Result<Float64Array, Error> {
    match Plain::of(array)? {
        Plain::Int(values, _) => cast_to::<Float64Type>(&(Arc::new(values) as ArrayRef)),
        Plain::Float(values) => Ok(values),
        Plain::Text(_) => Err(Error::Unusable("texts are no numbers".to_owned())),
    }
}

/// The numbers as `T`; values that do not fit are null.
fn cast_to<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<arrow::array::PrimitiveArray<T>, Error> {
    // Dates of 32 bits go to 64 over their own width.
    let widened = match array.data_type() {
        DataType::Date32 => cast(array, &DataType::Int32).map_err(Error::arrow("read a date"))?,
        _ => array.clone(),
    };
    let wanted = cast(&widened, &T::DATA_TYPE).map_err(Error::arrow("read numbers"))?;
    Ok(wanted.as_primitive::<T>().clone())
}
