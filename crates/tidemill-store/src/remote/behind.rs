//! The store behind a store: a remote that holds everything, before which the local folder is a cache.
//!
//! What is added is sent before it is acknowledged: a writing session ends, and [`crate::Store::sync`] returns, when the
//! remote has it. What is not here when it is asked for is fetched. So machines that name the same address share one store,
//! and a local folder that is lost costs time only.
//!
//! Work at the remote is done on a thread of its own, since callers are threads that block and tasks that must not.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidemill_core::{Digest, Progress, Quiet};
use tokio::runtime::Runtime;

use crate::disk::TempFile;
use crate::index::{Location, PackName};
use crate::inner::Inner;
use crate::remote::Remote;
use crate::remote::known::Known;
use crate::remote::{pull, push};
use crate::{Error, Root};

/// What was read of the remote's indexes counts as new for this long, when something is not found in it.
const FRESH: Duration = Duration::from_secs(2);
/// Says at the remote that it is a store of its own, whose users do not say all that they need.
const MARK: &str = "refs/store.json";

/// The remote behind a store, and what is known of it.
pub(crate) struct Behind {
    remote: Remote,
    /// Taken when the value goes, which may be where nothing may block.
    runtime: Option<Runtime>,
    known: Mutex<Option<(Instant, Arc<Known>)>>,
    sent: Mutex<Option<Sent>>,
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behind").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// What need not be looked at again when something is sent.
#[derive(Default)]
struct Sent {
    /// Local packs of which the remote has everything.
    packs: HashSet<PackName>,
    /// Objects that this process sent.
    objects: HashSet<Digest>,
}

impl Behind {
    pub(crate) fn new(remote: Remote) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store behind")
            .enable_all()
            .build()
            .map_err(|_| Error::Internal("the threads for the store behind cannot be started"))?;
        Ok(Self { remote, runtime: Some(runtime), known: Mutex::default(), sent: Mutex::default() })
    }

    pub(crate) const fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Runs work at the remote to its end, from wherever it is asked for.
    fn wait<T: Send>(&self, work: impl AsyncFnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
        let Some(runtime) = &self.runtime else { return Err(Error::Internal("the store is closing")) };
        let failed = Err(Error::Internal("a background task failed"));
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work())).join()).unwrap_or(failed)
    }

    /// What the remote has; read anew where it was read longer ago than this.
    fn known(&self, inner: &Arc<Inner>, fresh: Duration) -> Result<(Arc<Known>, bool), Error> {
        let mut known = lock(&self.known);
        if let Some((at, known)) = known.as_ref().filter(|(at, _)| at.elapsed() <= fresh) {
            return Ok((Arc::clone(known), at.elapsed() > FRESH));
        }
        let read = Arc::new(self.wait(async || Known::load(inner, &self.remote).await)?);
        *known = Some((Instant::now(), Arc::clone(&read)));
        Ok((read, false))
    }

    /// Asks what the remote has, and once more if the answer is no and may be old.
    fn ask(
        &self,
        inner: &Arc<Inner>,
        question: impl Fn(&Known) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let (known, old) = self.known(inner, Duration::MAX)?;
        if question(&known)? {
            return Ok(true);
        }
        if !old {
            return Ok(false);
        }
        let (known, _) = self.known(inner, FRESH)?;
        question(&known)
    }

    /// Whether the remote has this one object.
    pub(crate) fn contains(&self, inner: &Arc<Inner>, digest: &Digest) -> Result<bool, Error> {
        if lock(&self.sent).as_ref().is_some_and(|sent| sent.objects.contains(digest)) {
            return Ok(true);
        }
        self.ask(inner, |known| Ok(known.find(digest).is_some()))
    }

    /// Whether everything below the roots is here or at the remote. Listings are read, content is not.
    pub(crate) fn has(&self, inner: &Arc<Inner>, roots: &[Root]) -> Result<bool, Error> {
        self.ask(inner, |known| {
            match self.wait(async || pull::survey(inner, &self.remote, known, roots).await) {
                Ok(()) => Ok(true),
                Err(Error::MissingRemotely { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// Fetches what the roots need and is not here.
    pub(crate) fn pull(
        &self,
        inner: &Arc<Inner>,
        roots: &[Root],
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        self.wait(async || pull::pull(inner, &self.remote, roots, progress).await.map(drop))
    }

    /// Sends what is here and not there. Returns when the remote has it.
    pub(crate) fn push(&self, inner: &Arc<Inner>) -> Result<(), Error> {
        let mut sent = lock(&self.sent);
        let first = sent.is_none();
        let sent = sent.get_or_insert_with(|| self.remember(inner));
        let tables = inner.catalog.refresh()?;
        let all = tables.files().flat_map(|(_, table)| table.packs());
        let fresh: HashSet<PackName> = all.filter(|pack| !sent.packs.contains(*pack)).copied().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let (known, old) = self.known(inner, Duration::MAX)?;
        let mut lacking: Vec<Location> = Vec::new();
        for (_, table) in tables.files().filter(|(_, table)| table.packs().iter().any(|p| fresh.contains(p)))
        {
            table.each(|location| {
                let digest = &location.header.digest;
                if fresh.contains(&location.pack)
                    && known.find(digest).is_none()
                    && !sent.objects.contains(digest)
                {
                    lacking.push(location);
                }
                Ok(())
            })?;
        }
        lacking.sort_unstable_by_key(|location| location.header.digest);
        lacking.dedup_by_key(|location| location.header.digest);
        if old && !lacking.is_empty() {
            // Others may have sent it, and it may have been fetched from there.
            let (known, _) = self.known(inner, FRESH)?;
            lacking.retain(|location| known.find(&location.header.digest).is_none());
        }
        // As they lie, so that they are read one after the other.
        lacking.sort_unstable_by_key(|location| (location.pack, location.offset));
        if !lacking.is_empty() {
            let digests: Vec<Digest> = lacking.iter().map(|location| location.header.digest).collect();
            self.wait(async || {
                if first {
                    self.remote.put(MARK, b"{\"format\":1}".to_vec()).await?;
                }
                push::send_all(inner, &self.remote, lacking, &Quiet).await.map(drop)
            })
            // A part of it may be there.
            .inspect_err(|_| *lock(&self.known) = None)?;
            sent.objects.extend(digests);
        }
        sent.packs.extend(fresh);
        // Lost, it costs a look at the remote's indexes.
        let _ = self.note(inner, sent);
        Ok(())
    }

    fn file(&self, inner: &Inner) -> PathBuf {
        inner.dir.join("remotes").join(format!("{}.sent", self.remote.id()))
    }

    /// The packs that earlier processes sent.
    fn remember(&self, inner: &Inner) -> Sent {
        let text = fs_err::read_to_string(self.file(inner)).unwrap_or_default();
        let packs = text.lines().filter_map(|line| PackName::from_hex(line).ok()).collect();
        Sent { packs, objects: HashSet::new() }
    }

    fn note(&self, inner: &Inner, sent: &Sent) -> Result<(), Error> {
        let here: HashSet<PackName> = inner.packs_on_disk()?.into_iter().map(|(pack, _)| pack).collect();
        let lines: Vec<String> = sent.packs.intersection(&here).map(|pack| pack.hex() + "\n").collect();
        let mut file = TempFile::create(&inner.tmp_dir(), "sent")?;
        file.write_all(lines.concat().as_bytes())?;
        file.persist(&self.file(inner))
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
