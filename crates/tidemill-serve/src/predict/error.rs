//! What stops a batch scoring, with row and column.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file was not scored. No output is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The table cannot be read, or the result not written.
    #[error(transparent)]
    Table(#[from] tidemill_data::Error),
    /// A Parquet file that cannot be read.
    #[error("cannot read `{}`: {why}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The table does not have what the model takes.
    #[error("{0}")]
    Columns(String),
    /// A value that the model does not take.
    #[error("row {row}, column `{column}`: {why}")]
    Value {
        /// The row of the table, from 1.
        row: u64,
        /// The column.
        column: String,
        /// What is wrong with its value.
        why: String,
    },
    /// The model failed.
    #[error("the model failed on rows {first} to {last}: {why}")]
    Model {
        /// The first row of the batch, from 1.
        first: u64,
        /// Its last row.
        last: u64,
        /// What the model said.
        why: String,
    },
    /// The model's answer cannot be written as columns.
    #[error("output `{output}`: {why}")]
    Output {
        /// The output.
        output: String,
        /// Why.
        why: String,
    },
    /// A name of a file whose ending tells no format that can be written.
    #[error("`{}` does not end in `.parquet`, `.csv` or `.jsonl`", .0.display())]
    Format(PathBuf),
    /// A thread of ours ended unexpectedly.
    #[error("reading or scoring ended unexpectedly: {0}")]
    Panicked(String),
    /// Somebody asked to stop.
    #[error("stopped")]
    Cancelled,
}

impl PredictError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
