//! What a path holds, and the seam to the store that keeps it. Bytes, packs and hashing are the store's business.

mod store;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidemill_core::{Cancel, Digest};

use crate::Error;

pub use store::StoreContents;

/// Whether a path is a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    /// A regular file.
    File,
    /// A file that its owner may execute.
    Executable,
    /// A folder; its digest is that of its tree.
    Folder,
    /// Something behind a URL; its digest stands for what the remote says of it (size, entity tag).
    Remote,
}

impl fmt::Display for ContentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Executable => "executable",
            Self::Folder => "folder",
            Self::Remote => "remote",
        })
    }
}

/// The content of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    /// Its identity in the store.
    pub digest: Digest,
    /// File or folder.
    pub kind: ContentKind,
    /// Size in bytes; of a folder, of everything below it.
    pub bytes: u64,
}

/// One file of a stored content: the file itself (with an empty path) or one below a stored folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Path below the folder with `/` between parts; bytes that are not UTF-8 are shown as the store shows them.
    pub path: String,
    /// The content of the file.
    pub digest: Digest,
    /// Size in bytes.
    pub bytes: u64,
}

/// Where contents are identified, kept and brought back. Implemented over `tidemill-store`; all paths are absolute.
pub trait Contents: Send + Sync {
    /// What the paths hold now, `None` where there is nothing. Nothing is stored. Uses a stat cache, so that an
    /// unchanged file costs one `stat`.
    fn identify(&self, paths: &[PathBuf], cancel: &Cancel) -> Result<Vec<Option<Content>>, Error>;

    /// Stores what the paths hold and returns it, in order. An error if a path does not exist. It survives the death
    /// of the process on return, and a power failure after [`Contents::sync`].
    fn save(&self, paths: &[PathBuf], cancel: &Cancel) -> Result<Vec<Content>, Error>;

    /// Stores files that no plan looks at again, such as logs. As [`Contents::save`], without remembering their times.
    fn keep(&self, paths: &[PathBuf], cancel: &Cancel) -> Result<Vec<Content>, Error> {
        self.save(paths, cancel)
    }

    /// Makes everything saved so far durable.
    fn sync(&self) -> Result<(), Error>;

    /// Whether each content is complete in the store.
    fn has(&self, contents: &[Content]) -> Result<Vec<bool>, Error>;

    /// Takes out of the store what is damaged of a content, so that saving the same content again stores it anew.
    fn mend(&self, _content: &Content, _cancel: &Cancel) -> Result<(), Error> {
        Ok(())
    }

    /// Makes the path hold exactly the content, replacing what was there. [`Error::Damaged`] where the store has it
    /// and cannot read it.
    fn checkout(&self, content: &Content, to: &Path, cancel: &Cancel) -> Result<(), Error>;

    /// The content's files, sorted by path.
    fn files(&self, content: &Content) -> Result<Vec<StoredFile>, Error>;

    /// The bytes of one stored file.
    fn open(&self, file: Digest) -> Result<Box<dyn Read + Send>, Error>;
}
