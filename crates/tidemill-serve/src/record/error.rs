//! What can go wrong with the inference log, with the place and the next action.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the inference log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
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
    /// Another process writes the log in the same folder.
    #[error("another process keeps the inference log in `{}`; stop it, or give this one a folder of its own", .0.display())]
    Busy(PathBuf),
    /// A file that is not a segment, or of a version that this program does not read.
    #[error("`{}` is not a segment of the inference log that this version reads: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The secret file for hashes is not usable.
    #[error("`{}` does not hold a secret for hashing: {why}; move it away to have a new one made (new hashes will not match old ones)", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The log was closed.
    #[error("the inference log is closed")]
    Closed,
    /// Segments are rolled faster than they can be listed.
    #[error("the segments of `{0}` changed while they were being read, several times in a row; try again")]
    Moving(String),
    /// What was read is not as it was written.
    #[error("{0}")]
    Damaged(String),
    /// An outcome, or a rule for joining, that cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// Somebody asked to stop.
    #[error("stopped")]
    Cancelled,
    /// Rows cannot be turned into a table.
    #[error("cannot turn records into columns")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A Parquet file of the log cannot be read.
    #[error("cannot read records from Parquet")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A table cannot be read or written.
    #[error(transparent)]
    Table(#[from] tidemill_data::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] tidemill_store::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] tidemill_db::Error),
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
