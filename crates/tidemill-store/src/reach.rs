//! Which objects some roots need: the mark phase of garbage collection, and what a push must send.

use std::collections::HashSet;
use std::sync::Arc;

use tidemill_core::{Digest, Progress};

use crate::catalog::Tables;
use crate::index::Location;
use crate::inner::Inner;
use crate::list::List;
use crate::record::Kind;
use crate::tree::{MAX_DEPTH, TreeNode};
use crate::{Error, Root};

/// Everything below some roots, each object once.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Objects that are here, listings before what they list.
    pub(crate) objects: Vec<Location>,
    /// Objects that are not.
    pub(crate) missing: Vec<Digest>,
}

/// Walks from `roots`. Listings and chunk lists are read, content is not. With `stop` it ends at the first object that
/// is missing.
pub(crate) fn reach(
    inner: &Arc<Inner>,
    tables: &Tables,
    roots: &[Root],
    stop: bool,
    progress: &dyn Progress,
) -> Result<Reach, Error> {
    let mut walk = Walk { inner, tables, seen: HashSet::new(), trees: HashSet::new(), out: Reach::default() };
    for root in roots {
        if stop && !walk.out.missing.is_empty() {
            break;
        }
        if root.tree {
            walk.tree(&root.digest, 0, stop, progress)?;
        } else {
            walk.content(&root.digest)?;
        }
    }
    Ok(walk.out)
}

struct Walk<'a> {
    inner: &'a Arc<Inner>,
    tables: &'a Tables,
    seen: HashSet<Digest>,
    trees: HashSet<Digest>,
    out: Reach,
}

impl Walk<'_> {
    fn tree(
        &mut self,
        digest: &Digest,
        depth: usize,
        stop: bool,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::malformed("tree", "it is nested too deep"));
        }
        if !self.trees.insert(*digest) {
            return Ok(());
        }
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let missing = self.out.missing.len();
        self.content(digest)?;
        // A listing that is not whole cannot be read; what it lists cannot be known.
        if self.out.missing.len() > missing || !self.is_here(digest)? {
            return Ok(());
        }
        for item in self.inner.tree(digest)?.items() {
            match &item.node {
                TreeNode::Tree { digest, .. } => self.tree(digest, depth + 1, stop, progress)?,
                TreeNode::File { digest, .. } => self.content(digest)?,
                TreeNode::Link { .. } => {}
            }
            if stop && !self.out.missing.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn is_here(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.tables.find(digest)?.is_some())
    }

    fn content(&mut self, digest: &Digest) -> Result<(), Error> {
        let Some(location) = self.object(digest)? else { return Ok(()) };
        if location.header.kind == Kind::File {
            let bytes = match self.inner.catalog.fetch_at(&location) {
                // It left a cache since the tables were read.
                Err(Error::NotFound { .. }) if self.inner.behind.is_some() => {
                    self.out.objects.pop();
                    self.out.missing.push(*digest);
                    return Ok(());
                }
                found => found?,
            };
            self.list(&List::decode(&bytes)?)?;
        }
        Ok(())
    }

    fn list(&mut self, list: &List) -> Result<(), Error> {
        for part in &list.parts {
            let found = self.object(&part.digest)?;
            if list.level > 0 && found.is_some() {
                self.list(&self.inner.lower_list(part, list.level - 1)?)?;
            }
        }
        Ok(())
    }

    /// Notes an object; gives its place if it is here and was not seen before.
    fn object(&mut self, digest: &Digest) -> Result<Option<Location>, Error> {
        if !self.seen.insert(*digest) {
            return Ok(None);
        }
        let found = self.tables.find(digest)?;
        match found {
            Some(location) => self.out.objects.push(location),
            None => self.out.missing.push(*digest),
        }
        Ok(found)
    }
}
