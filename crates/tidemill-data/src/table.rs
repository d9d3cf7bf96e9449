//! A table over files of one schema, read as a stream of record batches. It holds no rows itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tempfile::TempPath;

use crate::read::Source;
use crate::{ColumnType, Error, Format, Row, value};

/// Most rows of a batch from [`Table::batches`].
pub const BATCH_ROWS: usize = 8192;

/// A table: files of one schema, in the order given.
///
/// Opening reads footers of Parquet and Arrow files, and reads text files once as a whole to find the types of
/// their columns, in memory that does not grow with the files.
#[derive(Clone)]
pub struct Table {
    schema: SchemaRef,
    /// Not known where the files were not read as a whole.
    rows: Option<u64>,
    sources: Arc<[Source]>,
    /// Temporary copies of remote files, removed with the last clone.
    _copies: Arc<[TempPath]>,
}

impl Table {
    /// Opens `paths` as one table. A folder stands for the files in it (not below) whose names have a known
    /// ending, in order of their names. `format` is taken from each file's name where it is not given.
    ///
    /// # Errors
    /// A file that is missing, unreadable, truncated or not of its format; text with rows of unequal length or
    /// with rare values that do not fit the type of all others in the column; files that differ in columns.
    pub fn open(paths: &[PathBuf], format: Option<Format>) -> Result<Self, Error> {
        crate::read::open(paths, format.as_ref())
    }

    /// A table of batches in memory.
    ///
    /// # Errors
    /// A batch of another schema.
    pub fn from_batches(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self, Error> {
        crate::read::memory(schema, batches)
    }

    pub(crate) fn new(schema: SchemaRef, rows: u64, sources: Vec<Source>) -> Self {
        Self { schema, rows: Some(rows), sources: sources.into(), _copies: Arc::new([]) }
    }

    /// The same table, of which only the first rows were read. It stays within this crate.
    pub(crate) fn of_unknown_length(self) -> Self {
        Self { rows: None, ..self }
    }

    pub(crate) fn known_rows(&self) -> Option<u64> {
        self.rows
    }

    pub(crate) fn sources(&self) -> Arc<[Source]> {
        self.sources.clone()
    }

    /// The same table, which keeps temporary files alive.
    #[cfg(feature = "sql")]
    pub(crate) fn keeping(self, copies: Vec<TempPath>) -> Self {
        Self { _copies: copies.into(), ..self }
    }

    /// Whether all files are Parquet.
    #[cfg(feature = "sql")]
    pub(crate) fn is_parquet(&self) -> bool {
        self.sources.iter().all(Source::is_parquet)
    }

    /// The columns. All are nullable; metadata of files is left out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The exact number of rows.
    pub fn rows(&self) -> u64 {
        self.rows.unwrap_or_default()
    }

    /// The files, in reading order; empty for a table in memory.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().filter_map(Source::path)
    }

    /// The index of the column called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownColumn`], whose hint names the closest one.
    pub fn column(&self, name: &str) -> Result<usize, Error> {
        self.schema.index_of(name).map_err(|_| Error::UnknownColumn {
            column: name.to_owned(),
            table: None,
            known: self.schema.fields().iter().map(|field| field.name().clone()).collect(),
        })
    }

    /// The type of the column at `place`.
    pub(crate) fn kind(&self, place: usize) -> ColumnType {
        ColumnType::of(self.schema.field(place).data_type())
    }

    /// The rows in order, at most [`BATCH_ROWS`] at a time, with the columns whose indices `projection` lists
    /// in that order, or all of them. Each call reads the files anew; memory is bounded by a batch and, for
    /// Parquet, one page of every column.
    ///
    /// # Errors
    /// An index out of range. The iterator ends after its first error.
    pub fn batches(&self, projection: Option<&[usize]>) -> Result<Batches, Error> {
        Batches::new(self, projection)
    }

    /// The rows with these numbers, counted from 0; reads as far as the last of them.
    pub(crate) fn fetch(&self, numbers: impl Iterator<Item = u64>) -> Result<BTreeMap<u64, Row>, Error> {
        let mut wanted: BTreeSet<u64> = numbers.collect();
        let mut rows = BTreeMap::new();
        if wanted.is_empty() {
            return Ok(rows);
        }
        let mut start = 0;
        for batch in self.batches(None)? {
            let batch = batch?;
            let end = start + batch.num_rows() as u64;
            let later = wanted.split_off(&end);
            for number in std::mem::replace(&mut wanted, later) {
                rows.insert(number, value::row(&batch, (number - start) as usize));
            }
            start = end;
            if wanted.is_empty() {
                break;
            }
        }
        Ok(rows)
    }
}

pub use crate::read::Batches;
