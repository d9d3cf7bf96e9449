//! One set of columns for tables that differ: what an endpoint took and gave may change with its model.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StringArray, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::LogError;
use super::columns::{HEADER, INPUT, OUTPUT, fixed_fields, list_of};

/// The columns of all: the fixed ones, then headers, inputs and outputs. Each of these groups is in the order that all
/// tables agree on, or else by name.
pub(crate) fn unify(schemas: &[SchemaRef]) -> SchemaRef {
    let mut fields = fixed_fields();
    for prefix in [HEADER, INPUT, OUTPUT] {
        let mut lists: Vec<Vec<&Arc<Field>>> = schemas.iter().map(|schema| group(schema, prefix)).collect();
        lists.retain(|list| !list.is_empty());
        let names = |list: &[&Arc<Field>]| list.iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let agreed = lists.first().map(|list| names(list)).unwrap_or_default();
        let mut united: Vec<Field> = Vec::new();
        for field in lists.iter().flatten() {
            match united.iter_mut().find(|held| held.name() == field.name()) {
                None => united.push(Field::new(field.name(), field.data_type().clone(), true)),
                Some(held) => {
                    let kind = common(held.data_type(), field.data_type());
                    *held = Field::new(field.name(), kind, true);
                }
            }
        }
        if prefix == HEADER || lists.iter().any(|list| names(list) != agreed) {
            united.sort_by(|a, b| a.name().cmp(b.name()));
        }
        fields.extend(united);
    }
    Arc::new(Schema::new(fields))
}

/// The fields of one group. Fixed columns come first in each table, so a header, input or output is told by its
/// place as well as by its prefix.
fn group<'a>(schema: &'a Schema, prefix: &str) -> Vec<&'a Arc<Field>> {
    let fixed = fixed_fields().len();
    schema.fields().iter().skip(fixed).filter(|field| field.name().starts_with(prefix)).collect()
}

/// A type that holds both: equal; a list, where the other is its item; the wider number; else text.
fn common(a: &DataType, b: &DataType) -> DataType {
    match (a, b) {
        _ if a == b => a.clone(),
        (DataType::List(item), DataType::List(other)) => list_of(common(item.data_type(), other.data_type())),
        (DataType::List(item), other) | (other, DataType::List(item)) => {
            list_of(common(item.data_type(), other))
        }
        _ if a.is_integer() && b.is_integer() && *a != DataType::UInt64 && *b != DataType::UInt64 => {
            DataType::Int64
        }
        _ if a.is_numeric() && b.is_numeric() => DataType::Float64,
        _ => DataType::Utf8,
    }
}

/// `batch` with exactly the columns of `schema`, by name; absent ones are null.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LogError> {
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?);
    }
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        Some(array) => convert(array, field.data_type()),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, LogError>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, LogError> {
    let from = array.data_type();
    if from == to {
        return Ok(array.clone());
    }
    match (from, to) {
        (DataType::List(_), DataType::List(item)) => {
            let list: &ListArray = arrow::array::AsArray::as_list(array);
            let values = convert(list.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(
                item.clone(),
                list.offsets().clone(),
                values,
                list.nulls().cloned(),
            )?))
        }
        (_, DataType::List(item)) => {
            // A single value is a list of one; a missing one is a missing list.
            let values = convert(array, item.data_type())?;
            let nulls: Option<NullBuffer> = array.nulls().cloned();
            let offsets = OffsetBuffer::from_repeated_length(1, array.len());
            Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, nulls)?))
        }
        (_, DataType::Utf8) if !can_cast_types(from, to) || matches!(from, DataType::List(_)) => {
            as_text(array)
        }
        _ => Ok(cast(array, to)?),
    }
}

fn as_text(array: &ArrayRef) -> Result<ArrayRef, LogError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let text = (0..array.len()).map(|row| array.is_valid(row).then(|| formatter.value(row).to_string()));
    Ok(Arc::new(text.collect::<StringArray>()))
}
