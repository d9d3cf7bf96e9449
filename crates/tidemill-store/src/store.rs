//! The store itself: the public operations.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidemill_core::{Digest, Progress, Quiet};

use crate::batch::Batch;
use crate::catalog::Tables;
use crate::evict::{self, Pinned};
use crate::inner::Inner;
use crate::lock::{self, Lock, Mode};
use crate::read::Reader;
use crate::remote::Behind;
use crate::target::Target;
use crate::{
    Checkout, Chunks, Entry, EntryKind, Error, Inventory, Remote, RemoteCheck, RemoteGc, RemoteRepair, Root,
    StatCache, Transfer, Tree, TreePath,
};
use crate::{
    Writer, WriterOptions, add, checkout, content, gc, reach, remote, repair, tree, users, verify, writer,
};

/// A content-addressed store in a local folder. Clones share everything; safe between threads and processes.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// How a store writes. Existing objects are read whatever the options are.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Compress chunks with zstd where it pays.
    pub compress: bool,
    /// Pack files are closed when they reach this many bytes.
    pub pack_size: u64,
    /// A session that adds more objects than this publishes in between, which bounds its memory.
    pub publish_every: usize,
    /// How long to wait for another process that excludes us before giving up with [`Error::Busy`].
    pub lock_wait: Duration,
    /// The largest size of the folder, in bytes, where there is a store behind it: what was used longest ago leaves it.
    /// Without it the folder grows until it is collected.
    pub cache_size: Option<u64>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            compress: true,
            pack_size: 64 << 20,
            publish_every: 256 << 10,
            lock_wait: Duration::from_mins(1),
            cache_size: None,
        }
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
pub struct Hold {
    _lock: Lock,
}

/// Keeps what is used and added from leaving a folder with a largest size while it lives, see [`Store::pin`].
#[derive(Debug)]
pub struct Pin {
    _pinned: Option<Pinned>,
}

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
        Ok(Self { inner: Arc::new(Inner::open(dir, options, None)?) })
    }

    /// Opens the store that is at `remote`, with a cache of it in `dir`. What is added is acknowledged when the remote
    /// has it; what is not in the folder is fetched when it is asked for. No request is made yet.
    pub fn open_before(dir: &Path, options: StoreOptions, remote: Remote) -> Result<Self, Error> {
        Ok(Self { inner: Arc::new(Inner::open(dir, options, Some(remote))?) })
    }

    /// The store behind this one.
    pub fn behind(&self) -> Option<&Remote> {
        self.inner.behind.as_ref().map(Behind::remote)
    }

    /// Fetches what is below a digest and not here, where there is a store behind this one. What is too much for the
    /// folder, or cannot be written there, is fetched when it is read instead, and so is all while the folder is
    /// collected.
    fn fetch(&self, digest: &Digest, tree: bool, progress: &dyn Progress) -> Result<(), Error> {
        use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};

        let Some(behind) = &self.inner.behind else { return Ok(()) };
        let root = [Root::unlabelled(*digest, tree)];
        let is_here = |tables: &Tables| {
            reach::reach(&self.inner, tables, &root, true, &Quiet).map(|reached| reached.missing.is_empty())
        };
        if is_here(&self.inner.catalog.tables())? || is_here(&*self.inner.catalog.refresh()?)? {
            return Ok(());
        }
        let Some(_lock) = lock::attempt(&self.inner.dir.join("lock"), Mode::Shared)? else { return Ok(()) };
        let most = self.inner.limit.map(|limit| limit.fetched());
        match behind.pull(&self.inner, &root, most, progress) {
            Err(Error::MissingRemotely { digest, .. }) => {
                Err(Error::Missing { digest, store: self.inner.dir.clone() })
            }
            Err(Error::Io { source, .. })
                if matches!(
                    source.kind(),
                    PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
                ) =>
            {
                Ok(())
            }
            done => done,
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Stores a file or folder; durable on return. A symbolic link as `path` itself is followed.
    pub fn add(
        &self,
        path: &Path,
        stat: Option<&StatCache>,
        progress: &dyn Progress,
    ) -> Result<Entry, Error> {
        let options = AddOptions { stat, ..AddOptions::default() };
        let entries = self.add_many(&[path.to_owned()], &options, progress)?;
        entries.into_iter().next().ok_or(Error::Internal("nothing was added"))
    }

    /// Stores several files or folders with one sync for all; entries come in the order of `paths`.
    pub fn add_many(
        &self,
        paths: &[PathBuf],
        options: &AddOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<Entry>, Error> {
        let batch = Batch::begin(&self.inner, options.durable, &|| progress.cancelled())?;
        let entries = add::read_paths(paths, Some(&batch), options, progress)?;
        batch.finish(&entries.iter().map(Root::from).collect::<Vec<_>>())?;
        Ok(entries)
    }

    /// Composes a folder from entries that are stored already; folders between are made as needed. A path may not lie
    /// below another path that is a file.
    pub fn add_tree(&self, items: Vec<(TreePath, Entry)>) -> Result<Entry, Error> {
        let batch = Batch::begin(&self.inner, true, &|| false)?;
        for (_, entry) in &items {
            if !batch.contains(&entry.digest)? && !self.inner.knows(&entry.digest)? {
                return Err(Error::Missing { digest: entry.digest, store: self.inner.dir.clone() });
            }
        }
        let mut last = Err(Error::Internal("a folder was not composed"));
        for tree in tree::compose(items)? {
            last = Ok(add::put_tree(&tree, Some(&batch))?);
        }
        batch.finish(&last.iter().map(Root::from).collect::<Vec<_>>())?;
        last
    }

    /// Stores bytes as one object; durable on return.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let batch = Batch::begin(&self.inner, true, &|| false)?;
        let digest = content::put_bytes(bytes, &batch)?;
        batch.finish(&[Root::unlabelled(digest, false)])?;
        Ok(digest)
    }

    /// Stores several small contents as files with one sync for all; entries come in the order of `contents`.
    pub fn put_many(&self, contents: &[impl AsRef<[u8]> + Sync], sha256: bool) -> Result<Vec<Entry>, Error> {
        let batch = Batch::begin(&self.inner, true, &|| false)?;
        let entries: Vec<Entry> = contents
            .iter()
            .map(|bytes| Ok(writer::entry_of(&content::put_known(bytes.as_ref(), &batch, sha256)?)))
            .collect::<Result<_, Error>>()?;
        batch.finish(&entries.iter().map(Root::from).collect::<Vec<_>>())?;
        Ok(entries)
    }

    /// Stores a file whose bytes arrive one after another.
    pub fn writer(&self, options: WriterOptions) -> Writer {
        Writer::new(Arc::clone(&self.inner), options)
    }

    /// Makes everything added without [`AddOptions::durable`] durable.
    pub fn sync(&self) -> Result<(), Error> {
        let _lock = self.inner.shared_lock(&|| false)?;
        self.inner.sync()?;
        self.inner.send_on(&[])?;
        evict::trim_if_possible(&self.inner);
        Ok(())
    }

    /// The whole content of a file or listing. Use [`Self::read`] for what may be large.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.fetch(digest, false, &Quiet)?;
        self.inner.get(digest)
    }

    /// Streams a file's content. Each chunk is verified before a byte of it is handed out.
    pub fn read(&self, digest: &Digest) -> Result<impl Read + Send + use<>, Error> {
        self.fetch(digest, false, &Quiet)?;
        Reader::open(Arc::clone(&self.inner), digest)
    }

    /// The bytes of a file that `range` names, chunk by chunk; what lies beyond the file's end is left out.
    pub fn chunks(&self, digest: &Digest, range: Range<u64>) -> Result<Chunks, Error> {
        self.fetch(digest, false, &Quiet)?;
        Chunks::open(Arc::clone(&self.inner), digest, range)
    }

    /// The listing of a folder.
    pub fn tree(&self, digest: &Digest) -> Result<Tree, Error> {
        self.fetch(digest, false, &Quiet)?;
        self.inner.tree(digest)
    }

    /// Whether a stored content is the listing of a folder. Of one that is not, only the first and last bytes are read.
    pub fn is_tree(&self, digest: &Digest) -> Result<bool, Error> {
        let length = self.inner.length(digest)?;
        let (first, last) = (tree::BEGINNING.len() as u64, tree::END.len() as u64);
        if length < first + last
            || self.part(digest, 0..first)? != tree::BEGINNING
            || self.part(digest, length - last..length)? != tree::END
        {
            return Ok(false);
        }
        match self.tree(digest) {
            Ok(_) => Ok(true),
            Err(Error::Malformed { .. } | Error::BadName { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A few bytes of a content.
    fn part(&self, digest: &Digest, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for chunk in Chunks::open(Arc::clone(&self.inner), digest, range)? {
            bytes.extend_from_slice(chunk?.as_slice());
        }
        Ok(bytes)
    }

    /// The entry of a stored content of which only the digest is known: a folder if it is a folder's listing.
    pub fn entry(&self, digest: &Digest) -> Result<Entry, Error> {
        if self.is_tree(digest)? {
            let (bytes, files) = self.tree(digest)?.totals();
            return Ok(Entry { digest: *digest, kind: EntryKind::Tree, bytes, files, sha256: None });
        }
        let kind = EntryKind::File { executable: false };
        Ok(Entry { digest: *digest, kind, bytes: self.inner.length(digest)?, files: 1, sha256: None })
    }

    /// Every file below a folder (or the file itself, under an empty path), sorted by path; links are left out.
    pub fn files(&self, entry: &Entry) -> Result<Vec<(PathBuf, Entry)>, Error> {
        self.fetch(&entry.digest, entry.is_tree(), &Quiet)?;
        let target = Target::of(&self.inner, entry)?;
        let mut files: Vec<_> = target.files.into_iter().map(|file| (file.path, file.entry)).collect();
        files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(files)
    }

    /// Whether this one object is in the local folder, whatever a store behind it has.
    pub fn is_here(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.inner.catalog.find(digest)?.is_some())
    }

    /// Whether this one object is here or in the store behind; everything below it was stored before it. Index look-ups.
    pub fn contains(&self, digest: &Digest) -> Result<bool, Error> {
        let here = self.inner.catalog.find(digest)?.is_some();
        let found = here || self.inner.knows(digest)?;
        if let Some(behind) = self.inner.behind.as_ref().filter(|_| found) {
            behind.found(*digest, false);
        }
        Ok(found)
    }

    /// Whether the entry and everything below it are here or in the store behind, by index look-ups: content is not read.
    pub fn has(&self, entry: &Entry) -> Result<bool, Error> {
        let found = self.is_whole(entry)?;
        if let Some(behind) = self.inner.behind.as_ref().filter(|_| found) {
            // Whoever asked may refer to it now.
            behind.found(entry.digest, entry.is_tree());
        }
        Ok(found)
    }

    fn is_whole(&self, entry: &Entry) -> Result<bool, Error> {
        let root = [Root::new(entry)];
        let known = self.inner.catalog.tables();
        if reach::reach(&self.inner, &known, &root, true, &Quiet)?.missing.is_empty() {
            return Ok(true);
        }
        let fresh = self.inner.catalog.refresh()?;
        if reach::reach(&self.inner, &fresh, &root, true, &Quiet)?.missing.is_empty() {
            return Ok(true);
        }
        self.inner.behind.as_ref().map_or(Ok(false), |behind| behind.has(&self.inner, &root))
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
        self.fetch(&entry.digest, entry.is_tree(), progress)?;
        checkout::checkout(&self.inner, entry, dest, options, progress)
    }

    /// Reads every byte of the store and names each damaged or missing object, and what below `roots` needs it. Where
    /// there is a store behind this one, what is missing is what neither has.
    pub fn verify(&self, roots: &[Root], progress: &dyn Progress) -> Result<Vec<Damage>, Error> {
        let mut damage = verify::verify(&self.inner, roots, progress)?;
        if let Some(behind) = &self.inner.behind {
            let mut lost = Vec::with_capacity(damage.len());
            for one in damage {
                let missing = one.object.filter(|_| one.pack.is_empty());
                if !missing.map_or(Ok(false), |object| behind.knows(&self.inner, &object))? {
                    lost.push(one);
                }
            }
            damage = lost;
        }
        Ok(damage)
    }

    /// Keeps garbage collection away until dropped: take it before adding, drop it when the reference is recorded.
    pub fn hold(&self) -> Result<Hold, Error> {
        Ok(Hold { _lock: self.inner.shared_lock(&|| false)? })
    }

    /// Keeps in the folder what is used and added from now on until dropped, whatever the folder's largest size is.
    pub fn pin(&self) -> Result<Pin, Error> {
        Ok(Pin { _pinned: Pinned::new(&self.inner)? })
    }

    /// Removes what no root reaches. Writers wait while it runs, readers go on. With `dry_run` nothing changes.
    pub fn gc(&self, roots: &[Root], dry_run: bool, progress: &dyn Progress) -> Result<GcReport, Error> {
        gc::collect(&self.inner, || Ok(roots.to_vec()), dry_run, progress)
    }

    /// Like [`Self::gc`], but asks for the roots only once no writer is left, so that none can be missed.
    pub fn gc_with(
        &self,
        roots: impl FnOnce() -> Result<Vec<Root>, Error>,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<GcReport, Error> {
        gc::collect(&self.inner, roots, dry_run, progress)
    }

    /// Forgets objects that [`Self::verify`] found damaged, so that adding or pulling their files stores them anew.
    /// Until then these files count as missing. Gives the number of objects forgotten.
    pub fn discard(&self, damage: &[Damage]) -> Result<u64, Error> {
        repair::discard(&self.inner, &damage.iter().filter_map(|one| one.object).collect())
    }

    /// Reads everything below an entry and forgets what is damaged of it, as [`Self::discard`] does.
    pub fn mend(&self, entry: &Entry, progress: &dyn Progress) -> Result<u64, Error> {
        repair::mend(&self.inner, entry, progress)
    }

    /// Finds the objects again that index files which cannot be read speak of, and replaces these files. Gives the
    /// number of objects.
    pub fn reindex(&self, progress: &dyn Progress) -> Result<u64, Error> {
        repair::reindex(&self.inner, progress)
    }

    /// Notes that somebody uses this store, with a document that says where to ask what they need.
    pub fn register(&self, user: &Digest, document: &[u8]) -> Result<(), Error> {
        users::register(&self.inner, user, document)
    }

    /// Everybody who was registered, with their documents.
    pub fn users(&self) -> Result<Vec<(Digest, Vec<u8>)>, Error> {
        users::users(&self.inner)
    }

    /// Forgets a user who is gone.
    pub fn unregister(&self, user: &Digest) -> Result<(), Error> {
        users::unregister(&self.inner, user)
    }

    /// Counts and sizes, from the indexes.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        let mut packs = std::collections::HashSet::new();
        let tables = self.inner.catalog.refresh().unwrap_or_else(|_| self.inner.catalog.tables());
        let counted = tables.each(|location| {
            stats.objects += 1;
            stats.stored_bytes += location.header.record_len();
            stats.raw_bytes += u64::from(location.header.raw);
            packs.insert(location.pack);
            Ok(())
        });
        stats.packs = packs.len() as u64;
        stats.unreadable = tables.unreadable.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        stats.unreadable.extend(counted.err().map(|error| error.to_string()));
        stats
    }

    /// How much the roots occupy together, each object counted once.
    pub fn du(&self, roots: &[Root]) -> Result<Usage, Error> {
        let reached = reach::reach(&self.inner, &*self.inner.catalog.refresh()?, roots, false, &Quiet)?;
        let mut usage = Usage { missing: reached.missing.len() as u64, ..Usage::default() };
        for location in &reached.objects {
            usage.objects += 1;
            usage.stored_bytes += location.header.record_len();
            usage.raw_bytes += u64::from(location.header.raw);
        }
        Ok(usage)
    }

    /// Sends what `roots` need and `remote` lacks.
    pub async fn push(
        &self,
        remote: &Remote,
        roots: &[Root],
        progress: &dyn Progress,
    ) -> Result<Transfer, Error> {
        for root in roots {
            self.fetch(&root.digest, root.tree, progress)?;
        }
        remote::push(&self.inner, remote, roots, progress).await
    }

    /// Lists what lies at a remote, before the roots are read for [`Self::sweep`].
    pub async fn inventory(&self, remote: &Remote, dry_run: bool) -> Result<Inventory, Error> {
        remote::inventory(remote, dry_run).await
    }

    /// Removes from a remote what no root reaches, in two goes that lie `grace` apart; `roots` are read after the
    /// inventory was taken. Pushes and pulls go on meanwhile and lose nothing, as long as `grace` is longer than
    /// [`crate::NAMED_WITHIN`].
    pub async fn sweep(
        &self,
        remote: &Remote,
        inventory: &Inventory,
        roots: &[Root],
        grace: Duration,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<RemoteGc, Error> {
        remote::sweep(&self.inner, remote, inventory, roots, grace, dry_run, progress).await
    }

    /// Reads every byte of a remote's packs and indexes and names what is damaged there, and what below `roots` needs it;
    /// where it is the store behind this one, also what is missing. Memory does not grow with the remote's size.
    pub async fn verify_remote(
        &self,
        remote: &Remote,
        roots: &[Root],
        progress: &dyn Progress,
    ) -> Result<RemoteCheck, Error> {
        remote::verify(&self.inner, remote, roots, progress).await
    }

    /// Replaces what [`Self::verify_remote`] found damaged by what is whole in this store, and takes out what is not, so
    /// that pushing it sends it anew. Nothing that can be read becomes unreadable, wherever it ends.
    pub async fn repair_remote(
        &self,
        remote: &Remote,
        damage: &[Damage],
        progress: &dyn Progress,
    ) -> Result<RemoteRepair, Error> {
        remote::repair(&self.inner, remote, damage, progress).await
    }

    /// Fetches what `roots` need and this store lacks; verified and durable on return.
    pub async fn pull(
        &self,
        remote: &Remote,
        roots: &[Root],
        progress: &dyn Progress,
    ) -> Result<Transfer, Error> {
        remote::pull(&self.inner, remote, roots, None, progress).await
    }
}

/// The identity of a file or folder, as [`Store::add`] would give it, storing nothing.
pub fn hash(path: &Path, stat: Option<&StatCache>, progress: &dyn Progress) -> Result<Entry, Error> {
    hash_with(path, &AddOptions { stat, ..AddOptions::default() }, progress)
}

/// [`hash`] with options.
pub fn hash_with(path: &Path, options: &AddOptions<'_>, progress: &dyn Progress) -> Result<Entry, Error> {
    let entries = add::read_paths(&[path.to_owned()], None, options, progress)?;
    entries.into_iter().next().ok_or(Error::Internal("nothing was hashed"))
}
