//! Fetches what the local store lacks: first listings and chunk lists, round by round, then content.
//!
//! Nothing that refers to other objects is stored before these are: listings wait in memory until all content has
//! arrived and every file of chunks has been found to fit its digest. Content is stored as it comes, so that a pull
//! that was interrupted continues where it was.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use tidemill_core::{Digest, Hasher, Progress, Quiet, Unit};

use crate::batch::Batch;
use crate::index::{Location, end_of};
use crate::inner::Inner;
use crate::list::List;
use crate::record::{self, HEADER, Header, Kind};
use crate::remote::client::blocking;
use crate::remote::known::{Known, pack_file};
use crate::remote::{Remote, Transfer};
use crate::tree::{MAX_DEPTH, Tree, TreeNode};
use crate::{Error, Root};

/// Ranges fetched at a time, and their largest size.
const AT_ONCE: usize = 8;
const RANGE: u64 = 8 << 20;
/// Objects that lie this close together are fetched in one range.
const GAP: u64 = 128 << 10;

/// See [`crate::Store::pull`]. Fetches nothing where that would be more than `most` bytes.
pub(crate) async fn pull(
    inner: &Arc<Inner>,
    remote: &Remote,
    roots: &[Root],
    most: Option<u64>,
    progress: &dyn Progress,
) -> Result<Transfer, Error> {
    match pull_once(inner, remote, roots, most, progress).await {
        // A collection there moved it since the indexes were read: look once more.
        Err(Error::Remote { source, .. }) if matches!(*source, object_store::Error::NotFound { .. }) => {
            pull_once(inner, remote, roots, most, progress).await
        }
        done => done,
    }
}

async fn pull_once(
    inner: &Arc<Inner>,
    remote: &Remote,
    roots: &[Root],
    most: Option<u64>,
    progress: &dyn Progress,
) -> Result<Transfer, Error> {
    let _lock = inner.shared_lock(&|| progress.cancelled())?;
    inner.catalog.refresh()?;
    let known = Known::load(inner, remote).await?;
    let mut survey = Survey::new(inner, remote, &known, roots);
    progress.begin("asking", None, Unit::Items);
    survey.look(progress).await?;
    let mut transfer = survey.transfer;
    let data = std::mem::take(&mut survey.data);
    let bytes: u64 = data.iter().map(|location| location.header.record_len()).sum();
    let packs: HashSet<Digest> =
        data.iter().map(|location| location.pack).chain(survey.packs.iter().copied()).collect();
    transfer.objects = (data.len() + survey.staged.len()) as u64;
    transfer.bytes = bytes + survey.staged.values().map(|(header, _)| header.record_len()).sum::<u64>();
    transfer.packs = packs.len() as u64;
    if most.is_some_and(|most| transfer.bytes > most) {
        return Ok(Transfer::default());
    }
    progress.begin("pulling", Some(bytes), Unit::Bytes);
    if !data.is_empty() {
        let batch = Arc::new(Batch::begin(inner, true, &|| progress.cancelled())?);
        fetch(remote, &data, Some(&batch), progress).await?;
        blocking(move || batch.finish(&[])).await?;
    }
    let staged = std::mem::take(&mut survey.staged);
    if !staged.is_empty() {
        let inner = Arc::clone(inner);
        blocking(move || store_listings(&inner, &staged)).await?;
    }
    Ok(transfer)
}

/// Whether everything below the roots is here or there: [`Error::MissingRemotely`] if not. Content is not read.
pub(super) async fn survey(
    inner: &Arc<Inner>,
    remote: &Remote,
    known: &Known,
    roots: &[Root],
) -> Result<(), Error> {
    inner.catalog.refresh()?;
    Survey::new(inner, remote, known, roots).look(&Quiet).await
}

/// Objects as they are stored, verified.
pub(crate) type Staged = HashMap<Digest, (Header, Vec<u8>)>;

/// What is still to be looked at.
enum Task {
    Tree(Digest, usize),
    /// A file's content.
    File(Digest),
    /// A lower chunk list of a file.
    List {
        digest: Digest,
        level: u8,
    },
}

struct Survey<'a> {
    inner: &'a Arc<Inner>,
    remote: &'a Remote,
    known: &'a Known,
    todo: Vec<Task>,
    seen: HashSet<Digest>,
    /// Listings and lists that have been fetched, as they are stored.
    staged: Staged,
    /// Content to fetch.
    data: Vec<Location>,
    packs: HashSet<Digest>,
    transfer: Transfer,
}

impl<'a> Survey<'a> {
    fn new(inner: &'a Arc<Inner>, remote: &'a Remote, known: &'a Known, roots: &[Root]) -> Self {
        let todo = roots
            .iter()
            .map(|root| if root.tree { Task::Tree(root.digest, 0) } else { Task::File(root.digest) })
            .collect();
        let (seen, staged, data) = (HashSet::new(), HashMap::new(), Vec::new());
        Self {
            inner,
            remote,
            known,
            todo,
            seen,
            staged,
            data,
            packs: HashSet::new(),
            transfer: Transfer::default(),
        }
    }

    /// Looks at everything below the roots; an error if something is in neither place.
    async fn look(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        while !self.todo.is_empty() {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let wanted = self.round()?;
            let found = fetch(self.remote, &wanted, None, progress).await?;
            self.staged.extend(found);
        }
        Ok(())
    }

    /// Does every task whose objects are at hand; gives the objects that the others wait for.
    fn round(&mut self) -> Result<Vec<Location>, Error> {
        let mut wanted = HashMap::new();
        let mut waiting = Vec::new();
        while let Some(task) = self.todo.pop() {
            let lacking = match &task {
                Task::Tree(digest, depth) => self.tree(digest, *depth)?,
                Task::File(digest) => self.file(digest)?,
                Task::List { digest, level } => self.list(digest, *level)?,
            };
            if !lacking.is_empty() {
                for digest in lacking {
                    let location = self.remote_place(&digest)?;
                    self.packs.insert(location.pack);
                    wanted.insert(digest, location);
                }
                waiting.push(task);
            }
        }
        self.todo = waiting;
        Ok(wanted.into_values().collect())
    }

    fn remote_place(&self, digest: &Digest) -> Result<Location, Error> {
        let found = self.known.find(digest).copied();
        found.ok_or_else(|| Error::MissingRemotely { digest: *digest, remote: self.remote.url().to_owned() })
    }

    /// The raw bytes of an object that is at hand.
    fn object(&self, digest: &Digest) -> Result<Option<(Kind, Vec<u8>)>, Error> {
        if let Some((header, stored)) = self.staged.get(digest) {
            return Ok(Some((header.kind, record::open(header, stored)?)));
        }
        let Some(location) = self.inner.catalog.tables().find(digest)? else { return Ok(None) };
        match self.inner.catalog.fetch_at(&location) {
            // It left a cache since it was looked up.
            Err(Error::NotFound { .. }) if self.inner.behind.is_some() => Ok(None),
            bytes => Ok(Some((location.header.kind, bytes?))),
        }
    }

    /// Looks into a folder. Gives the objects that must be fetched before it can be read.
    fn tree(&mut self, digest: &Digest, depth: usize) -> Result<Vec<Digest>, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::malformed("tree", "it is nested too deep"));
        }
        if self.seen.contains(digest) {
            return Ok(Vec::new());
        }
        let mut lacking = Vec::new();
        let mut listing = Vec::new();
        self.assemble(digest, None, &mut listing, &mut lacking)?;
        if !lacking.is_empty() {
            return Ok(lacking);
        }
        if Digest::of(&listing) != *digest {
            return Err(Error::malformed(
                "tree",
                format!("what `{}` has for {digest} is something else", self.remote.url()),
            ));
        }
        self.seen.insert(*digest);
        for item in Tree::decode(&listing)?.items() {
            match &item.node {
                TreeNode::Tree { digest, .. } => self.todo.push(Task::Tree(*digest, depth + 1)),
                TreeNode::File { digest, .. } => self.todo.push(Task::File(*digest)),
                TreeNode::Link { .. } => {}
            }
        }
        Ok(lacking)
    }

    /// Puts a listing together in memory, as far as its parts are at hand.
    fn assemble(
        &self,
        digest: &Digest,
        level: Option<u8>,
        out: &mut Vec<u8>,
        lacking: &mut Vec<Digest>,
    ) -> Result<(), Error> {
        let Some((kind, bytes)) = self.object(digest)? else {
            lacking.push(*digest);
            return Ok(());
        };
        let list = match (kind, level) {
            (Kind::Blob, None) => {
                out.extend_from_slice(&bytes);
                return Ok(());
            }
            _ => List::decode(&bytes)?,
        };
        if level.is_some_and(|level| level != list.level) {
            return Err(Error::malformed("chunk list", "its level does not fit"));
        }
        for part in &list.parts {
            self.assemble(&part.digest, list.level.checked_sub(1), out, lacking)?;
        }
        Ok(())
    }

    /// Looks at a file: whole ones are content to fetch, others have a chunk list to look into.
    fn file(&mut self, digest: &Digest) -> Result<Vec<Digest>, Error> {
        if self.seen.contains(digest) {
            return Ok(Vec::new());
        }
        let here = self.inner.catalog.tables().find(digest)?;
        let kind = match here.map(|location| location.header.kind) {
            Some(kind) => kind,
            None => self.remote_place(digest)?.header.kind,
        };
        if kind == Kind::Blob {
            return self.blob(digest).map(|()| Vec::new());
        }
        let Some((_, bytes)) = self.object(digest)? else { return Ok(vec![*digest]) };
        self.seen.insert(*digest);
        self.transfer.present += u64::from(here.is_some());
        self.parts(&List::decode(&bytes)?)?;
        Ok(Vec::new())
    }

    fn list(&mut self, digest: &Digest, level: u8) -> Result<Vec<Digest>, Error> {
        if self.seen.contains(digest) {
            return Ok(Vec::new());
        }
        let Some((_, bytes)) = self.object(digest)? else { return Ok(vec![*digest]) };
        let list = List::decode(&bytes)?;
        if list.level != level {
            return Err(Error::malformed("chunk list", "its level does not fit"));
        }
        self.seen.insert(*digest);
        self.parts(&list)?;
        Ok(Vec::new())
    }

    fn parts(&mut self, list: &List) -> Result<(), Error> {
        for part in &list.parts {
            match list.level {
                0 => self.blob(&part.digest)?,
                level => self.todo.push(Task::List { digest: part.digest, level: level - 1 }),
            }
        }
        Ok(())
    }

    fn blob(&mut self, digest: &Digest) -> Result<(), Error> {
        if self.seen.insert(*digest) {
            if self.inner.catalog.tables().find(digest)?.is_some() {
                self.transfer.present += 1;
            } else if !self.staged.contains_key(digest) {
                self.data.push(self.remote_place(digest)?);
            }
        }
        Ok(())
    }
}

/// Objects of one pack that are fetched together.
pub(super) struct Span {
    pub(super) pack: Digest,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) objects: Vec<Location>,
}

pub(super) fn spans(wanted: &[Location]) -> Vec<Span> {
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable_by_key(|location| (location.pack, location.offset));
    let mut spans: Vec<Span> = Vec::new();
    for location in sorted {
        let end = end_of(&location);
        match spans.last_mut() {
            Some(span)
                if span.pack == location.pack
                    && location.offset <= span.end.saturating_add(GAP)
                    && end - span.start <= RANGE =>
            {
                span.end = span.end.max(end);
                span.objects.push(location);
            }
            _ => {
                spans.push(Span {
                    pack: location.pack,
                    start: location.offset,
                    end,
                    objects: vec![location],
                });
            }
        }
    }
    spans
}

/// Fetches and verifies objects. With a batch they are put there, otherwise they are given back.
pub(super) async fn fetch(
    remote: &Remote,
    wanted: &[Location],
    batch: Option<&Arc<Batch>>,
    progress: &dyn Progress,
) -> Result<Staged, Error> {
    let parts: Vec<Staged> = futures::stream::iter(spans(wanted))
        .map(|span| fetch_span(remote, span, batch.cloned(), progress))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(parts.into_iter().flatten().collect())
}

async fn fetch_span(
    remote: &Remote,
    span: Span,
    batch: Option<Arc<Batch>>,
    progress: &dyn Progress,
) -> Result<Staged, Error> {
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    let name = pack_file(&span.pack);
    let range = span.start..span.end;
    let bytes = remote
        .store()
        .get_range(&remote.location(&name), range)
        .await
        .map_err(remote.error("read", &name))?;
    progress.advance(bytes.len() as u64);
    let pack = format!("{}/{name}", remote.url());
    blocking(move || {
        let mut staged = Staged::new();
        for location in &span.objects {
            let damaged = |what: String| Error::Damaged {
                object: location.header.digest,
                pack: pack.clone(),
                offset: location.offset,
                what,
            };
            let start = (location.offset - span.start) as usize;
            let record = bytes
                .get(start..start + location.header.record_len() as usize)
                .ok_or_else(|| damaged("the pack ends too early".into()))?;
            let header = Header::decode(record).map_err(|error| damaged(error.to_string()))?;
            if header != location.header {
                return Err(damaged("the pack holds another object there than its index says".into()));
            }
            let stored = &record[HEADER..];
            record::open(&header, stored).map_err(|error| damaged(error.to_string()))?;
            match &batch {
                Some(batch) => batch.append(header, stored)?,
                None => drop(staged.insert(header.digest, (header, stored.to_vec()))),
            }
        }
        Ok(staged)
    })
    .await
}

/// Stores listings and chunk lists, now that all they speak of is here. A file of chunks is read once to see that it
/// is what its digest says; the digests of all other objects have been checked on arrival.
fn store_listings(inner: &Arc<Inner>, staged: &Staged) -> Result<(), Error> {
    inner.catalog.refresh()?;
    for (digest, (header, stored)) in staged {
        if header.kind == Kind::File {
            let mut hasher = Hasher::new();
            hash_list(inner, staged, &List::decode(&record::open(header, stored)?)?, &mut hasher)?;
            if hasher.finish() != *digest {
                return Err(Error::malformed("chunk list", format!("its chunks do not make up {digest}")));
            }
        }
    }
    let batch = Batch::begin(inner, true, &|| false)?;
    for (header, stored) in staged.values() {
        if !batch.contains(&header.digest)? {
            batch.append(*header, stored)?;
        }
    }
    batch.finish(&[])
}

fn hash_list(inner: &Arc<Inner>, staged: &Staged, list: &List, hasher: &mut Hasher) -> Result<(), Error> {
    for part in &list.parts {
        let (_, bytes) = inner.fetch_with(staged, &part.digest)?;
        if list.level == 0 {
            if bytes.len() as u64 != part.bytes {
                return Err(Error::malformed("chunk list", format!("{} has another length", part.digest)));
            }
            hasher.update_parallel(&bytes);
        } else {
            let lower = List::decode(&bytes)?;
            if lower.level + 1 != list.level || lower.bytes() != part.bytes {
                return Err(Error::malformed(
                    "chunk list",
                    format!("{} does not fit the list above", part.digest),
                ));
            }
            hash_list(inner, staged, &lower, hasher)?;
        }
    }
    Ok(())
}
