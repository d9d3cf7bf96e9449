//! [`Contents`] over `tidemill-store`: files and folders of the workspace, hashed through the stat cache.

use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err as fs;
use tidemill_core::{Cancel, Digest, Hint};
use tidemill_store::{AddOptions, Checkout, Entry, EntryKind, StatCache, Store, hash};

use super::{Content, ContentKind, Contents, StoredFile};
use crate::Error;
use crate::workspace::absent;

/// A store and the stat cache of one project folder.
#[derive(Debug)]
pub struct StoreContents {
    store: Store,
    stat: StatCache,
}

impl StoreContents {
    /// Wraps an open store and stat cache.
    pub const fn new(store: Store, stat: StatCache) -> Self {
        Self { store, stat }
    }

    /// The stat cache, to save it at the end.
    pub const fn stat(&self) -> &StatCache {
        &self.stat
    }
}

/// A request to stop is not a failure of the store.
fn failed(error: tidemill_store::Error) -> Error {
    match error {
        tidemill_store::Error::Cancelled => Error::Cancelled,
        other => Error::store(other),
    }
}

impl From<&Entry> for Content {
    fn from(entry: &Entry) -> Self {
        let kind = match entry.kind {
            EntryKind::Tree => ContentKind::Folder,
            EntryKind::File { executable: true } => ContentKind::Executable,
            EntryKind::File { executable: false } => ContentKind::File,
        };
        Self { digest: entry.digest, kind, bytes: entry.bytes }
    }
}

impl From<&Content> for Entry {
    fn from(content: &Content) -> Self {
        let kind = match content.kind {
            ContentKind::Folder => EntryKind::Tree,
            kind => EntryKind::File { executable: kind == ContentKind::Executable },
        };
        // How many files a folder has is not recorded with a step; the store counts only for display.
        let files = u64::from(kind != EntryKind::Tree);
        Self { digest: content.digest, kind, bytes: content.bytes, files, sha256: None }
    }
}

impl Contents for StoreContents {
    fn identify(&self, paths: &[PathBuf], cancel: &Cancel) -> Result<Vec<Option<Content>>, Error> {
        let one = |path: &PathBuf| match fs::metadata(path) {
            Ok(_) => Ok(Some(Content::from(&hash(path, Some(&self.stat), cancel).map_err(failed)?))),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        };
        paths.iter().map(one).collect()
    }

    fn save(&self, paths: &[PathBuf], cancel: &Cancel) -> Result<Vec<Content>, Error> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let options = AddOptions { stat: Some(&self.stat), durable: false, ..AddOptions::default() };
        let entries = self.store.add_many(paths, &options, cancel).map_err(failed)?;
        Ok(entries.iter().map(Content::from).collect())
    }

    fn keep(&self, paths: &[PathBuf], cancel: &Cancel) -> Result<Vec<Content>, Error> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let options = AddOptions { durable: false, ..AddOptions::default() };
        let entries = self.store.add_many(paths, &options, cancel).map_err(failed)?;
        Ok(entries.iter().map(Content::from).collect())
    }

    fn sync(&self) -> Result<(), Error> {
        self.store.sync().map_err(failed)
    }

    fn has(&self, contents: &[Content]) -> Result<Vec<bool>, Error> {
        contents.iter().map(|content| self.store.has(&content.into()).map_err(failed)).collect()
    }

    fn mend(&self, content: &Content, cancel: &Cancel) -> Result<(), Error> {
        self.store.mend(&content.into(), cancel).map(drop).map_err(failed)
    }

    fn checkout(&self, content: &Content, to: &Path, cancel: &Cancel) -> Result<(), Error> {
        let options =
            Checkout { force: true, remove_extra: true, stat: Some(&self.stat), ..Checkout::default() };
        self.store.checkout(&content.into(), to, &options, cancel).map_err(|error| match error {
            tidemill_store::Error::Damaged { .. }
            | tidemill_store::Error::Malformed { .. }
            | tidemill_store::Error::Missing { .. } => {
                Error::Damaged { message: error.to_string(), hint: error.hint() }
            }
            other => failed(other),
        })
    }

    fn files(&self, content: &Content) -> Result<Vec<StoredFile>, Error> {
        let files = self.store.files(&content.into()).map_err(failed)?;
        let named = files.iter().map(|(path, entry)| StoredFile {
            path: path.to_string_lossy().into_owned(),
            digest: entry.digest,
            bytes: entry.bytes,
        });
        Ok(named.collect())
    }

    fn open(&self, file: Digest) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Box::new(self.store.read(&file).map_err(failed)?))
    }
}
