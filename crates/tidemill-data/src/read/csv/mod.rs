//! Delimited text as a table: one pass over all files finds the types, later passes read batches. Where the rows are wanted once, the types can
//! be guessed from the first rows, and the one pass that reads them proves the guess.

mod build;
mod dialect;
mod infer;
mod nulls;
mod record;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use self::build::CsvBatches;
use self::dialect::Dialect;
use self::infer::Inference;
use self::nulls::Nulls;
use self::record::Records;
use super::{Reader, Source};
use crate::{ColumnType, CsvOptions, Error, Table};

/// Rows that types are guessed from.
const GUESS_ROWS: u64 = 10_000;

/// One file, with what is known of it.
pub(crate) struct CsvFile {
    pub(crate) path: PathBuf,
    dialect: Dialect,
    /// The table's columns in the order of this file.
    columns: Vec<String>,
    nulls: Arc<Nulls>,
    /// Whether the types are those of the first rows: batches then end with an error where all rows tell others.
    is_guess: bool,
}

fn nulls_of(options: &CsvOptions) -> Arc<Nulls> {
    Arc::new(match &options.nulls {
        Some(nulls) => Nulls::new(nulls.iter().map(String::as_str)),
        None => Nulls::new(CsvOptions::DEFAULT_NULLS),
    })
}

/// One file without declared types as a table with the types and the row count of its first rows. Its batches are those of [`open`], or end with
/// an error where the types of all rows are others.
///
/// # Errors
/// Rows that do not tell their types; whatever [`open`] says of the first rows.
pub(super) fn guess(path: PathBuf, options: &CsvOptions) -> Result<Table, Error> {
    let nulls = nulls_of(options);
    let dialect = dialect::find(&path, options, &nulls)?;
    let mut records = Records::open(&path, dialect)?;
    let columns = dialect::columns(&path, &mut records, dialect)?
        .ok_or_else(|| Error::Unusable("an empty file tells no types".to_owned()))?;
    let mut inference = Inference::new(&columns, &options.types)?;
    let is_all = inference.scan(0, &mut records, &columns, &nulls, GUESS_ROWS)?;
    let table = table(inference, vec![CsvFile { path, dialect, columns, nulls, is_guess: !is_all }])?;
    Ok(if is_all { table } else { table.of_unknown_length() })
}

/// Finds dialects and types, and checks every row's length.
pub(super) fn open(paths: Vec<PathBuf>, options: &CsvOptions) -> Result<Table, Error> {
    let nulls = nulls_of(options);
    let mut inference: Option<Inference> = None;
    let mut first: Option<PathBuf> = None;
    let mut files = Vec::new();
    for path in paths {
        let dialect = dialect::find(&path, options, &nulls)?;
        let mut records = Records::open(&path, dialect)?;
        let Some(columns) = dialect::columns(&path, &mut records, dialect)? else {
            // Without a single byte there is nothing to contradict the other files.
            files.push(CsvFile { path, dialect, columns: Vec::new(), nulls: nulls.clone(), is_guess: false });
            continue;
        };
        let inference = match &mut inference {
            Some(inference) => inference,
            None => inference.insert(Inference::new(&columns, &options.types)?),
        };
        match &first {
            None => first = Some(path.clone()),
            Some(first) => inference.same_columns(&path, first, &columns)?,
        }
        inference.scan(files.len(), &mut records, &columns, &nulls, u64::MAX)?;
        files.push(CsvFile { path, dialect, columns, nulls: nulls.clone(), is_guess: false });
    }
    let Some(inference) = inference else {
        let schema = Arc::new(Schema::empty());
        return Ok(Table::new(schema, 0, files.into_iter().map(Source::Csv).collect()));
    };
    table(inference, files)
}

/// A table of what was found.
fn table(inference: Inference, files: Vec<CsvFile>) -> Result<Table, Error> {
    let rows = inference.rows();
    let found: Vec<(String, DataType)> = inference.finish(|file| files[file].path.clone())?;
    let schema =
        Schema::new(found.into_iter().map(|(name, kind)| Field::new(name, kind, true)).collect::<Vec<_>>());
    Ok(Table::new(Arc::new(schema), rows, files.into_iter().map(Source::Csv).collect()))
}

/// The rows, with the columns of `wanted` parsed as its types.
pub(super) fn read(file: &CsvFile, wanted: &SchemaRef) -> Result<Reader, Error> {
    let mut records = Records::open(&file.path, file.dialect)?;
    if dialect::columns(&file.path, &mut records, file.dialect)?.is_none() {
        return Ok(Box::new(std::iter::empty()));
    }
    let places =
        wanted.fields().iter().map(|field| file.columns.iter().position(|name| name == field.name()));
    let places = places.collect::<Option<Vec<usize>>>().ok_or_else(|| Error::Corrupt {
        path: file.path.clone(),
        format: "CSV",
        why: "its columns changed while it was read".to_owned(),
    })?;
    Ok(Box::new(CsvBatches::new(records, wanted.clone(), places, file)))
}

/// The Arrow type of a declared column.
fn declared(kind: ColumnType) -> DataType {
    kind.arrow()
}
