//! Reads every byte of a remote and says what is damaged there; and puts what is whole here in its place.
//!
//! A few ranges are in memory at a time. Of the objects only one pack's index is, and in the end the damage.
//!
//! Repair never changes a pack. What is whole of a damaged one is copied into a new pack, as a collection does it, and
//! what is damaged comes from here where it is whole here. When these are complete, the index of the damaged pack goes: then
//! nothing leads to it any more, what neither had counts as missing and is sent by the next push, and a later collection
//! removes the pack. Who read its index before can still read what is whole in it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use tidemill_core::{Digest, Progress, Unit};

use crate::index::{self, Location, PackName, Table, end_of};
use crate::inner::Inner;
use crate::list::List;
use crate::record::{self, HEADER, Header, Kind, PACK_MAGIC};
use crate::remote::Remote;
use crate::remote::client::blocking;
use crate::remote::known::{self, Listing, index_file, pack_file};
use crate::remote::mark::{Places, mark};
use crate::remote::pull::{Span, spans};
use crate::remote::{push, sweep};
use crate::{Damage, Error, Root};

/// Packs that are read at a time, each a range after the other.
const AT_ONCE: usize = 4;
/// Bytes that are read at a time where a pack is read without its index.
const PIECE: u64 = 8 << 20;

/// What was found at a remote.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RemoteCheck {
    /// Packs that were read.
    pub packs: u64,
    /// Objects in them.
    pub objects: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// Objects that the roots need and that are in no pack. Only where the remote is the store behind, and nothing is
    /// damaged.
    pub missing: u64,
}

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RemoteRepair {
    /// Damaged objects of which a whole copy was sent from here.
    pub replaced: u64,
    /// Damaged objects that are missing there now.
    pub taken_out: u64,
    /// Objects found again in packs whose index could not be read.
    pub found_again: u64,
}

/// See [`crate::Store::verify_remote`].
pub(crate) async fn verify(
    inner: &Arc<Inner>,
    remote: &Remote,
    roots: &[Root],
    progress: &dyn Progress,
) -> Result<RemoteCheck, Error> {
    let listing = Listing::load(remote).await?;
    let size = |pack: &PackName| listing.packs.get(pack).map(|(bytes, _)| *bytes);
    let total = listing.indexes.keys().filter_map(size).sum();
    progress.begin("verifying", Some(total), Unit::Bytes);
    let packs: Vec<(PackName, Option<u64>)> =
        listing.indexes.keys().map(|pack| (*pack, size(pack))).collect();
    let found: Vec<RemoteCheck> = futures::stream::iter(packs)
        .map(|(pack, size)| check_pack(remote, pack, size, progress))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut check = RemoteCheck::default();
    for one in found {
        check.packs += one.packs;
        check.objects += one.objects;
        check.bytes += one.bytes;
        check.damage.extend(one.damage);
    }
    check.damage.sort_by(|a, b| (&a.pack, a.offset).cmp(&(&b.pack, b.offset)));
    let is_behind = inner.behind.as_ref().is_some_and(|behind| behind.remote().url() == remote.url());
    if !check.damage.is_empty() {
        crate::verify::trace_elsewhere(inner, roots, &mut check.damage, progress)?;
    } else if is_behind {
        let places = Places::new(known::entries(inner, remote, &listing.readable()).await?, |_| ());
        check.missing = mark(inner, remote, &places, roots, progress).await?.missing;
    }
    Ok(check)
}

/// The entries of a pack's index; what is wrong with it; `None` if it is gone.
async fn read_index(
    remote: &Remote,
    pack: &PackName,
) -> Result<Option<Result<Vec<Location>, String>>, Error> {
    let Some(bytes) = remote.get(&index_file(pack)).await? else { return Ok(None) };
    Ok(Some(match Table::parse(&bytes).and_then(|table| known::entries_of(&table, *pack)) {
        Err(Error::Malformed { why, .. }) => Err(why),
        entries => Ok(entries?),
    }))
}

async fn check_pack(
    remote: &Remote,
    pack: PackName,
    size: Option<u64>,
    progress: &dyn Progress,
) -> Result<RemoteCheck, Error> {
    let mut check = RemoteCheck { packs: 1, ..RemoteCheck::default() };
    let note = |file: String, offset, object, what: String| Damage {
        pack: file,
        offset,
        object,
        what,
        needed_by: Vec::new(),
    };
    let mut entries = match read_index(remote, &pack).await? {
        // Removed by a collection meanwhile.
        None => return Ok(RemoteCheck::default()),
        Some(Err(why)) => {
            check.damage.push(note(index_file(&pack), 0, None, why));
            return Ok(check);
        }
        Some(Ok(entries)) => entries,
    };
    check.objects = entries.len() as u64;
    let Some(size) = size else {
        let missing = "the pack file is missing";
        let lost = entries
            .iter()
            .map(|l| note(pack_file(&pack), l.offset, Some(l.header.digest), missing.to_owned()));
        check.damage.extend(lost);
        return Ok(check);
    };
    entries.retain(|location| {
        let fits = end_of(location) <= size;
        if !fits {
            let what = "the pack file ends too early".to_owned();
            check.damage.push(note(pack_file(&pack), location.offset, Some(location.header.digest), what));
        }
        fits
    });
    let head = PACK_MAGIC.len() as u64;
    if size < head {
        check.damage.push(note(pack_file(&pack), 0, None, "the pack file ends too early".to_owned()));
        return Ok(check);
    }
    let name = remote.location(&pack_file(&pack));
    let failed = |error| remote.error("read", &pack_file(&pack))(error);
    let magic = match remote.store().get_range(&name, 0..head).await {
        Err(object_store::Error::NotFound { .. }) => {
            // Removed by a collection meanwhile, after its index.
            if remote.get(&index_file(&pack)).await?.is_none() {
                return Ok(RemoteCheck::default());
            }
            check.damage.push(note(pack_file(&pack), 0, None, "the pack file is missing".to_owned()));
            return Ok(check);
        }
        magic => magic.map_err(failed)?,
    };
    check.bytes = head;
    progress.advance(head);
    if magic[..] != PACK_MAGIC[..] {
        check.damage.push(note(
            pack_file(&pack),
            0,
            None,
            "its first bytes are not those of a pack".to_owned(),
        ));
    }
    for span in spans(&entries) {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let bytes = remote.store().get_range(&name, span.start..span.end).await.map_err(failed)?;
        check.bytes += bytes.len() as u64;
        progress.advance(bytes.len() as u64);
        let bad = blocking(move || Ok(damaged_in(&span, &bytes))).await?;
        check.damage.extend(
            bad.into_iter().map(|(offset, object, what)| note(pack_file(&pack), offset, Some(object), what)),
        );
    }
    Ok(check)
}

/// The objects of a span whose bytes are not what they were.
fn damaged_in(span: &Span, bytes: &[u8]) -> Vec<(u64, Digest, String)> {
    let mut bad = Vec::new();
    for location in &span.objects {
        let start = (location.offset - span.start) as usize;
        let end = start + location.header.record_len() as usize;
        if let Err(what) = check_record(location, bytes.get(start..end)) {
            bad.push((location.offset, location.header.digest, what));
        }
    }
    bad
}

fn check_record(location: &Location, record: Option<&[u8]>) -> Result<(), String> {
    let record = record.ok_or("the pack file ends too early")?;
    let header = Header::decode(record).map_err(|error| error.to_string())?;
    if header != location.header {
        return Err("the pack holds another object there than its index says".to_owned());
    }
    let raw = record::open(&header, &record[HEADER..]).map_err(|error| error.to_string())?;
    if header.kind == Kind::File {
        List::decode(&raw).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// See [`crate::Store::repair_remote`].
pub(crate) async fn repair(
    inner: &Arc<Inner>,
    remote: &Remote,
    damage: &[Damage],
    progress: &dyn Progress,
) -> Result<RemoteRepair, Error> {
    let _lock = inner.shared_lock(&|| progress.cancelled())?;
    let mut repaired = RemoteRepair::default();
    let mut packs: BTreeMap<PackName, HashSet<Digest>> = BTreeMap::new();
    for one in damage {
        let name = |before: &str, after: &str| one.pack.strip_prefix(before)?.strip_suffix(after);
        if let Some(pack) = name("packs/", ".pack").and_then(|hex| Digest::from_hex(hex).ok()) {
            packs.entry(pack).or_default().extend(one.object);
        } else if let Some(pack) = name("index/", ".idx").and_then(|hex| Digest::from_hex(hex).ok()) {
            let entries = scan(remote, pack, progress).await?;
            repaired.found_again += entries.len() as u64;
            // The same file anew: whoever reads it meanwhile gets the one or the other.
            remote.put(&index_file(&pack), index::encode(entries)).await?;
        }
    }
    for (pack, lost) in packs {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let Some(Ok(mut entries)) = read_index(remote, &pack).await? else { continue };
        entries.sort_unstable_by_key(|location| location.offset);
        let (bad, whole): (Vec<Location>, Vec<Location>) =
            entries.into_iter().partition(|location| lost.contains(&location.header.digest));
        sweep::copy(inner, remote, &whole, progress).await?;
        let here = {
            let inner = Arc::clone(inner);
            let bad: Vec<Digest> = bad.iter().map(|location| location.header.digest).collect();
            blocking(move || whole_here(&inner, &bad)).await?
        };
        repaired.replaced += here.len() as u64;
        repaired.taken_out += (bad.len() - here.len()) as u64;
        push::send_all(inner, remote, here, progress).await?;
        // What takes its place is complete.
        remote.sync().await?;
        remote.delete(&index_file(&pack)).await?;
        remote.delete(&sweep::condemned(&pack)).await?;
    }
    remote.sync().await?;
    Ok(repaired)
}

/// Where the objects are in this store, those of them that can be read.
fn whole_here(inner: &Arc<Inner>, objects: &[Digest]) -> Result<Vec<Location>, Error> {
    let tables = inner.catalog.refresh()?;
    let mut here = Vec::new();
    for digest in objects {
        let found = tables.find(digest)?;
        here.extend(found.filter(|location| inner.catalog.fetch_at(location).is_ok()));
    }
    Ok(here)
}

/// The objects of a pack, from their headers, up to the first that cannot be told.
async fn scan(remote: &Remote, pack: PackName, progress: &dyn Progress) -> Result<Vec<Location>, Error> {
    let name = remote.location(&pack_file(&pack));
    let failed = |error| remote.error("read", &pack_file(&pack))(error);
    let size = match remote.store().head(&name).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
        meta => meta.map_err(failed)?.size,
    };
    progress.begin("reading", Some(size), Unit::Bytes);
    let (mut found, mut offset, mut start, mut bytes) =
        (Vec::new(), PACK_MAGIC.len() as u64, 0_u64, Vec::new());
    while offset + HEADER as u64 <= size {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        if offset < start || offset + HEADER as u64 > start + bytes.len() as u64 {
            start = offset;
            let end = size.min(start + PIECE);
            bytes = remote.store().get_range(&name, start..end).await.map_err(failed)?.to_vec();
            progress.advance(bytes.len() as u64);
        }
        let at = (offset - start) as usize;
        let Ok(header) = Header::decode(&bytes[at..]) else { break };
        let end = offset + header.record_len();
        if end > size {
            break;
        }
        found.push(Location { pack, offset, header });
        offset = end;
    }
    Ok(found)
}
