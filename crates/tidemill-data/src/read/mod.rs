//! Opening files of the known formats and reading them as one stream of batches. No statistics, no SQL.

mod arrow_file;
mod csv;
mod decimal;
mod guard;
mod json;
mod parquet_file;
pub(crate) mod scalar;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::{BATCH_ROWS, Error, Format, Table};

/// One file of a table, opened and checked.
pub(crate) enum Source {
    /// Rows in memory.
    Memory(Vec<RecordBatch>),
    /// A Parquet file.
    Parquet(PathBuf),
    /// An Arrow IPC file.
    Arrow(PathBuf),
    /// Delimited text.
    Csv(csv::CsvFile),
    /// JSON lines.
    Json(json::JsonFile),
}

/// What a reader of one file yields.
pub(crate) type Reader = Box<dyn Iterator<Item = Result<RecordBatch, Error>> + Send>;

impl Source {
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Memory(_) => None,
            Self::Parquet(path) | Self::Arrow(path) => Some(path),
            Self::Csv(file) => Some(&file.path),
            Self::Json(file) => Some(&file.path),
        }
    }

    /// Whether the file is Parquet.
    #[cfg(feature = "sql")]
    pub(crate) fn is_parquet(&self) -> bool {
        matches!(self, Self::Parquet(_))
    }

    /// The rows, with at least the columns of `wanted` that the file has, by name.
    fn read(&self, wanted: &SchemaRef) -> Result<Reader, Error> {
        match self {
            Self::Memory(batches) => {
                let pieces: Vec<RecordBatch> = batches
                    .iter()
                    .flat_map(|batch| {
                        let rows = batch.num_rows();
                        let starts = (0..rows).step_by(BATCH_ROWS);
                        starts.map(move |start| batch.slice(start, BATCH_ROWS.min(rows - start)))
                    })
                    .collect();
                Ok(Box::new(pieces.into_iter().map(Ok)))
            }
            Self::Parquet(path) => parquet_file::read(path, wanted),
            Self::Arrow(path) => arrow_file::read(path, wanted),
            Self::Csv(file) => csv::read(file, wanted),
            Self::Json(file) => json::read(file, wanted),
        }
    }
}

/// The rows of a table; see [`Table::batches`].
pub struct Batches {
    schema: SchemaRef,
    sources: Arc<[Source]>,
    next: usize,
    reader: Option<Reader>,
    failed: bool,
    /// Keeps temporary files of the table alive.
    _table: Table,
}

impl Batches {
    pub(crate) fn new(table: &Table, columns: Option<&[usize]>) -> Result<Self, Error> {
        let schema = match columns {
            None => table.schema().clone(),
            Some(columns) => {
                Arc::new(table.schema().project(columns).map_err(Error::arrow("select columns"))?)
            }
        };
        let sources = table.sources();
        Ok(Self { schema, sources, next: 0, reader: None, failed: false, _table: table.clone() })
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn step(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            if let Some(reader) = &mut self.reader {
                match reader.next() {
                    Some(batch) => {
                        let batch = batch?;
                        if batch.num_rows() > 0 {
                            return conform(&batch, &self.schema).map(Some);
                        }
                        continue;
                    }
                    None => self.reader = None,
                }
            }
            let Some(source) = self.sources.get(self.next) else { return Ok(None) };
            self.next += 1;
            self.reader = Some(source.read(&self.schema)?);
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.step().transpose();
        self.failed = matches!(next, None | Some(Err(_)));
        next
    }
}

/// `batch` with exactly the columns of `schema`, by name; absent ones are null.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let rows = batch.num_rows();
    let column = |field: &Arc<Field>| -> Result<ArrayRef, Error> {
        let Some(array) = batch.column_by_name(field.name()) else {
            return Ok(new_null_array(field.data_type(), rows));
        };
        if array.data_type() == field.data_type() {
            return Ok(array.clone());
        }
        cast(array, field.data_type()).map_err(Error::arrow("read a column"))
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, Error>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(Error::arrow("read a batch"))
}

/// Opens files as one table.
pub(crate) fn open(paths: &[PathBuf], format: Option<&Format>) -> Result<Table, Error> {
    let files = expand(paths, format)?;
    let mut formats = Vec::with_capacity(files.len());
    for file in &files {
        let known = format.cloned().or_else(|| Format::of_name(file));
        formats.push(known.ok_or_else(|| Error::UnknownFormat(file.clone()))?);
    }
    let first = formats.first().ok_or_else(|| Error::NoFiles(paths.first().cloned()))?.clone();
    if let Some(other) = formats.iter().position(|format| format.name() != first.name()) {
        return Err(Error::Unusable(format!(
            "a table cannot mix formats: `{}` is {} and `{}` is {}",
            files[0].display(),
            first.name(),
            files[other].display(),
            formats[other].name()
        )));
    }
    match first {
        Format::Parquet => binary(files, parquet_file::inspect, Source::Parquet),
        Format::Arrow => binary(files, arrow_file::inspect, Source::Arrow),
        Format::Csv(options) => csv::open(files, &options),
        Format::JsonLines(options) => json::open(files, &options),
    }
}

/// A file of delimited text as a table for one pass: with the types of its first rows, and with an error at the end where all rows have others. `None`
/// for anything else, and where the first rows do not tell.
pub(crate) fn guess(path: &Path, format: Option<&Format>) -> Option<Table> {
    match format.cloned().or_else(|| Format::of_name(path)) {
        Some(Format::Csv(options)) if path.is_file() => csv::guess(path.to_owned(), &options).ok(),
        _ => None,
    }
}

/// A table of batches in memory.
pub(crate) fn memory(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Table, Error> {
    let schema = plain(&schema);
    for batch in &batches {
        let differences = differences(&schema, &plain(batch.schema_ref()));
        if !differences.is_empty() {
            return Err(Error::Unusable(format!("a batch has other columns: {}", differences.join("; "))));
        }
    }
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    Ok(Table::new(schema, rows, vec![Source::Memory(batches)]))
}

/// Folders replaced by the files in them.
fn expand(paths: &[PathBuf], format: Option<&Format>) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for path in paths {
        let metadata = fs_err::metadata(path).map_err(Error::io("read", path))?;
        if !metadata.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in fs_err::read_dir(path).map_err(Error::io("list", path))? {
            let file = entry.map_err(Error::io("list", path))?.path();
            let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            let known = Format::of_name(&file);
            let fits =
                known.as_ref().is_some_and(|known| format.is_none_or(|format| format.name() == known.name()));
            if fits && !hidden && file.is_file() {
                inside.push(file);
            }
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

/// Opens files that carry their schema and row count.
fn binary(
    files: Vec<PathBuf>,
    inspect: fn(&Path) -> Result<(SchemaRef, u64), Error>,
    source: fn(PathBuf) -> Source,
) -> Result<Table, Error> {
    let mut schema: Option<SchemaRef> = None;
    let mut rows = 0;
    for file in &files {
        let (found, count) = inspect(file)?;
        let found = plain(&found);
        rows += count;
        schema = Some(match schema {
            None => found,
            Some(schema) => {
                let differences = differences(&schema, &found);
                if !differences.is_empty() {
                    return Err(Error::SchemaMismatch {
                        path: file.clone(),
                        first: files[0].clone(),
                        differences,
                    });
                }
                settle_nulls(&schema, &found)
            }
        });
    }
    let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
    if let Some(name) = duplicate(schema.fields().iter().map(|field| field.name().as_str())) {
        return Err(Error::Corrupt {
            path: files[0].clone(),
            format: "table",
            why: format!("two columns are called `{name}`"),
        });
    }
    Ok(Table::new(schema, rows, files.into_iter().map(source).collect()))
}

/// The first name that occurs twice.
pub(crate) fn duplicate<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

/// The schema without metadata, every column nullable.
fn plain(schema: &Schema) -> SchemaRef {
    let fields =
        schema.fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// One sentence for each way in which `other` has not the columns of `first`.
fn differences(first: &Schema, other: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    for field in first.fields() {
        match other.field_with_name(field.name()) {
            Err(_) => found.push(format!("`{}` is missing", field.name())),
            Ok(same) if fits(field.data_type(), same.data_type()) => {}
            Ok(same) => {
                found.push(format!(
                    "`{}` is {} instead of {}",
                    field.name(),
                    same.data_type(),
                    field.data_type()
                ));
            }
        }
    }
    let extra = other.fields().iter().filter(|field| first.index_of(field.name()).is_err());
    found.extend(extra.map(|field| format!("`{}` is extra", field.name())));
    found
}

fn fits(a: &DataType, b: &DataType) -> bool {
    a.equals_datatype(b) || *a == DataType::Null || *b == DataType::Null
}

/// `schema`, with the types of `found` where so far only nulls were seen.
fn settle_nulls(schema: &SchemaRef, found: &Schema) -> SchemaRef {
    if schema.fields().iter().all(|field| *field.data_type() != DataType::Null) {
        return schema.clone();
    }
    let settle = |field: &Arc<Field>| match found.field_with_name(field.name()) {
        Ok(typed) if *field.data_type() == DataType::Null => Arc::new(typed.clone()),
        _ => field.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(settle).collect::<Vec<_>>()))
}
