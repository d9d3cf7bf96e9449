//! What a stored file or folder is called: its digest, kind and size. Plain data, no access to a store.

use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, Sha256};

/// Whether an entry is a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EntryKind {
    /// A file; its digest is the BLAKE3-256 of its content, as `b3sum` prints it.
    File {
        /// Whether its owner may execute it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        executable: bool,
    },
    /// A folder; its digest is the BLAKE3-256 of its canonical listing, see [`crate::Tree`].
    Tree,
}

/// The identity and size of a stored file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Names the content.
    pub digest: Digest,
    /// File or folder.
    #[serde(flatten)]
    pub kind: EntryKind,
    /// Content bytes of the file, or of all files below the folder.
    pub bytes: u64,
    /// 1 for a file; the number of files below a folder (links are not counted).
    pub files: u64,
    /// SHA-256 of the content, of files only and only where [`crate::AddOptions::sha256`] asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

impl Entry {
    /// Whether this is a folder.
    pub const fn is_tree(&self) -> bool {
        matches!(self.kind, EntryKind::Tree)
    }

    /// Whether this is a file with the executable bit.
    pub const fn is_executable(&self) -> bool {
        matches!(self.kind, EntryKind::File { executable: true })
    }

    /// Whether both name the same content of the same kind; ignores what was recorded beside it.
    pub fn same_content(&self, other: &Self) -> bool {
        self.digest == other.digest && self.kind == other.kind
    }
}

/// Something that must be kept: where walks for garbage collection, verification and transfers begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The digest of a file or folder.
    pub digest: Digest,
    /// Whether it is a folder, whose listing leads to more.
    pub tree: bool,
    /// What people call it, for example `data/flights`; used in messages about damage.
    pub label: String,
}

impl Root {
    /// A root without a label of its own.
    pub fn new(entry: &Entry) -> Self {
        Self::labelled(entry, entry.digest.short())
    }

    /// A root that messages call `label`.
    pub fn labelled(entry: &Entry, label: impl Into<String>) -> Self {
        Self { digest: entry.digest, tree: entry.is_tree(), label: label.into() }
    }

    /// A root that no message speaks of.
    pub(crate) const fn unlabelled(digest: Digest, tree: bool) -> Self {
        Self { digest, tree, label: String::new() }
    }
}

impl From<&Entry> for Root {
    fn from(entry: &Entry) -> Self {
        Self::new(entry)
    }
}
