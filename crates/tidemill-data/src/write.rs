//! Parquet files whose bytes depend on the rows alone. Reading is elsewhere.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow::compute::{BatchCoalescer, cast};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;
use tempfile::NamedTempFile;

use crate::Error;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes `batches` to the Parquet file `path`, replacing it as a whole or not at all: a temporary file in the
/// same folder is written, synced and renamed, and the folder is synced.
///
/// The same rows and schema give the same bytes, however the rows are cut into batches. Dictionaries and views
/// are written as the plain types that they hold; metadata of the schema is left out.
///
/// # Errors
/// What an item of `batches` holds, a batch of another schema, and what the operating system refuses. No
/// temporary file is left.
pub fn write_parquet_deterministic<I>(schema: &SchemaRef, batches: I, path: &Path) -> Result<Written, Error>
where
    I: IntoIterator<Item = Result<RecordBatch, Error>>,
{
    write(ParquetWriter::create(schema, path)?, batches)
}

/// As [`write_parquet_deterministic`], for files that are mostly small and read again and again: one of fewer than 16,384 rows is packed by
/// Snappy. A reader of Zstandard makes tables of 95 KB for each column, which costs more than to unpack so little.
///
/// # Errors
/// As there.
pub fn write_parquet_often_read<I>(schema: &SchemaRef, batches: I, path: &Path) -> Result<Written, Error>
where
    I: IntoIterator<Item = Result<RecordBatch, Error>>,
{
    let (mut batches, mut first, mut rows) = (batches.into_iter(), Vec::new(), 0);
    while rows < PIECE_ROWS
        && let Some(batch) = batches.next().transpose()?
    {
        rows += batch.num_rows();
        first.push(Ok(batch));
    }
    let compression = if rows < PIECE_ROWS { Compression::SNAPPY } else { dense() };
    write(ParquetWriter::packed(schema, path, compression)?, first.into_iter().chain(batches))
}

fn write(
    mut writer: ParquetWriter,
    batches: impl IntoIterator<Item = Result<RecordBatch, Error>>,
) -> Result<Written, Error> {
    for batch in batches {
        writer.push(&batch?)?;
    }
    writer.finish()
}

/// Rows handed to the encoder at once, always, except for the last: pages end only where such a piece does.
const PIECE_ROWS: usize = 16_384;
/// Rows of a row group.
const GROUP_ROWS: usize = 8 * PIECE_ROWS;
/// Encoded bytes after which a row group ends early, so that wide rows do not fill the memory.
const GROUP_BYTES: usize = 128 << 20;

type Sink = BufWriter<NamedTempFile>;

/// A Parquet file in the making. Dropped before [`ParquetWriter::finish`], it leaves nothing behind.
pub(crate) struct ParquetWriter {
    path: PathBuf,
    schema: SchemaRef,
    pieces: BatchCoalescer,
    file: SerializedFileWriter<Sink>,
    factory: ArrowRowGroupWriterFactory,
    group: Option<Group>,
    groups: usize,
    rows: u64,
}

/// A row group in the making: a writer for every leaf column.
struct Group {
    writers: Vec<ArrowColumnWriter>,
    rows: usize,
}

impl ParquetWriter {
    /// Begins the file at `path`.
    pub(crate) fn create(schema: &Schema, path: &Path) -> Result<Self, Error> {
        Self::packed(schema, path, dense())
    }

    fn packed(schema: &Schema, path: &Path, compression: Compression) -> Result<Self, Error> {
        let schema =
            Arc::new(Schema::new(schema.fields().iter().map(|f| plain_field(f)).collect::<Vec<_>>()));
        let sink = BufWriter::with_capacity(1 << 20, temporary(path)?);
        let writer = ArrowWriter::try_new(sink, schema.clone(), Some(properties(compression)));
        let (file, factory) =
            writer.and_then(ArrowWriter::into_serialized_writer).map_err(|error| failed(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            pieces: BatchCoalescer::new(schema.clone(), PIECE_ROWS),
            schema,
            file,
            factory,
            group: None,
            groups: 0,
            rows: 0,
        })
    }

    /// The columns as written.
    #[cfg(feature = "sql")]
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds rows.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let arrow = Error::arrow("write a batch");
        if batch.num_columns() != self.schema.fields().len() {
            return Err(Error::Unusable(format!(
                "a batch of {} columns cannot be written to a file of {}",
                batch.num_columns(),
                self.schema.fields().len()
            )));
        }
        let plain = |(array, field): (&ArrayRef, &Arc<Field>)| {
            if array.data_type() == field.data_type() {
                Ok(array.clone())
            } else {
                cast(array, field.data_type())
            }
        };
        let columns =
            batch.columns().iter().zip(self.schema.fields()).map(plain).collect::<Result<Vec<_>, _>>();
        // A struct array checks lengths; a schema without columns has no rows to keep.
        let piece = columns.and_then(|columns| {
            let rows = batch.num_rows();
            let array = StructArray::try_new_with_length(self.schema.fields().clone(), columns, None, rows)?;
            self.pieces.push_batch(RecordBatch::from(array).with_schema(self.schema.clone())?)
        });
        piece.map_err(arrow)?;
        self.encode()
    }

    /// Ends the file and puts it in its place.
    pub(crate) fn finish(mut self) -> Result<Written, Error> {
        self.pieces.finish_buffered_batch().map_err(Error::arrow("write a batch"))?;
        self.encode()?;
        self.close_group()?;
        let path = self.path;
        let sink = self.file.into_inner().map_err(|error| failed(&path, error))?;
        let file = sink.into_inner().map_err(|error| Error::Io {
            action: "write",
            path: path.clone(),
            source: error.into_error(),
        })?;
        let write = || -> io::Result<u64> {
            file.as_file().sync_all()?;
            Ok(file.as_file().metadata()?.len())
        };
        let bytes = write().map_err(Error::io("write", &path))?;
        file.persist(&path).map_err(|error| Error::Io {
            action: "write",
            path: path.clone(),
            source: error.error,
        })?;
        sync_folder(&path)?;
        Ok(Written { rows: self.rows, bytes })
    }

    fn encode(&mut self) -> Result<(), Error> {
        while let Some(piece) = self.pieces.next_completed_batch() {
            self.rows += piece.num_rows() as u64;
            let group = match &mut self.group {
                Some(group) => group,
                empty => {
                    let writers = self.factory.create_column_writers(self.groups);
                    let writers = writers.map_err(|error| failed(&self.path, error))?;
                    empty.insert(Group { writers, rows: 0 })
                }
            };
            group.write(&piece).map_err(|error| failed(&self.path, error))?;
            if group.rows >= GROUP_ROWS || group.encoded_bytes() >= GROUP_BYTES {
                self.close_group()?;
            }
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), Error> {
        let Some(group) = self.group.take() else { return Ok(()) };
        self.groups += 1;
        let write = |file: &mut SerializedFileWriter<Sink>| -> Result<(), ParquetError> {
            let chunks: Vec<ArrowColumnChunk> =
                group.writers.into_par_iter().map(ArrowColumnWriter::close).collect::<Result<_, _>>()?;
            let mut row_group = file.next_row_group()?;
            for chunk in chunks {
                chunk.append_to_row_group(&mut row_group)?;
            }
            row_group.close()?;
            Ok(())
        };
        write(&mut self.file).map_err(|error| failed(&self.path, error))
    }
}

impl Group {
    /// Encodes a piece, columns side by side: what a column's bytes are depends on no other column.
    fn write(&mut self, piece: &RecordBatch) -> Result<(), ParquetError> {
        let mut leaves: Vec<ArrowLeafColumn> = Vec::with_capacity(self.writers.len());
        for (field, array) in piece.schema_ref().fields().iter().zip(piece.columns()) {
            leaves.append(&mut compute_leaves(field, array)?);
        }
        self.rows += piece.num_rows();
        self.writers.par_iter_mut().zip(leaves).try_for_each(|(writer, leaf)| writer.write(&leaf))
    }

    fn encoded_bytes(&self) -> usize {
        self.writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }
}

/// Everything is fixed here; what a library chooses by itself may change with its version.
fn properties(compression: Compression) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(compression)
        .set_created_by("tidemill version 1 (build 1)".to_owned())
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_size_limit(1 << 20)
        .set_data_page_row_count_limit(PIECE_ROWS)
        .set_dictionary_page_size_limit(1 << 20)
        .set_write_batch_size(1024)
        .build()
}

/// What makes files smallest in little time.
fn dense() -> Compression {
    Compression::ZSTD(ZstdLevel::default())
}

/// A field that reads back the same everywhere: no dictionaries, no views, no metadata.
fn plain_field(field: &Field) -> Field {
    Field::new(field.name(), plain_type(field.data_type()), field.is_nullable())
}

fn plain_type(data_type: &DataType) -> DataType {
    let inner = |field: &Arc<Field>| Arc::new(plain_field(field));
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) | DataType::ListView(item) => DataType::List(inner(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(inner(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        other => other.clone(),
    }
}

/// A file beside `path` that goes away unless it is renamed.
fn temporary(path: &Path) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tidemill-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: the process's mask takes away what it must.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder(path)).map_err(Error::io("write", path))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = folder(path);
    if cfg!(unix) {
        fs_err::File::open(folder).and_then(|open| open.sync_all()).map_err(Error::io("sync", folder))?;
    }
    Ok(())
}

fn failed(path: &Path, error: ParquetError) -> Error {
    let ParquetError::External(source) = error else {
        return Error::Unusable(format!("cannot write `{}`: {error}", path.display()));
    };
    match source.downcast::<io::Error>() {
        Ok(source) => Error::Io { action: "write", path: path.to_owned(), source: *source },
        Err(source) => Error::Unusable(format!("cannot write `{}`: {source}", path.display())),
    }
}
