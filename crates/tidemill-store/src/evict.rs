//! Keeps the folder of a cache under its limit: the packs that were used longest ago leave it, if everything in them is
//! at the store behind.
//!
//! When a pack was used is the time of its file's last change, which readers note. A pack stays while
//!
//! - something in it is not at the store behind, or is condemned there,
//! - its index has not been synced, so that it may be what somebody is just adding,
//! - somebody who pinned the store began before it was last used.
//!
//! An eviction needs the index to itself, as the merging of index files does, and keeps collections away; writers and
//! readers go on. First a new index without the packs is complete and synced, then the old ones go, then the packs. So
//! at no moment does an index speak of a pack that was evicted, and a crash between leaves files that are in no index,
//! which the next one to open the folder removes. Who had looked up something that is gone meanwhile looks once more and
//! then asks the store behind.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::Digest;

use crate::Error;
use crate::catalog::{IndexName, Tables};
use crate::disk::{self, temporary_name};
use crate::index::{Location, PackName};
use crate::inner::{Inner, names_in};
use crate::lock::{self, Lock, Mode};

/// The largest size of a folder, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(u64);

impl Limit {
    /// Less than what a few chunks need cannot be kept.
    const SMALLEST: u64 = 64 << 10;

    pub(crate) fn new(bytes: u64) -> Self {
        Self(bytes.max(Self::SMALLEST))
    }

    /// Packs are closed at this size, so that what leaves the folder is a small part of it.
    pub(crate) const fn pack(self) -> u64 {
        self.0 / 16
    }

    /// A session that wrote so much publishes and sends it, so that it may leave the folder.
    pub(crate) const fn session(self) -> u64 {
        self.0 / 8
    }

    /// What is fetched at once is kept in the folder up to this size.
    pub(crate) const fn fetched(self) -> u64 {
        self.0 / 4
    }

    /// From this size on something has to go: what is left is for sessions that write.
    const fn full(self) -> u64 {
        self.0 / 16 * 11
    }

    /// So much stays then.
    const fn goal(self) -> u64 {
        self.0 / 2
    }
}

/// Seconds and nanoseconds.
type Time = (i64, i64);

/// Makes room where the folder is too large.
pub(crate) fn trim(inner: &Arc<Inner>) -> Result<(), Error> {
    let (Some(limit), Some(behind)) = (inner.limit, &inner.behind) else { return Ok(()) };
    if size_of(&inner.dir)? <= limit.full() {
        return Ok(());
    }
    let Some(_lock) = lock::attempt(&inner.dir.join("lock"), Mode::Shared)? else { return Ok(()) };
    let wait = inner.options.lock_wait;
    let _alone = lock::acquire(&inner.dir.join("index.lock"), Mode::Exclusive, wait, &|| false)?;
    // Another process may have done it meanwhile.
    let size = size_of(&inner.dir)?;
    if size <= limit.full() {
        return Ok(());
    }
    let pinned = pinned_since(inner)?;
    let tables = inner.catalog.refresh()?;
    let first = leaving(inner, &tables, pinned, limit, size, &behind.certain(inner, false)?)?;
    let gone = if first.enough {
        first.packs
    } else {
        // Other processes may have sent what is here since this one looked.
        leaving(inner, &tables, pinned, limit, size, &behind.certain(inner, true)?)?.packs
    };
    if gone.is_empty() {
        return Ok(());
    }
    let (mut kept, mut old): (Vec<Location>, Vec<&str>) = (Vec::new(), Vec::new());
    for (name, table) in tables.files() {
        if table.packs().iter().any(|pack| gone.contains(pack)) {
            old.push(name);
            table.each(|location| {
                if !gone.contains(&location.pack) {
                    kept.push(location);
                }
                Ok(())
            })?;
        }
    }
    inner.replace_indexes(kept, old)?;
    for pack in gone {
        disk::remove(&inner.catalog.pack_path(&pack))?;
    }
    Ok(())
}

/// The packs that leave.
struct Leaving {
    packs: HashSet<PackName>,
    /// False where more would have to leave, and would if it were known that they are at the store behind.
    enough: bool,
}

fn leaving(
    inner: &Inner,
    tables: &Tables,
    pinned: Option<Time>,
    limit: Limit,
    size: u64,
    is_there: &dyn Fn(&Digest) -> bool,
) -> Result<Leaving, Error> {
    let indexed: HashSet<&PackName> = tables.packs().collect();
    let (mut unsynced, mut lacking) = (HashSet::new(), HashSet::new());
    for (name, table) in tables.files() {
        if IndexName::parse(name) != Some(IndexName::Synced) {
            unsynced.extend(table.packs().iter().copied());
            continue;
        }
        table.each(|location| {
            if !lacking.contains(&location.pack) && !is_there(&location.header.digest) {
                lacking.insert(location.pack);
            }
            Ok(())
        })?;
    }
    let mut packs = packs_by_use(inner)?;
    packs.retain(|(used, pack, _)| {
        indexed.contains(pack) && !unsynced.contains(pack) && pinned.is_none_or(|since| *used < since)
    });
    let could_help = packs.iter().any(|(_, pack, _)| lacking.contains(pack));
    let (mut gone, mut left) = (HashSet::new(), size);
    for (_, pack, bytes) in packs.into_iter().filter(|(_, pack, _)| !lacking.contains(pack)) {
        if left <= limit.goal() {
            break;
        }
        left = left.saturating_sub(bytes);
        gone.insert(pack);
    }
    Ok(Leaving { packs: gone, enough: left <= limit.full() || !could_help })
}

/// [`trim`] where it is no matter for whoever works on the store whether it succeeds: what could not leave now does so
/// later.
pub(crate) fn trim_if_possible(inner: &Arc<Inner>) {
    let _ = trim(inner);
}

/// Removes what a process that was killed left: unfinished files, and packs that are in no index. Does nothing while
/// somebody else uses the store, since these may be theirs.
pub(crate) fn clean(inner: &Inner) -> Result<(), Error> {
    if inner.limit.is_none() {
        return Ok(());
    }
    // Where nothing can be written there is nothing to clean.
    let Ok(Some(_alone)) = lock::attempt(&inner.dir.join("lock"), Mode::Exclusive) else { return Ok(()) };
    let tables = inner.catalog.refresh()?;
    if !tables.unreadable.is_empty() {
        return Ok(());
    }
    let indexed: HashSet<&PackName> = tables.packs().collect();
    for (pack, _) in inner.packs_on_disk()? {
        if !indexed.contains(&pack) {
            let _ = disk::remove(&inner.catalog.pack_path(&pack));
        }
    }
    for name in names_in(&inner.tmp_dir())? {
        let _ = disk::remove(&inner.tmp_dir().join(name));
    }
    Ok(())
}

/// The packs with their sizes, those that were used longest ago first.
fn packs_by_use(inner: &Inner) -> Result<Vec<(Time, PackName, u64)>, Error> {
    let mut packs = Vec::new();
    for (pack, bytes) in inner.packs_on_disk()? {
        // Another process may have evicted it just now.
        if let Ok(metadata) = fs_err::metadata(inner.catalog.pack_path(&pack)) {
            packs.push(((metadata.mtime(), metadata.mtime_nsec()), pack, bytes));
        }
    }
    packs.sort_unstable();
    Ok(packs)
}

/// Bytes of everything in a folder and below it.
fn size_of(dir: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    let entries = match fs_err::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Error::io("list", dir)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("list", dir))?;
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Somebody who wants to find again here what they used or added, until this is dropped.
#[derive(Debug)]
pub(crate) struct Pinned {
    inner: Arc<Inner>,
    path: PathBuf,
    _lock: Option<Lock>,
}

impl Pinned {
    /// Pins what is used from now on; `None` where the folder has no limit.
    pub(crate) fn new(inner: &Arc<Inner>) -> Result<Option<Self>, Error> {
        if inner.limit.is_none() {
            return Ok(None);
        }
        let dir = folder(inner);
        disk::create_dir(&dir)?;
        // It gets its name when it is locked, so that nobody takes it for one that was left.
        let (unlocked, path) =
            (dir.join(temporary_name("pin")), dir.join(format!("{}.pin", disk::unique().hex())));
        let held = lock::attempt(&unlocked, Mode::Exclusive)?;
        fs_err::rename(&unlocked, &path).map_err(Error::io("create", &path))?;
        Ok(Some(Self { inner: Arc::clone(inner), path, _lock: held }))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = disk::remove(&self.path);
        trim_if_possible(&self.inner);
    }
}

fn folder(inner: &Inner) -> PathBuf {
    inner.dir.join("pins")
}

/// Since when somebody who is still there pinned what they use. Forgets those who are not.
fn pinned_since(inner: &Inner) -> Result<Option<Time>, Error> {
    let dir = folder(inner);
    let names = match names_in(&dir) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        names => names?,
    };
    let mut since = None;
    for name in names.into_iter().filter(|name| !name.starts_with('.')) {
        let path = dir.join(name);
        let Ok(metadata) = fs_err::metadata(&path) else { continue };
        let began = (metadata.mtime(), metadata.mtime_nsec());
        match lock::attempt(&path, Mode::Exclusive)? {
            Some(_) => drop(disk::remove(&path)?),
            None => since = Some(since.map_or(began, |since: Time| since.min(began))),
        }
    }
    Ok(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_between_two_looks_fits_beside_what_stays() {
        for bytes in [0, 1 << 20, 5_000_000, 20_000_000_000] {
            let limit = Limit::new(bytes);
            assert!(limit.goal() < limit.full());
            // Two sessions may write at a time, each with a pack in the making.
            assert!(limit.full() + 2 * (limit.session() + limit.pack() / 2) <= limit.0, "{limit:?}");
            assert!(limit.fetched() <= 2 * limit.session());
        }
    }
}
