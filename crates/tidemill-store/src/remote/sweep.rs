//! Garbage collection at a remote, which machines that know nothing of each other push to and pull from.
//!
//! Object stores have no locks, and not all of them have conditional writes. So nothing here is ever changed in place,
//! and a pack goes in two collections that lie a grace period apart:
//!
//! 1. A pack that holds nothing that the roots need is *condemned*: a file `condemned/NAME` says so. It can still be read,
//!    but a push does not count on it any more and sends what it holds anew, into a pack of another name.
//! 2. A later collection that finds it condemned for as long as the grace period asks for the roots once more. If they
//!    need the pack now, it is condemned no longer. Otherwise its index goes, then the pack, then the mark.
//!
//! Why a push loses nothing: it looks what there is, sends the rest and then writes the names (the roots) within
//! [`crate::NAMED_WITHIN`]; if it took longer, it looks once more afterwards. It looks for marks before anything else. A
//! pack that was condemned before that it does not rely on. One that was condemned after it stays for the grace period,
//! which is longer, so the collection that could remove it reads the names of that push first. What is being sent, and is
//! in no root yet, is younger than the grace period, and such packs are left alone. All ages are by the remote's clock.
//! Two collections at once remove the same packs, or condemn the same ones: each keeps the copy of an object that is
//! not condemned, and one that took longer than the grace period to get there removes nothing.
//!
//! A pack of which little is needed is copied: the new pack and its index are complete before the old one is condemned.
//! Interrupted anywhere, everything that the roots need can be read.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{Clock, Progress, SystemClock, Timestamp, Unit};

use crate::index::{self, Location, PackName};
use crate::inner::Inner;
use crate::pack;
use crate::record::PACK_MAGIC;
use crate::remote::Remote;
use crate::remote::known::{self, Listing, index_file, pack_file};
use crate::remote::mark::{Places, mark};
use crate::remote::pull::fetch;
use crate::remote::push::MOST_OBJECTS;
use crate::{Error, Root};

/// What lies at a remote at one time. Roots that are read after it are what [`crate::Store::sweep`] needs.
#[derive(Debug)]
pub struct Inventory {
    listing: Listing,
    /// By the remote's clock, in milliseconds.
    now: i64,
    /// By ours.
    began: Timestamp,
}

impl Inventory {
    /// Whether something that was written at this time, by the remote's clock in milliseconds, is at least as old.
    pub fn is_older(&self, modified: i64, than: Duration) -> bool {
        self.now.saturating_sub(modified) >= millis(than)
    }
}

/// What a collection at a remote did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RemoteGc {
    /// Objects that the roots need.
    pub kept_objects: u64,
    /// Stored bytes of these.
    pub kept_bytes: u64,
    /// Packs removed.
    pub removed_packs: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Packs condemned now; they go when the grace period is over.
    pub condemned_packs: u64,
    /// Their bytes.
    pub condemned_bytes: u64,
    /// Packs that were condemned before and whose grace period is not over.
    pub waiting_packs: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Packs that nothing needs and that are too young to be condemned: a push may be about to name them.
    pub young_packs: u64,
    /// Their bytes.
    pub young_bytes: u64,
    /// Packs that were condemned and are needed again.
    pub spared_packs: u64,
    /// Packs of which what is needed was copied into new ones, among the condemned.
    pub copied_packs: u64,
    /// Objects that the roots need and the remote lacks.
    pub missing: u64,
}

/// See [`crate::Store::inventory`].
pub(crate) async fn inventory(remote: &Remote, dry_run: bool) -> Result<Inventory, Error> {
    let began = SystemClock.now();
    // Without a file of its own there is only our clock to judge by, which is good enough for what only tells.
    let now = if dry_run { began.millis() } else { remote.now().await? };
    Ok(Inventory { listing: Listing::load(remote).await?, now, began })
}

/// See [`crate::Store::sweep`].
pub(crate) async fn sweep(
    inner: &Arc<Inner>,
    remote: &Remote,
    inventory: &Inventory,
    roots: &[Root],
    grace: Duration,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<RemoteGc, Error> {
    let _lock = inner.shared_lock(&|| progress.cancelled())?;
    let listing = &inventory.listing;
    // Of several copies the newest stays that is not condemned, so that what a collection copied is not copied again.
    let places = Places::new(known::entries(inner, remote, &listing.readable()).await?, |pack| {
        let age = listing.indexes.get(pack).map(|written| std::cmp::Reverse(*written));
        (listing.condemned.contains_key(pack), age)
    });
    let marked = mark(inner, remote, &places, roots, progress).await?;
    drop(places);
    let rules = Rules { now: inventory.now, grace: millis(grace), pack_size: inner.options.pack_size };
    let mut plan = plan(listing, &marked.live, &rules);
    plan.report.missing = marked.missing;
    if dry_run {
        return Ok(plan.report);
    }
    if !grace.is_zero() && SystemClock.now().since(inventory.began) >= grace {
        return Err(Error::Overtaken { remote: remote.url().to_owned() });
    }
    for pack in &plan.spare {
        remote.delete(&condemned(pack)).await?;
    }
    remove(remote, &plan.remove, progress).await?;
    copy(inner, remote, &plan.copy, progress).await?;
    // What was copied is on the disk before the pack that it came from is condemned.
    remote.sync().await?;
    for pack in &plan.condemn {
        remote.put(&condemned(pack), b"{}".to_vec()).await?;
    }
    remote.sync().await?;
    Ok(plan.report)
}

pub(super) fn condemned(pack: &PackName) -> String {
    format!("condemned/{}", pack.hex())
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// By what packs are judged.
struct Rules {
    now: i64,
    grace: i64,
    pack_size: u64,
}

impl Rules {
    fn is_over(&self, since: i64) -> bool {
        self.now.saturating_sub(since) >= self.grace
    }
}

#[derive(Debug, Default)]
struct Plan {
    report: RemoteGc,
    /// Condemned packs that are needed.
    spare: Vec<PackName>,
    /// Packs that go, and what is left of others.
    remove: Vec<PackName>,
    condemn: Vec<PackName>,
    /// Objects to be copied out of packs that are condemned then.
    copy: Vec<Location>,
}

/// Decides about every pack. No IO.
fn plan(listing: &Listing, live: &HashMap<PackName, Vec<Location>>, rules: &Rules) -> Plan {
    let mut plan = Plan::default();
    let names: BTreeSet<&PackName> =
        listing.packs.keys().chain(listing.indexes.keys()).chain(listing.condemned.keys()).collect();
    let small = rules.pack_size / 8;
    let is_small = |pack: &PackName| {
        let size = listing.packs.get(pack).map_or(0, |(bytes, _)| *bytes);
        size < small && live.contains_key(pack) && !listing.condemned.contains_key(pack)
    };
    let many_small = names.iter().filter(|pack| is_small(pack)).count() > 1;
    for name in names {
        let (bytes, uploaded) = listing.packs.get(name).copied().unwrap_or_default();
        let indexed = listing.indexes.get(name).copied();
        let since = listing.condemned.get(name).copied();
        let old = rules.is_over(uploaded.max(indexed.unwrap_or(uploaded)));
        let report = &mut plan.report;
        match (live.get(name), since) {
            (Some(objects), since) => {
                let used: u64 = objects.iter().map(|location| location.header.record_len()).sum();
                report.kept_objects += objects.len() as u64;
                report.kept_bytes += used;
                if since.is_some() {
                    report.spared_packs += 1;
                    plan.spare.push(*name);
                } else if old && (used < bytes / 2 || (many_small && is_small(name))) {
                    report.copied_packs += 1;
                    report.condemned_packs += 1;
                    report.condemned_bytes += bytes;
                    plan.condemn.push(*name);
                    plan.copy.extend(objects);
                }
            }
            (None, Some(since)) if rules.is_over(since) => {
                report.removed_packs += 1;
                report.removed_bytes += bytes;
                plan.remove.push(*name);
            }
            (None, Some(_)) => {
                report.waiting_packs += 1;
                report.waiting_bytes += bytes;
            }
            (None, None) if !old => {
                report.young_packs += 1;
                report.young_bytes += bytes;
            }
            // A pack without index, or the reverse: no push relies on it, and no name comes back.
            (None, None) if indexed.is_none() || !listing.packs.contains_key(name) => {
                report.removed_packs += 1;
                report.removed_bytes += bytes;
                plan.remove.push(*name);
            }
            (None, None) => {
                report.condemned_packs += 1;
                report.condemned_bytes += bytes;
                plan.condemn.push(*name);
            }
        }
    }
    plan.copy.sort_unstable_by_key(|location| (location.pack, location.offset));
    plan
}

/// Removes packs: the index before what it speaks of, the mark last, so that the rest is found again.
async fn remove(remote: &Remote, packs: &[PackName], progress: &dyn Progress) -> Result<(), Error> {
    progress.begin("removing", Some(packs.len() as u64), Unit::Items);
    for pack in packs {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        remote.delete(&index_file(pack)).await?;
        remote.delete(&pack_file(pack)).await?;
        remote.delete(&condemned(pack)).await?;
        progress.advance(1);
    }
    Ok(())
}

/// Copies objects into new packs as they are stored, verifying each; a pack is in memory at a time.
pub(super) async fn copy(
    inner: &Arc<Inner>,
    remote: &Remote,
    objects: &[Location],
    progress: &dyn Progress,
) -> Result<(), Error> {
    let mut from = 0;
    while from < objects.len() {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let parcel = parcel(&objects[from..], inner.options.pack_size);
        from += parcel.len();
        let found = fetch(remote, parcel, None, progress).await?;
        let (name, entries, length) = pack::plan(parcel.iter().map(|location| location.header));
        let mut bytes = Vec::with_capacity(length as usize);
        bytes.extend_from_slice(PACK_MAGIC);
        for location in parcel {
            let (header, stored) =
                found.get(&location.header.digest).ok_or(Error::Internal("an object was not fetched"))?;
            bytes.extend_from_slice(&header.encode());
            bytes.extend_from_slice(stored);
        }
        drop(found);
        remote.put_large(&pack_file(&name), bytes).await?;
        remote.put(&index_file(&name), index::encode(entries)).await?;
    }
    Ok(())
}

/// The first objects that make up one pack. No digest is in it twice, since an index names each once: a file may be
/// there with several lists of chunks.
fn parcel(objects: &[Location], pack_size: u64) -> &[Location] {
    let (mut bytes, mut seen) = (0, HashSet::new());
    let fits = |location: &&Location| {
        let full = bytes >= pack_size || seen.len() >= MOST_OBJECTS;
        bytes += location.header.record_len();
        !full && seen.insert(location.header.digest)
    };
    let count = objects.iter().take_while(fits).count();
    &objects[..count.max(1).min(objects.len())]
}

#[cfg(test)]
mod tests {
    use tidemill_core::Digest;

    use super::*;
    use crate::record::{Encoding, Header, Kind};

    fn name(seed: u8) -> PackName {
        Digest::of(&[seed])
    }

    fn location(pack: u8, seed: u32, stored: u32) -> Location {
        let digest = Digest::of(&seed.to_le_bytes());
        let header = Header { digest, kind: Kind::Blob, encoding: Encoding::Plain, stored, raw: stored };
        Location { pack: name(pack), offset: 8, header }
    }

    fn listing(packs: &[(u8, i64)], indexes: &[(u8, i64)], condemned: &[(u8, i64)]) -> Listing {
        let named = |all: &[(u8, i64)]| all.iter().map(|(seed, at)| (name(*seed), *at)).collect();
        let packs = packs.iter().map(|(seed, at)| (name(*seed), (1000, *at))).collect();
        Listing { packs, indexes: named(indexes), condemned: named(condemned) }
    }

    const RULES: Rules = Rules { now: 1000, grace: 100, pack_size: 4000 };

    #[test]
    fn a_pack_goes_only_when_it_was_condemned_for_the_grace_period_and_nothing_needs_it() {
        let seen = |condemned: &[(u8, i64)], uploaded: i64, needed: bool| {
            let listing = listing(&[(1, uploaded)], &[(1, uploaded)], condemned);
            let mut live = HashMap::new();
            if needed {
                live.insert(name(1), vec![location(1, 1, 900)]);
            }
            let plan = plan(&listing, &live, &RULES);
            (plan.spare.len(), plan.condemn.len(), plan.remove.len())
        };
        assert_eq!(seen(&[], 950, false), (0, 0, 0), "a push may be about to name it");
        assert_eq!(seen(&[], 900, false), (0, 1, 0));
        assert_eq!(seen(&[(1, 901)], 0, false), (0, 0, 0), "its grace period is not over");
        assert_eq!(seen(&[(1, 900)], 0, false), (0, 0, 1));
        assert_eq!(seen(&[(1, 0)], 0, true), (1, 0, 0), "a push named it meanwhile");
        assert_eq!(seen(&[], 0, true), (0, 0, 0));
    }

    #[test]
    fn what_an_interrupted_push_or_collection_left_goes_when_it_is_old() {
        let left = listing(&[(1, 0), (2, 950)], &[(3, 0), (4, 950)], &[(5, 0)]);
        let plan = plan(&left, &HashMap::new(), &RULES);
        let mut expected = [name(1), name(3), name(5)];
        expected.sort();
        assert_eq!(plan.remove, expected);
        assert_eq!((plan.report.young_packs, plan.condemn.len()), (2, 0));
    }

    #[test]
    fn a_pack_of_which_little_is_needed_is_copied_unless_it_is_young() {
        let live: HashMap<_, _> = [(name(1), vec![location(1, 1, 100)])].into();
        let planned = plan(&listing(&[(1, 0)], &[(1, 0)], &[]), &live, &RULES);
        assert_eq!((planned.copy.len(), planned.condemn.len(), planned.report.copied_packs), (1, 1, 1));
        let planned = plan(&listing(&[(1, 0)], &[(1, 950)], &[]), &live, &RULES);
        assert_eq!((planned.copy.len(), planned.condemn.len(), planned.report.kept_objects), (0, 0, 1));
    }

    #[test]
    fn a_parcel_holds_each_object_once() {
        let objects = [location(1, 1, 10), location(1, 2, 10), location(2, 1, 10), location(2, 3, 5000)];
        assert_eq!(parcel(&objects, 4000).len(), 2);
        assert_eq!(parcel(&objects[2..], 4000).len(), 2);
        assert_eq!(parcel(&objects[3..], 4000).len(), 1);
        assert_eq!(parcel(&objects[..2], 10).len(), 1);
    }
}
