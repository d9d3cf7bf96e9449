//! Records to record batches of known types. Finding the types is in `infer`.
//!
//! Lines that come as a block are read column by column: what is to be done with a value is then decided once for all values of a column.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder,
    PrimitiveBuilder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, SchemaRef};

use super::CsvFile;
use super::infer::decided;
use super::nulls::Nulls;
use super::record::{Block, Record, Records};
use crate::read::scalar::{self, Class};
use crate::value::shorten;
use crate::{BATCH_ROWS, ColumnType, Error};

/// Text of a batch after which it ends early, so that memory stays bounded with long fields.
const BATCH_BYTES: usize = 16 << 20;

/// The batches of one file.
pub(super) struct CsvBatches {
    records: Records,
    columns: Columns,
    row: u64,
    ended: bool,
}

/// What is wanted of every record.
struct Columns {
    path: PathBuf,
    schema: SchemaRef,
    /// Index in the record of every column of `schema`.
    places: Vec<usize>,
    /// All columns of the file.
    names: Vec<String>,
    nulls: Arc<Nulls>,
    /// Whether the types are a guess.
    is_guess: bool,
    /// How many values of each class every column of texts has, where the types are a guess.
    counts: Vec<Counts>,
}

type Counts = [u64; Class::COUNT];

impl CsvBatches {
    pub(super) fn new(records: Records, schema: SchemaRef, places: Vec<usize>, file: &CsvFile) -> Self {
        let columns = Columns {
            path: records.path.clone(),
            schema,
            counts: vec![[0; Class::COUNT]; places.len()],
            places,
            names: file.columns.clone(),
            nulls: file.nulls.clone(),
            is_guess: file.is_guess,
        };
        Self { records, columns, row: 0, ended: false }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        let (records, columns) = (&mut self.records, &mut self.columns);
        let mut builders: Vec<Builder> =
            columns.schema.fields().iter().map(|field| Builder::new(field.data_type())).collect();
        let (width, mut rows, mut bytes) = (columns.names.len(), 0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES {
            let (taken, size) =
                if let Some(block) = records.block(width, BATCH_ROWS - rows, BATCH_BYTES - bytes)? {
                    columns.take_block(&mut builders, self.row, &block)?;
                    (block.len(), block.size)
                } else if let Some(record) = records.next()? {
                    columns.take(&mut builders, self.row, &record)?;
                    (1, record.size())
                } else {
                    break;
                };
            rows += taken;
            bytes += size;
            self.row += taken as u64;
        }
        if rows == 0 {
            columns.check_guess()?;
            return Ok(None);
        }
        let arrays = builders.into_iter().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(columns.schema.clone(), arrays, &options)
            .map(Some)
            .map_err(Error::arrow("build a batch"))
    }
}

impl Columns {
    /// Adds a record, before which there are so many rows.
    fn take(&mut self, builders: &mut [Builder], before: u64, record: &Record<'_>) -> Result<(), Error> {
        record.check_len(&self.path, self.names.len())?;
        for (at, builder) in builders.iter_mut().enumerate() {
            let text = record.text(&self.path, self.places[at])?;
            let counts = self.is_guess.then_some(&mut self.counts[at]);
            builder
                .extend(std::iter::once(text), &self.nulls, counts)
                .map_err(|wrong| self.wrong_type(at, before + 1, record.line, text, wrong.expected))?;
        }
        Ok(())
    }

    /// Adds all lines of a block, before which there are so many rows.
    fn take_block(&mut self, builders: &mut [Builder], before: u64, block: &Block<'_>) -> Result<(), Error> {
        let mut first: Option<(usize, Wrong)> = None;
        for (at, builder) in builders.iter_mut().enumerate() {
            let counts = self.is_guess.then_some(&mut self.counts[at]);
            if let Err(wrong) = builder.extend(block.column(self.places[at]), &self.nulls, counts)
                && first.as_ref().is_none_or(|(_, first)| wrong.at < first.at)
            {
                first = Some((at, wrong));
            }
        }
        let Some((at, wrong)) = first else { return Ok(()) };
        let text = block.column(self.places[at]).nth(wrong.at).unwrap_or_default();
        Err(self.wrong_type(at, before + wrong.at as u64 + 1, block.line(wrong.at), text, wrong.expected))
    }

    fn wrong_type(&self, at: usize, row: u64, line: u64, text: &str, expected: ColumnType) -> Error {
        Error::WrongType {
            path: self.path.clone(),
            row,
            line,
            column: self.names[self.places[at]].clone(),
            value: shorten(text.to_owned()),
            expected,
            inferred_from: None,
        }
    }

    /// An error where a column that was guessed to hold texts has another type over all rows.
    fn check_guess(&self) -> Result<(), Error> {
        let texts = self.counts.iter().zip(self.schema.fields());
        for (counts, field) in texts.filter(|(_, field)| *field.data_type() == DataType::Utf8) {
            if self.is_guess && decided(*counts) != Some(DataType::Utf8) {
                let why = format!("the first rows do not tell the type of `{}`", field.name());
                return Err(Error::Unusable(why));
            }
        }
        Ok(())
    }
}

impl Iterator for CsvBatches {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.batch().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// A value of another type than its column has.
struct Wrong {
    /// Its place among those that were to be added.
    at: usize,
    expected: ColumnType,
}

/// Adds the values that texts are by `parse`.
#[inline]
fn extend<'a, T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    texts: impl Iterator<Item = &'a str>,
    nulls: &Nulls,
    expected: ColumnType,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> Result<(), Wrong> {
    for (at, text) in texts.enumerate() {
        if nulls.contains(text) {
            builder.append_null();
        } else {
            builder.append_value(parse(text).ok_or(Wrong { at, expected })?);
        }
    }
    Ok(())
}

enum Builder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Date(Date32Builder),
    /// And whether the texts have a zone.
    Time(TimestampMicrosecondBuilder, bool),
    Text(StringBuilder),
}

impl Builder {
    fn new(kind: &DataType) -> Self {
        match kind {
            DataType::Boolean => Self::Bool(BooleanBuilder::with_capacity(BATCH_ROWS)),
            DataType::Int64 => Self::Int(Int64Builder::with_capacity(BATCH_ROWS)),
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(BATCH_ROWS)),
            DataType::Date32 => Self::Date(Date32Builder::with_capacity(BATCH_ROWS)),
            DataType::Timestamp(_, zone) => {
                let builder = TimestampMicrosecondBuilder::with_capacity(BATCH_ROWS);
                Self::Time(builder.with_timezone_opt(zone.clone()), zone.is_some())
            }
            _ => Self::Text(StringBuilder::with_capacity(BATCH_ROWS, 8 * BATCH_ROWS)),
        }
    }

    /// Adds the values of texts. With `counts`, a value must also be of a class from which the column's type would be found; texts may be of
    /// any, which are counted.
    fn extend<'a>(
        &mut self,
        texts: impl Iterator<Item = &'a str>,
        nulls: &Nulls,
        counts: Option<&mut Counts>,
    ) -> Result<(), Wrong> {
        match (self, counts) {
            (Self::Bool(builder), _) => {
                for (at, text) in texts.enumerate() {
                    if nulls.contains(text) {
                        builder.append_null();
                    } else {
                        let value = scalar::parse_bool(text);
                        builder.append_value(value.ok_or(Wrong { at, expected: ColumnType::Bool })?);
                    }
                }
                Ok(())
            }
            (Self::Int(builder), None) => extend(builder, texts, nulls, ColumnType::Int, whole),
            (Self::Int(builder), Some(_)) => {
                extend(builder, texts, nulls, ColumnType::Int, scalar::parse_int)
            }
            (Self::Float(builder), None) => {
                extend(builder, texts, nulls, ColumnType::Float, scalar::parse_float)
            }
            (Self::Float(builder), Some(_)) => {
                extend(builder, texts, nulls, ColumnType::Float, scalar::parse_number)
            }
            (Self::Date(builder), _) => extend(builder, texts, nulls, ColumnType::Date, scalar::parse_date),
            (Self::Time(builder, _), None) => {
                extend(builder, texts, nulls, ColumnType::Timestamp, scalar::parse_moment)
            }
            (Self::Time(builder, has_zone), Some(_)) => {
                extend(builder, texts, nulls, ColumnType::Timestamp, |text| match scalar::parse_time(text) {
                    Some((at, zoned)) => (zoned == *has_zone).then_some(at),
                    None => scalar::parse_moment(text).filter(|_| !*has_zone),
                })
            }
            (Self::Text(builder), mut counts) => {
                for text in texts {
                    if nulls.contains(text) {
                        builder.append_null();
                        continue;
                    }
                    if let Some(counts) = &mut counts {
                        counts[scalar::classify(text) as usize] += 1;
                    }
                    builder.append_value(text);
                }
                Ok(())
            }
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder, _) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// A whole number of a declared column, where leading zeros are allowed.
fn whole(text: &str) -> Option<i64> {
    scalar::parse_int(text).or_else(|| text.trim_ascii().parse().ok())
}
