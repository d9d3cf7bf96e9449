//! Parquet files of the log in the store: writing them, and reading them by pieces or as a whole.

use std::fs::File;
use std::io::{self, Cursor, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use tidemill_core::Digest;
use tidemill_data::{Written, write_parquet_often_read};
use tidemill_store::Store;

use super::LogError;
use super::columns::fixed;

/// Writes rows as a Parquet file whose bytes depend on the rows alone.
pub(crate) fn write_table(
    schema: &SchemaRef,
    rows: impl Iterator<Item = Result<RecordBatch, LogError>>,
    path: &Path,
) -> Result<Written, LogError> {
    let mut failed = None;
    let rows = rows.map(|batch| {
        batch.map_err(|error| {
            let text = tidemill_data::Error::Unusable(error.to_string());
            failed = Some(error);
            text
        })
    });
    let written = write_parquet_often_read(schema, rows, path);
    // What stopped the rows says more than what stopped the writing.
    match failed {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

/// The content of a file of the store.
pub(crate) enum Content {
    /// In memory.
    Small(Bytes),
    /// As a file of this process, which goes away with it.
    Large(File),
}

/// Up to so many bytes a file is read into memory. Hours of little traffic have a few kilobytes each, and a copy on the disk would cost
/// more than all else about them; of one hour as many as it has parts are open at once.
const SMALL: u64 = 1 << 20;

/// The content of a file of the store of `bytes` bytes, from its beginning.
pub(crate) fn content(store: &Store, digest: Digest, bytes: u64) -> Result<Content, LogError> {
    let failed = |error| LogError::Io {
        action: "copy records into a temporary file, from",
        path: PathBuf::from(digest.to_string()),
        source: error,
    };
    if bytes <= SMALL {
        return Ok(Content::Small(store.get(&digest)?.into()));
    }
    let mut file = tempfile::tempfile().map_err(failed)?;
    io::copy(&mut store.read(&digest)?, &mut file).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(Content::Large(file))
}

/// The names of the requests in a part, a column for each batch; nothing else of it is decoded.
pub(crate) fn requests(store: &Store, digest: Digest, bytes: u64) -> Result<Vec<StringArray>, LogError> {
    fn names<R: ChunkReader + 'static>(file: R) -> Result<Vec<StringArray>, LogError> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), [fixed::REQUEST_ID]);
        let rows = builder.with_projection(mask).with_batch_size(8192).build()?;
        rows.map(|batch| {
            let batch = batch?;
            let column = batch.column_by_name(fixed::REQUEST_ID).and_then(|column| column.as_string_opt());
            let missing = || LogError::Damaged(format!("records have no column `{}`", fixed::REQUEST_ID));
            column.cloned().ok_or_else(missing)
        })
        .collect()
    }
    match content(store, digest, bytes)? {
        Content::Small(bytes) => names(bytes),
        Content::Large(file) => names(file),
    }
}

/// A file of the store that is read by pieces: for its footer.
pub(crate) struct StoredFile<'a> {
    store: &'a Store,
    digest: Digest,
    bytes: u64,
}

impl<'a> StoredFile<'a> {
    pub(crate) const fn new(store: &'a Store, digest: Digest, bytes: u64) -> Self {
        Self { store, digest, bytes }
    }
}

impl Length for StoredFile<'_> {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for StoredFile<'_> {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let length = usize::try_from(self.bytes.saturating_sub(start)).unwrap_or(usize::MAX);
        Ok(Cursor::new(self.get_bytes(start, length)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let failed = |error| ParquetError::External(Box::new(error));
        let range = start..start.saturating_add(length as u64);
        let mut bytes = Vec::new();
        for chunk in self.store.chunks(&self.digest, range).map_err(failed)? {
            bytes.extend_from_slice(chunk.map_err(failed)?.as_slice());
        }
        if bytes.len() == length {
            Ok(bytes.into())
        } else {
            Err(ParquetError::EOF(format!("{length} bytes at {start} of {}", self.digest)))
        }
    }
}
