//! The rows of a table as streams that several threads read side by side.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, TryLockError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use tidemill_data::{Batches, Format, Table};

use super::PredictError;

/// Rows that go through the model at once.
pub(super) const BATCH_ROWS: usize = 8192;

/// A table to be scored.
pub(super) struct Input {
    path: PathBuf,
    table: Table,
    parquet: Option<ArrowReaderMetadata>,
}

/// A stretch of the table: a row group of Parquet, or all of another format.
pub(super) struct Stream {
    /// The number of its first row, from 1.
    pub(super) first: u64,
    source: Mutex<Source>,
}

struct Source {
    kind: Kind,
    /// Batches that were read.
    taken: u64,
    rows: u64,
}

enum Kind {
    /// Not opened yet.
    Group(usize),
    Parquet(Box<parquet::arrow::arrow_reader::ParquetRecordBatchReader>),
    Table(Box<Batches>),
    Done,
}

/// A batch, its number in its stream, and the number of its first row.
pub(super) struct Piece {
    pub(super) batch: RecordBatch,
    pub(super) number: u64,
    pub(super) first: u64,
}

/// What a thread finds when it asks a stream for rows.
pub(super) enum Next {
    Piece(Piece),
    /// Another thread reads it at the moment.
    Busy,
    /// It is read to its end: it had so many batches.
    Done(u64),
}

impl Input {
    /// Opens a file. The format follows from its name.
    pub(super) fn open(path: &Path) -> Result<Self, PredictError> {
        let table = Table::open(&[path.to_owned()], None)?;
        let is_parquet = !path.is_dir() && matches!(Format::of_name(path), Some(Format::Parquet));
        let parquet = if is_parquet { Some(metadata(path)?) } else { None };
        Ok(Self { path: path.to_owned(), table, parquet })
    }

    pub(super) fn rows(&self) -> u64 {
        self.table.rows()
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        self.table.schema()
    }

    /// The table in streams, with these columns.
    pub(super) fn streams(&self, columns: &[&str]) -> Result<Vec<Stream>, PredictError> {
        let stream = |first, kind| Stream { first, source: Mutex::new(Source { kind, taken: 0, rows: 0 }) };
        if let Some(metadata) = &self.parquet {
            let mut first = 1;
            let groups = metadata.metadata().row_groups().iter().enumerate();
            return Ok(groups
                .map(|(index, group)| {
                    let stream = stream(first, Kind::Group(index));
                    first += u64::try_from(group.num_rows()).unwrap_or_default();
                    stream
                })
                .collect());
        }
        let projection =
            columns.iter().map(|column| self.table.column(column)).collect::<Result<Vec<_>, _>>()?;
        Ok(vec![stream(1, Kind::Table(Box::new(self.table.batches(Some(&projection))?)))])
    }

    /// The next rows of a stream.
    pub(super) fn next(&self, stream: &Stream, columns: &[&str]) -> Result<Next, PredictError> {
        let mut source = match stream.source.try_lock() {
            Ok(source) => source,
            Err(TryLockError::WouldBlock) => return Ok(Next::Busy),
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
        };
        if let Kind::Group(index) = source.kind {
            source.kind = Kind::Parquet(Box::new(self.open_group(index, columns)?));
        }
        let next = match &mut source.kind {
            Kind::Parquet(reader) => {
                reader.next().transpose().map_err(|error| self.fail(&error.to_string()))?
            }
            Kind::Table(batches) => batches.next().transpose()?,
            Kind::Group(_) | Kind::Done => None,
        };
        let Some(batch) = next else {
            source.kind = Kind::Done;
            return Ok(Next::Done(source.taken));
        };
        let piece = Piece { number: source.taken, first: stream.first + source.rows, batch };
        source.taken += 1;
        source.rows += piece.batch.num_rows() as u64;
        Ok(Next::Piece(piece))
    }

    fn open_group(
        &self,
        index: usize,
        columns: &[&str],
    ) -> Result<parquet::arrow::arrow_reader::ParquetRecordBatchReader, PredictError> {
        let metadata = self.parquet.clone().ok_or_else(|| self.fail("it is no Parquet file"))?;
        let file = open(&self.path)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let roots = columns.iter().filter_map(|column| builder.schema().index_of(column).ok());
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.collect::<Vec<_>>());
        let reader =
            builder.with_row_groups(vec![index]).with_projection(mask).with_batch_size(BATCH_ROWS).build();
        reader.map_err(|error| self.fail(&error.to_string()))
    }

    fn fail(&self, why: &str) -> PredictError {
        PredictError::Parquet { path: self.path.clone(), why: why.to_owned() }
    }
}

/// The columns of `names`, in their order.
pub(super) fn pick(schema: &Schema, names: &[&str]) -> SchemaRef {
    let fields = names.iter().filter_map(|name| schema.field_with_name(name).ok().cloned());
    std::sync::Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn open(path: &Path) -> Result<File, PredictError> {
    Ok(fs_err::File::open(path).map_err(PredictError::io("read", path))?.into_parts().0)
}

fn metadata(path: &Path) -> Result<ArrowReaderMetadata, PredictError> {
    let file = open(path)?;
    ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(|error| PredictError::Parquet { path: path.to_owned(), why: error.to_string() })
}
