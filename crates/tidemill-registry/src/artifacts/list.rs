//! What lies in a folder, and everything below one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidemill_core::Digest;
use tidemill_db::artifacts::Artifact;
use tidemill_store::{Entry, EntryKind, TreePath};
use tokio::task::spawn_blocking;

use crate::artifacts::intake::ended;
use crate::artifacts::{ArtifactPath, Place, local};
use crate::{Error, Registry, Result};

/// Rows that are read from the database at once.
const ROWS: usize = 10_000;

/// A file or folder in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its name, without a slash.
    pub name: String,
    /// The size of a file; none for a folder.
    pub bytes: Option<u64>,
}

/// A part of what a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files and folders.
    pub files: Vec<FileInfo>,
    /// For the next page; none after the last.
    pub next: Option<String>,
}

impl Registry {
    /// What lies directly in a folder: at most `limit` items. Nothing, if it is no folder. Local folders are read only
    /// inside of `roots`.
    pub async fn list_artifacts(
        &self,
        place: &Place,
        roots: &[std::path::PathBuf],
        token: Option<&str>,
        limit: usize,
    ) -> Result<Listing> {
        let from = token.map(from_token).transpose()?;
        match place {
            Place::Proxy(path) => {
                let page = self.db.list_artifacts(path.as_str(), from.as_deref(), limit).await?;
                let files = page
                    .items
                    .into_iter()
                    .map(|item| FileInfo { name: item.name, bytes: item.bytes })
                    .collect();
                Ok(Listing { files, next: page.next.map(|next| to_token(&next)) })
            }
            Place::Local(path) => {
                let (path, roots) = (path.clone(), roots.to_vec());
                let files = spawn_blocking(move || local::list(&path, &roots)).await.map_err(ended)??;
                let mut files: Vec<FileInfo> = files
                    .into_iter()
                    .filter(|file| from.as_ref().is_none_or(|from| file.name >= *from))
                    .take(limit.saturating_add(1))
                    .collect();
                let next = if files.len() > limit { files.pop() } else { None };
                Ok(Listing { files, next: next.map(|file| to_token(&file.name)) })
            }
            Place::Elsewhere(uri) => Err(Place::elsewhere(uri)),
        }
    }

    /// Every file below a folder of the store, in the order of the paths, each with its path inside of the folder. The
    /// file itself with an empty path, if it is one.
    pub async fn artifact_files(&self, folder: &ArtifactPath) -> Result<Vec<(String, Artifact)>> {
        if let Some(file) = self.db.artifact(folder.as_str()).await? {
            return Ok(vec![(String::new(), file)]);
        }
        let skip = if folder.is_root() { 0 } else { folder.as_str().len() + 1 };
        let mut files: Vec<(String, Artifact)> = Vec::new();
        loop {
            let after = files.last().map(|(_, last)| last.path.clone());
            let page = self.db.artifacts_below(folder.as_str(), after.as_deref(), ROWS).await?;
            let last = page.len() < ROWS;
            files.extend(page.into_iter().map(|file| (file.path[skip..].to_owned(), file)));
            if last {
                return Ok(files);
            }
        }
    }

    /// The digest by which the store knows a folder (or a file), whose listing is stored so that it can be checked out,
    /// served or pushed; `None` if nothing is there. Whoever records it keeps it from garbage collection.
    pub async fn artifact_tree(&self, folder: &ArtifactPath) -> Result<Option<Digest>> {
        let files = self.artifact_files(folder).await?;
        match files.as_slice() {
            [] => return Ok(None),
            [(path, file)] if path.is_empty() => return Ok(Some(file.digest)),
            _ => {}
        }
        let items = files
            .into_iter()
            .map(|(path, file)| {
                let kind = EntryKind::File { executable: false };
                let entry =
                    Entry { digest: file.digest, kind, bytes: file.bytes, files: 1, sha256: file.sha256 };
                Ok((TreePath::new(path)?, entry))
            })
            .collect::<Result<Vec<_>>>()?;
        let store = self.store.clone();
        let tree = spawn_blocking(move || store.add_tree(items)).await.map_err(ended)??;
        Ok(Some(tree.digest))
    }
}

fn to_token(next: &str) -> String {
    URL_SAFE_NO_PAD.encode(next)
}

fn from_token(token: &str) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'));
    text.ok_or_else(|| Error::invalid("Invalid page token, could not base64-decode"))
}
