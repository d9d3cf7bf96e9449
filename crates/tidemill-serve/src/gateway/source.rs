//! The seam to where models come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tidemill_core::Digest;

use super::golden::Golden;
use super::settings::ServingSettings;
use super::signature::Signature;

/// Where models come from: a registry, or folders.
#[async_trait]
pub trait ModelSource: Send + Sync {
    /// Every model with its versions, oldest first.
    async fn list(&self) -> Result<Vec<Listed>, SourceError>;

    /// The version that is meant now. Cheap: reads no file of the model.
    async fn resolve(&self, model: &str, which: &Which) -> Result<String, SourceError>;

    /// The versions of a model, oldest first.
    async fn versions(&self, model: &str) -> Result<Vec<String>, SourceError>;

    /// A version with its files.
    async fn fetch(&self, model: &str, version: &str) -> Result<ModelBundle, SourceError>;
}

/// A model and its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The model.
    pub model: String,
    /// Its versions, oldest first.
    pub versions: Vec<String>,
}

/// Which version of a model is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one that the source prefers: of a registry the alias `champion`, else the newest version.
    Default,
    /// This one.
    Version(String),
    /// The one that an alias points at, for example `champion`.
    Alias(String),
}

impl Which {
    /// From text: `@champion` is an alias, anything else a version.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("") => Self::Default,
            Some(text) => match text.strip_prefix('@') {
                Some(alias) => Self::Alias(alias.to_owned()),
                None => Self::Version(text.to_owned()),
            },
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default version"),
            Self::Version(version) => write!(f, "version `{version}`"),
            Self::Alias(alias) => write!(f, "alias `@{alias}`"),
        }
    }
}

/// A version of a model with everything that loading it takes.
#[derive(Debug)]
pub struct ModelBundle {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: String,
    /// The digest of its files as they were read now.
    pub digest: Digest,
    /// What the source's records say the digest is; loading refuses another one.
    pub expected: Option<Digest>,
    /// The files.
    pub files: ModelFiles,
    /// What the model takes and gives, as its trainer said.
    pub signature: Option<Signature>,
    /// Rows with the trainer's answers.
    pub golden: Option<Golden>,
    /// How it is to be run.
    pub serving: ServingSettings,
    /// Facts for people.
    pub properties: BTreeMap<String, String>,
}

/// The files of a model.
#[derive(Debug)]
pub enum ModelFiles {
    /// An ONNX file.
    Onnx(Vec<u8>),
    /// A folder as MLflow's `log_model` writes it.
    Folder(Arc<dyn Folder>),
}

/// A folder on this machine that stays there as long as the value lives.
pub trait Folder: Send + Sync + fmt::Debug {
    /// Where it is.
    fn path(&self) -> &Path;
}

impl Folder for tempfile::TempDir {
    fn path(&self) -> &Path {
        self.path()
    }
}

impl Folder for std::path::PathBuf {
    fn path(&self) -> &Path {
        self
    }
}

/// Why a model cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no such model, version or alias.
    #[error("{0}")]
    NotFound(String),
    /// It is there, but its files do not make a model.
    #[error("{0}")]
    Broken(String),
    /// It cannot be read now.
    #[error("{0}")]
    Unavailable(String),
}
