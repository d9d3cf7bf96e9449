//! Named datasets and their numbered versions.

use tidemill_core::{Actor, Digest, Name, Timestamp};

use crate::{Db, Result, Tx};

/// A dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its name.
    pub name: Name,
    /// The number of its latest version.
    pub latest: u64,
    /// When the first version was added.
    pub created_at: Timestamp,
    /// When the latest version was added.
    pub updated_at: Timestamp,
}

/// One version of a dataset. Never changed once stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetVersion {
    /// The dataset.
    pub dataset: Name,
    /// From 1, without gaps.
    pub version: u64,
    /// The root of the stored content.
    pub content: Digest,
    /// What the content is, in the caller's words: `file`, `tree`, `table`.
    pub kind: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
    /// Number of rows where the content is a table.
    pub rows: Option<u64>,
    /// The table's schema as JSON text, where it is a table.
    pub schema: Option<String>,
    /// Where it came from: a path or URL, without credentials.
    pub source: String,
    /// What the user said about it.
    pub message: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// Who added it.
    pub actor: Actor,
}

/// A version that is about to be stored; the database gives it its number. Fields as in [`DatasetVersion`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `DatasetVersion`")]
pub struct NewDatasetVersion {
    pub dataset: Name,
    pub content: Digest,
    pub kind: String,
    pub bytes: u64,
    pub files: u64,
    pub rows: Option<u64>,
    pub schema: Option<String>,
    pub source: String,
    pub message: Option<String>,
    pub created_at: Timestamp,
    pub actor: Actor,
}

/// What [`Tx::put_dataset_version`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutVersion {
    /// The version that now holds the content.
    pub version: u64,
    /// False if the latest version held this content already: nothing was written and no event is needed.
    pub created: bool,
}

impl Db {
    /// All datasets, by name.
    pub async fn datasets(&self) -> Result<Vec<Dataset>> {
        Err(self.unfinished())
    }

    /// All versions of a dataset, newest first; empty if there is no such dataset.
    pub async fn dataset_versions(&self, name: &Name) -> Result<Vec<DatasetVersion>> {
        let _ = name;
        Err(self.unfinished())
    }

    /// One version of a dataset, or its latest.
    pub async fn dataset_version(&self, name: &Name, version: Option<u64>) -> Result<Option<DatasetVersion>> {
        let _ = (name, version);
        Err(self.unfinished())
    }
}

impl Tx {
    /// Adds a version, unless the dataset's latest version has the same content.
    pub async fn put_dataset_version(&mut self, new: &NewDatasetVersion) -> Result<PutVersion> {
        let _ = new;
        Err(self.unfinished())
    }
}
