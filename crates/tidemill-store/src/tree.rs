//! Folders as content: a sorted listing in canonical JSON, whose digest names the folder.

use std::path::Path;

use tidemill_core::Digest;

use crate::Error;

/// A relative path inside a tree: one or more names joined by `/`, any bytes but `/` and NUL in a name, never `.`
/// or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// Reads a relative path; `./` at the start and a `/` at the end are dropped.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, Error> {
        let _ = path.as_ref();
        todo!()
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a path of this system.
    pub fn to_path(&self) -> &Path {
        todo!()
    }
}

/// What a name in a tree stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeNode {
    /// A file.
    File {
        /// BLAKE3-256 of its content.
        digest: Digest,
        /// Its size.
        bytes: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A folder.
    Tree {
        /// Names its own listing.
        digest: Digest,
        /// Content bytes of all files below it.
        bytes: u64,
        /// The number of files below it.
        files: u64,
    },
    /// A symbolic link, relative and inside the stored folder.
    Link {
        /// Its target as written, raw bytes.
        target: Vec<u8>,
    },
}

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeItem {
    /// Any bytes but `/` and NUL; need not be UTF-8.
    pub name: Vec<u8>,
    /// What it stands for.
    pub node: TreeNode,
}

/// The listing of one folder, sorted by the bytes of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    items: Vec<TreeItem>,
}

impl Tree {
    /// The items, sorted by name.
    pub fn items(&self) -> &[TreeItem] {
        &self.items
    }

    /// The item of that name.
    pub fn get(&self, name: &[u8]) -> Option<&TreeItem> {
        self.items.binary_search_by(|item| item.name.as_slice().cmp(name)).ok().map(|at| &self.items[at])
    }
}
