//! Versioned datasets.

use axum::extract::State;
use serde::Serialize;
use tidemill_core::Name;
use tidemill_db::{Dataset as Stored, DatasetVersion as StoredVersion};
use utoipa::ToSchema;

use super::envelope::{One, OneAnswer, Page, PageAnswer, Path, Query, Text, Time, one};
use super::pages::{ByName, ByNumber};
use super::{Failures, Problem};
use crate::App;

/// A named dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Dataset {
    /// Its name.
    name: String,
    /// The number of its latest version.
    #[schema(minimum = 1)]
    latest_version: u64,
    /// When its first version was added.
    created_at: Time,
    /// When its latest version was added.
    updated_at: Time,
}

/// One version of a dataset. Never changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DatasetVersion {
    /// From 1, without gaps.
    #[schema(minimum = 1)]
    version: u64,
    /// The digest of its content.
    content: String,
    /// `file`, `tree` or `table`.
    kind: String,
    /// Size in bytes.
    bytes: u64,
    /// Number of files.
    files: u64,
    /// Number of rows of a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    /// Where it came from.
    source: String,
    /// What the user said about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// When it was added.
    created_at: Time,
    /// Who added it, for example `user:ada`.
    created_by: String,
}

impl From<Stored> for Dataset {
    fn from(dataset: Stored) -> Self {
        Self {
            name: dataset.name.to_string(),
            latest_version: dataset.latest,
            created_at: Time(dataset.created_at),
            updated_at: Time(dataset.updated_at),
        }
    }
}

impl From<StoredVersion> for DatasetVersion {
    fn from(version: StoredVersion) -> Self {
        Self {
            version: version.version,
            content: version.content.to_string(),
            kind: version.kind,
            bytes: version.bytes,
            files: version.files,
            rows: version.rows,
            source: version.source,
            message: version.message,
            created_at: Time(version.created_at),
            created_by: version.actor.to_string(),
        }
    }
}

/// Versioned datasets, by name
#[utoipa::path(get, path = "/api/v1/datasets", operation_id = "listDatasets", tag = "data", params(ByName),
    responses((status = 200, description = "A page of datasets", body = Page<Dataset>), Failures))]
pub(super) async fn list(State(app): State<App>, Query(wanted): Query<ByName>) -> PageAnswer<Dataset> {
    // A project has a few dozen at most.
    let mut all = app.registry().db().datasets().await?;
    if let Some(Text(cursor)) = &wanted.cursor {
        all.retain(|dataset| dataset.name.as_str() > cursor.as_str());
    }
    Ok(Page::of(all, wanted.limit, |dataset| dataset.name.to_string(), Dataset::from))
}

/// A dataset and its latest version
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Described {
    /// Its name.
    name: String,
    /// Its latest version.
    latest: DatasetVersion,
}

/// One dataset
#[utoipa::path(get, path = "/api/v1/datasets/{name}", operation_id = "getDataset", tag = "data",
    params(("name" = String, Path, description = "The dataset", min_length = 1, max_length = 128)),
    responses((status = 200, description = "The dataset with its latest version", body = One<Described>), Failures))]
pub(super) async fn get(State(app): State<App>, Path(name): Path<String>) -> OneAnswer<Described> {
    let known = dataset_name(&name)?;
    let latest = app.registry().db().dataset_version(&known, None).await?;
    let latest = latest.ok_or_else(|| no_dataset(&name))?;
    one(Described { name, latest: latest.into() })
}

/// Versions of a dataset, newest first
#[utoipa::path(get, path = "/api/v1/datasets/{name}/versions", operation_id = "listDatasetVersions", tag = "data",
    params(("name" = String, Path, description = "The dataset", min_length = 1, max_length = 128), ByNumber),
    responses((status = 200, description = "A page of versions", body = Page<DatasetVersion>), Failures))]
pub(super) async fn versions(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(wanted): Query<ByNumber>,
) -> PageAnswer<DatasetVersion> {
    let mut all = app.registry().db().dataset_versions(&dataset_name(&name)?).await?;
    if all.is_empty() {
        return Err(no_dataset(&name));
    }
    all.retain(|version| wanted.cursor.is_none_or(|cursor| version.version < cursor.0));
    Ok(Page::of(all, wanted.limit, |version| version.version.to_string(), DatasetVersion::from))
}

fn dataset_name(name: &str) -> Result<Name, Problem> {
    // What cannot be a name is the name of nothing.
    Name::new(name).map_err(|error| Problem::missing(format!("there is no dataset of this name: {error}")))
}

fn no_dataset(name: &str) -> Problem {
    Problem::missing(format!("there is no dataset `{name}`")).hint("`/api/v1/datasets` lists them")
}
