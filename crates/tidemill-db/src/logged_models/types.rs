//! The values that the tables of logged models hold.

use tidemill_core::Timestamp;

use crate::tracking::{KeyValue, Metric, Stage};

/// A logged model.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedModel {
    /// `m-` and 32 hexadecimal digits.
    pub id: String,
    /// Its experiment.
    pub experiment: i64,
    /// Its name, not unique.
    pub name: String,
    /// What kind of model it is, as the client says; may be empty.
    pub model_type: String,
    /// How it stands.
    pub status: LoggedModelStatus,
    /// More about the status.
    pub status_message: Option<String>,
    /// Whether it is deleted.
    pub stage: Stage,
    /// The run that made it.
    pub source_run: Option<String>,
    /// Where its files are: a URI.
    pub artifact_uri: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// By key.
    pub params: Vec<KeyValue>,
    /// By key.
    pub tags: Vec<KeyValue>,
    /// By key, then dataset and run.
    pub metrics: Vec<Metric>,
}

/// A logged model that is about to be stored. Fields as in [`LoggedModel`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `LoggedModel`")]
pub struct NewLoggedModel {
    pub id: String,
    pub experiment: i64,
    pub name: String,
    pub model_type: String,
    pub source_run: Option<String>,
    pub artifact_uri: String,
    pub created_at: Timestamp,
    pub params: Vec<KeyValue>,
    pub tags: Vec<KeyValue>,
}

/// How a logged model stands, in MLflow's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedModelStatus {
    /// Its folder is being filled.
    Pending,
    /// Its folder is whole.
    Ready,
    /// Its folder was not filled.
    UploadFailed,
}

impl LoggedModelStatus {
    /// All, in the order of MLflow's numbers, from 1.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Ready, Self::UploadFailed];

    /// As MLflow's JSON writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "LOGGED_MODEL_PENDING",
            Self::Ready => "LOGGED_MODEL_READY",
            Self::UploadFailed => "LOGGED_MODEL_UPLOAD_FAILED",
        }
    }

    /// From [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}
