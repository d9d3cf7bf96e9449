//! Records to Arrow: one row for each row of a request. Values are copied once, from the bytes of a segment into
//! their column.

use std::sync::Arc;

use arrow::array::{Array as _, BooleanArray};
use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Builder, Int64Builder, ListArray, ListBuilder, NullBufferBuilder,
    PrimitiveArray, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    SchemaRef, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use half::{bf16, f16};
use tidemill_runtime::ElementType;

use super::LogError;
use super::bytes::Cursor;
use super::codec::{Layout, Raw, View};
use super::columns::{Column, Columns, HEADER, INPUT, OUTPUT};

/// Gathers rows with the same columns.
pub(crate) struct BatchBuilder {
    endpoint: Arc<str>,
    columns: Columns,
    schema: SchemaRef,
    fixed: Fixed,
    headers: Vec<StringBuilder>,
    tensors: Vec<TensorBuilder>,
    /// For each layout of the segment: where each of its headers and tensors goes.
    places: Vec<Option<Places>>,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

struct Places {
    /// For each header column: which header of the layout.
    headers: Vec<Option<usize>>,
    /// For each tensor column: which tensor of the layout.
    tensors: Vec<Option<usize>>,
}

struct Fixed {
    time: TimestampMillisecondBuilder,
    id: StringBuilder,
    row: Int32Builder,
    endpoint: StringBuilder,
    model: StringBuilder,
    version: StringBuilder,
    release: StringBuilder,
    arm: StringBuilder,
    shadow: BooleanBuilder,
    latency: Int64Builder,
    status: StringBuilder,
    error_kind: StringBuilder,
    error: StringBuilder,
    warnings: ListBuilder<StringBuilder>,
    entity: StringBuilder,
}

impl BatchBuilder {
    pub(crate) fn new(columns: &Columns, endpoint: Arc<str>) -> Self {
        let text = StringBuilder::new;
        Self {
            endpoint,
            schema: columns.schema(),
            fixed: Fixed {
                time: TimestampMillisecondBuilder::new().with_timezone("UTC"),
                id: text(),
                row: Int32Builder::new(),
                endpoint: text(),
                model: text(),
                version: text(),
                release: text(),
                arm: text(),
                shadow: BooleanBuilder::new(),
                latency: Int64Builder::new(),
                status: text(),
                error_kind: text(),
                error: text(),
                warnings: ListBuilder::new(text()),
                entity: text(),
            },
            headers: columns.headers.iter().map(|_| text()).collect(),
            tensors: columns.inputs.iter().chain(&columns.outputs).map(TensorBuilder::new).collect(),
            columns: columns.clone(),
            places: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Adds the rows of a record.
    pub(crate) fn push(&mut self, view: &View<'_>, layout: &Layout) -> Result<(), LogError> {
        let rows = view.rows();
        self.fixed.push(view, layout, &self.endpoint, rows);
        if self.places.len() <= view.layout {
            self.places.resize_with(view.layout + 1, || None);
        }
        let Some(slot) = self.places.get_mut(view.layout) else { return Ok(()) };
        let places = slot.get_or_insert_with(|| Places::of(&self.columns, layout));
        for (builder, place) in self.headers.iter_mut().zip(&places.headers) {
            let value = place.and_then(|place| view.headers.get(place));
            (0..rows).for_each(|_| builder.append_option(value));
        }
        for (builder, place) in self.tensors.iter_mut().zip(&places.tensors) {
            let raw = place.and_then(|place| view.tensors.get(place));
            builder.push(raw, rows).ok_or_else(|| {
                LogError::Damaged(format!("the record of request `{}` does not hold together", view.id))
            })?;
        }
        self.rows += rows;
        self.bytes += view.tensors.iter().map(|raw| raw.values.len()).sum::<usize>() + 64 * rows;
        Ok(())
    }

    /// The rows so far, which the builder forgets.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, LogError> {
        let mut arrays = self.fixed.finish();
        arrays.extend(self.headers.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef));
        for builder in &mut self.tensors {
            arrays.push(builder.finish()?);
        }
        (self.rows, self.bytes) = (0, 0);
        Ok(RecordBatch::try_new(self.schema.clone(), arrays)?)
    }
}

impl Places {
    fn of(columns: &Columns, layout: &Layout) -> Self {
        let header = |column: &String| {
            let name = column.strip_prefix(HEADER)?;
            layout.headers.iter().position(|header| header.as_ref() == name)
        };
        let input = |column: &Column| {
            let name = column.name.strip_prefix(INPUT)?;
            layout.inputs.iter().position(|input| input.name == name)
        };
        let output = |column: &Column| {
            let name = column.name.strip_prefix(OUTPUT)?;
            Some(layout.inputs.len() + layout.outputs.iter().position(|output| output.name == name)?)
        };
        Self {
            headers: columns.headers.iter().map(header).collect(),
            tensors: columns.inputs.iter().map(input).chain(columns.outputs.iter().map(output)).collect(),
        }
    }
}

impl Fixed {
    fn push(&mut self, view: &View<'_>, layout: &Layout, endpoint: &str, rows: usize) {
        let status = match view.status {
            0 => "answered",
            1 => "fell_back",
            _ => "failed",
        };
        let failure = view.failure.unzip();
        for row in 0..rows {
            self.time.append_value(view.time.millis());
            self.id.append_value(view.id);
            self.row.append_value(i32::try_from(row).unwrap_or(i32::MAX));
            self.endpoint.append_value(endpoint);
            self.model.append_value(&layout.model);
            self.version.append_value(&layout.version);
            self.release.append_value(&layout.release);
            self.arm.append_option(layout.arm.as_deref());
            self.shadow.append_value(layout.is_shadow);
            self.latency.append_value(i64::try_from(view.latency_us).unwrap_or(i64::MAX));
            self.status.append_value(status);
            self.error_kind.append_option(failure.0);
            self.error.append_option(failure.1);
            view.warnings.iter().for_each(|warning| self.warnings.values().append_value(warning));
            self.warnings.append(true);
            self.entity.append_option(view.entity);
        }
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.time.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.endpoint.finish()),
            Arc::new(self.model.finish()),
            Arc::new(self.version.finish()),
            Arc::new(self.release.finish()),
            Arc::new(self.arm.finish()),
            Arc::new(self.shadow.finish()),
            Arc::new(self.latency.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.error_kind.finish()),
            Arc::new(self.error.finish()),
            Arc::new(self.warnings.finish()),
            Arc::new(self.entity.finish()),
        ]
    }
}

/// A column of tensors: a leaf of values under so many levels of lists.
struct TensorBuilder {
    /// From the outermost list; ends of its items among those of the next level.
    levels: Vec<Vec<i32>>,
    /// Rows that have a value, where the column is of lists.
    valid: NullBufferBuilder,
    leaf: Box<dyn Leaf>,
}

impl TensorBuilder {
    fn new(column: &Column) -> Self {
        Self {
            levels: vec![vec![0]; column.depth()],
            valid: NullBufferBuilder::new(1024),
            leaf: leaf(column.element),
        }
    }

    /// Adds `rows` rows: those of the tensor, then nulls. `None` where the bytes are no values of the type, or there are
    /// too many for one batch.
    fn push(&mut self, raw: Option<&Raw<'_>>, rows: usize) -> Option<()> {
        let filled = raw.map_or(0, Raw::rows).min(rows);
        if let Some(raw) = raw.filter(|_| filled > 0) {
            let mut lists = filled;
            for (depth, ends) in self.levels.iter_mut().enumerate() {
                let size = raw.row_dims().get(depth).copied().unwrap_or(1);
                let step = i32::try_from(size).ok()?;
                let mut end = *ends.last()?;
                for _ in 0..lists {
                    end = end.checked_add(step)?;
                    ends.push(end);
                }
                lists = lists.checked_mul(size)?;
            }
            self.leaf.extend(raw.values)?;
        }
        let missing = rows - filled;
        match self.levels.first_mut() {
            Some(ends) => {
                self.valid.append_n_non_nulls(filled);
                self.valid.append_n_nulls(missing);
                let end = *ends.last()?;
                ends.extend(std::iter::repeat_n(end, missing));
            }
            None => self.leaf.nulls(missing),
        }
        Some(())
    }

    fn finish(&mut self) -> Result<ArrayRef, LogError> {
        let mut array = self.leaf.finish();
        let mut valid = Some(std::mem::replace(&mut self.valid, NullBufferBuilder::new(1024)));
        let depth = self.levels.len();
        for (level, ends) in self.levels.iter_mut().enumerate().rev() {
            let ends = std::mem::replace(ends, vec![0]);
            let nulls = if level == 0 { valid.take().and_then(|mut valid| valid.finish()) } else { None };
            let field = Arc::new(Field::new("item", array.data_type().clone(), true));
            let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
            array = Arc::new(ListArray::try_new(field, offsets, array, nulls)?);
        }
        debug_assert!(depth > 0 || valid.is_some());
        Ok(array)
    }
}

/// The values of a column.
trait Leaf: Send {
    /// Adds values; `None` where the bytes are not whole.
    fn extend(&mut self, bytes: &[u8]) -> Option<()>;
    fn nulls(&mut self, count: usize);
    fn finish(&mut self) -> ArrayRef;
}

fn leaf(element: ElementType) -> Box<dyn Leaf> {
    macro_rules! numbers {
        ($type:ty, $native:ty) => {
            Box::new(Numbers::<$type, { size_of::<$native>() }> {
                values: Vec::new(),
                valid: NullBufferBuilder::new(1024),
                read: |bytes| <$native>::from_le_bytes(bytes).into(),
            })
        };
    }
    match element {
        ElementType::Bool => Box::new(Flags(BooleanBuilder::new())),
        ElementType::U8 => numbers!(UInt8Type, u8),
        ElementType::U16 => numbers!(UInt16Type, u16),
        ElementType::U32 => numbers!(UInt32Type, u32),
        ElementType::U64 => numbers!(UInt64Type, u64),
        ElementType::I8 => numbers!(Int8Type, i8),
        ElementType::I16 => numbers!(Int16Type, i16),
        ElementType::I32 => numbers!(Int32Type, i32),
        ElementType::I64 => numbers!(Int64Type, i64),
        ElementType::F16 => numbers!(Float32Type, f16),
        ElementType::Bf16 => numbers!(Float32Type, bf16),
        ElementType::F32 => numbers!(Float32Type, f32),
        ElementType::F64 => numbers!(Float64Type, f64),
        ElementType::Bytes => Box::new(Texts(StringBuilder::new())),
    }
}

struct Numbers<T: ArrowPrimitiveType, const N: usize> {
    values: Vec<T::Native>,
    valid: NullBufferBuilder,
    read: fn([u8; N]) -> T::Native,
}

impl<T: ArrowPrimitiveType, const N: usize> Leaf for Numbers<T, N> {
    fn extend(&mut self, bytes: &[u8]) -> Option<()> {
        let (chunks, rest) = bytes.as_chunks::<N>();
        self.values.extend(chunks.iter().map(|chunk| (self.read)(*chunk)));
        self.valid.append_n_non_nulls(chunks.len());
        rest.is_empty().then_some(())
    }

    fn nulls(&mut self, count: usize) {
        self.values.extend(std::iter::repeat_n(T::Native::default(), count));
        self.valid.append_n_nulls(count);
    }

    fn finish(&mut self) -> ArrayRef {
        let nulls = std::mem::replace(&mut self.valid, NullBufferBuilder::new(1024)).finish();
        Arc::new(PrimitiveArray::<T>::new(std::mem::take(&mut self.values).into(), nulls))
    }
}

struct Flags(BooleanBuilder);

impl Leaf for Flags {
    fn extend(&mut self, bytes: &[u8]) -> Option<()> {
        bytes.iter().for_each(|byte| self.0.append_value(*byte != 0));
        Some(())
    }

    fn nulls(&mut self, count: usize) {
        self.0.append_nulls(count);
    }

    fn finish(&mut self) -> ArrayRef {
        let array: BooleanArray = self.0.finish();
        Arc::new(array)
    }
}

struct Texts(StringBuilder);

impl Leaf for Texts {
    fn extend(&mut self, bytes: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let bytes = cursor.bytes()?;
            match std::str::from_utf8(bytes) {
                Ok(text) => self.0.append_value(text),
                Err(_) => self.0.append_value(escaped(bytes)),
            }
        }
        Some(())
    }

    fn nulls(&mut self, count: usize) {
        (0..count).for_each(|_| self.0.append_null());
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// Bytes that are not UTF-8, with `\xNN` for those that are no text.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}
