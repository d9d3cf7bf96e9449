//! The values that the tables of models hold.

use tidemill_core::{Digest, Timestamp};

use crate::tracking::KeyValue;

/// A name for versions of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredModel {
    /// Its name, unique.
    pub name: String,
    /// What it is, in people's words.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it or one of its versions was last changed.
    pub updated_at: Timestamp,
    /// By key.
    pub tags: Vec<KeyValue>,
    /// By name.
    pub aliases: Vec<Alias>,
    /// The greatest version of each stage that has one, by number.
    pub latest: Vec<ModelVersion>,
}

/// A name that points at one version and can be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// For example `champion`.
    pub alias: String,
    /// Where it points.
    pub version: u64,
}

/// One version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelVersion {
    /// The model's name.
    pub model: String,
    /// From 1; numbers of deleted versions are not used again.
    pub version: u64,
    /// Where it stands.
    pub stage: VersionStage,
    /// What it is, in people's words.
    pub description: Option<String>,
    /// Who made it.
    pub user: Option<String>,
    /// Where it came from, as the client gave it: a URI.
    pub source: String,
    /// Where its files are: a URI.
    pub storage_location: Option<String>,
    /// The run that made it.
    pub run: Option<String>,
    /// Where that run can be looked at.
    pub run_link: Option<String>,
    /// The logged model that it is a version of.
    pub logged_model: Option<String>,
    /// Digest of its files, where they are in the store.
    pub content: Option<Digest>,
    /// `READY`, or another of MLflow's words where it came from elsewhere.
    pub status: String,
    /// More about the status.
    pub status_message: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// By key.
    pub tags: Vec<KeyValue>,
    /// By name.
    pub aliases: Vec<String>,
}

/// A version that is about to be stored; without a number the database gives it one. Fields as in [`ModelVersion`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `ModelVersion`")]
pub struct NewVersion {
    pub model: String,
    pub number: Option<u64>,
    pub description: Option<String>,
    pub user: Option<String>,
    pub source: String,
    pub storage_location: Option<String>,
    pub run: Option<String>,
    pub run_link: Option<String>,
    pub logged_model: Option<String>,
    pub content: Option<Digest>,
    pub created_at: Timestamp,
    pub tags: Vec<KeyValue>,
}

/// Where a version stands in its life, in MLflow's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VersionStage {
    /// Nowhere yet.
    #[default]
    None,
    /// Being tried.
    Staging,
    /// In use.
    Production,
    /// Kept, no longer in use.
    Archived,
}

impl VersionStage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Staging, Self::Production, Self::Archived];

    /// As stored and as MLflow writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Staging => "Staging",
            Self::Production => "Production",
            Self::Archived => "Archived",
        }
    }

    /// From [`Self::word`], in upper or lower case.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.word().eq_ignore_ascii_case(word))
    }
}

/// The stage of a deleted version; it is never read back.
pub(super) const DELETED: &str = "Deleted_Internal";
