//! Refusals, with the code that MLflow clients act on and the message that they show.

use tidemill_core::Hint;

use crate::validate::python_text;

/// What kind of refusal it is: MLflow's error codes. The HTTP status of each is the server's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A value is not allowed.
    InvalidParameterValue,
    /// The request as a whole makes no sense.
    BadRequest,
    /// The name is taken.
    ResourceAlreadyExists,
    /// The thing is not there.
    ResourceDoesNotExist,
    /// No such route.
    EndpointNotFound,
    /// Who asks is not known.
    Unauthenticated,
    /// Who asks may not.
    PermissionDenied,
    /// The thing is not in a state that allows it.
    InvalidState,
    /// Another change got there first.
    ResourceConflict,
    /// Too much at once.
    ResourceExhausted,
    /// Not offered by this server.
    NotImplemented,
    /// Try again later.
    TemporarilyUnavailable,
    /// A fault of ours.
    InternalError,
}

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind it is.
    pub code: Code,
    /// What the client shows.
    pub message: String,
    /// What is behind it, for the server's own log.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A refusal of `code` that says `message`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), source: None }
    }

    /// A value that is not allowed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValue, message)
    }

    /// A thing that is not there.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(Code::ResourceDoesNotExist, message)
    }

    /// A name that is taken.
    pub fn exists(message: impl Into<String>) -> Self {
        Self::new(Code::ResourceAlreadyExists, message)
    }
}

impl From<tidemill_db::Error> for Error {
    fn from(error: tidemill_db::Error) -> Self {
        let (code, message) = words(&error);
        Self { code, message, source: Some(Box::new(error)) }
    }
}

/// What a client hears of an error of the database.
fn words(error: &tidemill_db::Error) -> (Code, String) {
    use tidemill_db::Error as Db;
    match error {
        Db::NotFound { what: "tracked run", name } => {
            (Code::ResourceDoesNotExist, format!("Run with id={name} not found"))
        }
        Db::NotFound { what: "experiment", name } => {
            (Code::ResourceDoesNotExist, format!("No Experiment with id={name} exists"))
        }
        Db::NotFound { what: "logged model", name } => {
            (Code::ResourceDoesNotExist, format!("Logged model with ID '{name}' not found."))
        }
        Db::Exists { what: "experiment", name } => {
            (Code::ResourceAlreadyExists, format!("Experiment(name={name}) already exists."))
        }
        Db::Deleted { what, name } => {
            let what = if *what == "experiment" { "experiment" } else { "run" };
            let state = "must be in the 'active' state. Current state is deleted.";
            (Code::InvalidParameterValue, format!("The {what} {name} {state}"))
        }
        Db::ParamsChanged { run, changes } => {
            let shown: Vec<String> = changes
                .iter()
                .map(|change| {
                    let [key, old, new] =
                        [&change.key, &change.old, &change.new].map(|text| python_text(text));
                    format!("{{'key': {key}, 'old_value': {old}, 'new_value': {new}}}")
                })
                .collect();
            let shown = shown.join(", ");
            let message = format!(
                "Changing param values is not allowed. Params were already logged='[{shown}]' for run ID='{run}'."
            );
            (Code::InvalidParameterValue, message)
        }
        Db::Exists { .. } => (Code::ResourceAlreadyExists, error.to_string()),
        Db::NotFound { .. } => (Code::ResourceDoesNotExist, error.to_string()),
        Db::Locked { .. } | Db::Closed { .. } => (
            Code::TemporarilyUnavailable,
            "the database is busy or closing; try again in a moment".to_owned(),
        ),
        Db::Full { .. } => {
            (Code::TemporarilyUnavailable, "the disk of the server is full; nothing was written".to_owned())
        }
        Db::Group(error) => words(error),
        // Texts of the database may hold values and places that are not the client's business.
        _ => (Code::InternalError, "the server's database failed; its log says how".to_owned()),
    }
}

impl From<tidemill_store::Error> for Error {
    fn from(error: tidemill_store::Error) -> Self {
        use tidemill_store::Error as Store;
        let full = |source: &std::io::Error| {
            use std::io::ErrorKind::{QuotaExceeded, StorageFull};
            matches!(source.kind(), StorageFull | QuotaExceeded)
        };
        let (code, message) = match &error {
            Store::Busy { .. } => (
                Code::TemporarilyUnavailable,
                "the server's store is being cleaned up; try again in a moment",
            ),
            Store::Io { source, .. } if full(source) => {
                (Code::TemporarilyUnavailable, "the disk of the server is full; nothing was written")
            }
            _ => (Code::InternalError, "the server's store failed; its log says how"),
        };
        Self { code, message: message.to_owned(), source: Some(Box::new(error)) }
    }
}

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        None
    }
}
