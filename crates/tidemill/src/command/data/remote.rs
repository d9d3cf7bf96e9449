//! Named versions at a remote: small documents beside the objects, so that a fresh clone knows what there is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_core::{Actor, Digest, Name, Timestamp};
use tidemill_db::{DatasetVersion, NewDatasetVersion};
use tidemill_store::Remote;

use crate::app::App;
use crate::failure::Failure;

/// One dataset version as it is written to `datasets/NAME/VERSION.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RemoteVersion {
    format: u32,
    pub(super) dataset: Name,
    pub(super) version: u64,
    pub(super) content: Digest,
    kind: String,
    bytes: u64,
    files: u64,
    rows: Option<u64>,
    schema: Option<String>,
    source: String,
    message: Option<String>,
    created_at: Timestamp,
    actor: Actor,
}

/// The form of these documents.
const FORMAT: u32 = 1;

impl RemoteVersion {
    pub(super) fn of(version: &DatasetVersion) -> Self {
        Self {
            format: FORMAT,
            dataset: version.dataset.clone(),
            version: version.version,
            content: version.content,
            kind: version.kind.clone(),
            bytes: version.bytes,
            files: version.files,
            rows: version.rows,
            schema: version.schema.clone(),
            source: version.source.clone(),
            message: version.message.clone(),
            created_at: version.created_at,
            actor: version.actor.clone(),
        }
    }

    pub(super) fn is_tree(&self) -> bool {
        self.kind == "tree"
    }

    pub(super) fn document(&self) -> String {
        document(&self.dataset, self.version)
    }

    pub(super) fn into_new(self) -> NewDatasetVersion {
        NewDatasetVersion {
            dataset: self.dataset,
            content: self.content,
            kind: self.kind,
            bytes: self.bytes,
            files: self.files,
            rows: self.rows,
            schema: self.schema,
            source: self.source,
            message: self.message,
            created_at: self.created_at,
            actor: self.actor,
        }
    }
}

/// The name of a version's document.
pub(super) fn document(dataset: &Name, version: u64) -> String {
    format!("datasets/{dataset}/{version:08}.json")
}

/// Reads all versions of a dataset at the remote, oldest first.
pub(super) async fn versions(remote: &Remote, dataset: &str) -> anyhow::Result<Vec<RemoteVersion>> {
    let mut found = Vec::new();
    for name in remote.list_refs(&format!("datasets/{dataset}")).await? {
        let Some(bytes) = remote.get_ref(&name).await? else { continue };
        let version: RemoteVersion = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(format!("`{name}` at {} cannot be read: {error}", remote.url()))
                .hint("it was damaged or written by a newer version; push the dataset again")
        })?;
        if version.format != FORMAT || version.dataset.as_str() != dataset {
            return Err(Failure::new(format!(
                "`{name}` at {} is not a version of `{dataset}`",
                remote.url()
            ))
            .into());
        }
        found.push(version);
    }
    found.sort_by_key(|version| version.version);
    Ok(found)
}

/// The names of the datasets at the remote.
pub(super) async fn datasets(remote: &Remote) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = remote
        .list_refs("datasets")
        .await?
        .iter()
        .filter_map(|name| name.split('/').nth(1).map(str::to_owned))
        .collect();
    names.dedup();
    Ok(names)
}

/// Opens the remote that was named, or the project's.
pub(super) fn open(app: &App<'_>, given: Option<&str>) -> anyhow::Result<Remote> {
    let settings = app.project.store.as_ref();
    let (url, options) = match given {
        Some(name) => match settings.and_then(|store| store.remotes.get(name)) {
            Some(remote) => (remote.url.clone(), remote.options.clone()),
            None => (name.to_owned(), BTreeMap::new()),
        },
        None => settings
            .and_then(|store| store.default_remote())
            .map(|(_, remote)| (remote.url.clone(), remote.options.clone()))
            .ok_or_else(|| {
                Failure::usage("no remote store is named")
                    .hint("give --remote URL, or add `store: {remotes: {main: {url: s3://bucket/prefix}}}` to tidemill.yaml")
            })?,
    };
    let url = if url.contains("://") {
        url
    } else {
        let path = std::path::absolute(app.root.join(&url))?;
        format!("file://{}", path.display())
    };
    Ok(Remote::open_with(&url, &options)?)
}
