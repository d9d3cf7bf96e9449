//! Delimited text as a table: one pass over all files finds the types, later passes read batches.

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

/// One file, with what is known of it.
pub(crate) struct CsvFile {
    pub(crate) path: PathBuf,
    dialect: Dialect,
    /// The table's columns in the order of this file.
    columns: Vec<String>,
    nulls: Arc<Nulls>,
}

/// Finds dialects and types, and checks every row's length.
pub(super) fn open(paths: Vec<PathBuf>, options: &CsvOptions) -> Result<Table, Error> {
    let nulls = Arc::new(match &options.nulls {
        Some(nulls) => Nulls::new(nulls.iter().map(String::as_str)),
        None => Nulls::new(CsvOptions::DEFAULT_NULLS),
    });
    let mut inference: Option<Inference> = None;
    let mut first: Option<PathBuf> = None;
    let mut files = Vec::new();
    for path in paths {
        let dialect = dialect::find(&path, options, &nulls)?;
        let mut records = Records::open(&path, dialect)?;
        let Some(columns) = dialect::columns(&path, &mut records, dialect)? else {
            // Without a single byte there is nothing to contradict the other files.
            files.push(CsvFile { path, dialect, columns: Vec::new(), nulls: nulls.clone() });
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
        inference.scan(files.len(), &mut records, &columns, &nulls)?;
        files.push(CsvFile { path, dialect, columns, nulls: nulls.clone() });
    }
    let Some(inference) = inference else {
        let schema = Arc::new(Schema::empty());
        return Ok(Table::new(schema, 0, files.into_iter().map(Source::Csv).collect()));
    };
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
    Ok(Box::new(CsvBatches::new(records, wanted.clone(), places, file.columns.clone(), file.nulls.clone())))
}

/// The Arrow type of a declared column.
fn declared(kind: ColumnType) -> DataType {
    kind.arrow()
}
