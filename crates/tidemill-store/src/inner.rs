//! What all clones of a store share: its folder, options, indexes and locks; opening, publishing, syncing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use tidemill_core::Digest;

use crate::catalog::{Catalog, IndexName, boot_id};
use crate::cut::Parameters;
use crate::disk::{self, TempFile};
use crate::evict::{self, Limit};
use crate::index::{self, Location, PackName, Table};
use crate::lock::{self, Lock, Mode};
use crate::record::{self, Kind};
use crate::remote::{Behind, Staged};
use crate::{Error, Remote, Root, StoreOptions};

/// The newest format this version reads and the one it writes.
const FORMAT: u32 = 1;
/// Small index files are merged when there are this many.
const MANY_INDEXES: usize = 32;
/// Index files up to this size count as small.
const SMALL_INDEX: u64 = 4 << 20;
/// From this many unsynced indexes on, one sync of the file system is cheaper than one for each file.
const MANY_UNSYNCED: usize = 4;

/// The shared state behind [`crate::Store`].
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) dir: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) catalog: Catalog,
    /// The store that this one is a cache of.
    pub(crate) behind: Option<Behind>,
    /// How large the folder of such a cache may become.
    pub(crate) limit: Option<Limit>,
}

/// The content of the `format` file.
#[derive(Serialize, Deserialize)]
struct Format {
    tidemill_store: u32,
    chunking: Option<Parameters>,
}

impl Inner {
    pub(crate) fn open(dir: &Path, mut options: StoreOptions, behind: Option<Remote>) -> Result<Self, Error> {
        if !check_format(dir)? {
            create(dir)?;
        }
        let behind = behind.map(Behind::new).transpose()?;
        let limit = options.cache_size.filter(|_| behind.is_some()).map(Limit::new);
        if let Some(limit) = limit {
            options.pack_size = options.pack_size.min(limit.pack());
        }
        let catalog = Catalog::open(dir, limit.is_some())?;
        let inner = Self { dir: dir.to_owned(), options, catalog, behind, limit };
        inner.recover_unsynced()?;
        evict::clean(&inner)?;
        Ok(inner)
    }

    /// The raw bytes of an object, verified, and what they are: from here, or from the store behind where it is not
    /// here or damaged here. What comes from there is not kept.
    pub(crate) fn fetch(self: &Arc<Self>, digest: &Digest) -> Result<(Kind, Vec<u8>), Error> {
        match (self.catalog.fetch(digest), &self.behind) {
            (Err(error @ (Error::Missing { .. } | Error::Damaged { .. })), Some(behind)) => {
                let mut found = match behind.fetch(self, &[*digest]) {
                    Err(Error::MissingRemotely { .. }) => return Err(error),
                    found => found?,
                };
                let (header, stored) = found.remove(digest).ok_or(error)?;
                Ok((header.kind, record::open(&header, &stored)?))
            }
            (found, _) => found,
        }
    }

    /// [`Self::fetch`] of what may have been fetched ahead.
    pub(crate) fn fetch_with(
        self: &Arc<Self>,
        ahead: &Staged,
        digest: &Digest,
    ) -> Result<(Kind, Vec<u8>), Error> {
        match ahead.get(digest) {
            Some((header, stored)) => Ok((header.kind, record::open(header, stored)?)),
            None => self.fetch(digest),
        }
    }

    /// Those of the objects that are not here, as the store behind has them. The caller sees to it that they fit into
    /// memory.
    pub(crate) fn ahead(self: &Arc<Self>, digests: &[Digest]) -> Result<Staged, Error> {
        let Some(behind) = &self.behind else { return Ok(Staged::new()) };
        let tables = self.catalog.tables();
        let mut lacking = Vec::new();
        for digest in digests {
            if tables.find(digest)?.is_none() {
                lacking.push(*digest);
            }
        }
        match behind.fetch(self, &lacking) {
            Err(Error::MissingRemotely { digest, .. }) => {
                Err(Error::Missing { digest, store: self.dir.clone() })
            }
            found => found,
        }
    }

    /// Whether any of the objects would have to be fetched.
    pub(crate) fn lacks_any(&self, digests: impl IntoIterator<Item = Digest>) -> Result<bool, Error> {
        if self.behind.is_none() {
            return Ok(false);
        }
        let tables = self.catalog.tables();
        for digest in digests {
            if tables.find(&digest)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an object is here or in the store behind.
    pub(crate) fn knows(self: &Arc<Self>, digest: &Digest) -> Result<bool, Error> {
        if self.catalog.tables().find(digest)?.is_some() {
            return Ok(true);
        }
        self.behind.as_ref().map_or(Ok(false), |behind| behind.knows(self, digest))
    }

    pub(crate) fn tmp_dir(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    pub(crate) fn packs_dir(&self) -> PathBuf {
        self.dir.join("packs")
    }

    pub(crate) fn shared_lock(&self, cancelled: &dyn Fn() -> bool) -> Result<Lock, Error> {
        lock::acquire(&self.dir.join("lock"), Mode::Shared, self.options.lock_wait, cancelled)
    }

    pub(crate) fn exclusive_lock(&self, cancelled: &dyn Fn() -> bool) -> Result<Lock, Error> {
        lock::acquire(&self.dir.join("lock"), Mode::Exclusive, self.options.lock_wait, cancelled)
    }

    /// Sends what was stored to the store behind this one, if there is one, and says there that `results` are needed.
    pub(crate) fn send_on(self: &Arc<Self>, results: &[Root]) -> Result<(), Error> {
        self.behind.as_ref().map_or(Ok(()), |behind| behind.push(self, results))
    }

    /// Makes objects visible whose packs have their final names.
    pub(crate) fn publish_index(&self, entries: Vec<Location>, durable: bool) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let bytes = index::encode(entries);
        let name = index_stem(&bytes);
        let mut file = TempFile::create(&self.tmp_dir(), "idx")?;
        file.write_all(&bytes)?;
        let dir = self.catalog.index_dir();
        if let Some(boot) = boot_id().filter(|_| !durable) {
            return file.persist(&dir.join(format!("{name}-{boot}.unsynced.idx")));
        }
        file.sync()?;
        disk::sync_dir(&self.packs_dir())?;
        file.persist(&dir.join(format!("{name}.idx")))?;
        disk::sync_dir(&dir)
    }

    /// Syncs what was published without, and gives it the names of synced indexes.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let Some(boot) = boot_id() else { return Ok(()) };
        let names = self.unsynced(|found| found == boot)?;
        if names.is_empty() {
            return Ok(());
        }
        if names.len() >= MANY_UNSYNCED {
            disk::sync_file_system(&self.dir)?;
            // Content and names are on the disk. Should the new names be lost with the power, what has the old ones is
            // looked through when the store is opened, and found whole.
            self.rename_synced(&names)?;
        } else {
            self.sync_each(&names)?;
            disk::sync_dir(&self.packs_dir())?;
            self.rename_synced(&names)?;
            disk::sync_dir(&self.catalog.index_dir())?;
        }
        self.catalog.refresh()?;
        self.compact_index()
    }

    fn sync_each(&self, names: &[String]) -> Result<(), Error> {
        let mut files = BTreeSet::new();
        for name in names {
            let path = self.catalog.index_dir().join(name);
            // Another process may have synced and renamed it meanwhile.
            match Table::load(&path) {
                Ok(table) => files.extend(table.packs().iter().map(|pack| self.catalog.pack_path(pack))),
                Err(Error::NotFound { .. } | Error::Io { .. }) => continue,
                Err(error) => return Err(error),
            }
            files.insert(path);
        }
        for path in files {
            if let Ok(file) = fs_err::File::open(&path) {
                file.sync_data().map_err(Error::io("sync", &path))?;
            }
        }
        Ok(())
    }

    /// Gives published indexes the names of synced ones.
    fn rename_synced(&self, names: &[String]) -> Result<(), Error> {
        let dir = self.catalog.index_dir();
        for name in names {
            let Some((stem, _)) = name.split_once('-') else { continue };
            let (from, to) = (dir.join(name), dir.join(format!("{stem}.idx")));
            match fs_err::rename(&from, &to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("create", &to)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// After a restart of the machine: of what had not been synced before it, keeps what is whole.
    fn recover_unsynced(&self) -> Result<(), Error> {
        let names = self.unsynced(|found| Some(found) != boot_id())?;
        if names.is_empty() {
            return Ok(());
        }
        let _lock = self.shared_lock(&|| false)?;
        let mut whole = Vec::new();
        for name in names {
            let path = self.catalog.index_dir().join(&name);
            let intact = Table::load(&path)
                .and_then(|table| table.each(|location| self.catalog.fetch_at(&location).map(|_| ())));
            match intact {
                Ok(()) => whole.push(name),
                Err(_) => drop(disk::remove(&path)?),
            }
        }
        self.sync_each(&whole)?;
        disk::sync_dir(&self.packs_dir())?;
        self.rename_synced(&whole)?;
        disk::sync_dir(&self.catalog.index_dir())?;
        self.catalog.refresh().map(|_| ())
    }

    fn unsynced(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        Ok(self
            .index_names()?
            .into_iter()
            .filter(
                |name| matches!(IndexName::parse(name), Some(IndexName::Unsynced { boot }) if wanted(boot)),
            )
            .collect())
    }

    /// The names of all files in the index folder.
    pub(crate) fn index_names(&self) -> Result<Vec<String>, Error> {
        names_in(&self.catalog.index_dir())
    }

    /// Merges small synced index files into one when there are many, so that look-ups and opening stay quick.
    pub(crate) fn compact_index(&self) -> Result<(), Error> {
        let tables = self.catalog.tables();
        let small: Vec<(&str, &Table)> = tables
            .files()
            .filter(|(name, table)| {
                IndexName::parse(name) == Some(IndexName::Synced) && (table.len() as u64) < SMALL_INDEX / 64
            })
            .collect();
        if small.len() < MANY_INDEXES {
            return Ok(());
        }
        let Some(_alone) = lock::attempt(&self.dir.join("index.lock"), Mode::Exclusive)? else {
            return Ok(());
        };
        let here: BTreeSet<String> = self.index_names()?.into_iter().collect();
        if small.iter().any(|(name, _)| !here.contains(*name)) {
            return Ok(());
        }
        let mut entries = Vec::new();
        for (_, table) in &small {
            table.each(|location| {
                entries.push(location);
                Ok(())
            })?;
        }
        self.replace_indexes(entries, small.iter().map(|(name, _)| *name))
    }

    /// Publishes one index in place of others.
    pub(crate) fn replace_indexes<'a>(
        &self,
        entries: Vec<Location>,
        old: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let new = if entries.is_empty() {
            None
        } else {
            let bytes = index::encode(entries);
            let name = format!("{}.idx", index_stem(&bytes));
            let mut file = TempFile::create(&self.tmp_dir(), "idx")?;
            file.write_all(&bytes)?;
            file.sync()?;
            disk::sync_dir(&self.packs_dir())?;
            file.persist(&self.catalog.index_dir().join(&name))?;
            disk::sync_dir(&self.catalog.index_dir())?;
            Some(name)
        };
        for name in old {
            if new.as_deref() != Some(name) {
                disk::remove(&self.catalog.index_dir().join(name))?;
            }
        }
        disk::sync_dir(&self.catalog.index_dir())?;
        self.catalog.refresh().map(|_| ())
    }

    /// The packs that lie in the folder, with their sizes.
    pub(crate) fn packs_on_disk(&self) -> Result<Vec<(PackName, u64)>, Error> {
        let dir = self.packs_dir();
        let mut packs = Vec::new();
        for name in names_in(&dir)? {
            let Some(pack) = name.strip_suffix(".pack").and_then(|hex| PackName::from_hex(hex).ok()) else {
                continue;
            };
            let path = dir.join(name);
            match fs_err::metadata(&path) {
                Ok(metadata) => packs.push((pack, metadata.len())),
                // It left a cache since the folder was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("inspect", &path)(error)),
            }
        }
        Ok(packs)
    }
}

fn index_stem(bytes: &[u8]) -> String {
    tidemill_core::Digest::of(bytes).hex()
}

/// The names in a folder that are text, sorted.
pub(crate) fn names_in(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether `dir` holds a store that this version can use; an error if it holds something else.
fn check_format(dir: &Path) -> Result<bool, Error> {
    let path = dir.join("format");
    let bytes = match fs_err::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("open", &path)(error)),
    };
    let bad = |why: String| Error::NotAStore { path: dir.to_owned(), why };
    let format: Format = serde_json::from_slice(&bytes)
        .map_err(|error| bad(format!("its file `format` is damaged: {error}")))?;
    if format.tidemill_store > FORMAT {
        return Err(Error::NewerFormat { path: dir.to_owned(), found: format.tidemill_store, known: FORMAT });
    }
    if !format.chunking.as_ref().is_some_and(Parameters::is_known) {
        return Err(bad("its file `format` names other chunking parameters".into()));
    }
    Ok(true)
}

/// Makes a new store. The `format` file comes last: without it the folder is not a store yet.
fn create(dir: &Path) -> Result<(), Error> {
    disk::create_dir(dir)?;
    let folders = ["packs", "index", "remotes", "tmp", "users", "pins"];
    let files = ["lock", "index.lock", "holder"];
    let strange = names_in(dir)?.into_iter().find(|name| {
        // A name with a dot is one of our temporary files, left by a process that died here.
        !folders.contains(&name.as_str()) && !files.contains(&name.as_str()) && !name.starts_with('.')
    });
    if let Some(name) = strange {
        let why = format!("it holds `{name}` but no file `format`");
        return Err(Error::NotAStore { path: dir.to_owned(), why });
    }
    for name in folders {
        disk::create_dir(&dir.join(name))?;
    }
    // Locks can then be taken where nothing can be created.
    drop(lock::attempt(&dir.join("lock"), Mode::Shared)?);
    let format = Format { tidemill_store: FORMAT, chunking: Some(Parameters::current()) };
    let text =
        serde_json::to_vec(&format).map_err(|_| Error::Internal("the format file cannot be written"))?;
    disk::replace(&dir.join("format"), &text)
}
