//! What a remote holds: its index files, of which only new ones are fetched.

use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use tidemill_core::Digest;

use crate::Error;
use crate::disk::{self, TempFile};
use crate::index::{Location, PackName, Table};
use crate::inner::{Inner, names_in};
use crate::remote::Remote;
use crate::remote::client::blocking;

/// Index files fetched at a time.
const AT_ONCE: usize = 16;

/// Every object of a remote and where it is, sorted by digest.
#[derive(Debug, Default)]
pub(crate) struct Known(Vec<Location>);

impl Known {
    /// Where an object is in the remote.
    pub(crate) fn find(&self, digest: &Digest) -> Option<&Location> {
        let at = self.0.binary_search_by(|location| location.header.digest.cmp(digest)).ok()?;
        self.0.get(at)
    }

    /// Lists the remote's index files once, fetches those that are not in the local copy, and loads all.
    pub(crate) async fn load(inner: &Arc<Inner>, remote: &Remote) -> Result<Self, Error> {
        let cache = inner.dir.join("remotes").join(remote.id());
        disk::create_dir(&cache)?;
        let mut listed = Vec::new();
        for (name, _) in remote.list("index").await? {
            let stem = name.strip_prefix("index/").and_then(|name| name.strip_suffix(".idx"));
            listed.extend(stem.and_then(|stem| Digest::from_hex(stem).ok()));
        }
        let tables: Vec<Vec<Location>> = futures::stream::iter(listed.iter().copied())
            .map(|pack| load_one(inner, remote, cache.clone(), pack))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        forget_others(&cache, &listed)?;
        let mut all: Vec<Location> = tables.into_iter().flatten().collect();
        all.sort_unstable_by_key(|location| (location.header.digest, location.pack));
        all.dedup_by_key(|location| location.header.digest);
        Ok(Self(all))
    }
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
        blocking(move || Ok(Table::load(&cached).and_then(|table| entries(&table, pack)).ok())).await?;
    if let Some(found) = found {
        return Ok(found);
    }
    let name = format!("index/{}.idx", pack.hex());
    let Some(bytes) = remote.get(&name).await? else { return Ok(Vec::new()) };
    let tmp = inner.tmp_dir();
    let location = format!("{}/{name}", remote.url());
    blocking(move || {
        let damaged = |error: Error| Error::malformed("index", format!("`{location}`: {error}"));
        let found = entries(&Table::parse(&bytes).map_err(damaged)?, pack)?;
        let mut file = TempFile::create(&tmp, "idx")?;
        file.write_all(&bytes)?;
        file.persist(&path)?;
        Ok(found)
    })
    .await
}

fn entries(table: &Table, pack: PackName) -> Result<Vec<Location>, Error> {
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
fn forget_others(cache: &std::path::Path, listed: &[PackName]) -> Result<(), Error> {
    let listed: std::collections::HashSet<String> =
        listed.iter().map(|pack| format!("{}.idx", pack.hex())).collect();
    for name in names_in(cache)? {
        if !listed.contains(&name) {
            disk::remove(&cache.join(name))?;
        }
    }
    Ok(())
}
