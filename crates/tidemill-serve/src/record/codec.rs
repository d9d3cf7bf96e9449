//! The bytes of one record in a segment.
//!
//! What many records have in common (model, version, arm, names and types of columns) is a layout, written once and
//! named by its number. A record is read as a [`View`] that borrows from the bytes, so that turning a segment into
//! columns copies each value once.

#[cfg(test)]
mod owned;

use std::sync::Arc;

use tidemill_core::Timestamp;
use tidemill_runtime::{ElementType, Tensor, Values, each_values, is_hollow};

use super::bytes::{Cursor, put_bytes, put_maybe_text, put_number, put_text};
use crate::{Named, Record, Status};

#[cfg(test)]
pub(crate) use owned::owned;

/// The kinds of payloads.
const LAYOUT: u8 = 1;
const RECORD: u8 = 2;

/// Dimensions that are kept as such; the values of tensors with more are kept as lists of lists up to here, the rest
/// flat.
pub(crate) const MAX_RANK: usize = 6;

/// Rows of a record with its inputs and outputs; of one with more there is one row without them, since each takes its part of every fixed
/// column.
pub(crate) const MOST_ROWS: usize = 1 << 20;

/// What stands among the warnings of a record that has more.
const LEFT_OUT: &str = "inputs and outputs are left out of the log: there are too many rows";

/// What many records have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) model: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) release: Arc<str>,
    pub(crate) arm: Option<Arc<str>>,
    pub(crate) is_shadow: bool,
    pub(crate) headers: Vec<Arc<str>>,
    pub(crate) inputs: Vec<Column>,
    pub(crate) outputs: Vec<Column>,
}

/// A tensor's name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) element: ElementType,
    /// Dimensions, the rows included.
    pub(crate) rank: usize,
}

/// A record as it stands in the bytes.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) layout: usize,
    pub(crate) time: Timestamp,
    pub(crate) id: &'a str,
    pub(crate) latency_us: u64,
    /// 0 answered, 1 fell back, 2 failed.
    pub(crate) status: u8,
    pub(crate) failure: Option<(&'a str, &'a str)>,
    pub(crate) entity: Option<&'a str>,
    pub(crate) warnings: Vec<&'a str>,
    pub(crate) headers: Vec<&'a str>,
    /// Inputs, then outputs, in the layout's order.
    pub(crate) tensors: Vec<Raw<'a>>,
}

/// A tensor as it stands in the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    /// The first `rank` are used.
    pub(crate) dims: [usize; MAX_RANK],
    pub(crate) rank: usize,
    /// The values, little-endian; byte strings each with its length before it.
    pub(crate) values: &'a [u8],
}

impl Raw<'_> {
    /// Whether its rows, or the lists within them, are more than a table should have.
    fn is_excessive(&self) -> bool {
        let shape = self.dims.get(..self.rank).unwrap_or_default();
        self.rows() > MOST_ROWS || is_hollow(shape)
    }

    /// The same column without a row, of a nesting that goes with any other.
    const fn without_rows(&self) -> Self {
        let mut dims = [1; MAX_RANK];
        dims[0] = 0;
        Self { dims, rank: if self.rank == 0 { 1 } else { self.rank }, values: &[] }
    }

    pub(crate) fn rows(&self) -> usize {
        if self.rank == 0 { 1 } else { self.dims[0] }
    }

    pub(crate) fn row_dims(&self) -> &[usize] {
        self.dims.get(1..self.rank).unwrap_or_default()
    }

    pub(crate) fn row_len(&self) -> usize {
        self.row_dims().iter().product()
    }
}

impl View<'_> {
    /// Rows of the request: of its longest tensor, and at least one.
    pub(crate) fn rows(&self) -> usize {
        self.tensors.iter().map(Raw::rows).max().unwrap_or(1).max(1)
    }
}

impl Layout {
    pub(crate) fn of(record: &Record) -> Self {
        let columns = |tensors: &[Named]| {
            let column = |named: &Named| Column {
                name: named.name.clone(),
                element: named.tensor.element(),
                rank: rank(&named.tensor),
            };
            tensors.iter().map(column).collect()
        };
        Self {
            model: record.model.clone(),
            version: record.version.clone(),
            release: record.release.clone(),
            arm: record.arm.clone(),
            is_shadow: record.is_shadow,
            headers: record.headers.iter().map(|(name, _)| name.clone()).collect(),
            inputs: columns(&record.inputs),
            outputs: columns(&record.outputs),
        }
    }

    /// Whether a record has this layout. Allocates nothing.
    pub(crate) fn fits(&self, record: &Record) -> bool {
        let same = |a: &Arc<str>, b: &Arc<str>| Arc::ptr_eq(a, b) || a == b;
        let arm = match (&self.arm, &record.arm) {
            (Some(a), Some(b)) => same(a, b),
            (None, None) => true,
            _ => false,
        };
        let columns = |columns: &[Column], tensors: &[Named]| {
            columns.len() == tensors.len()
                && columns.iter().zip(tensors).all(|(column, named)| {
                    column.element == named.tensor.element()
                        && column.rank == rank(&named.tensor)
                        && column.name == named.name
                })
        };
        arm && self.is_shadow == record.is_shadow
            && same(&self.version, &record.version)
            && same(&self.release, &record.release)
            && same(&self.model, &record.model)
            && self.headers.len() == record.headers.len()
            && self.headers.iter().zip(&record.headers).all(|(a, (b, _))| same(a, b))
            && columns(&self.inputs, &record.inputs)
            && columns(&self.outputs, &record.outputs)
    }

    /// Appends the layout as a payload.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(LAYOUT);
        for text in [&self.model, &self.version, &self.release] {
            put_text(out, text);
        }
        put_maybe_text(out, self.arm.as_deref());
        out.push(u8::from(self.is_shadow));
        put_number(out, self.headers.len() as u64);
        self.headers.iter().for_each(|name| put_text(out, name));
        for columns in [&self.inputs, &self.outputs] {
            put_number(out, columns.len() as u64);
            for column in columns {
                put_text(out, &column.name);
                out.push(element_code(column.element));
                out.push(column.rank as u8);
            }
        }
    }

    fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut text = || cursor.text().map(Arc::from);
        let (model, version, release) = (text()?, text()?, text()?);
        let arm = cursor.maybe_text()?.map(Arc::from);
        let is_shadow = cursor.byte()? != 0;
        let headers = (0..cursor.count()?).map(|_| cursor.text().map(Arc::from)).collect::<Option<_>>()?;
        let mut columns = || -> Option<Vec<Column>> {
            (0..cursor.count()?)
                .map(|_| {
                    let name = cursor.text()?.to_owned();
                    let element = element_of(cursor.byte()?)?;
                    let rank = usize::from(cursor.byte()?);
                    (rank <= MAX_RANK).then_some(Column { name, element, rank })
                })
                .collect()
        };
        let (inputs, outputs) = (columns()?, columns()?);
        Some(Self { model, version, release, arm, is_shadow, headers, inputs, outputs })
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.inputs.iter().chain(&self.outputs)
    }
}

/// Appends a record that has layout number `layout`.
pub(crate) fn encode(record: &Record, layout: usize, out: &mut Vec<u8>) {
    out.push(RECORD);
    put_number(out, layout as u64);
    out.extend_from_slice(&record.time.millis().to_le_bytes());
    put_text(out, &record.id);
    put_number(out, u64::try_from(record.latency.as_micros()).unwrap_or(u64::MAX));
    let (code, failure) = match &record.status {
        Status::Answered => (0, None),
        Status::FellBack(failure) => (1, Some(failure)),
        Status::Failed(failure) => (2, Some(failure)),
    };
    out.push(code);
    if let Some(failure) = failure {
        put_text(out, failure.kind);
        put_text(out, &failure.message);
    }
    put_maybe_text(out, record.entity.as_deref());
    put_number(out, record.warnings.len() as u64);
    record.warnings.iter().for_each(|warning| put_text(out, warning));
    record.headers.iter().for_each(|(_, value)| put_text(out, value));
    for named in record.inputs.iter().chain(&record.outputs) {
        put_tensor(&named.tensor, out);
    }
}

fn put_tensor(tensor: &Tensor, out: &mut Vec<u8>) {
    let shape = tensor.shape();
    if shape.len() <= MAX_RANK {
        shape.iter().for_each(|size| put_number(out, *size as u64));
    } else {
        let (kept, flat) = shape.split_at(MAX_RANK - 1);
        kept.iter().for_each(|size| put_number(out, *size as u64));
        put_number(out, flat.iter().product::<usize>() as u64);
    }
    macro_rules! little_endian {
        ($($kind:ident),*) => {
            match tensor.values() {
                $(Values::$kind(values) => values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes())),)*
                Values::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
                Values::U8(values) => out.extend_from_slice(values),
                Values::Bytes(values) => values.iter().for_each(|value| put_bytes(out, value)),
            }
        };
    }
    little_endian!(U16, U32, U64, I8, I16, I32, I64, F16, Bf16, F32, F64);
}

fn rank(tensor: &Tensor) -> usize {
    tensor.shape().len().min(MAX_RANK)
}

/// What a payload is.
#[derive(Debug)]
pub(crate) enum Payload<'a> {
    Layout(Layout),
    Record(View<'a>),
}

/// Reads a payload; `None` where it is malformed or names a layout that is not in `layouts`.
pub(crate) fn decode<'a>(payload: &'a [u8], layouts: &[Layout]) -> Option<Payload<'a>> {
    let mut cursor = Cursor::new(payload);
    let decoded = match cursor.byte()? {
        LAYOUT => Payload::Layout(Layout::decode(&mut cursor)?),
        RECORD => Payload::Record(view(&mut cursor, layouts)?),
        _ => return None,
    };
    cursor.is_empty().then_some(decoded)
}

fn view<'a>(cursor: &mut Cursor<'a>, layouts: &[Layout]) -> Option<View<'a>> {
    let number = usize::try_from(cursor.number()?).ok()?;
    let layout = layouts.get(number)?;
    let time = Timestamp::from_millis(cursor.i64()?);
    let id = cursor.text()?;
    let latency_us = cursor.number()?;
    let status = cursor.byte()?;
    let failure = match status {
        0 => None,
        1 | 2 => Some((cursor.text()?, cursor.text()?)),
        _ => return None,
    };
    let entity = cursor.maybe_text()?;
    let mut warnings: Vec<&str> = (0..cursor.count()?).map(|_| cursor.text()).collect::<Option<_>>()?;
    let headers = layout.headers.iter().map(|_| cursor.text()).collect::<Option<_>>()?;
    let mut tensors: Vec<Raw<'_>> =
        layout.columns().map(|column| raw(cursor, column)).collect::<Option<_>>()?;
    // An older version wrote such records, and what reads them must not take memory for rows that hold nothing.
    if tensors.iter().any(Raw::is_excessive) {
        tensors.iter_mut().for_each(|tensor| *tensor = tensor.without_rows());
        warnings.push(LEFT_OUT);
    }
    Some(View { layout: number, time, id, latency_us, status, failure, entity, warnings, headers, tensors })
}

fn raw<'a>(cursor: &mut Cursor<'a>, column: &Column) -> Option<Raw<'a>> {
    let mut dims = [0; MAX_RANK];
    let mut count = 1_usize;
    for dim in dims.iter_mut().take(column.rank) {
        *dim = usize::try_from(cursor.number()?).ok()?;
        count = count.checked_mul(*dim)?;
    }
    let values = match column.element.size() {
        Some(size) => cursor.take(count.checked_mul(size)?)?,
        None => {
            let mut ahead = *cursor;
            let before = ahead.len();
            // Each has at least the byte of its length.
            if count > before {
                return None;
            }
            for _ in 0..count {
                ahead.bytes()?;
            }
            cursor.take(before - ahead.len())?
        }
    };
    Some(Raw { dims, rank: column.rank, values })
}

/// The numbers of element types on disk. Append only.
const ELEMENTS: [ElementType; 14] = [
    ElementType::Bool,
    ElementType::U8,
    ElementType::U16,
    ElementType::U32,
    ElementType::U64,
    ElementType::I8,
    ElementType::I16,
    ElementType::I32,
    ElementType::I64,
    ElementType::F16,
    ElementType::Bf16,
    ElementType::F32,
    ElementType::F64,
    ElementType::Bytes,
];

fn element_code(element: ElementType) -> u8 {
    ELEMENTS.iter().position(|known| *known == element).unwrap_or_default() as u8
}

fn element_of(code: u8) -> Option<ElementType> {
    ELEMENTS.get(usize::from(code)).copied()
}

/// Leaves inputs and outputs out of a record that has too many rows for the log; says so in its warnings.
pub(crate) fn bound(record: &mut Record) {
    let rows = record.inputs.iter().chain(&record.outputs).map(|named| named.tensor.rows()).max();
    if rows.is_some_and(|rows| rows > MOST_ROWS) {
        (record.inputs, record.outputs) = (Vec::new(), Vec::new());
        record.warnings.push(LEFT_OUT.to_owned());
    }
}

/// Bytes that a record occupies in memory, near enough for a bound.
pub(crate) fn memory_bytes(record: &Record) -> usize {
    let tensor = |named: &Named| {
        let values = match named.tensor.values() {
            Values::Bytes(strings) => strings.iter().map(|text| text.len() + size_of::<Vec<u8>>()).sum(),
            other => each_values!(other, values => size_of_val(values.as_slice())),
        };
        values + named.name.len() + size_of::<Named>()
    };
    let tensors: usize = record.inputs.iter().chain(&record.outputs).map(tensor).sum();
    let texts: usize = record.warnings.iter().map(String::len).sum::<usize>()
        + record.headers.iter().map(|(_, value)| value.len()).sum::<usize>();
    size_of::<Record>() + record.id.len() + tensors + texts
}
