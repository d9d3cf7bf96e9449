//! The store behind a store: a remote that holds everything, before which the local folder is a cache.
//!
//! What is added is sent before it is acknowledged: a writing session ends, and [`crate::Store::sync`] returns, when the
//! remote has it. What is not here when it is asked for is fetched. So machines that name the same address share one store,
//! and a local folder that is lost costs time only.
//!
//! What is acknowledged is also claimed there (`claims`), so that collections on other machines know of it. What this
//! process knows of the remote counts for some minutes only, since a collection may condemn a pack meanwhile; whatever is
//! claimed was found, or sent, within [`NAMED_WITHIN`] before.
//!
//! Work at the remote is done on a thread of its own, since callers are threads that block and tasks that must not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidemill_core::{Digest, Progress, Quiet};
use tokio::runtime::Runtime;

use crate::catalog::Tables;
use crate::disk::TempFile;
use crate::index::{Location, PackName};
use crate::inner::Inner;
use crate::reach::reach;
use crate::remote::claims::Segment;
use crate::remote::known::Known;
use crate::remote::mark::{Places, mark};
use crate::remote::{NAMED_WITHIN, Remote, Staged};
use crate::remote::{pull, push};
use crate::{Error, Root};

/// What was read of the remote's indexes counts as new for this long, when something is not found in it.
const FRESH: Duration = Duration::from_secs(2);
/// And for this long, when something is found.
const RELIED: Duration = Duration::from_mins(10);
/// What this process claimed is not claimed once more within this time. Claims are never forgotten so soon.
const CLAIMED: Duration = Duration::from_mins(20);
/// So often it is tried anew to send what left the folder meanwhile.
const AGAIN: u32 = 16;
/// Contents that were found there and are to be claimed, at most.
const MOST_FOUND: usize = 100_000;
/// Says at the remote that it is a store of its own, whose users do not say all that they need.
const MARK: &str = "refs/store.json";

/// The remote behind a store, and what is known of it.
pub(crate) struct Behind {
    remote: Remote,
    /// Taken when the value goes, which may be where nothing may block.
    runtime: Option<Runtime>,
    look: Mutex<Option<Look>>,
    /// When this process last sent something.
    last_sent: Mutex<Option<Instant>>,
    sent: Mutex<Option<Sent>>,
    claims: Mutex<Claims>,
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behind").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// What was seen at the remote.
#[derive(Clone)]
struct Look {
    at: Instant,
    /// All that can be read.
    all: Arc<Known>,
    /// What no collection is going to remove.
    lasting: Arc<Known>,
}

impl Look {
    fn is_recent(&self) -> bool {
        self.at.elapsed() <= FRESH
    }

    /// Whether a look at this time would hardly show more than this one does.
    fn is_new(&self, last_sent: Option<Instant>) -> bool {
        self.is_recent() && last_sent.is_none_or(|sent| self.at > sent)
    }
}

/// What need not be looked at again when something is sent.
#[derive(Default)]
struct Sent {
    /// Local packs that were sent once.
    packs: HashSet<PackName>,
    /// Objects that this process sent since it last looked.
    objects: HashSet<Digest>,
    /// Whether the remote has been marked as a store.
    marked: bool,
}

/// What this process needs there.
#[derive(Default)]
struct Claims {
    /// To be claimed at the end of the next session: by digest and whether it is a folder; and whether somebody waits
    /// for it to be there, rather than having found it there.
    open: HashMap<(Digest, bool), bool>,
    done: HashMap<(Digest, bool), Instant>,
    segment: Option<Segment>,
}

impl Behind {
    pub(crate) fn new(remote: Remote) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store behind")
            .enable_all()
            .build()
            .map_err(|_| Error::Internal("the threads for the store behind cannot be started"))?;
        Ok(Self {
            remote,
            runtime: Some(runtime),
            look: Mutex::default(),
            last_sent: Mutex::default(),
            sent: Mutex::default(),
            claims: Mutex::default(),
        })
    }

    pub(crate) const fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Runs work at the remote to its end, from wherever it is asked for.
    pub(crate) fn wait<T: Send>(
        &self,
        work: impl AsyncFnOnce() -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let Some(runtime) = &self.runtime else { return Err(Error::Internal("the store is closing")) };
        let failed = Err(Error::Internal("a background task failed"));
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work())).join()).unwrap_or(failed)
    }

    /// What the remote has; read anew where it was read longer ago than this.
    fn look(&self, inner: &Arc<Inner>, within: Duration) -> Result<Look, Error> {
        self.look_if(inner, |look| look.at.elapsed() <= within)
    }

    /// What the remote has now, with what this process sent.
    fn look_now(&self, inner: &Arc<Inner>) -> Result<Look, Error> {
        let last_sent = *lock(&self.last_sent);
        self.look_if(inner, |look| look.is_new(last_sent))
    }

    fn is_new(&self, look: &Look) -> bool {
        look.is_new(*lock(&self.last_sent))
    }

    /// Forgets what was sent before a look: it is seen in it.
    fn seen(&self, sent: &mut Sent, look: &Look) {
        if lock(&self.last_sent).is_some_and(|at| look.at > at) {
            sent.objects.clear();
        }
    }

    fn look_if(&self, inner: &Arc<Inner>, good: impl Fn(&Look) -> bool) -> Result<Look, Error> {
        let mut look = lock(&self.look);
        if let Some(look) = look.as_ref().filter(|look| good(look)) {
            return Ok(look.clone());
        }
        // Time counts from before the first request.
        let at = Instant::now();
        let (all, lasting) = self.wait(async || Known::load_both(inner, &self.remote).await)?;
        let read = Look { at, all, lasting };
        *look = Some(read.clone());
        Ok(read)
    }

    /// Tells of an object whether the remote certainly has it and keeps it.
    pub(crate) fn certain(
        &self,
        inner: &Arc<Inner>,
        now: bool,
    ) -> Result<impl Fn(&Digest) -> bool + use<>, Error> {
        // What was sent first: a look that is newer shows it.
        let sent = lock(&self.sent).as_ref().map(|sent| sent.objects.clone()).unwrap_or_default();
        let lasting = if now { self.look_now(inner)? } else { self.look(inner, RELIED)? }.lasting;
        Ok(move |digest: &Digest| sent.contains(digest) || lasting.find(digest).is_some())
    }

    /// All that the remote has at this time.
    pub(crate) fn all_now(&self, inner: &Arc<Inner>) -> Result<Arc<Known>, Error> {
        Ok(self.look(inner, Duration::ZERO)?.all)
    }

    /// Asks what the remote has, and once more if it has nothing and what was seen may be old.
    fn ask<T>(
        &self,
        inner: &Arc<Inner>,
        question: impl Fn(&Known) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let look = self.look(inner, RELIED)?;
        let found = question(&look.all)?;
        if found.is_some() || self.is_new(&look) {
            return Ok(found);
        }
        question(&self.look_now(inner)?.all)
    }

    /// Whether the remote has this one object.
    pub(crate) fn knows(&self, inner: &Arc<Inner>, digest: &Digest) -> Result<bool, Error> {
        if lock(&self.sent).as_ref().is_some_and(|sent| sent.objects.contains(digest)) {
            return Ok(true);
        }
        Ok(self.place(inner, digest)?.is_some())
    }

    /// Whether everything below the roots is here or at the remote. Listings are read, content is not.
    pub(crate) fn has(&self, inner: &Arc<Inner>, roots: &[Root]) -> Result<bool, Error> {
        let found = self.ask(inner, |known| {
            match self.wait(async || pull::survey(inner, &self.remote, known, roots).await) {
                Ok(()) => Ok(Some(())),
                Err(Error::MissingRemotely { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        Ok(found.is_some())
    }

    /// Where the remote has an object.
    pub(crate) fn place(&self, inner: &Arc<Inner>, digest: &Digest) -> Result<Option<Location>, Error> {
        self.ask(inner, |known| Ok(known.find(digest).copied()))
    }

    /// Fetches what the roots need and is not here; nothing where that would be more than `most` bytes.
    pub(crate) fn pull(
        &self,
        inner: &Arc<Inner>,
        roots: &[Root],
        most: Option<u64>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        self.wait(async || pull::pull(inner, &self.remote, roots, most, progress).await.map(drop))
    }

    /// Objects as they are stored there, verified; they are not kept here.
    pub(crate) fn fetch(&self, inner: &Arc<Inner>, wanted: &[Digest]) -> Result<Staged, Error> {
        if wanted.is_empty() {
            return Ok(Staged::new());
        }
        let mut last = false;
        loop {
            let look = if last { self.look_now(inner)? } else { self.look(inner, RELIED)? };
            last |= self.is_new(&look);
            let places: Result<BTreeMap<Digest, Location>, Digest> = wanted
                .iter()
                .map(|digest| look.all.find(digest).map(|place| (*digest, *place)).ok_or(*digest))
                .collect();
            match places {
                Ok(places) => {
                    let places: Vec<Location> = places.into_values().collect();
                    match self.wait(async || pull::fetch(&self.remote, &places, None, &Quiet).await) {
                        // A collection there moved it since the indexes were read: look once more.
                        Err(Error::Remote { source, .. })
                            if !last && matches!(*source, object_store::Error::NotFound { .. }) => {}
                        done => return done,
                    }
                }
                Err(digest) if last => {
                    return Err(Error::MissingRemotely { digest, remote: self.remote.url().to_owned() });
                }
                Err(_) => {}
            }
            last = true;
        }
    }

    /// Notes that somebody found a content in the store and may rely on it.
    pub(crate) fn found(&self, digest: Digest, tree: bool) {
        let mut claims = lock(&self.claims);
        if claims.open.len() < MOST_FOUND {
            claims.open.entry((digest, tree)).or_insert(false);
        }
    }

    /// Notes what is to be claimed with what is sent next.
    pub(crate) fn needed(&self, results: &[Root]) {
        let mut claims = lock(&self.claims);
        for root in results {
            claims.open.insert((root.digest, root.tree), true);
        }
    }

    /// Sends what is here and not there, and claims `results` and what was noted to be claimed. Returns when the remote
    /// has it.
    pub(crate) fn push(&self, inner: &Arc<Inner>, results: &[Root]) -> Result<(), Error> {
        self.needed(results);
        let mut sent = lock(&self.sent);
        let sent = sent.get_or_insert_with(|| self.remember(inner));
        let mut again = 0;
        loop {
            let open = self.open_claims();
            let tables = inner.catalog.refresh()?;
            let fresh: HashSet<PackName> =
                tables.packs().filter(|pack| !sent.packs.contains(*pack)).copied().collect();
            if fresh.is_empty() && open.is_empty() {
                return Ok(());
            }
            let look = match self.send(inner, sent, &tables, &fresh, &open) {
                // What was to be sent left the folder meanwhile, so another process has sent it: look once more.
                Err(Error::NotFound { .. }) if again < AGAIN => {
                    again += 1;
                    continue;
                }
                look => look?,
            };
            sent.packs.extend(fresh);
            // Lost, it costs a look at the remote's indexes.
            let _ = self.note(inner, sent);
            self.claim(inner, sent, &open)?;
            if look.at.elapsed() < NAMED_WITHIN {
                return Ok(());
            }
            // What was found there when this began may be condemned by now, and go before the claim is read.
            let mut claims = lock(&self.claims);
            for (key, waits) in open {
                claims.done.remove(&key);
                claims.open.insert(key, waits);
            }
            drop(claims);
            *lock(&self.look) = None;
        }
    }

    fn open_claims(&self) -> HashMap<(Digest, bool), bool> {
        let mut claims = lock(&self.claims);
        let Claims { open, done, .. } = &mut *claims;
        done.retain(|_, at| at.elapsed() < CLAIMED);
        open.retain(|key, _| !done.contains_key(key));
        open.clone()
    }

    /// Sends what the remote lacks of these packs, and of what is to be claimed. Gives the oldest look that was relied on.
    fn send(
        &self,
        inner: &Arc<Inner>,
        sent: &mut Sent,
        tables: &Arc<Tables>,
        fresh: &HashSet<PackName>,
        open: &HashMap<(Digest, bool), bool>,
    ) -> Result<Look, Error> {
        let mut look = self.look(inner, RELIED)?;
        self.seen(sent, &look);
        let mut lacking: Vec<Location> = Vec::new();
        let all_here = {
            let objects = &sent.objects;
            let lacks = |digest: &Digest| look.lasting.find(digest).is_none() && !objects.contains(digest);
            for (_, table) in
                tables.files().filter(|(_, table)| table.packs().iter().any(|p| fresh.contains(p)))
            {
                table.each(|location| {
                    if fresh.contains(&location.pack) && lacks(&location.header.digest) {
                        lacking.push(location);
                    }
                    Ok(())
                })?;
            }
            let roots = roots_of(open.keys());
            let reached = reach(inner, tables, &roots, false, &Quiet)?;
            lacking.extend(reached.objects.iter().filter(|location| lacks(&location.header.digest)));
            reached.missing.is_empty()
        };
        lacking.sort_unstable_by_key(|location| location.header.digest);
        lacking.dedup_by_key(|location| location.header.digest);
        if !look.is_recent() && !lacking.is_empty() {
            // Others may have sent it, and it may have been fetched from there. What this process sent is seen now.
            look = self.look(inner, FRESH)?;
            self.seen(sent, &look);
            lacking.retain(|location| look.lasting.find(&location.header.digest).is_none());
        }
        // As they lie, so that they are read one after the other.
        lacking.sort_unstable_by_key(|location| (location.pack, location.offset));
        if !lacking.is_empty() {
            self.mark_as_store(sent)?;
            let digests: Vec<Digest> = lacking.iter().map(|location| location.header.digest).collect();
            self.wait(async || push::send_all(inner, &self.remote, lacking, &Quiet).await.map(drop))
                // A part of it may be there.
                .inspect_err(|_| *lock(&self.look) = None)?;
            sent.objects.extend(digests);
            *lock(&self.last_sent) = Some(Instant::now());
        }
        if all_here { Ok(look) } else { self.whole(inner, tables, look, open) }
    }

    /// Sees that what somebody waits for, and is not all here any more, is all there.
    fn whole(
        &self,
        inner: &Arc<Inner>,
        tables: &Arc<Tables>,
        look: Look,
        open: &HashMap<(Digest, bool), bool>,
    ) -> Result<Look, Error> {
        let waiting = roots_of(open.iter().filter(|(_, waits)| **waits).map(|(key, _)| key));
        let mut lacking = Vec::new();
        for root in waiting {
            if !reach(inner, tables, std::slice::from_ref(&root), true, &Quiet)?.missing.is_empty() {
                lacking.push(root);
            }
        }
        let Some(first) = lacking.first() else { return Ok(look) };
        let now = self.look(inner, Duration::ZERO)?;
        let places = Places::new(now.lasting.places().to_vec(), |_| ());
        let missing = self.wait(async || {
            mark(inner, &self.remote, &places, &lacking, &Quiet).await.map(|marked| marked.missing)
        })?;
        if missing > 0 {
            // Left the folder, and was condemned there before this session could claim it.
            return Err(Error::Missing { digest: first.digest, store: inner.dir.clone() });
        }
        Ok(look)
    }

    fn mark_as_store(&self, sent: &mut Sent) -> Result<(), Error> {
        if !sent.marked {
            self.wait(async || self.remote.put(MARK, b"{\"format\":1}".to_vec()).await)?;
            sent.marked = true;
        }
        Ok(())
    }

    fn claim(
        &self,
        inner: &Arc<Inner>,
        sent: &mut Sent,
        open: &HashMap<(Digest, bool), bool>,
    ) -> Result<(), Error> {
        if open.is_empty() {
            return Ok(());
        }
        self.mark_as_store(sent)?;
        let mut claims = lock(&self.claims);
        let mut segment = match claims.segment.take().filter(Segment::is_open) {
            Some(segment) => segment,
            None => Segment::begin(inner)?,
        };
        segment.extend(open.keys().copied());
        let (name, document) = (segment.name().to_owned(), segment.document()?);
        self.wait(async || {
            self.remote.put(&name, document).await?;
            self.remote.sync().await
        })?;
        claims.segment = Some(segment);
        let now = Instant::now();
        for key in open.keys() {
            claims.open.remove(key);
            claims.done.insert(*key, now);
        }
        Ok(())
    }

    /// Forgets what this process knows of the remote and what it claimed there.
    pub(crate) fn forget(&self) {
        *lock(&self.look) = None;
        let mut claims = lock(&self.claims);
        claims.done.clear();
        claims.segment = None;
        drop(claims);
        if let Some(sent) = lock(&self.sent).as_mut() {
            sent.objects.clear();
        }
    }

    fn file(&self, inner: &Inner) -> PathBuf {
        inner.dir.join("remotes").join(format!("{}.sent", self.remote.id()))
    }

    /// The packs that earlier processes sent.
    fn remember(&self, inner: &Inner) -> Sent {
        let text = fs_err::read_to_string(self.file(inner)).unwrap_or_default();
        let packs = text.lines().filter_map(|line| PackName::from_hex(line).ok()).collect();
        Sent { packs, ..Sent::default() }
    }

    fn note(&self, inner: &Inner, sent: &Sent) -> Result<(), Error> {
        let here: HashSet<PackName> = inner.packs_on_disk()?.into_iter().map(|(pack, _)| pack).collect();
        let lines: Vec<String> = sent.packs.intersection(&here).map(|pack| pack.hex() + "\n").collect();
        let mut file = TempFile::create(&inner.tmp_dir(), "sent")?;
        file.write_all(lines.concat().as_bytes())?;
        file.persist(&self.file(inner))
    }
}

fn roots_of<'a>(keys: impl Iterator<Item = &'a (Digest, bool)>) -> Vec<Root> {
    keys.map(|(digest, tree)| Root::unlabelled(*digest, *tree)).collect()
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
