//! Sends what a remote lacks: finds it, cuts it anew into packs, uploads these side by side.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use tidemill_core::{Progress, Quiet, Unit};

use crate::catalog::damaged;
use crate::index::{self, Location, PackName};
use crate::inner::Inner;
use crate::pack;
use crate::reach::{Reach, reach};
use crate::record::{self, HEADER, PACK_MAGIC};
use crate::remote::client::{PART, blocking};
use crate::remote::known::{Known, index_file, pack_file};
use crate::remote::{Remote, Transfer};
use crate::{Error, Root};

/// Packs uploaded at a time; each holds up to three parts in memory.
const AT_ONCE: usize = 4;
/// Objects in one pack, so that its index stays a few megabytes.
pub(super) const MOST_OBJECTS: usize = 64 << 10;
/// Times a pack is tried. The client below retries single requests; this catches uploads that broke as a whole.
const ATTEMPTS: u32 = 3;

/// A pack to be uploaded.
struct Parcel {
    name: PackName,
    /// Where the objects are here, in the order of the new pack.
    sources: Vec<Location>,
    /// Where they will be there.
    entries: Vec<Location>,
    bytes: u64,
}

/// See [`crate::Store::push`].
pub(crate) async fn push(
    inner: &Arc<Inner>,
    remote: &Remote,
    roots: &[Root],
    progress: &dyn Progress,
) -> Result<Transfer, Error> {
    let _lock = inner.shared_lock(&|| progress.cancelled())?;
    let reached = reached(inner, roots.to_vec()).await?;
    if let Some(digest) = reached.missing.first() {
        return Err(Error::Missing { digest: *digest, store: inner.dir.clone() });
    }
    let known = Known::load_lasting(inner, remote).await?;
    let total = reached.objects.len();
    let lacking: Vec<Location> = reached
        .objects
        .into_iter()
        .filter(|location| known.find(&location.header.digest).is_none())
        .collect();
    let sent = send_all(inner, remote, lacking, progress).await?;
    Ok(Transfer { present: total as u64 - sent.objects, ..sent })
}

/// Sends these objects.
pub(super) async fn send_all(
    inner: &Arc<Inner>,
    remote: &Remote,
    lacking: Vec<Location>,
    progress: &dyn Progress,
) -> Result<Transfer, Error> {
    let parcels = parcels(lacking, inner.options.pack_size);
    let transfer = Transfer {
        objects: parcels.iter().map(|parcel| parcel.sources.len() as u64).sum(),
        present: 0,
        bytes: parcels.iter().map(|parcel| parcel.bytes).sum(),
        packs: parcels.len() as u64,
    };
    progress.begin("pushing", Some(transfer.bytes), Unit::Bytes);
    futures::stream::iter(parcels.into_iter().map(Arc::new))
        .map(|parcel| send(inner, remote, parcel, progress))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    if transfer.packs > 0 {
        remote.sync().await?;
    }
    Ok(transfer)
}

async fn reached(inner: &Arc<Inner>, roots: Vec<Root>) -> Result<Reach, Error> {
    let inner = Arc::clone(inner);
    blocking(move || reach(&inner, &*inner.catalog.refresh()?, &roots, false, &Quiet)).await
}

fn parcels(objects: Vec<Location>, pack_size: u64) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    let mut sources: Vec<Location> = Vec::new();
    let mut bytes = 0;
    for location in objects {
        bytes += location.header.record_len();
        sources.push(location);
        if bytes >= pack_size || sources.len() >= MOST_OBJECTS {
            parcels.push(parcel(std::mem::take(&mut sources)));
            bytes = 0;
        }
    }
    if !sources.is_empty() {
        parcels.push(parcel(sources));
    }
    parcels
}

fn parcel(sources: Vec<Location>) -> Parcel {
    let (name, entries, bytes) = pack::plan(sources.iter().map(|location| location.header));
    Parcel { name, sources, entries, bytes }
}

async fn send(
    inner: &Arc<Inner>,
    remote: &Remote,
    parcel: Arc<Parcel>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        match upload(inner, remote, &parcel, progress).await {
            Err(Error::Remote { source, .. }) if attempt < ATTEMPTS && is_passing(&source) => attempt += 1,
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    let bytes = index::encode(parcel.entries.clone());
    remote.put(&index_file(&parcel.name), bytes).await
}

/// Whether trying again could help.
fn is_passing(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. } | object_store::Error::JoinError { .. })
}

async fn upload(
    inner: &Arc<Inner>,
    remote: &Remote,
    parcel: &Arc<Parcel>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let name = pack_file(&parcel.name);
    let mut from = 0;
    if parcel.bytes <= PART {
        let (bytes, _) = gather(inner, parcel, &mut from).await?;
        progress.advance(parcel.bytes);
        return remote.put(&name, bytes).await;
    }
    let upload =
        remote.store().put_multipart(&remote.location(&name)).await.map_err(remote.error("write", &name))?;
    let mut parts = WriteMultipart::new_with_chunk_size(upload, PART as usize);
    loop {
        if progress.cancelled() {
            let _ = parts.abort().await;
            return Err(Error::Cancelled);
        }
        let gathered = match gather(inner, parcel, &mut from).await {
            Ok(gathered) => gathered,
            Err(error) => {
                let _ = parts.abort().await;
                return Err(error);
            }
        };
        let (bytes, last) = gathered;
        progress.advance(bytes.len() as u64);
        parts.wait_for_capacity(2).await.map_err(remote.error("write", &name))?;
        for piece in PutPayload::from(bytes) {
            parts.put(piece);
        }
        if last {
            break;
        }
    }
    parts.finish().await.map_err(remote.error("write", &name))?;
    Ok(())
}

/// The next records of a parcel, about one part of them, each verified; and whether they are the last.
async fn gather(
    inner: &Arc<Inner>,
    parcel: &Arc<Parcel>,
    from: &mut usize,
) -> Result<(Vec<u8>, bool), Error> {
    let (inner, parcel, start) = (Arc::clone(inner), Arc::clone(parcel), *from);
    let (bytes, end, last) = blocking(move || {
        let mut bytes = if start == 0 { PACK_MAGIC.to_vec() } else { Vec::new() };
        let mut at = start;
        while at < parcel.sources.len() && (bytes.len() as u64) < PART {
            let location = &parcel.sources[at];
            let record = inner.catalog.fetch_record(location)?;
            record::open(&location.header, &record[HEADER..]).map_err(|error| damaged(location, error))?;
            bytes.extend_from_slice(&record);
            at += 1;
        }
        Ok((bytes, at, at == parcel.sources.len()))
    })
    .await?;
    *from = end;
    Ok((bytes, last))
}
