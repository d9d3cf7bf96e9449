//! Records to record batches of known types. Finding the types is in `infer`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch, RecordBatchOptions,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, SchemaRef};

use super::nulls::Nulls;
use super::record::Records;
use crate::read::scalar;
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
    row: u64,
    ended: bool,
}

impl CsvBatches {
    pub(super) fn new(
        records: Records,
        schema: SchemaRef,
        places: Vec<usize>,
        names: Vec<String>,
        nulls: Arc<Nulls>,
    ) -> Self {
        Self { records, schema, places, names, nulls, row: 0, ended: false }
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
            for (builder, &place) in builders.iter_mut().zip(&self.places) {
                let text = record.text(&path, place)?;
                bytes += text.len();
                let taken = if self.nulls.contains(text) { builder.push_null() } else { builder.push(text) };
                taken.map_err(|expected| Error::WrongType {
                    path: path.clone(),
                    row: self.row,
                    line: record.line,
                    column: self.names[place].clone(),
                    value: shorten(text.to_owned()),
                    expected,
                    inferred_from: None,
                })?;
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns = builders.into_iter().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map(Some)
            .map_err(Error::arrow("build a batch"))
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
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

impl Builder {
    fn new(kind: &DataType) -> Self {
        match kind {
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Int64 => Self::Int(Int64Builder::new()),
            DataType::Float64 => Self::Float(Float64Builder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(_, zone) => {
                Self::Time(TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone()))
            }
            _ => Self::Text(StringBuilder::new()),
        }
    }

    fn push_null(&mut self) -> Result<(), ColumnType> {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
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
            Self::Time(builder) => {
                builder.append_value(scalar::parse_moment(text).ok_or(ColumnType::Timestamp)?);
            }
            Self::Text(builder) => builder.append_value(text),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// A whole number of a declared column, where leading zeros are allowed.
fn whole(text: &str) -> Option<i64> {
    scalar::parse_int(text).or_else(|| text.trim_ascii().parse().ok())
}
