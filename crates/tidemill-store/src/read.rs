//! From the store into memory: whole objects, chunk lists, and files as streams.

use std::io::{self, Read};
use std::sync::Arc;

use tidemill_core::{Digest, Hasher};

use crate::Error;
use crate::index::Location;
use crate::inner::Inner;
use crate::list::{List, Part};
use crate::record::{self, Kind};
use crate::remote::Staged;
use crate::tree::Tree;

/// Bytes that are fetched together where a file that is not here is read from its beginning to its end.
const READ_AHEAD: u64 = 4 << 20;

/// Takes the content offset where a list of level 0 begins, and its chunks.
pub(crate) type VisitList<'a> = dyn FnMut(u64, &[Part]) -> Result<(), Error> + 'a;

impl Inner {
    /// The whole content of a file or listing, verified.
    pub(crate) fn get(self: &Arc<Self>, digest: &Digest) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        let mut reader = Reader::open(Arc::clone(self), digest)?;
        while let Some(chunk) = reader.next_chunk()? {
            if content.is_empty() {
                content = chunk;
            } else {
                content.extend_from_slice(&chunk);
            }
        }
        Ok(content)
    }

    /// The length of a file's content.
    pub(crate) fn length(self: &Arc<Self>, digest: &Digest) -> Result<u64, Error> {
        let (kind, bytes) = self.fetch(digest)?;
        Ok(match kind {
            Kind::Blob => bytes.len() as u64,
            Kind::File => List::decode(&bytes)?.bytes(),
        })
    }

    /// The listing of a folder.
    pub(crate) fn tree(self: &Arc<Self>, digest: &Digest) -> Result<Tree, Error> {
        Tree::decode(&self.get(digest)?)
    }

    /// A chunk list: the top one of a file, or with `level` a lower one.
    pub(crate) fn lower_list(self: &Arc<Self>, part: &Part, level: u8) -> Result<List, Error> {
        let (_, bytes) = self.fetch(&part.digest)?;
        let list = List::decode(&bytes)?;
        if list.level != level || list.bytes() != part.bytes {
            return Err(Error::malformed(
                "chunk list",
                format!("{} does not fit the list above it", part.digest),
            ));
        }
        Ok(list)
    }

    /// Calls `visit` with the lists of level 0 below `list` in order, and the content offset where each begins.
    pub(crate) fn leaf_lists(
        self: &Arc<Self>,
        list: List,
        offset: u64,
        visit: &mut VisitList<'_>,
    ) -> Result<(), Error> {
        if list.level == 0 {
            return visit(offset, &list.parts);
        }
        let mut at = offset;
        for part in &list.parts {
            self.leaf_lists(self.lower_list(part, list.level - 1)?, at, visit)?;
            at = at.saturating_add(part.bytes);
        }
        Ok(())
    }

    /// Where an object is, here or behind, or the error that it is missing.
    pub(crate) fn locate(self: &Arc<Self>, digest: &Digest) -> Result<Location, Error> {
        let mut found = self.catalog.find(digest)?;
        if let (None, Some(behind)) = (found, &self.behind) {
            found = behind.place(self, digest)?;
        }
        found.ok_or_else(|| Error::Missing { digest: *digest, store: self.dir.clone() })
    }

    /// The bytes of a chunk of a file of which `following` are the next ones: where it has to be fetched, some of those
    /// are fetched with it and wait in `ahead`.
    pub(crate) fn chunk(
        self: &Arc<Self>,
        part: &Part,
        following: &[Part],
        ahead: &mut Staged,
    ) -> Result<Vec<u8>, Error> {
        if let Some((header, stored)) = ahead.remove(&part.digest) {
            return record::open(&header, &stored);
        }
        if self.lacks_any([part.digest])? {
            let mut bytes = part.bytes;
            let next = following.iter().take_while(|next| {
                bytes = bytes.saturating_add(next.bytes);
                bytes <= READ_AHEAD
            });
            let wanted: Vec<Digest> = next.map(|next| next.digest).chain([part.digest]).collect();
            *ahead = self.ahead(&wanted)?;
            if let Some((header, stored)) = ahead.remove(&part.digest) {
                return record::open(&header, &stored);
            }
        }
        Ok(self.fetch(&part.digest)?.1)
    }
}

/// Streams a file chunk by chunk; at most one chunk is in memory.
pub(crate) struct Reader {
    inner: Arc<Inner>,
    digest: Digest,
    hasher: Hasher,
    /// Parts still to be read, the next ones last; each with the level of the list it came from.
    todo: Vec<(u8, std::vec::IntoIter<Part>)>,
    whole: Option<Vec<u8>>,
    ahead: Staged,
    current: Vec<u8>,
    at: usize,
    failed: bool,
}

impl Reader {
    pub(crate) fn open(inner: Arc<Inner>, digest: &Digest) -> Result<Self, Error> {
        let (kind, bytes) = inner.fetch(digest)?;
        let (todo, whole) = match kind {
            Kind::Blob => (Vec::new(), Some(bytes)),
            Kind::File => {
                let list = List::decode(&bytes)?;
                (vec![(list.level, list.parts.into_iter())], None)
            }
        };
        let (hasher, current, ahead) = (Hasher::new(), Vec::new(), Staged::new());
        Ok(Self { inner, digest: *digest, hasher, todo, whole, ahead, current, at: 0, failed: false })
    }

    /// The next chunk; `None` at the end, where the whole has been found to fit the file's digest.
    fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if let Some(whole) = self.whole.take() {
            return Ok(Some(whole));
        }
        while let Some((level, parts)) = self.todo.last_mut() {
            let level = *level;
            let Some(part) = parts.next() else {
                self.todo.pop();
                if self.todo.is_empty() && self.hasher.finish() != self.digest {
                    let why = format!("its chunks do not make up {}", self.digest);
                    return Err(Error::malformed("chunk list", why));
                }
                continue;
            };
            if level > 0 {
                let list = self.inner.lower_list(&part, level - 1)?;
                self.todo.push((list.level, list.parts.into_iter()));
                continue;
            }
            let chunk = self.inner.chunk(&part, parts.as_slice(), &mut self.ahead)?;
            if chunk.len() as u64 != part.bytes {
                return Err(Error::malformed("chunk list", format!("{} has another length", part.digest)));
            }
            self.hasher.update_parallel(&chunk);
            return Ok(Some(chunk));
        }
        Ok(None)
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("reading failed before"));
        }
        while self.at == self.current.len() {
            match self.next_chunk() {
                Ok(Some(chunk)) => (self.current, self.at) = (chunk, 0),
                Ok(None) => return Ok(0),
                Err(error) => {
                    self.failed = true;
                    return Err(io::Error::other(error));
                }
            }
        }
        let length = out.len().min(self.current.len() - self.at);
        out[..length].copy_from_slice(&self.current[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
