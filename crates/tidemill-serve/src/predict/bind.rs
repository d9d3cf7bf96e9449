//! From the columns of a table to the tensors that a model takes.

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Schema, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use half::{bf16, f16};
use tidemill_runtime::{Dim, ElementType, Slot, Tensor, Values};

use super::PredictError;
use crate::Named;

/// What a model takes of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takes<'a> {
    /// Its inputs.
    pub(super) slots: &'a [Slot],
    /// Of each whether empty text stands for a missing value; `false` for those beyond its end.
    pub(super) nullable: &'a [bool],
    /// Whether optional inputs may be absent.
    pub(super) fills_gaps: bool,
}

/// Which columns each input of a model is made of.
#[derive(Debug)]
pub(super) struct Binding {
    inputs: Vec<Input>,
}

#[derive(Debug)]
struct Input {
    name: String,
    element: ElementType,
    is_nullable: bool,
    /// Whether the tensor has a second dimension.
    is_matrix: bool,
    columns: Vec<String>,
}

impl Binding {
    /// Finds the columns. An input of one value in a row is the column of its name. An input of many values in a row is a
    /// list column of its name, or else `features` side by side, or else all columns of the table where their number fits.
    pub(super) fn new(
        takes: Takes<'_>,
        schema: &Schema,
        features: Option<&[String]>,
    ) -> Result<Self, PredictError> {
        let slots = takes.slots;
        let mut inputs = Vec::with_capacity(slots.len());
        for (at, slot) in slots.iter().enumerate() {
            let width = match slot.shape.as_slice() {
                [] | [_] => Some(1),
                [_, Dim::Fixed(width)] => Some(*width),
                [_, Dim::Any(_)] => None,
                _ => {
                    return Err(PredictError::Columns(format!(
                        "input `{}` has {} dimensions; a table gives at most two",
                        slot.name,
                        slot.shape.len()
                    )));
                }
            };
            let is_matrix = slot.shape.len() == 2;
            let named = schema.field_with_name(&slot.name).ok();
            let columns = if named.is_some_and(|field| width == Some(1) || is_list(field.data_type())) {
                vec![slot.name.clone()]
            } else if is_matrix && slots.len() == 1 && width != Some(1) {
                side_by_side(slot, width, schema, features)?
            } else if slot.optional {
                continue;
            } else {
                return Err(missing(&slot.name, schema));
            };
            let is_nullable = takes.nullable.get(at).copied().unwrap_or(false);
            inputs.push(Input {
                name: slot.name.clone(),
                element: slot.element,
                is_nullable,
                is_matrix,
                columns,
            });
        }
        if inputs.len() < slots.len() && !inputs.is_empty() && !takes.fills_gaps {
            // The tensors of a call are told by their order.
            return Err(PredictError::Columns(format!(
                "the table lacks columns of optional inputs ({}); give all of them",
                slots.iter().map(|slot| slot.name.as_str()).collect::<Vec<_>>().join(", ")
            )));
        }
        Ok(Self { inputs })
    }

    /// The columns that are read, each once.
    pub(super) fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        for column in self.inputs.iter().flat_map(|input| &input.columns) {
            if !columns.contains(&column.as_str()) {
                columns.push(column);
            }
        }
        columns
    }

    /// The tensors of a batch whose first row is number `first` of the table, from 1.
    pub(super) fn tensors(&self, batch: &RecordBatch, first: u64) -> Result<Vec<Named>, PredictError> {
        let named =
            |input: &Input| Ok(Named { name: input.name.clone(), tensor: input.tensor(batch, first)? });
        self.inputs.iter().map(named).collect()
    }
}

impl Input {
    fn tensor(&self, batch: &RecordBatch, first: u64) -> Result<Tensor, PredictError> {
        let rows = batch.num_rows();
        let columns = self
            .columns
            .iter()
            .map(|name| {
                let array = batch.column_by_name(name).ok_or_else(|| missing(name, batch.schema_ref()))?;
                Ok(Column { name, array, first, is_nullable: self.is_nullable })
            })
            .collect::<Result<Vec<_>, PredictError>>()?;
        if let [column] = columns.as_slice()
            && is_list(column.array.data_type())
        {
            return column.lists(self.element);
        }
        let values = values(self.element, &columns, rows)?;
        let shape = if self.is_matrix { vec![rows, columns.len()] } else { vec![rows] };
        Tensor::new(shape, values).map_err(|error| PredictError::Columns(error.to_string()))
    }
}

fn is_list(kind: &DataType) -> bool {
    matches!(kind, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

fn side_by_side(
    slot: &Slot,
    width: Option<usize>,
    schema: &Schema,
    features: Option<&[String]>,
) -> Result<Vec<String>, PredictError> {
    let columns: Vec<String> = match features {
        Some(features) => {
            for feature in features {
                schema.field_with_name(feature).map_err(|_| missing(feature, schema))?;
            }
            features.to_vec()
        }
        None => schema.fields().iter().map(|field| field.name().clone()).collect(),
    };
    match width {
        Some(width) if width != columns.len() => Err(PredictError::Columns(format!(
            "input `{}` takes {width} columns side by side and {} {}; name them in the model's order with `--columns`",
            slot.name,
            columns.len(),
            if features.is_some() { "were named" } else { "are in the table" },
        ))),
        _ => Ok(columns),
    }
}

fn missing(column: &str, schema: &Schema) -> PredictError {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let close = tidemill_core::did_you_mean(column, names.iter().copied());
    let hint = match close {
        Some(hint) => format!("; {hint}"),
        None => format!("; it has {}", names.iter().take(20).copied().collect::<Vec<_>>().join(", ")),
    };
    PredictError::Columns(format!("the table has no column `{column}`, which the model takes{hint}"))
}

/// A column of a batch.
struct Column<'a> {
    name: &'a str,
    array: &'a ArrayRef,
    /// The number of its first row, from 1.
    first: u64,
    /// Whether empty text stands for a missing value.
    is_nullable: bool,
}

impl Column<'_> {
    fn fail(&self, row: usize, why: impl Into<String>) -> PredictError {
        PredictError::Value { row: self.first + row as u64, column: self.name.to_owned(), why: why.into() }
    }

    /// The values as another type; an error names the first that does not fit.
    fn cast(&self, to: &DataType) -> Result<ArrayRef, PredictError> {
        let from = self.array.data_type();
        if from == to {
            return Ok(self.array.clone());
        }
        // Values that do not fit become null, and are told from those that were.
        let cast = cast_with_options(self.array, to, &CastOptions { safe: true, ..CastOptions::default() })
            .map_err(|_| {
            PredictError::Columns(format!("column `{}` is {from}, and the model takes {to}", self.name))
        })?;
        if cast.null_count() > self.array.null_count() {
            let lost = (0..cast.len()).find(|row| cast.is_null(*row) && self.array.is_valid(*row));
            let row = lost.unwrap_or_default();
            let shown = arrow::util::display::array_value_to_string(self.array, row).unwrap_or_default();
            return Err(self.fail(row, format!("`{}` is no {to}", shortened(&shown))));
        }
        Ok(cast)
    }

    fn no_nulls(&self, array: &dyn Array) -> Result<(), PredictError> {
        match (0..array.len()).find(|row| array.is_null(*row)).filter(|_| array.null_count() > 0) {
            None => Ok(()),
            Some(row) => {
                Err(self.fail(row, "the value is missing, and the model's type has no missing values"))
            }
        }
    }

    fn numbers<T: ArrowPrimitiveType>(
        &self,
        null: Option<T::Native>,
    ) -> Result<Vec<T::Native>, PredictError> {
        let cast = self.cast(&T::DATA_TYPE)?;
        let array = cast.as_primitive::<T>();
        match null {
            _ if array.null_count() == 0 => Ok(array.values().to_vec()),
            Some(null) => Ok(array.iter().map(|value| value.unwrap_or(null)).collect()),
            None => self.no_nulls(array).map(|()| Vec::new()),
        }
    }

    fn flags(&self) -> Result<Vec<bool>, PredictError> {
        let cast = self.cast(&DataType::Boolean)?;
        let array = cast.as_boolean();
        self.no_nulls(array)?;
        Ok(array.values().iter().collect())
    }

    fn texts(&self) -> Result<Vec<Vec<u8>>, PredictError> {
        let cast = self.cast(&DataType::Utf8)?;
        let array = cast.as_string::<i32>();
        if !self.is_nullable {
            self.no_nulls(array)?;
        }
        Ok(array.iter().map(|text| text.unwrap_or_default().as_bytes().to_vec()).collect())
    }

    /// A tensor of as many columns as each list has items.
    fn lists(&self, element: ElementType) -> Result<Tensor, PredictError> {
        let rows = self.array.len();
        let (items, width) = match self.array.data_type() {
            DataType::FixedSizeList(_, width) => {
                let list = self.array.as_fixed_size_list();
                self.no_nulls(list)?;
                let width = usize::try_from(*width).unwrap_or_default();
                let start = list.value_offset(0) as usize;
                (list.values().slice(start, rows * width), width)
            }
            DataType::List(_) => {
                let list = self.array.as_list::<i32>();
                self.equal_lengths(list, &list.offsets().lengths().collect::<Vec<_>>())?;
                let (start, end) = (list.value_offsets()[0], list.value_offsets()[rows]);
                let width = list.offsets().lengths().next().unwrap_or_default();
                (list.values().slice(start as usize, (end - start) as usize), width)
            }
            _ => {
                let list = self.array.as_list::<i64>();
                self.equal_lengths(list, &list.offsets().lengths().collect::<Vec<_>>())?;
                let (start, end) = (list.value_offsets()[0], list.value_offsets()[rows]);
                let width = list.offsets().lengths().next().unwrap_or_default();
                (list.values().slice(start as usize, (end - start) as usize), width)
            }
        };
        let column = Column { name: self.name, array: &items, first: 1, is_nullable: self.is_nullable };
        let values = values(element, &[column], rows * width).map_err(|error| match error {
            PredictError::Value { row, why, .. } => {
                self.fail((row as usize).saturating_sub(1) / width.max(1), why)
            }
            other => other,
        })?;
        Tensor::new(vec![rows, width], values).map_err(|error| PredictError::Columns(error.to_string()))
    }

    fn equal_lengths(&self, list: &dyn Array, lengths: &[usize]) -> Result<(), PredictError> {
        self.no_nulls(list)?;
        let first = lengths.first().copied().unwrap_or_default();
        match lengths.iter().enumerate().find(|(_, length)| **length != first) {
            None => Ok(()),
            Some((row, length)) => Err(self
                .fail(row, format!("the list has {length} items and those of the rows before have {first}"))),
        }
    }
}

/// The values of columns side by side, row by row.
fn values(element: ElementType, columns: &[Column<'_>], rows: usize) -> Result<Values, PredictError> {
    macro_rules! numbers {
        ($kind:ident, $arrow:ty, $null:expr) => {{
            let columns = columns
                .iter()
                .map(|column| column.numbers::<$arrow>($null))
                .collect::<Result<Vec<_>, _>>()?;
            Values::$kind(interleave(columns, rows))
        }};
    }
    Ok(match element {
        ElementType::Bool => {
            let columns = columns.iter().map(Column::flags).collect::<Result<Vec<_>, _>>()?;
            Values::Bool(interleave(columns, rows))
        }
        ElementType::U8 => numbers!(U8, UInt8Type, None),
        ElementType::U16 => numbers!(U16, UInt16Type, None),
        ElementType::U32 => numbers!(U32, UInt32Type, None),
        ElementType::U64 => numbers!(U64, UInt64Type, None),
        ElementType::I8 => numbers!(I8, Int8Type, None),
        ElementType::I16 => numbers!(I16, Int16Type, None),
        ElementType::I32 => numbers!(I32, Int32Type, None),
        ElementType::I64 => numbers!(I64, Int64Type, None),
        ElementType::F32 => numbers!(F32, Float32Type, Some(f32::NAN)),
        ElementType::F64 => numbers!(F64, Float64Type, Some(f64::NAN)),
        ElementType::F16 | ElementType::Bf16 => {
            let columns = columns
                .iter()
                .map(|column| column.numbers::<Float32Type>(Some(f32::NAN)))
                .collect::<Result<Vec<_>, _>>()?;
            let wide = interleave(columns, rows);
            if element == ElementType::F16 {
                Values::F16(wide.into_iter().map(f16::from_f32).collect())
            } else {
                Values::Bf16(wide.into_iter().map(bf16::from_f32).collect())
            }
        }
        ElementType::Bytes => {
            let columns = columns.iter().map(Column::texts).collect::<Result<Vec<_>, _>>()?;
            Values::Bytes(interleave(columns, rows))
        }
    })
}

fn interleave<T: Clone>(mut columns: Vec<Vec<T>>, rows: usize) -> Vec<T> {
    if columns.len() == 1 {
        return columns.pop().unwrap_or_default();
    }
    let mut values = Vec::with_capacity(rows * columns.len());
    // Some rows of each column at a time, so that what is read stays in the cache.
    for row in 0..rows {
        values.extend(columns.iter().filter_map(|column| column.get(row)).cloned());
    }
    values
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
