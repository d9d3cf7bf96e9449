//! Reading artifacts, in pieces.

use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use tidemill_core::Timestamp;
use tidemill_db::artifacts::Artifact;
use tidemill_store::Chunks;
use tokio::task::spawn_blocking;

use crate::artifacts::intake::ended;
use crate::artifacts::{Place, local};
use crate::{Error, Registry, Result};

/// Bytes that are read from a local file at once.
const BLOCK: u64 = 1 << 20;

/// A file that can be read.
#[derive(Clone, Debug)]
pub enum Content {
    /// Of the store.
    Stored(Artifact),
    /// Of a local folder.
    Local {
        /// The open file.
        file: Arc<fs_err::File>,
        /// Its size.
        bytes: u64,
        /// When it was changed.
        at: Timestamp,
    },
}

/// Some bytes.
pub type Piece = Result<Bytes>;

/// The bytes of a part of a file, in order. Reading blocks.
pub struct Pieces(Source);

enum Source {
    Store(Chunks),
    Local(Arc<fs_err::File>, Range<u64>),
}

impl Registry {
    /// The file in a place. `name` is what the refusal calls it.
    pub async fn artifact(&self, place: &Place, roots: &[PathBuf], name: &str) -> Result<Content> {
        let missing = || Error::missing(format!("No such artifact: '{name}'"));
        let folder = || Error::invalid(format!("Artifact path refers to a directory, not a file: '{name}'"));
        match place {
            Place::Proxy(path) if path.is_root() => Err(folder()),
            Place::Proxy(path) => match self.db.artifact(path.as_str()).await? {
                Some(artifact) => Ok(Content::Stored(artifact)),
                None if self.db.is_artifact_folder(path.as_str()).await? => Err(folder()),
                None => Err(missing()),
            },
            Place::Local(path) => {
                let (path, roots) = (path.clone(), roots.to_vec());
                let found = spawn_blocking(move || open(&path, &roots)).await.map_err(ended)??;
                match found {
                    Found::File(content) => Ok(content),
                    Found::Folder => Err(folder()),
                    Found::Nothing => Err(missing()),
                }
            }
            Place::Elsewhere(uri) => Err(Place::elsewhere(uri)),
        }
    }

    /// The bytes of `content` that `range` names. Blocks.
    pub fn pieces(&self, content: &Content, range: Range<u64>) -> Result<Pieces> {
        Ok(Pieces(match content {
            Content::Stored(artifact) => Source::Store(self.store.chunks(&artifact.digest, range)?),
            Content::Local { file, bytes, .. } => {
                Source::Local(Arc::clone(file), range.start..range.end.min(*bytes))
            }
        }))
    }
}

impl Content {
    /// The size.
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Stored(artifact) => artifact.bytes,
            Self::Local { bytes, .. } => *bytes,
        }
    }

    /// When it was written.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Stored(artifact) => artifact.at,
            Self::Local { at, .. } => *at,
        }
    }

    /// What is the same as long as the bytes are.
    pub fn tag(&self) -> String {
        match self {
            Self::Stored(artifact) => artifact.digest.hex(),
            Self::Local { bytes, at, .. } => format!("{bytes:x}-{:x}", at.millis()),
        }
    }
}

enum Found {
    File(Content),
    Folder,
    Nothing,
}

fn open(path: &std::path::Path, roots: &[PathBuf]) -> Result<Found> {
    let Some(real) = local::resolve(path, roots)? else { return Ok(Found::Nothing) };
    let metadata = fs_err::metadata(&real).map_err(local::unreadable)?;
    if metadata.is_dir() {
        return Ok(Found::Folder);
    }
    if !metadata.is_file() {
        return Ok(Found::Nothing);
    }
    let file = fs_err::File::open(&real).map_err(local::unreadable)?;
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let at = Timestamp::from_millis(since.map_or(0, |since| since.as_millis() as i64));
    Ok(Found::File(Content::Local { file: Arc::new(file), bytes: metadata.len(), at }))
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        match &mut self.0 {
            Source::Store(chunks) => {
                let chunk = chunks.next()?;
                Some(chunk.map(|chunk| Bytes::from(chunk.bytes).slice(chunk.range)).map_err(Error::from))
            }
            Source::Local(file, range) => {
                if range.is_empty() {
                    return None;
                }
                let mut bytes = vec![0; BLOCK.min(range.end - range.start) as usize];
                match file.file().read_exact_at(&mut bytes, range.start) {
                    Ok(()) => {
                        range.start += bytes.len() as u64;
                        Some(Ok(bytes.into()))
                    }
                    Err(error) => {
                        range.start = range.end;
                        Some(Err(local::unreadable(error)))
                    }
                }
            }
        }
    }
}
