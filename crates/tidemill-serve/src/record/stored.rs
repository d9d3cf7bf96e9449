//! Parquet files of the log in the store: writing them, and reading them by pieces or as a whole.

use std::fs::File;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use tidemill_core::Digest;
use tidemill_data::{Written, write_parquet_deterministic};
use tidemill_store::Store;

use super::LogError;

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
    let written = write_parquet_deterministic(schema, rows, path);
    // What stopped the rows says more than what stopped the writing.
    match failed {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

/// The content of a file of the store as a file of this process, which goes away with it.
pub(crate) fn local_copy(store: &Store, digest: Digest, _bytes: u64) -> Result<File, LogError> {
    let failed = |error| LogError::Io {
        action: "copy records into a temporary file, from",
        path: PathBuf::from(digest.to_string()),
        source: error,
    };
    let mut file = tempfile::tempfile().map_err(failed)?;
    io::copy(&mut store.read(&digest)?, &mut file).map_err(failed)?;
    Ok(file)
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
