//! What can go wrong in a pipeline, and what to do then. Failures of a step's own command are [`crate::StepFailure`].

use std::path::PathBuf;

use tidemill_core::{Hint, Timestamp};

use crate::{GraphProblem, LockError};

/// Why something could not be planned, run or compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The steps do not form a graph that can run.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Graph(Vec<GraphProblem>),
    /// A step was named that is not in the pipeline.
    #[error("there is no step `{name}`")]
    UnknownStep {
        /// The name as given.
        name: String,
        /// The names that exist, or the closest one.
        suggestion: Option<String>,
    },
    /// `tidemill.lock` cannot be read.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Another run is going on in this project.
    #[error("another run has been going on in this project since {since} (process {pid}, run {run})")]
    Busy {
        /// Its process.
        pid: u32,
        /// When it began.
        since: Timestamp,
        /// Its run.
        run: String,
    },
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The store failed.
    #[error("the store failed: {message}")]
    Store {
        /// What it said.
        message: String,
        /// Its own hint.
        hint: Option<String>,
        /// Its error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// What the store has of a content is damaged or not whole.
    #[error("the store failed: {message}")]
    Damaged {
        /// What the store said.
        message: String,
        /// Its own hint.
        hint: Option<String>,
    },
    /// The metadata database failed.
    #[error("the run could not be recorded: {message}")]
    Journal {
        /// What it said.
        message: String,
        /// Its own hint.
        hint: Option<String>,
        /// Its error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A file name cannot be written into the lock file.
    #[error("`{}` matches `{pattern}`, but its name is not UTF-8", .path.display())]
    NotUtf8 {
        /// The pattern.
        pattern: String,
        /// The file.
        path: PathBuf,
    },
    /// A step's declaration cannot be resolved on this machine.
    #[error("step `{step}`: {message}")]
    Step {
        /// The step.
        step: String,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A recorded content is not in the store any more.
    #[error("`{path}` as step `{step}` had it ({content}) is not in the store")]
    NotStored {
        /// The step.
        step: String,
        /// The path.
        path: String,
        /// Its digest.
        content: tidemill_core::Digest,
    },
    /// The folder for a clean checkout is not empty.
    #[error("`{}` is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// A limit of the system or of Tidemill.
    #[error("{0}")]
    Internal(String),
    /// Stopped on request.
    #[error("stopped")]
    Cancelled,
}

impl Error {
    /// A failure of the store, keeping its hint.
    pub fn store(error: impl Hint + Send + Sync + 'static) -> Self {
        Self::Store { message: error.to_string(), hint: error.hint(), source: Some(Box::new(error)) }
    }

    /// A failure of the metadata database, keeping its hint.
    pub fn journal(error: impl Hint + Send + Sync + 'static) -> Self {
        Self::Journal { message: error.to_string(), hint: error.hint(), source: Some(Box::new(error)) }
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Graph(problems) => problems.iter().find_map(|problem| problem.hint.clone()),
            Self::UnknownStep { suggestion, .. } => suggestion.clone(),
            Self::Lock(error) => error.hint(),
            Self::Busy { pid, .. } => {
                Some(format!("wait for it with `--wait`, or stop it with `kill {pid}`"))
            }
            Self::Store { hint, .. }
            | Self::Damaged { hint, .. }
            | Self::Journal { hint, .. }
            | Self::Step { hint, .. } => hint.clone(),
            Self::NotUtf8 { .. } => {
                Some("rename the file, or name its folder as the dependency instead of a pattern".to_owned())
            }
            Self::NotStored { .. } => Some("fetch it with `tidemill data pull` and try again".to_owned()),
            Self::NotEmpty(_) => Some("give a folder that is empty or does not exist".to_owned()),
            Self::Io(_) | Self::Internal(_) | Self::Cancelled => None,
        }
    }
}
