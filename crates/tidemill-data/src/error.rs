//! What can go wrong with a table, with the file, the place and the next action. No other module makes up
//! messages for users, except where a query engine's own words are passed on.

use std::io;
use std::path::PathBuf;

use tidemill_core::{Hint, did_you_mean};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, for example `read`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A table without files.
    #[error("no files to read{}", place(.0))]
    NoFiles(Option<PathBuf>),
    /// A file whose format nothing tells.
    #[error("the format of `{}` is not known", .0.display())]
    UnknownFormat(PathBuf),
    /// A file that ends before its format says so.
    #[error("`{}` is truncated: {why}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A file that is not what its format says.
    #[error("`{}` is not a readable {format} file: {why}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// `Parquet`, `CSV`, `JSON lines` or `Arrow`.
        format: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A row of a text file that cannot be read.
    #[error("`{}`, line {line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
        /// The next action.
        hint: Option<String>,
    },
    /// A value that does not fit the type of its column.
    #[error(
        "`{}`, row {row} (line {line}), column `{column}`: `{value}` is not of type {expected}{}",
        path.display(),
        because(.inferred_from)
    )]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The data row, from 1, without the header.
        row: u64,
        /// The line, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// The text found, shortened where it is long.
        value: String,
        /// The type of the column.
        expected: crate::ColumnType,
        /// Number of values the type was inferred from; `None` where it was declared.
        inferred_from: Option<u64>,
    },
    /// Files of one table that differ in their columns.
    #[error("`{}` has other columns than `{}`: {}", path.display(), first.display(), differences.join("; "))]
    SchemaMismatch {
        /// The file that differs.
        path: PathBuf,
        /// The first file of the table.
        first: PathBuf,
        /// One sentence per difference.
        differences: Vec<String>,
    },
    /// A column that is not there.
    #[error("there is no column `{column}`{}", within(.table))]
    UnknownColumn {
        /// The name asked for.
        column: String,
        /// The table, where it has a name.
        table: Option<String>,
        /// The columns that are there.
        known: Vec<String>,
    },
    /// A key or rule that cannot be used on this table.
    #[error("{0}")]
    Unusable(String),
    /// A query that cannot be run.
    #[error("{}: {message}", at(.source_name, .line, .column))]
    Sql {
        /// The file of the query.
        source_name: String,
        /// The line in it, from 1, where it is known.
        line: Option<u64>,
        /// The column in the line, from 1, where it is known.
        column: Option<u64>,
        /// What is wrong.
        message: String,
        /// The next action.
        hint: Option<String>,
    },
    /// An object store refused.
    #[error("cannot read `{url}`: {why}")]
    Remote {
        /// The address, without credentials.
        url: String,
        /// What it answered.
        why: String,
    },
    /// Arrow could not compute something.
    #[error("cannot {action}: {source}")]
    Arrow {
        /// What was computed.
        action: &'static str,
        /// Arrow's words.
        source: arrow::error::ArrowError,
    },
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

fn place(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!(" in `{}`", path.display())).unwrap_or_default()
}

fn because(values: &Option<u64>) -> String {
    values.map(|n| format!(", as {n} other values of the column are")).unwrap_or_default()
}

fn within(table: &Option<String>) -> String {
    table.as_ref().map(|table| format!(" in `{table}`")).unwrap_or_default()
}

fn at(source: &str, line: &Option<u64>, column: &Option<u64>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!("{source}:{line}:{column}"),
        (Some(line), None) => format!("{source}:{line}"),
        (None, _) => source.to_owned(),
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoFiles(_) => Some("check the path or the pattern in `data`".to_owned()),
            Self::UnknownFormat(_) => Some(
                "use one of the endings `.parquet`, `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.arrow` (text also with `.gz` \
                 or `.zst`), or declare the format"
                    .to_owned(),
            ),
            Self::Truncated { .. } => Some("the copy or the program that wrote it was interrupted; write it again".to_owned()),
            Self::Corrupt { .. } => Some("check that its name has the ending of its format, or write it again".to_owned()),
            Self::WrongType { column, value, expected, inferred_from, .. } => Some(if inferred_from.is_some() {
                format!(
                    "correct the value, add `{value}` to the texts that mean null, or declare the type: \
                     `types: {{{column}: string}}`"
                )
            } else {
                format!("correct the value, or declare another type than `{expected}` for `{column}`")
            }),
            Self::SchemaMismatch { .. } => {
                Some("give files with other columns a dataset of their own, or write them again".to_owned())
            }
            Self::UnknownColumn { column, known, .. } => did_you_mean(column, known.iter().map(String::as_str)),
            Self::Line { hint, .. } | Self::Sql { hint, .. } => hint.clone(),
            Self::Remote { .. } => {
                Some("check the address and the credentials in the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`)".to_owned())
            }
            Self::Io { .. } | Self::Unusable(_) | Self::Arrow { .. } | Self::Cancelled => None,
        }
    }
}

impl Error {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn arrow(action: &'static str) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        move |source| Self::Arrow { action, source }
    }
}
