//! The store itself: the public operations.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tidemill_core::{Digest, Progress};

use crate::{Checkout, Entry, Error, Remote, Root, StatCache, Transfer, Tree, TreePath};

/// A content-addressed store in a local folder. Clones share everything; safe between threads and processes.
#[derive(Clone, Debug)]
pub struct Store;

/// How a store writes. Existing objects are read whatever the options are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Compress chunks with zstd where it pays.
    pub compress: bool,
    /// Pack files are closed when they reach this many bytes.
    pub pack_size: u64,
    /// How long to wait for another process that excludes us before giving up with [`Error::Busy`].
    pub lock_wait: std::time::Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { compress: true, pack_size: 64 << 20, lock_wait: std::time::Duration::from_secs(60) }
    }
}

/// How files are read for [`Store::add_many`] and [`hash_with`].
#[derive(Clone, Copy)]
pub struct AddOptions<'a> {
    /// Spares reading files that have not changed since they were last hashed.
    pub stat: Option<&'a StatCache>,
    /// Also compute SHA-256, for model files; only single files report it.
    pub sha256: bool,
    /// Sync to disk before returning. Without it, what was added survives the death of the process but perhaps not a
    /// power failure, until [`Store::sync`]; many small additions in a row are then much cheaper.
    pub durable: bool,
}

impl Default for AddOptions<'_> {
    fn default() -> Self {
        Self { stat: None, sha256: false, durable: true }
    }
}

/// Keeps garbage collection away while it lives, see [`Store::hold`].
#[derive(Debug)]
pub struct Hold;

/// One damaged or missing object, as found by [`Store::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The pack or index file; empty if an object is missing altogether.
    pub pack: String,
    /// Where in it the damage lies (the start of the object's record).
    pub offset: u64,
    /// The object, if it can be told.
    pub object: Option<Digest>,
    /// What is wrong.
    pub what: String,
    /// The files that cannot be read because of it: `label` or `label/path` below the given roots.
    pub needed_by: Vec<String>,
}

/// What garbage collection did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Objects that stay.
    pub kept_objects: u64,
    /// Stored bytes that stay.
    pub kept_bytes: u64,
    /// Objects removed.
    pub removed_objects: u64,
    /// Bytes freed on disk, including unfinished files of crashed writers.
    pub freed_bytes: u64,
    /// Pack files removed altogether.
    pub removed_packs: u64,
    /// Pack files rewritten because too little of them was in use.
    pub repacked: u64,
    /// Objects that some root needs and the store lacks.
    pub missing: u64,
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Objects: small files, chunks and listings.
    pub objects: u64,
    /// Pack files.
    pub packs: u64,
    /// Bytes on disk.
    pub stored_bytes: u64,
    /// Bytes of the objects before compression.
    pub raw_bytes: u64,
    /// Index files that cannot be read, by name with the reason; their objects count as missing.
    pub unreadable: Vec<String>,
}

/// How much some roots occupy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Distinct objects they reach.
    pub objects: u64,
    /// Bytes of these on disk.
    pub stored_bytes: u64,
    /// Bytes of these before compression.
    pub raw_bytes: u64,
    /// Objects that are not here.
    pub missing: u64,
}

impl Store {
    /// Opens the store in `dir`, creating it if the folder is missing or empty. Refuses a newer format.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Self, Error> {
        let _ = (dir, options);
        todo!()
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        todo!()
    }

    /// Stores a file or folder; durable on return. A symbolic link as `path` itself is followed.
    pub fn add(
        &self,
        path: &Path,
        stat: Option<&StatCache>,
        progress: &dyn Progress,
    ) -> Result<Entry, Error> {
        let _ = (path, stat, progress);
        todo!()
    }

    /// Stores several files or folders with one sync for all; entries come in the order of `paths`.
    pub fn add_many(
        &self,
        paths: &[PathBuf],
        options: &AddOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<Entry>, Error> {
        let _ = (paths, options, progress);
        todo!()
    }

    /// Composes a folder from entries that are stored already; folders between are made as needed. A path may not lie
    /// below another path that is a file.
    pub fn add_tree(&self, items: Vec<(TreePath, Entry)>) -> Result<Entry, Error> {
        let _ = items;
        todo!()
    }

    /// Stores bytes as one object; durable on return.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let _ = bytes;
        todo!()
    }

    /// Makes everything added without [`AddOptions::durable`] durable.
    pub fn sync(&self) -> Result<(), Error> {
        todo!()
    }

    /// The whole content of a file or listing. Use [`Self::read`] for what may be large.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let _ = digest;
        todo!()
    }

    /// Streams a file's content. Each chunk is verified before a byte of it is handed out.
    pub fn read(&self, digest: &Digest) -> Result<impl Read + Send + use<>, Error> {
        let _ = digest;
        Ok(std::io::empty())
    }

    /// The listing of a folder.
    pub fn tree(&self, digest: &Digest) -> Result<Tree, Error> {
        let _ = digest;
        todo!()
    }

    /// Every file below a folder (or the file itself, under an empty path), sorted by path; links are left out.
    pub fn files(&self, entry: &Entry) -> Result<Vec<(PathBuf, Entry)>, Error> {
        let _ = entry;
        todo!()
    }

    /// Whether this one object is here; everything below it was stored before it. One index look-up.
    pub fn contains(&self, digest: &Digest) -> Result<bool, Error> {
        let _ = digest;
        todo!()
    }

    /// Whether the entry and everything below it are here, by index look-ups: content is not read.
    pub fn has(&self, entry: &Entry) -> Result<bool, Error> {
        let _ = entry;
        todo!()
    }

    /// Writes `entry` to `dest`. A file is replaced atomically; a folder that does not exist yet appears whole; an
    /// existing folder is changed file by file, each atomically, so that repeating an interrupted call completes it.
    /// Refuses to overwrite content that is neither expected nor in the store, before anything is written, unless forced.
    pub fn checkout(
        &self,
        entry: &Entry,
        dest: &Path,
        options: &Checkout<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let _ = (entry, dest, options, progress);
        todo!()
    }

    /// Reads every byte of the store and names each damaged or missing object, and what below `roots` needs it.
    pub fn verify(&self, roots: &[Root], progress: &dyn Progress) -> Result<Vec<Damage>, Error> {
        let _ = (roots, progress);
        todo!()
    }

    /// Keeps garbage collection away until dropped: take it before adding, drop it when the reference is recorded.
    pub fn hold(&self) -> Result<Hold, Error> {
        todo!()
    }

    /// Removes what no root reaches. Writers wait while it runs, readers go on. With `dry_run` nothing changes.
    pub fn gc(&self, roots: &[Root], dry_run: bool, progress: &dyn Progress) -> Result<GcReport, Error> {
        let _ = (roots, dry_run, progress);
        todo!()
    }

    /// Like [`Self::gc`], but asks for the roots only once no writer is left, so that none can be missed.
    pub fn gc_with(
        &self,
        roots: impl FnOnce() -> Result<Vec<Root>, Error>,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<GcReport, Error> {
        let _ = (roots, dry_run, progress);
        todo!()
    }

    /// Counts and sizes, from the indexes.
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// How much the roots occupy together, each object counted once.
    pub fn du(&self, roots: &[Root]) -> Result<Usage, Error> {
        let _ = roots;
        todo!()
    }

    /// Sends what `roots` need and `remote` lacks.
    pub async fn push(
        &self,
        remote: &Remote,
        roots: &[Root],
        progress: &dyn Progress,
    ) -> Result<Transfer, Error> {
        let _ = (remote, roots, progress);
        todo!()
    }

    /// Fetches what `roots` need and this store lacks; verified and durable on return.
    pub async fn pull(
        &self,
        remote: &Remote,
        roots: &[Root],
        progress: &dyn Progress,
    ) -> Result<Transfer, Error> {
        let _ = (remote, roots, progress);
        todo!()
    }
}

/// The identity of a file or folder, as [`Store::add`] would give it, storing nothing.
pub fn hash(path: &Path, stat: Option<&StatCache>, progress: &dyn Progress) -> Result<Entry, Error> {
    hash_with(path, &AddOptions { stat, ..AddOptions::default() }, progress)
}

/// [`hash`] with options.
pub fn hash_with(path: &Path, options: &AddOptions<'_>, progress: &dyn Progress) -> Result<Entry, Error> {
    let _ = (path, options, progress);
    todo!()
}
