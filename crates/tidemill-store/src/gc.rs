//! Garbage collection: mark what the roots reach, drop packs that hold nothing of it, rewrite packs that hold little.
//!
//! Nothing is removed before its replacement is complete and synced: first new packs, then one new index with what
//! stays, then the old indexes go, then the old packs. A crash between leaves files that are in no index, which the
//! next collection removes. Objects that are not reached vanish from the index even where their bytes stay in a pack:
//! an object in the index always has everything below it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidemill_core::{Progress, Unit};

use crate::catalog::IndexName;
use crate::index::{Location, PackName};
use crate::inner::{Inner, names_in};
use crate::lock::Lock;
use crate::pack::PackWriter;
use crate::reach::reach;
use crate::record::HEADER;
use crate::{Error, GcReport, Root, disk};

/// Collects; see [`crate::Store::gc_with`].
pub(crate) fn collect(
    inner: &Arc<Inner>,
    roots: impl FnOnce() -> Result<Vec<Root>, Error>,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<GcReport, Error> {
    let _lock: Lock = if dry_run {
        inner.shared_lock(&|| progress.cancelled())?
    } else {
        inner.exclusive_lock(&|| progress.cancelled())?
    };
    if !dry_run {
        inner.sync()?;
    }
    let old_indexes = inner.index_names()?;
    let plan = plan(inner, &roots()?, progress)?;
    let mut report = plan.report;
    report.freed_bytes += tmp_files(inner)?.iter().map(|(_, bytes)| bytes).sum::<u64>();
    if dry_run {
        return Ok(report);
    }
    let mut entries = plan.kept;
    entries.extend(rewrite(inner, &plan.rewrite, progress)?);
    let unreadable = &inner.catalog.tables().unreadable;
    let replaced =
        old_indexes.iter().filter(|name| IndexName::parse(name).is_some() && !unreadable.contains_key(*name));
    inner.replace_indexes(entries, replaced.map(String::as_str))?;
    inner.catalog.close_packs();
    for pack in plan.remove {
        disk::remove(&inner.catalog.pack_path(&pack))?;
    }
    for (path, _) in tmp_files(inner)? {
        disk::remove(&path)?;
    }
    disk::sync_dir(&inner.packs_dir())?;
    Ok(report)
}

struct Plan {
    report: GcReport,
    /// Entries that stay where they are.
    kept: Vec<Location>,
    /// Objects to copy to new packs.
    rewrite: Vec<Location>,
    /// Packs that go in the end.
    remove: Vec<PackName>,
}

fn plan(inner: &Arc<Inner>, roots: &[Root], progress: &dyn Progress) -> Result<Plan, Error> {
    let tables = inner.catalog.refresh()?;
    progress.begin("marking", None, Unit::Items);
    let reached = reach(inner, &tables, roots, false, progress)?;
    let mut live: HashMap<PackName, Vec<Location>> = HashMap::new();
    for location in &reached.objects {
        live.entry(location.pack).or_default().push(*location);
    }
    let mut indexed = HashSet::new();
    let mut all = HashSet::new();
    tables.each(|location| {
        indexed.insert(location.pack);
        all.insert(location.header.digest);
        Ok(())
    })?;
    let mut plan =
        Plan { report: GcReport::default(), kept: Vec::new(), rewrite: Vec::new(), remove: Vec::new() };
    plan.report.kept_objects = reached.objects.len() as u64;
    plan.report.kept_bytes = reached.objects.iter().map(|location| location.header.record_len()).sum();
    plan.report.removed_objects = (all.len() - reached.objects.len()) as u64;
    plan.report.missing = reached.missing.len() as u64;
    let on_disk = inner.packs_on_disk()?;
    let small = inner.options.pack_size / 8;
    let many_small =
        on_disk.iter().filter(|(name, size)| *size < small && live.contains_key(name)).count() > 1;
    for (pack, size) in on_disk {
        let locations = live.remove(&pack).unwrap_or_default();
        if locations.is_empty() {
            // A pack without index is what a crash left, unless its index is the one that cannot be read.
            if indexed.contains(&pack) || tables.unreadable.is_empty() {
                plan.report.removed_packs += 1;
                plan.report.freed_bytes += size;
                plan.remove.push(pack);
            }
            continue;
        }
        let used: u64 = locations.iter().map(|location| location.header.record_len()).sum();
        if used < size / 2 || (many_small && size < small) {
            plan.report.repacked += 1;
            plan.report.freed_bytes += size.saturating_sub(used);
            plan.remove.push(pack);
            plan.rewrite.extend(locations);
        } else {
            plan.kept.extend(locations);
        }
    }
    // Entries of packs that are not on disk stay in the index, so that verify still names them.
    plan.kept.extend(live.into_values().flatten());
    plan.rewrite.sort_unstable_by_key(|location| (location.pack, location.offset));
    Ok(plan)
}

/// Copies objects to new packs as they are stored, verifying each. Gives their new places.
fn rewrite(inner: &Inner, objects: &[Location], progress: &dyn Progress) -> Result<Vec<Location>, Error> {
    let total = objects.iter().map(|location| location.header.record_len()).sum();
    progress.begin("repacking", Some(total), Unit::Bytes);
    let mut places = Vec::with_capacity(objects.len());
    let mut open: Option<PackWriter> = None;
    for location in objects {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let record = inner.catalog.fetch_record(location)?;
        crate::record::open(&location.header, &record[HEADER..])
            .map_err(|error| crate::catalog::damaged(location, error))?;
        let mut pack = match open.take() {
            Some(pack) => pack,
            None => PackWriter::create(&inner.tmp_dir())?,
        };
        pack.append(location.header, &record[HEADER..])?;
        progress.advance(location.header.record_len());
        if pack.len() >= inner.options.pack_size {
            publish(inner, pack, &mut places)?;
        } else {
            open = Some(pack);
        }
    }
    if let Some(pack) = open {
        publish(inner, pack, &mut places)?;
    }
    Ok(places)
}

fn publish(inner: &Inner, pack: PackWriter, places: &mut Vec<Location>) -> Result<(), Error> {
    let pack = pack.seal()?;
    let path = inner.catalog.pack_path(&pack.name);
    places.extend(pack.publish(path, true)?);
    Ok(())
}

/// What unfinished writers left behind; nobody writes while the lock is held alone.
fn tmp_files(inner: &Inner) -> Result<Vec<(std::path::PathBuf, u64)>, Error> {
    let dir = inner.tmp_dir();
    let mut files = Vec::new();
    for name in names_in(&dir)? {
        let path = dir.join(name);
        if let Ok(metadata) = fs_err::metadata(&path) {
            files.push((path, metadata.len()));
        }
    }
    Ok(files)
}
