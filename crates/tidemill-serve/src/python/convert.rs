//! Tensors to Arrow IPC and back, in the form that `worker.py` describes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, BooleanArray, FixedSizeListArray, Float16Array,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Schema, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use tidemill_runtime::{ElementType, RunError, Slot, Tensor, Values};

/// A call as an IPC stream of one batch; parameters are in the metadata of its schema.
pub(super) fn encode(slots: &[Slot], tensors: &[Tensor], params: Option<&str>) -> Result<Vec<u8>, RunError> {
    let failed =
        |error: arrow::error::ArrowError| RunError::Model(format!("a call could not be encoded: {error}"));
    let rows = tensors.first().map_or(0, Tensor::rows);
    let mut fields = Vec::with_capacity(tensors.len());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(tensors.len());
    for (slot, tensor) in slots.iter().zip(tensors) {
        if tensor.rows() != rows {
            let why = format!("it has {} rows and the input before it {rows}", tensor.rows());
            return Err(RunError::Input { input: slot.name.clone(), why });
        }
        let values = array(tensor.values());
        let shape = tensor.shape().get(1..).unwrap_or_default();
        if shape.is_empty() {
            fields.push(Field::new(&slot.name, values.data_type().clone(), true));
            columns.push(values);
            continue;
        }
        let item = Arc::new(Field::new("item", values.data_type().clone(), true));
        let width = i32::try_from(tensor.row_len()).map_err(|_| RunError::Input {
            input: slot.name.clone(),
            why: format!("{} values in a row are too many", tensor.row_len()),
        })?;
        let list =
            FixedSizeListArray::try_new_with_length(item, width, values, None, rows).map_err(failed)?;
        let metadata =
            HashMap::from([("shape".to_owned(), serde_json::Value::from(shape.to_vec()).to_string())]);
        fields.push(Field::new(&slot.name, list.data_type().clone(), true).with_metadata(metadata));
        columns.push(Arc::new(list));
    }
    let metadata = params.map(|params| ("params".to_owned(), params.to_owned()));
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata.into_iter().collect()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(failed)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    writer.into_inner().map_err(failed)
}

fn array(values: &Values) -> ArrayRef {
    match values {
        Values::Bool(values) => Arc::new(BooleanArray::from(values.clone())),
        Values::U8(values) => Arc::new(UInt8Array::from(values.clone())),
        Values::U16(values) => Arc::new(UInt16Array::from(values.clone())),
        Values::U32(values) => Arc::new(UInt32Array::from(values.clone())),
        Values::U64(values) => Arc::new(UInt64Array::from(values.clone())),
        Values::I8(values) => Arc::new(Int8Array::from(values.clone())),
        Values::I16(values) => Arc::new(Int16Array::from(values.clone())),
        Values::I32(values) => Arc::new(Int32Array::from(values.clone())),
        Values::I64(values) => Arc::new(Int64Array::from(values.clone())),
        Values::F16(values) => Arc::new(Float16Array::from(values.clone())),
        Values::Bf16(values) => {
            Arc::new(Float32Array::from_iter_values(values.iter().map(|value| value.to_f32())))
        }
        Values::F32(values) => Arc::new(Float32Array::from(values.clone())),
        Values::F64(values) => Arc::new(Float64Array::from(values.clone())),
        Values::Bytes(values) => {
            let texts: Option<Vec<&str>> =
                values.iter().map(|value| std::str::from_utf8(value).ok()).collect();
            match texts {
                Some(texts) => Arc::new(StringArray::from_iter_values(texts)),
                None => Arc::new(BinaryArray::from_iter_values(values)),
            }
        }
    }
}

/// The tensors of an answer, in the order of `slots` and with their types.
pub(super) fn decode(slots: &[Slot], answer: &[u8]) -> Result<Vec<Tensor>, RunError> {
    let failed =
        |error: arrow::error::ArrowError| RunError::Model(format!("the answer cannot be read: {error}"));
    let mut reader = StreamReader::try_new(answer, None).map_err(failed)?;
    let batch =
        reader.next().ok_or_else(|| RunError::Model("the answer is empty".to_owned()))?.map_err(failed)?;
    slots
        .iter()
        .map(|slot| {
            // A single output has its name from the signature, whatever the model calls it.
            let column = batch
                .column_by_name(&slot.name)
                .map(|column| (column, batch.schema_ref().field_with_name(&slot.name).ok()))
                .or_else(|| {
                    (slots.len() == 1 && batch.num_columns() == 1)
                        .then(|| (batch.column(0), batch.schema_ref().fields().first().map(AsRef::as_ref)))
                });
            let (column, field) = column.ok_or_else(|| {
                let names: Vec<&str> =
                    batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
                RunError::Model(format!("the answer has no `{}`; it has {}", slot.name, names.join(", ")))
            })?;
            tensor(slot, column, field)
        })
        .collect()
}

fn tensor(slot: &Slot, column: &ArrayRef, field: Option<&Field>) -> Result<Tensor, RunError> {
    let rows = column.len();
    let shape = field
        .and_then(|field| field.metadata().get("shape"))
        .and_then(|shape| serde_json::from_str::<Vec<usize>>(shape).ok())
        .unwrap_or_default();
    let (items, shape) = match column.data_type() {
        DataType::FixedSizeList(_, width) => {
            let width = usize::try_from(*width).unwrap_or_default();
            let list = column.as_fixed_size_list();
            let start = list.offset_of_first();
            let row = if shape.iter().product::<usize>() == width { shape } else { vec![width] };
            (list.values().slice(start, rows * width), [vec![rows], row].concat())
        }
        _ => (column.clone(), vec![rows]),
    };
    let values = values(slot, &items)?;
    Ok(Tensor::new(shape, values)?)
}

trait FirstOffset {
    fn offset_of_first(&self) -> usize;
}

impl FirstOffset for FixedSizeListArray {
    fn offset_of_first(&self) -> usize {
        if self.is_empty() { 0 } else { usize::try_from(self.value_offset(0)).unwrap_or_default() }
    }
}

fn values(slot: &Slot, array: &ArrayRef) -> Result<Values, RunError> {
    let as_type = |kind: &DataType| {
        let cast = cast_with_options(array, kind, &CastOptions { safe: false, ..CastOptions::default() });
        cast.map_err(|error| {
            RunError::Model(format!(
                "output `{}` is {} and was declared {}: {error}",
                slot.name,
                array.data_type(),
                slot.element
            ))
        })
    };
    let missing = |array: &ArrayRef| {
        if array.null_count() > 0 {
            let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or_default();
            return Err(RunError::Model(format!("output `{}` has no value in row {row}", slot.name)));
        }
        Ok(())
    };
    macro_rules! numbers {
        ($kind:ident, $arrow:ty, $type:expr) => {{
            let array = as_type(&$type)?;
            missing(&array)?;
            Values::$kind(array.as_primitive::<$arrow>().values().to_vec())
        }};
    }
    Ok(match slot.element {
        ElementType::Bool => {
            let array = as_type(&DataType::Boolean)?;
            missing(&array)?;
            Values::Bool(array.as_boolean().values().iter().collect())
        }
        ElementType::U8 => numbers!(U8, UInt8Type, DataType::UInt8),
        ElementType::U16 => numbers!(U16, UInt16Type, DataType::UInt16),
        ElementType::U32 => numbers!(U32, UInt32Type, DataType::UInt32),
        ElementType::U64 => numbers!(U64, UInt64Type, DataType::UInt64),
        ElementType::I8 => numbers!(I8, Int8Type, DataType::Int8),
        ElementType::I16 => numbers!(I16, Int16Type, DataType::Int16),
        ElementType::I32 => numbers!(I32, Int32Type, DataType::Int32),
        ElementType::I64 => numbers!(I64, Int64Type, DataType::Int64),
        ElementType::F16 => numbers!(F16, Float16Type, DataType::Float16),
        ElementType::Bf16 | ElementType::F32 => numbers!(F32, Float32Type, DataType::Float32),
        ElementType::F64 => numbers!(F64, Float64Type, DataType::Float64),
        ElementType::Bytes => {
            if matches!(array.data_type(), DataType::Binary) {
                missing(array)?;
                let bytes = array.as_binary::<i32>();
                return Ok(Values::Bytes(
                    bytes.iter().map(|value| value.unwrap_or_default().to_vec()).collect(),
                ));
            }
            let array = as_type(&DataType::Utf8)?;
            missing(&array)?;
            let texts = array.as_string::<i32>();
            Values::Bytes(texts.iter().map(|text| text.unwrap_or_default().as_bytes().to_vec()).collect())
        }
    })
}
