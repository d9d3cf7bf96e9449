//! Taking damaged objects out of the index, so that adding or pulling their files stores them anew; and making the
//! index of packs again whose own index file cannot be read.

use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rayon::prelude::*;
use tidemill_core::{Digest, Progress, Quiet};

use crate::index::{Location, PackName};
use crate::inner::Inner;
use crate::list::List;
use crate::lock::{self, Lock, Mode};
use crate::reach::reach;
use crate::record::{HEADER, Header, Kind, PACK_MAGIC};
use crate::{Entry, Error, Root};

/// Takes objects out of the index; see [`crate::Store::discard`].
///
/// Other writers may go on: whoever finds such an object here meanwhile refers to bytes that nobody can read, as
/// before. Only the merging of index files, which replaces the same files, must stay away.
pub(crate) fn discard(inner: &Arc<Inner>, objects: &HashSet<Digest>) -> Result<u64, Error> {
    if objects.is_empty() {
        return Ok(0);
    }
    let _lock = inner.shared_lock(&|| false)?;
    inner.sync()?;
    let _alone = index_lock(inner)?;
    let tables = inner.catalog.refresh()?;
    let mut forgotten = HashSet::new();
    let mut kept = Vec::new();
    tables.each(|location| {
        if objects.contains(&location.header.digest) {
            forgotten.insert(location.header.digest);
        } else {
            kept.push(location);
        }
        Ok(())
    })?;
    if !forgotten.is_empty() {
        inner.replace_indexes(kept, tables.files().map(|(name, _)| name))?;
    }
    Ok(forgotten.len() as u64)
}

/// Reads everything below an entry and takes out what is damaged; gives the number of objects taken out.
pub(crate) fn mend(inner: &Arc<Inner>, entry: &Entry, progress: &dyn Progress) -> Result<u64, Error> {
    let mut forgotten = 0;
    loop {
        let tables = inner.catalog.refresh()?;
        let mut damaged = match reach(inner, &tables, &[Root::new(entry)], false, &Quiet) {
            Ok(reached) => reached
                .objects
                .par_iter()
                .filter_map(|location| damage_of(inner, location, progress).transpose())
                .collect::<Result<HashSet<_>, _>>()?,
            // A listing that cannot be read hides what it lists: that is looked at when it is here again.
            Err(Error::Damaged { object, .. }) => HashSet::from([object]),
            Err(Error::NotFound { .. }) => HashSet::new(),
            Err(error) => return Err(error),
        };
        damaged.extend(without_pack(inner)?);
        match discard(inner, &damaged)? {
            0 => return Ok(forgotten),
            more => forgotten += more,
        }
    }
}

/// The object, if it cannot be read.
fn damage_of(inner: &Inner, location: &Location, progress: &dyn Progress) -> Result<Option<Digest>, Error> {
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    let broken = match inner.catalog.fetch_at(location) {
        Ok(raw) => location.header.kind == Kind::File && List::decode(&raw).is_err(),
        Err(Error::Damaged { .. } | Error::NotFound { .. }) => true,
        Err(error) => return Err(error),
    };
    Ok(broken.then_some(location.header.digest))
}

/// The objects whose pack is gone.
fn without_pack(inner: &Inner) -> Result<HashSet<Digest>, Error> {
    let here: HashSet<PackName> = inner.packs_on_disk()?.into_iter().map(|(name, _)| name).collect();
    let mut lost = HashSet::new();
    inner.catalog.tables().each(|location| {
        if !here.contains(&location.pack) {
            lost.insert(location.header.digest);
        }
        Ok(())
    })?;
    Ok(lost)
}

/// Reads the packs that no index speaks of and makes one index of them, in place of the index files that cannot be
/// read; gives the number of objects found again. Packs have all that an index says, so nothing is lost with it.
pub(crate) fn reindex(inner: &Arc<Inner>, progress: &dyn Progress) -> Result<u64, Error> {
    if inner.catalog.refresh()?.unreadable.is_empty() {
        return Ok(0);
    }
    // Alone: a pack without index may also be one that a writer is about to publish.
    let _lock = inner.exclusive_lock(&|| progress.cancelled())?;
    let tables = inner.catalog.refresh()?;
    let indexed: HashSet<&PackName> = tables.packs().collect();
    let mut found = Vec::new();
    for (pack, size) in inner.packs_on_disk()? {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        if !indexed.contains(&pack) {
            scan(inner, pack, size, &mut found)?;
        }
    }
    let count = found.len() as u64;
    inner.replace_indexes(found, tables.unreadable.keys().map(String::as_str))?;
    Ok(count)
}

/// Collects the records of a pack up to the first one that cannot be told.
fn scan(inner: &Inner, pack: PackName, size: u64, found: &mut Vec<Location>) -> Result<(), Error> {
    let path = inner.catalog.pack_path(&pack);
    let file = fs_err::File::open(&path).map_err(Error::io("read", &path))?;
    let mut offset = PACK_MAGIC.len() as u64;
    let mut bytes = [0; HEADER];
    while offset + HEADER as u64 <= size {
        file.file().read_exact_at(&mut bytes, offset).map_err(Error::io("read from", &path))?;
        let Ok(header) = Header::decode(&bytes) else { break };
        let end = offset + header.record_len();
        if end > size {
            break;
        }
        found.push(Location { pack, offset, header });
        offset = end;
    }
    Ok(())
}

fn index_lock(inner: &Inner) -> Result<Lock, Error> {
    lock::acquire(&inner.dir.join("index.lock"), Mode::Exclusive, inner.options.lock_wait, &|| false)
}
