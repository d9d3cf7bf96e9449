//! What can go wrong with the database, in words for the person at the command line.
//!
//! Driver errors are sorted into these variants in `dialect.rs`; nothing else looks at error codes.

use std::time::Duration;

use tidemill_core::{Hint, RunId};

use crate::tracking::ParamChange;

/// Any error of this crate. `place` is the database's path, or its address without the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is neither a path nor a known URL.
    #[error("`{url}` is not a database address")]
    Address {
        /// As given, without the password.
        url: String,
    },
    /// The file or server cannot be reached.
    #[error("cannot open the database `{place}`: {detail}")]
    Open {
        /// Which database.
        place: String,
        /// What the system said.
        detail: String,
    },
    /// The file exists but is not a database, or is one of another program.
    #[error("`{place}` is not a Tidemill database: {detail}")]
    Foreign {
        /// Which database.
        place: String,
        /// What was found.
        detail: String,
    },
    /// The database's content is damaged.
    #[error("the database `{place}` is damaged: {detail}")]
    Corrupt {
        /// Which database.
        place: String,
        /// What the database said.
        detail: String,
    },
    /// The database was written by a newer Tidemill.
    #[error("the database `{place}` has schema version {found}; this Tidemill knows up to {known}")]
    Newer {
        /// Which database.
        place: String,
        /// Its schema version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// A migration that this database has applied is not the one that this binary carries.
    #[error("migration `{name}` of the database `{place}` differs from the one in this Tidemill")]
    MigrationChanged {
        /// Which database.
        place: String,
        /// The migration's file name.
        name: String,
    },
    /// Another process held the write lock for too long.
    #[error("the database `{place}` was locked by another writer for {} s", waited.as_secs_f64())]
    Locked {
        /// Which database.
        place: String,
        /// For how long we tried.
        waited: Duration,
    },
    /// The disk is full.
    #[error("no space left for the database `{place}`: {detail}")]
    Full {
        /// Which database.
        place: String,
        /// What the database said.
        detail: String,
    },
    /// The file or directory cannot be written.
    #[error("the database `{place}` cannot be written: {detail}")]
    ReadOnly {
        /// Which database.
        place: String,
        /// What the database said.
        detail: String,
    },
    /// Something was written but the commit named no event.
    #[error("a state change must be recorded: commit was called without an event")]
    NoEvent,
    /// The thing is there already.
    #[error("{what} `{name}` exists already")]
    Exists {
        /// For example `run`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no such thing.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// For example `run`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A search asks for something that the things it searches do not have.
    #[error("a search cannot have {what}")]
    Unsupported {
        /// The condition or the order.
        what: String,
    },
    /// It is marked as deleted, so nothing may be written to it.
    #[error("the {what} `{name}` is deleted")]
    Deleted {
        /// `tracked run` or `experiment`.
        what: &'static str,
        /// Its identifier.
        name: String,
    },
    /// Parameters of a run have other values already.
    #[error("{} parameters of the run `{run}` have other values already", changes.len())]
    ParamsChanged {
        /// The run.
        run: RunId,
        /// Which, in the order in which they were given.
        changes: Vec<ParamChange>,
    },
    /// A place to go on from does not belong to the search.
    #[error("the place to go on from does not belong to this search")]
    Cursor,
    /// The database cannot read a regular expression.
    #[error("the regular expression cannot be used: {detail}")]
    Pattern {
        /// What the database said.
        detail: String,
    },
    /// A prefix fits several runs.
    #[error("`{prefix}` fits {count} runs")]
    Ambiguous {
        /// As given.
        prefix: String,
        /// How many runs begin with it.
        count: usize,
    },
    /// A stored value does not have the expected form.
    #[error("{table}.{column} holds `{value}`, which is not {expected}")]
    Value {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What is stored there (cut to 80 characters).
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A proof was asked for a position or size that the log does not have.
    #[error("the log has {size} entries; {asked}")]
    ProofRange {
        /// Entries in the log.
        size: u64,
        /// What was asked.
        asked: String,
    },
    /// The stored log does not give the roots that it should; see `verify_log`.
    #[error("the log of `{place}` is damaged near entry {seq}: {detail}")]
    LogDamaged {
        /// Which database.
        place: String,
        /// Where.
        seq: u64,
        /// What is wrong.
        detail: String,
    },
    /// The database was closed while the call waited.
    #[error("the database `{place}` was closed before this was written")]
    Closed {
        /// Which database.
        place: String,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The value cannot be written as JSON.
    #[error("the event cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// A group of writes failed for all who waited for it.
    #[error("{0}")]
    Group(std::sync::Arc<Error>),
    /// Any other answer of the database.
    #[error("the database `{place}` failed to {action}")]
    Database {
        /// Which database.
        place: String,
        /// What was being done, for example `append events`.
        action: &'static str,
        /// The driver's error.
        source: sqlx::Error,
    },
}

impl Error {
    pub(crate) fn value(
        table: &'static str,
        column: &'static str,
        value: &str,
        expected: &'static str,
    ) -> Self {
        Self::Value { table, column, value: value.chars().take(80).collect(), expected }
    }

    pub(crate) fn no_run(id: impl ToString) -> Self {
        Self::NotFound { what: "run", name: id.to_string() }
    }

    pub(crate) fn no_tracked_run(id: RunId) -> Self {
        Self::NotFound { what: "tracked run", name: id.to_string() }
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Address { .. } => {
                "give a file path, `sqlite:///path/to/file.db` or `postgres://user@host/name`"
            }
            Self::Open { .. } => "check that the directory or server exists and that you may use it",
            Self::Foreign { .. } => "check the path; Tidemill does not overwrite files that it did not make",
            Self::Corrupt { .. } => {
                "restore the file from a backup, or recover what is readable with `sqlite3 FILE .recover`"
            }
            Self::Newer { .. } => "use the Tidemill that wrote it, or a newer one",
            Self::MigrationChanged { .. } => {
                "this build was changed after the database was made; use a released Tidemill"
            }
            Self::Locked { .. } => "wait for the other `tidemill` process to finish, or stop it",
            Self::Full { .. } => {
                "free some space and run the command again; what was acknowledged before is kept"
            }
            Self::ReadOnly { .. } => "check the permissions of the file and of its directory",
            Self::Ambiguous { .. } => "give more of the run's id",
            Self::Value { .. } | Self::LogDamaged { .. } => {
                "somebody changed the database by hand; `tidemill log verify` names the first bad entry"
            }
            Self::NotFound { what: "run", .. } => "`tidemill log` lists the runs",
            Self::Group(error) => return error.hint(),
            Self::NoEvent
            | Self::Exists { .. }
            | Self::Unsupported { .. }
            | Self::Deleted { .. }
            | Self::ParamsChanged { .. }
            | Self::NotFound { .. }
            | Self::ProofRange { .. }
            | Self::Cursor
            | Self::Pattern { .. }
            | Self::Closed { .. }
            | Self::Cancelled
            | Self::Json(_)
            | Self::Database { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
