//! What a remote holds: the names that lie there, and its index files, of which only new ones are fetched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use tidemill_core::Digest;

use crate::Error;
use crate::disk::{self, TempFile};
use crate::index::{Location, PackName, Table};
use crate::inner::{Inner, names_in};
use crate::remote::Remote;
use crate::remote::client::{Found, blocking};

/// Index files fetched at a time.
const AT_ONCE: usize = 16;

/// The names at a remote. Times are the remote's own, in milliseconds, of when each was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) indexes: BTreeMap<PackName, i64>,
    /// With their sizes.
    pub(super) packs: BTreeMap<PackName, (u64, i64)>,
    /// Packs that a collection is going to remove.
    pub(super) condemned: BTreeMap<PackName, i64>,
}

impl Listing {
    /// Lists everything. What is condemned comes first: a pack that is not yet when this is asked stays for the whole
    /// grace period, so whatever is seen after it can be relied on for that long.
    pub(super) async fn load(remote: &Remote) -> Result<Self, Error> {
        let condemned = named(remote.list("condemned").await?, "condemned/", "");
        let packs = named(remote.list("packs").await?, "packs/", ".pack");
        let indexes = named(remote.list("index").await?, "index/", ".idx");
        Ok(Self {
            indexes: indexes.map(|(name, found)| (name, found.modified)).collect(),
            packs: packs.map(|(name, found)| (name, (found.bytes, found.modified))).collect(),
            condemned: condemned.map(|(name, found)| (name, found.modified)).collect(),
        })
    }

    /// The packs that hold what their indexes say.
    pub(super) fn readable(&self) -> Vec<PackName> {
        self.indexes.keys().filter(|pack| self.packs.contains_key(*pack)).copied().collect()
    }

    /// Those of them that are going to stay.
    fn lasting(&self) -> Vec<PackName> {
        let mut packs = self.readable();
        packs.retain(|pack| !self.condemned.contains_key(pack));
        packs
    }
}

fn named(
    found: Vec<Found>,
    before: &'static str,
    after: &'static str,
) -> impl Iterator<Item = (PackName, Found)> {
    found.into_iter().filter_map(move |found| {
        let stem = found.name.strip_prefix(before)?.strip_suffix(after)?;
        Some((Digest::from_hex(stem).ok()?, found))
    })
}

/// The name of a pack's file at a remote.
pub(super) fn pack_file(pack: &PackName) -> String {
    format!("packs/{}.pack", pack.hex())
}

/// The name of the file of its index.
pub(super) fn index_file(pack: &PackName) -> String {
    format!("index/{}.idx", pack.hex())
}

/// Every object of a remote and where it is, sorted by digest.
#[derive(Debug, Default)]
pub(crate) struct Known(Vec<Location>);

impl Known {
    /// Where an object is in the remote.
    pub(crate) fn find(&self, digest: &Digest) -> Option<&Location> {
        let at = self.0.binary_search_by(|location| location.header.digest.cmp(digest)).ok()?;
        self.0.get(at)
    }

    /// All that can be read: lists the remote's index files once, fetches those that are not in the local copy, and
    /// loads all.
    pub(crate) async fn load(inner: &Arc<Inner>, remote: &Remote) -> Result<Self, Error> {
        let listed: Vec<PackName> =
            named(remote.list("index").await?, "index/", ".idx").map(|(name, _)| name).collect();
        let all = entries(inner, remote, &listed).await?;
        forget_others(inner, remote, &listed)?;
        Ok(Self::of(all))
    }

    /// What a push need not send: all but what a collection is going to remove.
    pub(crate) async fn load_lasting(inner: &Arc<Inner>, remote: &Remote) -> Result<Self, Error> {
        let listing = Listing::load(remote).await?;
        let all = entries(inner, remote, &listing.lasting()).await?;
        let listed: Vec<PackName> = listing.indexes.into_keys().collect();
        forget_others(inner, remote, &listed)?;
        Ok(Self::of(all))
    }

    /// All that can be read, and of it what no collection is going to remove. Often they are the same.
    pub(crate) async fn load_both(
        inner: &Arc<Inner>,
        remote: &Remote,
    ) -> Result<(Arc<Self>, Arc<Self>), Error> {
        let listing = Listing::load(remote).await?;
        let (readable, lasting) = (listing.readable(), listing.lasting());
        let all = Arc::new(Self::of(entries(inner, remote, &readable).await?));
        let same = lasting.len() == readable.len();
        let lasting =
            if same { Arc::clone(&all) } else { Arc::new(Self::of(entries(inner, remote, &lasting).await?)) };
        let listed: Vec<PackName> = listing.indexes.into_keys().collect();
        forget_others(inner, remote, &listed)?;
        Ok((all, lasting))
    }

    /// Every object, by digest.
    pub(crate) fn places(&self) -> &[Location] {
        &self.0
    }

    fn of(mut all: Vec<Location>) -> Self {
        all.sort_unstable_by_key(|location| (location.header.digest, location.pack));
        all.dedup_by_key(|location| location.header.digest);
        Self(all)
    }
}

/// The entries of these packs' indexes, in no order.
pub(super) async fn entries(
    inner: &Arc<Inner>,
    remote: &Remote,
    packs: &[PackName],
) -> Result<Vec<Location>, Error> {
    let cache = cache(inner, remote);
    // In a folder that cannot be written the copies are only not kept.
    let _ = disk::create_dir(&cache);
    let tables: Vec<Vec<Location>> = futures::stream::iter(packs.iter().copied())
        .map(|pack| load_one(inner, remote, cache.clone(), pack))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(tables.into_iter().flatten().collect())
}

/// Where the local copies of a remote's indexes are.
fn cache(inner: &Inner, remote: &Remote) -> PathBuf {
    inner.dir.join("remotes").join(remote.id())
}

async fn load_one(
    inner: &Arc<Inner>,
    remote: &Remote,
    cache: PathBuf,
    pack: PackName,
) -> Result<Vec<Location>, Error> {
    let path = cache.join(format!("{}.idx", pack.hex()));
    let cached = path.clone();
    let found =
        blocking(move || Ok(Table::load(&cached).and_then(|table| entries_of(&table, pack)).ok())).await?;
    if let Some(found) = found {
        return Ok(found);
    }
    let name = index_file(&pack);
    let Some(bytes) = remote.get(&name).await? else { return Ok(Vec::new()) };
    let tmp = inner.tmp_dir();
    let location = format!("{}/{name}", remote.url());
    blocking(move || {
        let damaged = |error: Error| Error::malformed("index", format!("`{location}`: {error}"));
        let found = entries_of(&Table::parse(&bytes).map_err(damaged)?, pack)?;
        let keep = || {
            let mut file = TempFile::create(&tmp, "idx")?;
            file.write_all(&bytes)?;
            file.persist(&path)
        };
        // Without its copy the index is fetched once more by the next who asks.
        let _: Result<(), Error> = keep();
        Ok(found)
    })
    .await
}

/// The entries of a pack's index; an error if it speaks of another pack.
pub(super) fn entries_of(table: &Table, pack: PackName) -> Result<Vec<Location>, Error> {
    let mut entries = Vec::with_capacity(table.len());
    table.each(|location| {
        if location.pack != pack {
            return Err(Error::malformed("index", "it speaks of another pack than its name does"));
        }
        entries.push(location);
        Ok(())
    })?;
    Ok(entries)
}

/// Removes local copies of index files that the remote no longer has.
fn forget_others(inner: &Inner, remote: &Remote, listed: &[PackName]) -> Result<(), Error> {
    let cache = cache(inner, remote);
    let listed: std::collections::HashSet<String> =
        listed.iter().map(|pack| format!("{}.idx", pack.hex())).collect();
    for name in names_in(&cache).unwrap_or_default() {
        if !listed.contains(&name) {
            let _ = disk::remove(&cache.join(name));
        }
    }
    Ok(())
}
