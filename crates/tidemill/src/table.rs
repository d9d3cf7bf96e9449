//! From the paths of a dataset or input to a table that can be read.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tidemill_core::declare::{DataFormat, Step, Training};
use tidemill_core::{Cancel, Digest};
use tidemill_data::{Format, Table};
use tokio::runtime::Handle;

use crate::failure::Failure;

/// Where the rows of an input are.
pub(crate) enum SourcePaths {
    /// Files and folders that exist, in order.
    Local(Vec<PathBuf>),
    /// Object-store addresses.
    Remote(Vec<String>),
}

/// The path of a `file://` address.
fn file_url(path: &str) -> Option<&str> {
    path.strip_prefix("file://")
}

/// Whether a path is an address in an object store.
fn is_url(path: &str) -> bool {
    path.contains("://") && file_url(path).is_none()
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
        // An address of a file is meant from the root of the file system.
        let (root, below) = match file_url(path) {
            Some(path) => (Path::new("/"), path.trim_start_matches('/')),
            None => (root, path.as_str()),
        };
        let matches = tidemill_pipeline::matching(root, below)
            .map_err(|error| Failure::new(format!("cannot look for `{path}`: {error}")))?;
        if matches.is_empty() {
            let failure = Failure::new(format!("nothing matches `{path}`"));
            return Err(match file_url(path) {
                Some(_) => failure
                    .hint("check the path; `file://` addresses begin at the root: `file:///data/x.csv`"),
                None => failure.hint("the path is relative to the folder of tidemill.yaml"),
            });
        }
        found.extend(matches.into_iter().map(|found| root.join(found)));
    }
    Ok(SourcePaths::Local(found))
}

/// Opens paths, patterns or addresses as one table. What is in an object store is copied to a temporary folder first.
pub(crate) fn open(
    root: &Path,
    runtime: &Handle,
    paths: &[String],
    format: Option<DataFormat>,
) -> anyhow::Result<Table> {
    match expand(root, paths)? {
        SourcePaths::Local(found) => Ok(Table::open(&found, format.map(Format::declared))?),
        SourcePaths::Remote(urls) => remote(root, runtime, &urls, format),
    }
}

#[cfg(feature = "sql")]
fn remote(
    root: &Path,
    runtime: &Handle,
    urls: &[String],
    format: Option<DataFormat>,
) -> anyhow::Result<Table> {
    let scratch = root.join(".tidemill/tmp");
    Ok(runtime.block_on(tidemill_data::sql::open_remote(urls, format.map(Format::declared), &scratch))?)
}

#[cfg(not(feature = "sql"))]
fn remote(_: &Path, _: &Handle, urls: &[String], _: Option<DataFormat>) -> anyhow::Result<Table> {
    Err(Failure::new(format!("`{}` cannot be read: this build reads no object stores", urls[0]))
        .hint("build it with the feature `sql`")
        .into())
}

/// The table that a training learns from: the step's first input, or the path that it names.
pub(crate) fn learned_from(
    root: &Path,
    runtime: &Handle,
    step: &Step,
    training: &Training,
) -> anyhow::Result<Table> {
    match step.inputs.first() {
        Some(input) => open(root, runtime, &input.paths, input.format),
        None => open(root, runtime, std::slice::from_ref(&training.features), None),
    }
}

/// All rows of a table at once.
pub(crate) fn whole(table: &Table) -> anyhow::Result<RecordBatch> {
    let batches = table.batches(None)?.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(table.schema(), &batches)?)
}

/// What the files of a `file://` address hold, as one digest.
pub(crate) fn identify_file(url: &str, cancel: &Cancel) -> anyhow::Result<Option<Digest>> {
    if file_url(url).is_none() {
        return Ok(None);
    }
    let SourcePaths::Local(paths) = expand(Path::new("/"), &[url.to_owned()])? else { return Ok(None) };
    let mut text = String::new();
    for path in paths {
        let entry = tidemill_store::hash(&path, None, cancel)?;
        text.push_str(&format!("{}\n{}\n", path.display(), entry.digest));
    }
    Ok(Some(Digest::of(text.as_bytes())))
}
