//! Records to record batches of known types. Finding the types is in `infer`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch, RecordBatchOptions,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, SchemaRef};

use super::CsvFile;
use super::infer::decided;
use super::nulls::Nulls;
use super::record::Records;
use crate::read::scalar::{self, Class};
use crate::value::shorten;
use crate::{BATCH_ROWS, ColumnType, Error};

/// Text of a batch after which it ends early, so that memory stays bounded with long fields.
const BATCH_BYTES: usize = 16 << 20;

/// The batches of one file.
pub(super) struct CsvBatches {
    records: Records,
    schema: SchemaRef,
    /// Index in the record of every column of `schema`.
    places: Vec<usize>,
    names: Vec<String>,
    nulls: Arc<Nulls>,
    /// Where the types are a guess: how many values of each class every column of texts has.
    guess: Option<Vec<[u64; Class::COUNT]>>,
    /// Whether the columns are all that the file has, in its order.
    is_whole: bool,
    row: u64,
    ended: bool,
}

impl CsvBatches {
    pub(super) fn new(records: Records, schema: SchemaRef, places: Vec<usize>, file: &CsvFile) -> Self {
        let guess = file.is_guess.then(|| vec![[0; Class::COUNT]; places.len()]);
        let (names, nulls) = (file.columns.clone(), file.nulls.clone());
        let is_whole = places.iter().copied().eq(0..names.len());
        Self { records, schema, places, names, nulls, guess, is_whole, row: 0, ended: false }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        let mut builders: Vec<Builder> =
            self.schema.fields().iter().map(|field| Builder::new(field.data_type())).collect();
        let path = self.records.path.clone();
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(record) = self.records.next()? else { break };
            record.check_len(&path, self.names.len())?;
            self.row += 1;
            rows += 1;
            bytes += record.size();
            let mut take = |column: usize, builder: &mut Builder, text: &str| {
                let taken = if self.nulls.contains(text) {
                    builder.push_null()
                } else if let Some(guess) = &mut self.guess {
                    builder.push_guessed(text, &mut guess[column])
                } else {
                    builder.push(text)
                };
                taken.map_err(|expected| (column, expected, shorten(text.to_owned())))
            };
            // Most often all columns are wanted in the order of the file.
            let all = record.all_sound().filter(|_| self.is_whole);
            let taken = if let Some(texts) = all {
                builders
                    .iter_mut()
                    .zip(texts)
                    .enumerate()
                    .try_for_each(|(at, (builder, text))| take(at, builder, text))
            } else {
                let mut taken = Ok(());
                for (at, (builder, &place)) in builders.iter_mut().zip(&self.places).enumerate() {
                    taken = take(at, builder, record.text(&path, place)?);
                    if taken.is_err() {
                        break;
                    }
                }
                taken
            };
            taken.map_err(|(column, expected, value)| Error::WrongType {
                path: path.clone(),
                row: self.row,
                line: record.line,
                column: self.names[self.places[column]].clone(),
                value,
                expected,
                inferred_from: None,
            })?;
        }
        if rows == 0 {
            self.check_guess()?;
            return Ok(None);
        }
        let columns = builders.into_iter().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map(Some)
            .map_err(Error::arrow("build a batch"))
    }

    /// An error where a column that was guessed to hold texts has another type over all rows.
    fn check_guess(&self) -> Result<(), Error> {
        let texts = self.guess.iter().flatten().zip(self.schema.fields());
        for (counts, field) in texts.filter(|(_, field)| *field.data_type() == DataType::Utf8) {
            if decided(*counts) != Some(DataType::Utf8) {
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

    fn push_null(&mut self) -> Result<(), ColumnType> {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder, _) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
        }
        Ok(())
    }

    /// Adds a value; the type it should have had where it has another.
    fn push(&mut self, text: &str) -> Result<(), ColumnType> {
        match self {
            Self::Bool(builder) => builder.append_value(scalar::parse_bool(text).ok_or(ColumnType::Bool)?),
            Self::Int(builder) => builder.append_value(whole(text).ok_or(ColumnType::Int)?),
            Self::Float(builder) => builder.append_value(scalar::parse_float(text).ok_or(ColumnType::Float)?),
            Self::Date(builder) => builder.append_value(scalar::parse_date(text).ok_or(ColumnType::Date)?),
            Self::Time(builder, _) => {
                builder.append_value(scalar::parse_moment(text).ok_or(ColumnType::Timestamp)?);
            }
            Self::Text(builder) => builder.append_value(text),
        }
        Ok(())
    }

    /// As [`Self::push`], for a value that must also be of a class from which the column's type would be found. Texts may be of any: they are counted.
    fn push_guessed(&mut self, text: &str, counts: &mut [u64; Class::COUNT]) -> Result<(), ColumnType> {
        match self {
            Self::Int(builder) => builder.append_value(scalar::parse_int(text).ok_or(ColumnType::Int)?),
            Self::Float(builder) => {
                builder.append_value(scalar::parse_number(text).ok_or(ColumnType::Float)?);
            }
            Self::Time(builder, has_zone) => {
                let at = match scalar::parse_time(text) {
                    Some((at, zoned)) => (zoned == *has_zone).then_some(at),
                    None => scalar::parse_moment(text).filter(|_| !*has_zone),
                };
                builder.append_value(at.ok_or(ColumnType::Timestamp)?);
            }
            Self::Text(builder) => {
                counts[scalar::classify(text) as usize] += 1;
                builder.append_value(text);
            }
            Self::Bool(_) | Self::Date(_) => return self.push(text),
        }
        Ok(())
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
