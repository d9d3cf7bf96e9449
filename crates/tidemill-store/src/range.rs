//! A part of a file as a stream of chunks, for example the answer to a request for a range of bytes.

use std::ops::Range;
use std::sync::Arc;

use tidemill_core::Digest;

use crate::Error;
use crate::inner::Inner;
use crate::list::{List, Part};
use crate::record::Kind;
use crate::remote::Staged;

/// Chunks of a file in order, see [`Store::chunks`](crate::Store::chunks). At most one is in memory.
///
/// Each chunk and each list is verified before anything of it is handed out. Unlike [`Store::read`](crate::Store::read)
/// this does not hash the whole file once more.
pub struct Chunks {
    inner: Arc<Inner>,
    range: Range<u64>,
    /// Where in the file the next part begins.
    at: u64,
    /// Parts still to be read, the next ones last; each with the level of the list it came from.
    todo: Vec<(u8, std::vec::IntoIter<Part>)>,
    whole: Option<Vec<u8>>,
    /// What was fetched from a store behind and comes next.
    ahead: Staged,
}

/// Some bytes of a file: those of `bytes` that `range` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes, with others around them.
    pub bytes: Vec<u8>,
    /// Which of them are meant.
    pub range: Range<usize>,
}

impl Chunk {
    /// The bytes that are meant.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

impl Chunks {
    pub(crate) fn open(inner: Arc<Inner>, digest: &Digest, range: Range<u64>) -> Result<Self, Error> {
        let (kind, bytes) = inner.fetch(digest)?;
        let (todo, whole) = match kind {
            Kind::Blob => (Vec::new(), Some(bytes)),
            Kind::File => {
                let list = List::decode(&bytes)?;
                (vec![(list.level, list.parts.into_iter())], None)
            }
        };
        Ok(Self { inner, range, at: 0, todo, whole, ahead: Staged::new() })
    }

    fn advance(&mut self) -> Result<Option<Chunk>, Error> {
        if let Some(bytes) = self.whole.take() {
            let chunk = self.clip(bytes, 0, 0);
            return Ok(Some(chunk).filter(|chunk| !chunk.range.is_empty()));
        }
        while let Some((level, parts)) = self.todo.last_mut() {
            let level = *level;
            let Some(part) = parts.next() else {
                self.todo.pop();
                continue;
            };
            let from = self.at;
            if from >= self.range.end {
                break;
            }
            let end = from.saturating_add(part.bytes);
            if end <= self.range.start {
                self.at = end;
            } else if level > 0 {
                let list = self.inner.lower_list(&part, level - 1)?;
                self.todo.push((list.level, list.parts.into_iter()));
            } else {
                self.at = end;
                let (bytes, head) = if self.inner.behind.is_none() {
                    self.inner.catalog.fetch_blob(&part.digest)?
                } else {
                    let wanted = self.range.end.saturating_sub(end);
                    let following = within(parts.as_slice(), wanted);
                    (self.inner.chunk(&part, following, &mut self.ahead)?, 0)
                };
                if (bytes.len() - head) as u64 != part.bytes {
                    return Err(Error::malformed(
                        "chunk list",
                        format!("{} has another length", part.digest),
                    ));
                }
                return Ok(Some(self.clip(bytes, head, from)));
            }
        }
        Ok(None)
    }

    /// The wanted part of `bytes`, whose content begins after `head` and stands at `from` in the file.
    fn clip(&self, bytes: Vec<u8>, head: usize, from: u64) -> Chunk {
        let clip = |at: u64| head + (at.saturating_sub(from) as usize).min(bytes.len() - head);
        let range = clip(self.range.start)..clip(self.range.end);
        Chunk { bytes, range }
    }
}

/// The first of the parts, as many as make up these bytes.
fn within(parts: &[Part], bytes: u64) -> &[Part] {
    let mut left = bytes;
    let count = parts.iter().take_while(|part| {
        let wanted = left > 0;
        left = left.saturating_sub(part.bytes);
        wanted
    });
    &parts[..count.count()]
}

impl Iterator for Chunks {
    type Item = Result<Chunk, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_))) {
            self.todo.clear();
        }
        next
    }
}
