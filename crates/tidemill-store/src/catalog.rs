//! All index files of a store as one look-up, and the pack files behind them.
//!
//! The set of tables is a snapshot which readers share; it is renewed when an object is not found, since another
//! process may have published it meanwhile, and when a pack has gone, since garbage collection may have moved it.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tidemill_core::Digest;

use crate::Error;
use crate::index::{Location, PackName, Table};
use crate::record::{self, Encoding, HEADER, Header, Kind};

/// Open pack files are kept up to this number.
const OPEN_PACKS: usize = 64;
/// The use of a pack is noted at most so often.
const NOTED_EVERY: Duration = Duration::from_secs(10);

/// The indexes and packs in one folder.
#[derive(Debug)]
pub(crate) struct Catalog {
    dir: PathBuf,
    tables: RwLock<Arc<Tables>>,
    packs: Mutex<HashMap<PackName, OpenPack>>,
    /// Whether packs are told when they are used, for the sake of what is evicted first.
    marks_use: bool,
}

/// A pack file that is open, and when its use was last noted.
#[derive(Debug)]
struct OpenPack {
    file: Arc<fs_err::File>,
    noted: Option<Instant>,
}

/// A snapshot of the index files.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    by_name: BTreeMap<String, Arc<Table>>,
    /// Files that cannot be read as an index, with the reason.
    pub(crate) unreadable: BTreeMap<String, String>,
}

impl Tables {
    /// Where an object is.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<Location>, Error> {
        for table in self.by_name.values() {
            if let Some(location) = table.find(digest)? {
                return Ok(Some(location));
            }
        }
        Ok(None)
    }

    /// Every entry of every table; an object that is in several is visited several times.
    pub(crate) fn each(&self, mut visit: impl FnMut(Location) -> Result<(), Error>) -> Result<(), Error> {
        self.by_name.values().try_for_each(|table| table.each(&mut visit))
    }

    /// Names of the index files with their tables.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &Table)> {
        self.by_name.iter().map(|(name, table)| (name.as_str(), table.as_ref()))
    }

    /// The packs that indexes speak of; one that is in several comes several times.
    pub(crate) fn packs(&self) -> impl Iterator<Item = &PackName> {
        self.by_name.values().flat_map(|table| table.packs())
    }
}

impl Catalog {
    /// Loads the indexes below the store's folder.
    pub(crate) fn open(dir: &Path, marks_use: bool) -> Result<Self, Error> {
        let (tables, packs) = (RwLock::default(), Mutex::new(HashMap::new()));
        let catalog = Self { dir: dir.to_owned(), tables, packs, marks_use };
        catalog.refresh()?;
        Ok(catalog)
    }

    pub(crate) fn index_dir(&self) -> PathBuf {
        self.dir.join("index")
    }

    pub(crate) fn pack_path(&self, pack: &PackName) -> PathBuf {
        self.dir.join("packs").join(format!("{}.pack", pack.hex()))
    }

    /// The indexes as they were when last looked at.
    pub(crate) fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loads index files that are new and forgets those that are gone.
    pub(crate) fn refresh(&self) -> Result<Arc<Tables>, Error> {
        for _ in 0..16 {
            let before = self.tables();
            if let Some(tables) = load(&self.index_dir(), &before)? {
                let tables = Arc::new(tables);
                *self.tables.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&tables);
                if self.marks_use {
                    // Packs that were evicted by others take space as long as they are open.
                    let mut open = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
                    open.retain(|pack, _| tables.packs().any(|named| named == pack));
                }
                return Ok(tables);
            }
        }
        Err(Error::Busy { path: self.dir.clone() })
    }

    /// Where an object is, also if it was published a moment ago.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<Location>, Error> {
        match self.tables().find(digest)? {
            Some(location) => Ok(Some(location)),
            None => self.refresh()?.find(digest),
        }
    }

    /// The raw bytes of an object, verified, and what they are.
    pub(crate) fn fetch(&self, digest: &Digest) -> Result<(Kind, Vec<u8>), Error> {
        self.locate(digest, |location| {
            let record = self.read_record(location, true)?;
            Ok((location.header.kind, opened(location, &record)?))
        })
    }

    /// The raw bytes of a blob, verified: those after the given number of others. Spares the copy that [`Self::fetch`]
    /// makes of what is not compressed.
    pub(crate) fn fetch_blob(&self, digest: &Digest) -> Result<(Vec<u8>, usize), Error> {
        self.locate(digest, |location| {
            let record = self.read_record(location, true)?;
            if location.header.encoding == Encoding::Plain && location.header.kind == Kind::Blob {
                record::check(&location.header, &record[HEADER..])
                    .map_err(|error| damaged(location, error))?;
                return Ok((record, HEADER));
            }
            opened(location, &record).map(|raw| (raw, 0))
        })
    }

    /// Finds an object and reads it, once more if garbage collection moved it meanwhile.
    fn locate<T>(&self, digest: &Digest, read: impl Fn(&Location) -> Result<T, Error>) -> Result<T, Error> {
        let mut fresh = false;
        loop {
            let tables = if fresh { self.refresh()? } else { self.tables() };
            let Some(location) = tables.find(digest)? else {
                if fresh {
                    return Err(Error::Missing { digest: *digest, store: self.dir.clone() });
                }
                fresh = true;
                continue;
            };
            match read(&location) {
                // Garbage collection moved it since the tables were loaded: look once more.
                Err(Error::NotFound { .. }) if !fresh => fresh = true,
                Err(Error::NotFound { .. }) => return Err(damaged(&location, "the pack file is missing")),
                done => return done,
            }
        }
    }

    /// The raw bytes of the object at a place, verified. What sends, checks or tidies up reads by place: that is no use of an object,
    /// by which it would stay longer.
    pub(crate) fn fetch_at(&self, location: &Location) -> Result<Vec<u8>, Error> {
        opened(location, &self.fetch_record(location)?)
    }

    /// A whole record as it lies in the pack; its header is checked, its content is not.
    pub(crate) fn fetch_record(&self, location: &Location) -> Result<Vec<u8>, Error> {
        self.read_record(location, false)
    }

    fn read_record(&self, location: &Location, is_use: bool) -> Result<Vec<u8>, Error> {
        let file = self.pack(&location.pack, is_use)?;
        let mut bytes = vec![0; HEADER + location.header.stored as usize];
        file.file().read_exact_at(&mut bytes, location.offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => damaged(location, "the pack file ends too early"),
            _ => Error::io("read from", &self.pack_path(&location.pack))(error),
        })?;
        match Header::decode(&bytes) {
            Ok(header) if header == location.header => Ok(bytes),
            Ok(_) => Err(damaged(location, "the pack holds another object there than the index says")),
            Err(error) => Err(damaged(location, error)),
        }
    }

    fn pack(&self, name: &PackName, is_use: bool) -> Result<Arc<fs_err::File>, Error> {
        let notes = self.marks_use && is_use;
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = packs.get_mut(name) {
            if notes && open.noted.is_none_or(|noted| noted.elapsed() > NOTED_EVERY) {
                open.noted = Some(Instant::now());
                note_use(&open.file);
            }
            return Ok(Arc::clone(&open.file));
        }
        let path = self.pack_path(name);
        let file = Arc::new(fs_err::File::open(&path).map_err(Error::io("read", &path))?);
        if packs.len() >= OPEN_PACKS {
            packs.clear();
        }
        if notes {
            note_use(&file);
        }
        packs.insert(*name, OpenPack { file: Arc::clone(&file), noted: notes.then(Instant::now) });
        Ok(file)
    }

    /// Closes all pack files, so that removed ones free their space.
    pub(crate) fn close_packs(&self) {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Gives a pack the present time as that of its last change. Where it cannot, it looks older than it is.
fn note_use(pack: &fs_err::File) {
    use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

    let at = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: at(UTIME_OMIT), last_modification: at(UTIME_NOW) };
    let _ = futimens(pack, &times);
}

/// The raw bytes of an object from its whole record, verified.
fn opened(location: &Location, record: &[u8]) -> Result<Vec<u8>, Error> {
    record::open(&location.header, &record[HEADER..]).map_err(|error| damaged(location, error))
}

/// The error for an object whose record is not as it was written.
pub(crate) fn damaged(location: &Location, what: impl std::fmt::Display) -> Error {
    Error::Damaged {
        object: location.header.digest,
        pack: format!("{}.pack", location.pack.hex()),
        offset: location.offset,
        what: what.to_string(),
    }
}

/// The tables of a folder, taking those already loaded from `before`. `None` if a file vanished on the way, which
/// means that the folder must be listed again.
fn load(dir: &Path, before: &Tables) -> Result<Option<Tables>, Error> {
    let mut tables = Tables::default();
    for entry in fs_err::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let Some(name) = entry.file_name().to_str().filter(|name| is_index(name)).map(str::to_owned) else {
            continue;
        };
        if let Some(table) = before.by_name.get(&name) {
            tables.by_name.insert(name, Arc::clone(table));
            continue;
        }
        match Table::load(&entry.path()) {
            Ok(table) => {
                tables.by_name.insert(name, Arc::new(table));
            }
            Err(Error::Malformed { why, .. }) => {
                tables.unreadable.insert(name, why);
            }
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(tables))
}

/// Whether an index file of this name counts: complete, and not left unsynced by another boot of the machine.
fn is_index(name: &str) -> bool {
    match IndexName::parse(name) {
        Some(IndexName::Synced) => true,
        Some(IndexName::Unsynced { boot }) => boot_id().is_some_and(|id| id == boot),
        None => false,
    }
}

/// What the name of an index file says. Names are `DIGEST.idx`, and `DIGEST-BOOT.unsynced.idx` for what has not been
/// synced to disk: it can be relied on only as long as the machine has not been restarted since.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IndexName<'a> {
    Synced,
    Unsynced { boot: &'a str },
}

impl<'a> IndexName<'a> {
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let stem = name.strip_suffix(".idx").filter(|stem| !stem.starts_with('.'))?;
        match stem.strip_suffix(".unsynced") {
            None => Some(Self::Synced),
            Some(stem) => stem.split_once('-').map(|(_, boot)| Self::Unsynced { boot }),
        }
    }
}

/// Identifies the time since the machine was started; `None` where the system does not tell.
pub(crate) fn boot_id() -> Option<&'static str> {
    static ID: OnceLock<Option<String>> = OnceLock::new();
    ID.get_or_init(|| {
        let text = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.chars().filter(char::is_ascii_hexdigit).take(16).collect())
    })
    .as_deref()
}
