//! What the tests share: a store in a temporary folder, and ways to make and compare folders.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidemill_core::Quiet;
use tidemill_store::{Checkout, Entry, Error, Store, StoreOptions};

/// A store and a folder to work in, both removed at the end.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir.path().join("store"));
        fs_err::create_dir(dir.path().join("work")).unwrap();
        Self { dir, store }
    }

    /// A path in the working folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    /// Writes a file in the working folder, making folders as needed.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn add(&self, name: &str) -> Entry {
        self.store.add(&self.path(name), None, &Quiet).unwrap()
    }

    pub(crate) fn try_add(&self, name: &str) -> Result<Entry, Error> {
        self.store.add(&self.path(name), None, &Quiet)
    }

    pub(crate) fn checkout(&self, entry: &Entry, name: &str) -> PathBuf {
        let path = self.path(name);
        self.store.checkout(entry, &path, &Checkout::default(), &Quiet).unwrap();
        path
    }

    /// The files in a folder of the store with this ending.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        list(&self.store.dir().join(folder))
    }
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default()).unwrap()
}

pub(crate) fn list(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs_err::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Bytes that do not compress and differ for each seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut bytes);
    bytes
}

/// Everything below a path: relative path → content and mode, or the target of a link.
pub(crate) fn snapshot(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    collect(path, Path::new(""), &mut found);
    found
}

fn collect(root: &Path, below: &Path, found: &mut BTreeMap<PathBuf, String>) {
    let path = if below.as_os_str().is_empty() { root.to_owned() } else { root.join(below) };
    let metadata = fs_err::symlink_metadata(&path).unwrap();
    let text = if metadata.is_symlink() {
        format!("-> {}", fs_err::read_link(&path).unwrap().display())
    } else if metadata.is_dir() {
        for entry in fs_err::read_dir(&path).unwrap() {
            collect(root, &below.join(entry.unwrap().file_name()), found);
        }
        "folder".to_owned()
    } else {
        let executable = metadata.permissions().mode() & 0o100 != 0;
        format!("{} {executable}", blake3::hash(&fs_err::read(&path).unwrap()))
    };
    found.insert(below.to_owned(), text);
}

/// The message and the hint of an error, with the lab's folder left out.
pub(crate) fn message(lab: &Lab, error: &Error) -> String {
    use tidemill_core::Hint;
    let dir = lab.dir.path().display().to_string();
    let hint = error.hint().map(|hint| format!(" | {hint}")).unwrap_or_default();
    format!("{error}{hint}").replace(&dir, "DIR")
}
