//! What a remote says of its objects: a small document for each version of a dataset, so that a fresh clone knows what
//! there is, and one for each lock file that was pushed, so that a collection there knows what runs need.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_core::{Actor, Digest, Name, Timestamp};
use tidemill_db::{DatasetVersion, NewDatasetVersion};
use tidemill_store::{Remote, Root};

use crate::app::App;
use crate::failure::Failure;

/// One dataset version as it is written to `datasets/NAME/VERSION.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::command) struct RemoteVersion {
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

    pub(super) fn root(&self) -> Root {
        let label = format!("{}@{}", self.dataset, self.version);
        Root { digest: self.content, tree: self.kind == "tree", label }
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

/// What a lock file names that was pushed, as it is written to `locks/PROJECT/TIME-LOCK.json`. Each push that brings
/// another lock file than the newest adds one, so no two machines ever write the same document.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::command) struct RemoteLock {
    format: u32,
    pushed_at: Timestamp,
    actor: Actor,
    /// Digests, each with whether it is a folder.
    contents: Vec<(Digest, bool)>,
}

impl RemoteLock {
    pub(super) fn new(app: &App<'_>, roots: &[Root]) -> Self {
        let contents = roots.iter().map(|root| (root.digest, root.tree)).collect();
        Self { format: FORMAT, pushed_at: app.clock.now(), actor: app.actor.clone(), contents }
    }

    /// The folder of these documents.
    pub(in crate::command) fn folder(project: &Name) -> String {
        format!("locks/{project}")
    }

    /// The name of this one.
    pub(super) fn document(&self, project: &Name, lock: &Digest) -> String {
        format!("{}/{:014}-{}.json", Self::folder(project), self.pushed_at.millis(), lock.hex())
    }

    /// The lock file that a document of this name is about.
    pub(in crate::command) fn lock_of(document: &str) -> &str {
        document.rsplit_once('-').map_or(document, |(_, lock)| lock)
    }
}

/// What a document of a remote keeps there; `None` for one that this version does not know.
pub(in crate::command) fn roots_of(document: &str, bytes: &[u8]) -> Option<Vec<Root>> {
    if document.starts_with("datasets/") {
        let version: RemoteVersion = serde_json::from_slice(bytes).ok()?;
        return (version.format == FORMAT).then(|| vec![version.root()]);
    }
    let lock: RemoteLock = serde_json::from_slice(bytes).ok()?;
    let root = |(digest, tree)| Root { digest, tree, label: document.to_owned() };
    (lock.format == FORMAT).then(|| lock.contents.into_iter().map(root).collect())
}

/// The name of a version's document.
pub(super) fn document(dataset: &Name, version: u64) -> String {
    format!("datasets/{dataset}/{version:08}.json")
}

/// Reads all versions of a dataset at the remote, oldest first.
pub(super) async fn versions(remote: &Remote, dataset: &str) -> anyhow::Result<Vec<RemoteVersion>> {
    let mut found = Vec::new();
    for name in remote.list_refs(&format!("datasets/{dataset}")).await? {
        found.extend(version(remote, &name, dataset).await?);
    }
    found.sort_by_key(|version| version.version);
    Ok(found)
}

/// Reads the document of a version of this dataset; `None` if it is not there any more.
pub(super) async fn version(
    remote: &Remote,
    name: &str,
    dataset: &str,
) -> anyhow::Result<Option<RemoteVersion>> {
    let Some(bytes) = remote.get_ref(name).await? else { return Ok(None) };
    let version: RemoteVersion = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(format!("`{name}` at {} cannot be read: {error}", remote.url()))
            .hint("it was damaged or written by a newer version; push the dataset again")
    })?;
    if version.format != FORMAT || version.dataset.as_str() != dataset {
        let what = format!("`{name}` at {} is not a version of `{dataset}`", remote.url());
        return Err(Failure::new(what).into());
    }
    Ok(Some(version))
}

/// The dataset and the number in the name of a version's document.
pub(super) fn parts(name: &str) -> Option<(&str, u64)> {
    let (dataset, file) = name.strip_prefix("datasets/")?.split_once('/')?;
    Some((dataset, file.strip_suffix(".json")?.parse().ok()?))
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
pub(in crate::command) fn open(app: &App<'_>, given: Option<&str>) -> anyhow::Result<Remote> {
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
    crate::home::remote(&app.root, &url, &options)
}
