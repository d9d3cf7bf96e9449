//! Why a step is decided as it is, in words.

use std::fmt;

use serde::Serialize;

use crate::Change;

/// One reason of a decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Nothing is different.
    UpToDate,
    /// No earlier run is known.
    NeverRun,
    /// The user asked for it.
    Forced,
    /// Something that it is keyed on differs from its last run.
    Changed {
        /// What.
        #[serde(flatten)]
        change: Change,
    },
    /// An output is not in the workspace.
    OutputMissing {
        /// Its path.
        path: String,
    },
    /// An output in the workspace is not what the step wrote.
    OutputModified {
        /// Its path.
        path: String,
    },
    /// An output is needed but no longer in the store.
    NotStored {
        /// Its path.
        path: String,
    },
    /// An output is in the store and cannot be read from it.
    Damaged {
        /// Its path.
        path: String,
    },
    /// An earlier run with the same inputs is recorded.
    KnownResult,
    /// The record and the journal do not know the result.
    UnknownResult,
    /// Steps before it are not done.
    Upstream {
        /// Their names.
        steps: Vec<String>,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpToDate => f.write_str("up to date"),
            Self::NeverRun => f.write_str("never run"),
            Self::Forced => f.write_str("forced"),
            Self::Changed { change } => change.fmt(f),
            Self::OutputMissing { path } => write!(f, "output `{path}` is missing"),
            Self::OutputModified { path } => write!(f, "output `{path}` was modified"),
            Self::NotStored { path } => write!(f, "output `{path}` is no longer in the store"),
            Self::Damaged { path } => write!(f, "output `{path}` is damaged in the store"),
            Self::KnownResult => f.write_str("an earlier run had the same inputs"),
            Self::UnknownResult => f.write_str("its result is not known"),
            Self::Upstream { steps } => {
                let names: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
                write!(f, "depends on the outcome of {}", names.join(", "))
            }
        }
    }
}
