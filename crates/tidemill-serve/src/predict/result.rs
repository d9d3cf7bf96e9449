//! From the tensors that a model gives to the columns of a table.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::array::{BinaryArray, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidemill_runtime::{Dim, Slot, Tensor, Values};

use crate::element::arrow_type;

use super::PredictError;

/// The columns of the outputs of a batch, after those that are kept.
pub(super) fn columns(
    slots: &[Slot],
    tensors: Vec<Tensor>,
    kept: &RecordBatch,
    first: u64,
) -> Result<RecordBatch, PredictError> {
    let rows = kept.num_rows();
    if slots.len() != tensors.len() {
        let last = first + (rows as u64).saturating_sub(1);
        let why = format!("it gave {} outputs and declares {}", tensors.len(), slots.len());
        return Err(PredictError::Model { first, last, why });
    }
    let mut fields: Vec<Arc<Field>> = kept.schema_ref().fields().iter().cloned().collect();
    let mut arrays = kept.columns().to_vec();
    for (slot, tensor) in slots.iter().zip(tensors) {
        if tensor.rows() != rows {
            let why = format!("it has {} rows for {rows} rows of input", tensor.rows());
            return Err(PredictError::Output { output: slot.name.clone(), why });
        }
        let array = array(&slot.name, tensor)?;
        fields.push(Arc::new(Field::new(&slot.name, array.data_type().clone(), true)));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options)
        .map_err(|error| PredictError::Columns(error.to_string()))
}

/// The columns that outputs have where no row tells.
pub(super) fn declared(slots: &[Slot], kept: &Schema) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = kept.fields().iter().cloned().collect();
    for slot in slots {
        let width = slot.shape.get(1..).unwrap_or_default().iter().try_fold(1_i32, |width, dim| match dim {
            Dim::Fixed(size) => width.checked_mul(i32::try_from(*size).ok()?),
            Dim::Any(_) => None,
        });
        let value = arrow_type(slot.element);
        let kind = match width {
            Some(1) => value,
            Some(width) => DataType::FixedSizeList(Arc::new(Field::new("item", value, true)), width),
            None => DataType::List(Arc::new(Field::new("item", value, true))),
        };
        fields.push(Arc::new(Field::new(&slot.name, kind, true)));
    }
    Arc::new(Schema::new(fields))
}

/// Names of outputs that are also names of kept columns would be two columns of one name.
pub(super) fn check_names(slots: &[Slot], kept: &Schema) -> Result<(), PredictError> {
    match slots.iter().find(|slot| kept.field_with_name(&slot.name).is_ok()) {
        None => Ok(()),
        Some(slot) => Err(PredictError::Columns(format!(
            "the table has a column `{0}`, which is also an output of the model; keep other columns with `--keep COLUMN,…`",
            slot.name
        ))),
    }
}

fn array(name: &str, tensor: Tensor) -> Result<ArrayRef, PredictError> {
    let width = tensor.row_len();
    let fail = |why: String| PredictError::Output { output: name.to_owned(), why };
    let values: ArrayRef = match tensor.into_values() {
        Values::Bool(values) => Arc::new(BooleanArray::from(values)),
        Values::U8(values) => Arc::new(UInt8Array::from(values)),
        Values::U16(values) => Arc::new(UInt16Array::from(values)),
        Values::U32(values) => Arc::new(UInt32Array::from(values)),
        Values::U64(values) => Arc::new(UInt64Array::from(values)),
        Values::I8(values) => Arc::new(Int8Array::from(values)),
        Values::I16(values) => Arc::new(Int16Array::from(values)),
        Values::I32(values) => Arc::new(Int32Array::from(values)),
        Values::I64(values) => Arc::new(Int64Array::from(values)),
        Values::F16(values) => {
            Arc::new(Float32Array::from_iter_values(values.iter().map(|value| value.to_f32())))
        }
        Values::Bf16(values) => {
            Arc::new(Float32Array::from_iter_values(values.iter().map(|value| value.to_f32())))
        }
        Values::F32(values) => Arc::new(Float32Array::from(values)),
        Values::F64(values) => Arc::new(Float64Array::from(values)),
        Values::Bytes(values) => {
            let texts: Option<Vec<&str>> =
                values.iter().map(|value| std::str::from_utf8(value).ok()).collect();
            match texts {
                Some(texts) => Arc::new(StringArray::from_iter_values(texts)),
                None => Arc::new(BinaryArray::from_iter_values(&values)),
            }
        }
    };
    if width == 1 {
        return Ok(values);
    }
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    let size = i32::try_from(width).map_err(|_| fail(format!("{width} values in a row are too many")))?;
    if size == 0 {
        return Err(fail("it has no values in a row".to_owned()));
    }
    Ok(Arc::new(
        FixedSizeListArray::try_new(item, size, values, None).map_err(|error| fail(error.to_string()))?,
    ))
}
