//! Which objects of a remote its roots need, and in which packs: what [`crate::reach`] is for a local store.
//!
//! Listings and chunk lists are read, content is not. Listings that are in the local store are read there. Memory grows
//! with the number of objects, never with their bytes: what is read in a round is given up after it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidemill_core::{Digest, Progress, Unit};

use crate::index::{Location, PackName};
use crate::inner::Inner;
use crate::list::List;
use crate::record::{self, Kind};
use crate::remote::Remote;
use crate::remote::pull::fetch;
use crate::tree::{MAX_DEPTH, Tree, TreeNode};
use crate::{Error, Root};

/// Stored bytes that are read in one round.
const ROUND: u64 = 16 << 20;

/// Every place of every object of a remote, those that are to be kept before their copies elsewhere.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Location>);

impl Places {
    /// Orders copies of one object by `rank`, the least first.
    pub(super) fn new<R: Ord>(mut all: Vec<Location>, rank: impl Fn(&PackName) -> R) -> Self {
        all.sort_by(|a, b| {
            let order = a.header.digest.cmp(&b.header.digest);
            order.then_with(|| (rank(&a.pack), a.pack).cmp(&(rank(&b.pack), b.pack)))
        });
        Self(all)
    }

    fn of(&self, digest: &Digest) -> &[Location] {
        let start = self.0.partition_point(|location| location.header.digest < *digest);
        let length = self.0[start..].partition_point(|location| location.header.digest == *digest);
        &self.0[start..start + length]
    }
}

/// What the roots need.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// By the pack that holds it.
    pub(super) live: HashMap<PackName, Vec<Location>>,
    /// Objects that are needed and in no pack.
    pub(super) missing: u64,
}

/// Walks from `roots`.
pub(super) async fn mark(
    inner: &Arc<Inner>,
    remote: &Remote,
    places: &Places,
    roots: &[Root],
    progress: &dyn Progress,
) -> Result<Marked, Error> {
    let open = roots
        .iter()
        .map(|root| if root.tree { Task::Tree(root.digest, 0) } else { Task::Content(root.digest) })
        .collect();
    let mut walk = Walk {
        inner,
        remote,
        places,
        seen: HashSet::new(),
        trees: HashSet::new(),
        lists: HashSet::new(),
        open,
        out: Marked::default(),
    };
    progress.begin("marking", None, Unit::Items);
    while !walk.open.is_empty() {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        walk.round(progress).await?;
    }
    Ok(walk.out)
}

/// What is still to be looked at.
enum Task {
    Tree(Digest, usize),
    /// A file, a chunk, or the bytes of a list or listing.
    Content(Digest),
    /// A lower chunk list of a file.
    List(Digest, u8),
}

/// What one round reads.
#[derive(Default)]
struct Reading {
    /// Listings in one piece, with their depth.
    trees: Vec<(Location, usize)>,
    /// Listings in chunks.
    large: Vec<(Digest, usize)>,
    lower: Vec<(Location, u8)>,
    /// Files in chunks, each with all its copies.
    files: Vec<Vec<Location>>,
    bytes: u64,
}

struct Walk<'a> {
    inner: &'a Arc<Inner>,
    remote: &'a Remote,
    places: &'a Places,
    seen: HashSet<Digest>,
    trees: HashSet<Digest>,
    lists: HashSet<Digest>,
    open: Vec<Task>,
    out: Marked,
}

impl Walk<'_> {
    async fn round(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        let mut reading = Reading::default();
        while reading.bytes < ROUND {
            let Some(task) = self.open.pop() else { break };
            self.take(&task, &mut reading)?;
        }
        let mut wanted: BTreeMap<Digest, Location> = BTreeMap::new();
        let trees = reading.trees.iter().map(|(location, _)| location);
        let lower = reading.lower.iter().map(|(location, _)| location);
        for location in trees.chain(lower) {
            wanted.insert(location.header.digest, *location);
        }
        let blobs = self.blobs(&wanted.into_values().collect::<Vec<_>>(), progress).await?;
        let bytes_of = |location: &Location| {
            blobs.get(&location.header.digest).ok_or(Error::Internal("a listing was not fetched"))
        };
        for (location, depth) in &reading.trees {
            self.tree(bytes_of(location)?, *depth)?;
        }
        for (location, level) in &reading.lower {
            let list = List::decode(bytes_of(location)?)?;
            if list.level != *level {
                return Err(Error::malformed("chunk list", "its level does not fit"));
            }
            self.list(&list);
        }
        self.files(&reading.files, progress).await?;
        for (digest, depth) in reading.large {
            if let Some(bytes) = self.whole(&digest, progress).await? {
                self.tree(&bytes, depth)?;
            }
        }
        Ok(())
    }

    /// Notes what a task is about, and what has to be read for it.
    fn take(&mut self, task: &Task, reading: &mut Reading) -> Result<(), Error> {
        match *task {
            Task::Content(digest) => self.content(&digest, reading),
            Task::List(digest, level) => {
                self.content(&digest, reading);
                let blob = self.blob(&digest).filter(|_| self.lists.insert(digest));
                if let Some(location) = blob {
                    reading.bytes += location.header.record_len();
                    reading.lower.push((location, level));
                }
            }
            Task::Tree(digest, depth) => {
                if depth > MAX_DEPTH {
                    return Err(Error::malformed("tree", "it is nested too deep"));
                }
                self.content(&digest, reading);
                if !self.trees.insert(digest) {
                    return Ok(());
                }
                match self.blob(&digest) {
                    Some(location) => {
                        reading.bytes += location.header.record_len();
                        reading.trees.push((location, depth));
                    }
                    None if !self.places.of(&digest).is_empty() => reading.large.push((digest, depth)),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// The best copy of an object that is its own content.
    fn blob(&self, digest: &Digest) -> Option<Location> {
        self.places.of(digest).iter().find(|location| location.header.kind == Kind::Blob).copied()
    }

    /// Marks an object, once. A file that was cut in several ways stays in all of them: which of these lists has all
    /// its chunks is not known here.
    fn content(&mut self, digest: &Digest, reading: &mut Reading) {
        if !self.seen.insert(*digest) {
            return;
        }
        let copies: Vec<Location> =
            self.places.of(digest).iter().filter(|l| l.header.kind == Kind::File).copied().collect();
        match self.blob(digest) {
            Some(location) => self.keep(location),
            None if copies.is_empty() => self.out.missing += 1,
            None => {}
        }
        if let Some(first) = copies.first() {
            reading.bytes += first.header.record_len();
            reading.files.push(copies);
        }
    }

    fn keep(&mut self, location: Location) {
        self.out.live.entry(location.pack).or_default().push(location);
    }

    fn tree(&mut self, listing: &[u8], depth: usize) -> Result<(), Error> {
        for item in Tree::decode(listing)?.items() {
            match &item.node {
                TreeNode::Tree { digest, .. } => self.open.push(Task::Tree(*digest, depth + 1)),
                TreeNode::File { digest, .. } => self.open.push(Task::Content(*digest)),
                TreeNode::Link { .. } => {}
            }
        }
        Ok(())
    }

    fn list(&mut self, list: &List) {
        for part in &list.parts {
            self.open.push(match list.level {
                0 => Task::Content(part.digest),
                level => Task::List(part.digest, level - 1),
            });
        }
    }

    /// Marks files in chunks: of each, the copies whose lists differ.
    async fn files(&mut self, files: &[Vec<Location>], progress: &dyn Progress) -> Result<(), Error> {
        let firsts: Vec<Location> = files.iter().filter_map(|copies| copies.first().copied()).collect();
        let found = fetch(self.remote, &firsts, None, progress).await?;
        for copies in files {
            let mut lists: Vec<Vec<u8>> = Vec::new();
            for (at, location) in copies.iter().enumerate() {
                let digest = location.header.digest;
                let raw = if at == 0 {
                    opened(&found, &digest)?
                } else {
                    opened(&fetch(self.remote, &[*location], None, progress).await?, &digest)?
                };
                if !lists.contains(&raw) {
                    self.keep(*location);
                    self.list(&List::decode(&raw)?);
                    lists.push(raw);
                }
            }
        }
        Ok(())
    }

    /// The bytes of objects that are their own content, from here where they are here.
    async fn blobs(
        &self,
        wanted: &[Location],
        progress: &dyn Progress,
    ) -> Result<HashMap<Digest, Vec<u8>>, Error> {
        let tables = self.inner.catalog.tables();
        let mut bytes = HashMap::new();
        let mut there = Vec::new();
        for location in wanted {
            let digest = location.header.digest;
            let here = tables.find(&digest)?.filter(|here| here.header.kind == Kind::Blob);
            // What is damaged here may be whole there.
            match here.and_then(|here| self.inner.catalog.fetch_at(&here).ok()) {
                Some(found) => drop(bytes.insert(digest, found)),
                None => there.push(*location),
            }
        }
        for (digest, (header, stored)) in fetch(self.remote, &there, None, progress).await? {
            bytes.insert(digest, record::open(&header, &stored)?);
        }
        Ok(bytes)
    }

    /// A listing in chunks; `None` if no copy of it has them all.
    async fn whole(&self, digest: &Digest, progress: &dyn Progress) -> Result<Option<Vec<u8>>, Error> {
        for location in self.places.of(digest) {
            let found = fetch(self.remote, &[*location], None, progress).await?;
            let mut list = List::decode(&opened(&found, digest)?)?;
            loop {
                let parts: Option<Vec<Location>> =
                    list.parts.iter().map(|part| self.blob(&part.digest)).collect();
                let Some(parts) = parts else { break };
                let blobs = self.blobs(&parts, progress).await?;
                let pieces = || list.parts.iter().filter_map(|part| blobs.get(&part.digest));
                if list.level == 0 {
                    let bytes: Vec<u8> = pieces().flatten().copied().collect();
                    if Digest::of(&bytes) != *digest {
                        let why = format!("what `{}` has for {digest} is something else", self.remote.url());
                        return Err(Error::malformed("tree", why));
                    }
                    return Ok(Some(bytes));
                }
                let mut lower = Vec::new();
                for piece in pieces() {
                    lower.extend(List::decode(piece)?.parts);
                }
                list = List { level: list.level - 1, parts: lower };
            }
        }
        Ok(None)
    }
}

fn opened(found: &super::pull::Staged, digest: &Digest) -> Result<Vec<u8>, Error> {
    let (header, stored) = found.get(digest).ok_or(Error::Internal("an object was not fetched"))?;
    record::open(header, stored)
}
