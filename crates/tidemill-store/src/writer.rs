//! Storing a file whose bytes arrive bit by bit, for example as the body of a request.
//!
//! The result is that of [`Store::add`](crate::Store::add) of a file with these bytes: the same digest, and the same
//! chunks where the size was announced. What arrives is gathered into blocks; of each block all cores hash and store
//! the chunks side by side. Memory is one block and one chunk, whatever the size of the file. A file that fits into
//! one block touches the store only when it is complete, so that a slow sender of a small file keeps nobody waiting.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::Digest as _;
use tidemill_core::{Hasher, Sha256};

use crate::batch::Batch;
use crate::content::{self, Identity};
use crate::cut::{Cutter, WHOLE_FILE};
use crate::inner::Inner;
use crate::list::Part;
use crate::{Entry, EntryKind, Error, Root};

/// Bytes that are gathered before they are cut and stored.
const BLOCK: usize = if cfg!(test) { 600_000 } else { 2 << 20 };

/// How a [`Writer`] works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterOptions {
    /// The size, where it is known. It decides only how a large file is cut: a wrong one costs deduplication against
    /// the same content stored otherwise, never correctness.
    pub bytes: Option<u64>,
    /// Also compute SHA-256.
    pub sha256: bool,
}

/// Takes the bytes of one file, see [`Store::writer`](crate::Store::writer). Dropped without [`Self::finish`], it
/// leaves nothing behind but what the next garbage collection removes.
pub struct Writer {
    inner: Arc<Inner>,
    options: WriterOptions,
    batch: Option<Batch>,
    /// Bytes that have not been cut yet; the first `hashed` of them are in the hashes already.
    pending: Vec<u8>,
    hashed: usize,
    hasher: Hasher,
    sha: Option<sha2::Sha256>,
    chunks: Vec<Part>,
    length: u64,
}

impl Writer {
    pub(crate) fn new(inner: Arc<Inner>, options: WriterOptions) -> Self {
        Self {
            inner,
            options,
            batch: None,
            pending: Vec::new(),
            hashed: 0,
            hasher: Hasher::new(),
            sha: options.sha256.then(sha2::Sha256::new),
            chunks: Vec::new(),
            length: 0,
        }
    }

    /// The bytes so far.
    pub const fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes the next bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            // More than the longest chunk, so that each time something is cut off.
            let block = BLOCK + self.cutter().max();
            let (now, later) = bytes.split_at(bytes.len().min(block.saturating_sub(self.pending.len())));
            self.pending.extend_from_slice(now);
            self.length += now.len() as u64;
            bytes = later;
            if self.pending.len() >= block {
                self.settle(false)?;
            }
        }
        Ok(())
    }

    /// Stores the rest; durable on return.
    pub fn finish(mut self) -> Result<Entry, Error> {
        if self.length <= WHOLE_FILE {
            return self.finish_whole();
        }
        self.settle(true)?;
        let digest = self.hasher.finish();
        let batch = self.batch.take().ok_or(Error::Internal("nothing was cut"))?;
        // A file that has no cut is its own only chunk.
        if self.chunks.len() > 1 {
            batch.put_list(digest, std::mem::take(&mut self.chunks))?;
        }
        batch.finish(&[Root::unlabelled(digest, false)])?;
        let sha256 = self.sha.take().map(|sha| Sha256::from_bytes(sha.finalize().into()));
        Ok(entry_of(&Identity { digest, bytes: self.length, sha256 }))
    }

    fn cutter(&self) -> Cutter {
        Cutter::for_size(self.options.bytes.unwrap_or(self.length))
    }

    fn finish_whole(&mut self) -> Result<Entry, Error> {
        let batch = Batch::begin(&self.inner, true, &|| false)?;
        let identity = content::put_known(&self.pending, &batch, self.options.sha256)?;
        batch.finish(&[Root::unlabelled(identity.digest, false)])?;
        Ok(entry_of(&identity))
    }

    /// Cuts, hashes and stores what is pending; all of it if it is the last.
    fn settle(&mut self, last: bool) -> Result<(), Error> {
        if self.batch.is_none() {
            self.batch = Some(Batch::begin(&self.inner, true, &|| false)?);
        }
        let cutter = self.cutter();
        let Some(batch) = &self.batch else { return Err(Error::Internal("a batch was not begun")) };
        let (pending, fresh) = (&self.pending[..], &self.pending[self.hashed..]);
        let (hasher, sha) = (&mut self.hasher, &mut self.sha);
        let (stored, ()) = rayon::join(
            || {
                let cuts = cut(cutter, pending, last);
                let put = |range: &Range<usize>| content::put(batch, &pending[range.clone()]);
                let parts = cuts.par_iter().map(put).collect::<Result<Vec<Part>, Error>>();
                parts.map(|parts| (cuts.last().map_or(0, |range| range.end), parts))
            },
            || {
                let mut blake3 = || {
                    hasher.update_parallel(fresh);
                };
                match sha {
                    None => blake3(),
                    Some(sha) => drop(rayon::join(|| sha.update(fresh), blake3)),
                }
            },
        );
        let (end, parts) = stored?;
        self.chunks.extend(parts);
        self.pending.drain(..end);
        self.hashed = self.pending.len();
        Ok(())
    }
}

/// Where the chunks of `pending` lie. What remains after them is shorter than the longest chunk, and empty after the
/// last bytes of a file.
fn cut(cutter: Cutter, pending: &[u8], last: bool) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut at = 0;
    while at < pending.len() && (last || pending.len() - at >= cutter.max()) {
        let end = at + cutter.first(&pending[at..]);
        cuts.push(at..end);
        at = end;
    }
    cuts
}

pub(crate) fn entry_of(identity: &Identity) -> Entry {
    Entry {
        digest: identity.digest,
        kind: EntryKind::File { executable: false },
        bytes: identity.bytes,
        files: 1,
        sha256: identity.sha256,
    }
}

#[cfg(test)]
mod tests;
