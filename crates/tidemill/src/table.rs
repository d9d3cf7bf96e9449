//! From the paths of a dataset or input to a table that can be read.

use std::path::{Path, PathBuf};

use tidemill_core::declare::{DataFormat, Step, Training};
use tidemill_data::{CsvOptions, Format, JsonOptions, Table};

use crate::failure::Failure;

/// Where the rows of an input are.
pub(crate) enum SourcePaths {
    /// Files and folders that exist, in order.
    Local(Vec<PathBuf>),
    /// Object-store addresses.
    Remote(Vec<String>),
}

/// Whether a path is an address in an object store.
pub(crate) fn is_url(path: &str) -> bool {
    path.contains("://")
}

/// Files, folders and patterns relative to `root` as existing paths, each pattern's matches sorted.
pub(crate) fn expand(root: &Path, paths: &[String]) -> Result<SourcePaths, Failure> {
    let remote = paths.iter().filter(|path| is_url(path)).count();
    if remote == paths.len() && remote > 0 {
        return Ok(SourcePaths::Remote(paths.to_vec()));
    }
    if remote > 0 {
        return Err(Failure::new("an input names both local paths and object-store addresses")
            .hint("make two inputs of it, and `union all` them"));
    }
    let mut found = Vec::new();
    for path in paths {
        let matches = tidemill_pipeline::matching(root, path)
            .map_err(|error| Failure::new(format!("cannot look for `{path}`: {error}")))?;
        if matches.is_empty() {
            return Err(Failure::new(format!("nothing matches `{path}`"))
                .hint("the path is relative to the folder of tidemill.yaml"));
        }
        found.extend(matches.into_iter().map(|found| root.join(found)));
    }
    Ok(SourcePaths::Local(found))
}

/// Opens local paths or patterns as one table.
pub(crate) fn open(root: &Path, paths: &[String], format: Option<DataFormat>) -> anyhow::Result<Table> {
    match expand(root, paths)? {
        SourcePaths::Local(found) => Ok(Table::open(&found, format.map(reader))?),
        SourcePaths::Remote(urls) => Err(Failure::new(format!("`{}` is not a local path", urls[0]))
            .hint("read it in a `sql` step, and use that step's output")
            .into()),
    }
}

/// The table that a training learns from: the step's first input, or the path that it names.
pub(crate) fn learned_from(root: &Path, step: &Step, training: &Training) -> anyhow::Result<Table> {
    match step.inputs.first() {
        Some(input) => open(root, &input.paths, input.format),
        None => open(root, std::slice::from_ref(&training.features), None),
    }
}

/// The reader of a declared format.
pub(crate) fn reader(format: DataFormat) -> Format {
    match format {
        DataFormat::Parquet => Format::Parquet,
        DataFormat::Csv => Format::Csv(CsvOptions::default()),
        DataFormat::Tsv => Format::Csv(CsvOptions { delimiter: Some('\t'), ..CsvOptions::default() }),
        DataFormat::Jsonl => Format::JsonLines(JsonOptions::default()),
        DataFormat::Arrow => Format::Arrow,
    }
}
