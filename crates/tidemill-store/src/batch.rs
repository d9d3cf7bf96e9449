//! One writing session: many threads put objects, each object is written once, and one step at the end publishes all.
//!
//! Until then nothing of it is visible: packs have temporary names, and no index speaks of them. Packs that are full
//! are synced by a thread of their own while others are being filled. A session with very many objects publishes in
//! between, so that memory stays bounded; what is published never names what is not.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use tidemill_core::{Digest, Quiet};

use crate::catalog::Tables;
use crate::compress;
use crate::disk;
use crate::evict;
use crate::index::{Location, PackName};
use crate::inner::Inner;
use crate::list;
use crate::lock::Lock;
use crate::pack::{Begun, PackWriter, SealedPack};
use crate::reach::reach;
use crate::record::{self, Encoding, Header, Kind};
use crate::{Error, Root};

const SHARDS: usize = 64;
/// Full packs and parts of packs that may wait for the syncing thread.
const UNSYNCED_PACKS: usize = 8;
/// Full packs that the disk is given time to write before they are synced.
const BEING_WRITTEN: usize = 4;

/// A writing session.
pub(crate) struct Batch {
    inner: Arc<Inner>,
    _lock: Lock,
    durable: bool,
    tables: RwLock<Arc<Tables>>,
    written: Vec<Mutex<HashSet<Digest>>>,
    count: AtomicUsize,
    /// Bytes that were written since something was published.
    bytes: AtomicU64,
    /// Whether this session has published in between.
    published: AtomicBool,
    idle: Mutex<Vec<PackWriter>>,
    syncer: Mutex<Option<Syncer>>,
    /// Packs that have their final name but are in no index yet; removed if the session ends without success.
    placed: Arc<Mutex<Vec<PackName>>>,
    /// Held shared while an object is claimed and appended, alone while publishing.
    gate: RwLock<()>,
}

struct Syncer {
    packs: SyncSender<ToSync>,
    thread: JoinHandle<Result<Vec<Location>, Error>>,
}

/// Work for the syncing thread.
enum ToSync {
    /// A complete pack: sync it and give it its name.
    Pack(SealedPack),
    /// A part of one that is still being written: have the disk begin with it.
    Begun(Begun),
}

impl Batch {
    pub(crate) fn begin(
        inner: &Arc<Inner>,
        durable: bool,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let lock = inner.shared_lock(cancelled)?;
        evict::trim_if_possible(inner);
        let tables = inner.catalog.refresh()?;
        Ok(Self {
            inner: Arc::clone(inner),
            _lock: lock,
            durable,
            tables: RwLock::new(tables),
            written: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            published: AtomicBool::new(false),
            idle: Mutex::default(),
            syncer: Mutex::default(),
            placed: Arc::default(),
            gate: RwLock::default(),
        })
    }

    /// Whether the object is in the store or was put in this session.
    pub(crate) fn contains(&self, digest: &Digest) -> Result<bool, Error> {
        if lock(self.shard(digest)).contains(digest) {
            return Ok(true);
        }
        let tables = Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner));
        Ok(tables.find(digest)?.is_some())
    }

    /// Whether a file's content is in the store with all its chunks.
    pub(crate) fn holds(&self, digest: &Digest) -> Result<bool, Error> {
        let tables = Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner));
        let root = Root::unlabelled(*digest, false);
        Ok(reach(&self.inner, &tables, &[root], true, &Quiet)?.missing.is_empty())
    }

    /// Puts content that is named by its own digest, unless it is there.
    pub(crate) fn put_blob(&self, digest: Digest, raw: &[u8]) -> Result<(), Error> {
        self.put(Kind::Blob, digest, raw, self.inner.options.compress)
    }

    /// Puts the chunk list of a file and the lists below it, unless they are there.
    pub(crate) fn put_list(&self, file: Digest, chunks: Vec<list::Part>) -> Result<(), Error> {
        if self.contains(&file)? {
            return Ok(());
        }
        let top = list::build(chunks, |digest, bytes| self.put(Kind::Blob, digest, bytes, false))?;
        self.put(Kind::File, file, &record::seal_list(&top.encode()), false)
    }

    fn put(&self, kind: Kind, digest: Digest, raw: &[u8], compress: bool) -> Result<(), Error> {
        if self.contains(&digest)? {
            return Ok(());
        }
        let packed = if compress { compress::encode(raw) } else { None };
        let (encoding, stored) =
            packed.as_deref().map_or((Encoding::Plain, raw), |packed| (Encoding::Zstd, packed));
        let header = Header { digest, kind, encoding, stored: stored.len() as u32, raw: raw.len() as u32 };
        self.append(header, stored)
    }

    /// Puts an object as it was stored elsewhere, unless it is there.
    pub(crate) fn append(&self, header: Header, stored: &[u8]) -> Result<(), Error> {
        {
            let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have put it, and all have been published, since this one looked.
            if self.published.load(Ordering::Relaxed) && self.contains(&header.digest)? {
                return Ok(());
            }
            if !lock(self.shard(&header.digest)).insert(header.digest) {
                return Ok(());
            }
            let idle = lock(&self.idle).pop();
            let mut pack = match idle {
                Some(pack) => pack,
                None => PackWriter::create(&self.inner.tmp_dir())?,
            };
            pack.append(header, stored)?;
            if pack.len() >= self.inner.options.pack_size {
                self.hand_over(ToSync::Pack(pack.seal()?))?;
            } else {
                if self.durable
                    && let Some(begun) = pack.take_begun()?
                {
                    self.hand_over(ToSync::Begun(begun))?;
                }
                lock(&self.idle).push(pack);
            }
        }
        let bytes = header.record_len();
        let written = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 >= self.inner.options.publish_every {
            self.publish()?;
        }
        if self.inner.limit.is_some_and(|limit| written >= limit.session()) {
            self.relieve()?;
        }
        Ok(())
    }

    /// Sends what was written so far to the store behind, so that it may leave the folder.
    fn relieve(&self) -> Result<(), Error> {
        self.publish()?;
        self.inner.sync()?;
        self.inner.send_on(&[])?;
        evict::trim_if_possible(&self.inner);
        Ok(())
    }

    /// Publishes everything; durable on return if the session is. `results` is what the caller is told to be stored.
    pub(crate) fn finish(&self, results: &[Root]) -> Result<(), Error> {
        self.publish()?;
        if self.durable {
            // What this session found to be there already may have been stored by one that did not sync.
            self.inner.sync()?;
            self.inner.send_on(results)?;
        } else if let Some(behind) = &self.inner.behind {
            behind.needed(results);
        }
        self.inner.compact_index()?;
        evict::trim_if_possible(&self.inner);
        Ok(())
    }

    fn publish(&self) -> Result<(), Error> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let open = std::mem::take(&mut *lock(&self.idle));
        let has_syncer = lock(&self.syncer).is_some();
        let mut entries = Vec::new();
        for pack in open {
            let pack = pack.seal()?;
            if has_syncer {
                self.hand_over(ToSync::Pack(pack))?;
            } else {
                // A thread for so little would cost more than it does.
                entries.append(&mut place(&self.inner, pack, &self.placed, self.durable)?);
            }
        }
        let syncer = lock(&self.syncer).take();
        if let Some(syncer) = syncer {
            drop(syncer.packs);
            entries = syncer.thread.join().map_err(|_| Error::Internal("the syncing thread failed"))??;
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.inner.publish_index(entries, self.durable)?;
        lock(&self.placed).clear();
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = self.inner.catalog.refresh()?;
        self.written.iter().for_each(|shard| lock(shard).clear());
        // Ordered by the gate, which every reader of the flag holds.
        self.published.store(true, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Gives work to the syncing thread, waiting while too many are ahead of it.
    fn hand_over(&self, work: ToSync) -> Result<(), Error> {
        let mut slot = lock(&self.syncer);
        let syncer = slot.get_or_insert_with(|| {
            let (packs, received) = sync_channel(UNSYNCED_PACKS);
            let (inner, placed, durable) = (Arc::clone(&self.inner), Arc::clone(&self.placed), self.durable);
            Syncer {
                packs,
                thread: std::thread::spawn(move || sync_packs(&inner, &received, &placed, durable)),
            }
        });
        if syncer.packs.send(work).is_ok() {
            return Ok(());
        }
        // The thread ended early, so it has an error to tell.
        match slot.take().map(|syncer| syncer.thread.join()) {
            Some(Ok(Err(error))) => Err(error),
            _ => Err(Error::Internal("the syncing thread failed")),
        }
    }

    fn shard(&self, digest: &Digest) -> &Mutex<HashSet<Digest>> {
        &self.written[usize::from(digest.as_bytes()[0]) % SHARDS]
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(syncer) = lock(&self.syncer).take() {
            drop(syncer.packs);
            let _ = syncer.thread.join();
        }
        for pack in lock(&self.placed).drain(..) {
            let _ = disk::remove(&self.inner.catalog.pack_path(&pack));
        }
    }
}

fn sync_packs(
    inner: &Inner,
    packs: &Receiver<ToSync>,
    placed: &Mutex<Vec<PackName>>,
    durable: bool,
) -> Result<Vec<Location>, Error> {
    let mut entries = Vec::new();
    let mut being_written = VecDeque::new();
    while let Ok(work) = packs.recv() {
        match work {
            ToSync::Begun(begun) => begun.begin(),
            ToSync::Pack(pack) => {
                if durable {
                    pack.begin();
                }
                being_written.push_back(pack);
            }
        }
        if being_written.len() > BEING_WRITTEN
            && let Some(pack) = being_written.pop_front()
        {
            entries.append(&mut place(inner, pack, placed, durable)?);
        }
    }
    for pack in being_written {
        entries.append(&mut place(inner, pack, placed, durable)?);
    }
    Ok(entries)
}

/// Gives a complete pack its name; with `durable` its bytes are on the disk before.
fn place(
    inner: &Inner,
    pack: SealedPack,
    placed: &Mutex<Vec<PackName>>,
    durable: bool,
) -> Result<Vec<Location>, Error> {
    let path = inner.catalog.pack_path(&pack.name);
    lock(placed).push(pack.name);
    pack.publish(path, durable)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
