//! Reading a file once: its identity and, for a store, its chunks.
//!
//! Large files are divided into fixed segments which all cores read side by side. Each segment begins to look for cuts
//! a little before its start, so that at the start it has almost always fallen into step with the cuts that one pass
//! over the whole file gives; where it has not, the gap is cut again. Chunks are thus exactly those of one sequential
//! pass, however many threads there are. BLAKE3 is a tree over aligned segments, so the file's digest is merged from
//! theirs. Memory is one buffer of 4 MiB and one chunk per thread, whatever the size of the file.

use std::cell::RefCell;
use std::fs::Metadata;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use blake3::hazmat::{self, ChainingValue, HasherExt};
use rayon::prelude::*;
use sha2::Digest as _;
use tidemill_core::{Digest, Progress, Sha256};

use crate::Error;
use crate::cut::{Cutter, WHOLE_FILE};
use crate::list::Part;

/// Bytes read at a time.
const BLOCK: usize = if cfg!(test) { 300_000 } else { 4 << 20 };
/// Bytes of a segment; must be a power of two (BLAKE3 subtrees) and a multiple of every chunk bound.
const SEGMENT: u64 = if cfg!(test) { 1 << 20 } else { 16 << 20 };
const LARGE_SEGMENT: u64 = 64 << 20;
/// From this size on segments are large.
const MANY_SEGMENTS: u64 = 256 << 20;
/// Mean chunks by which a segment begins early.
const RUN_UP: usize = 12;

/// Takes the chunks of a file.
pub(crate) trait Sink: Sync {
    /// A chunk, or the whole of a small file. Called from many threads, in no order.
    fn blob(&self, digest: Digest, bytes: &[u8]) -> Result<(), Error>;
    /// The chunks of a large file in order.
    fn list(&self, file: Digest, chunks: Vec<Part>) -> Result<(), Error>;
}

/// What a file's bytes are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<Sha256>,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Reads `path` and hands its chunks to `sink`, if there is one. Gives the stat data that belongs to what was read.
pub(crate) fn read_file(
    path: &Path,
    sink: Option<&dyn Sink>,
    sha256: bool,
    progress: &dyn Progress,
) -> Result<(Identity, Metadata), Error> {
    let file = fs_err::File::open(path).map_err(Error::io("read", path))?;
    let before = file.metadata().map_err(Error::io("inspect", path))?;
    let source = Source { file: file.file(), path, length: before.len(), progress };
    let identity = if source.length <= WHOLE_FILE {
        source.read_whole(sink, sha256)?
    } else {
        let sha = sha256.then(sha2::Sha256::new);
        match sink {
            Some(sink) => source.read_chunks(sink, sha)?,
            None => source.read_only(sha)?,
        }
    };
    let after = file.metadata().map_err(Error::io("inspect", path))?;
    if stamp(&before) == stamp(&after) { Ok((identity, after)) } else { Err(source.changed()) }
}

/// What shows that a file was written to.
fn stamp(metadata: &Metadata) -> [i128; 5] {
    [
        metadata.len().into(),
        metadata.mtime().into(),
        metadata.mtime_nsec().into(),
        metadata.ctime().into(),
        metadata.ctime_nsec().into(),
    ]
}

/// A file being read.
struct Source<'a> {
    file: &'a std::fs::File,
    path: &'a Path,
    length: u64,
    progress: &'a dyn Progress,
}

/// What one segment gives.
struct Segment {
    hash: Subtree,
    /// Where its first chunk begins: at or after its start.
    first: u64,
    /// Chunks that begin in the segment; the last may end in the next.
    chunks: Vec<Part>,
}

enum Subtree {
    Inner(ChainingValue),
    Root(Digest),
}

impl Source<'_> {
    fn changed(&self) -> Error {
        Error::Changed { path: self.path.to_owned() }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.changed(),
            _ => Error::io("read", self.path)(error),
        })
    }

    fn read_whole(&self, sink: Option<&dyn Sink>, sha256: bool) -> Result<Identity, Error> {
        with_buffer(|buffer| {
            let buffer = at_least(buffer, self.length as usize);
            self.read_at(buffer, 0)?;
            let digest = Digest::of(buffer);
            if let Some(sink) = sink {
                sink.blob(digest, buffer)?;
            }
            self.progress.advance(self.length);
            let sha256 = sha256.then(|| Sha256::from_bytes(sha2::Sha256::digest(&*buffer).into()));
            Ok(Identity { digest, bytes: self.length, sha256 })
        })
    }

    /// The segments' starts; a single one where SHA-256, which has no tree, must see the bytes in order.
    fn starts(&self, segment: u64) -> Vec<u64> {
        (0..self.length.div_ceil(segment)).map(|i| i * segment).collect()
    }

    fn segment(&self, ordered: bool) -> u64 {
        match self.length {
            _ if ordered => u64::MAX,
            0..MANY_SEGMENTS => SEGMENT,
            _ => LARGE_SEGMENT,
        }
    }

    fn read_only(&self, mut sha: Option<sha2::Sha256>) -> Result<Identity, Error> {
        let segment = self.segment(sha.is_some());
        let hashes: Vec<Subtree> = if let Some(sha) = &mut sha {
            vec![self.hash_segment(0, self.length, Some(sha))?]
        } else {
            let hash = |start| self.hash_segment(start, segment.min(self.length - start), None);
            self.starts(segment).into_par_iter().map(hash).collect::<Result<_, Error>>()?
        };
        Ok(Identity { digest: merge(&hashes, self.length, segment), bytes: self.length, sha256: finish(sha) })
    }

    fn hash_segment(
        &self,
        start: u64,
        length: u64,
        mut sha: Option<&mut sha2::Sha256>,
    ) -> Result<Subtree, Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(start);
        with_buffer(|buffer| {
            let buffer = at_least(buffer, BLOCK);
            let mut at = start;
            while at < start + length {
                self.check_cancelled()?;
                let block = &mut buffer[..((start + length - at) as usize).min(BLOCK)];
                self.read_at(block, at)?;
                update(&mut hasher, sha.as_deref_mut(), block);
                at += block.len() as u64;
                self.progress.advance(block.len() as u64);
            }
            Ok(self.close(&hasher, length))
        })
    }

    fn read_chunks(&self, sink: &dyn Sink, mut sha: Option<sha2::Sha256>) -> Result<Identity, Error> {
        let cutter = Cutter::for_size(self.length);
        let segment = self.segment(sha.is_some());
        let segments: Vec<Segment> = if let Some(sha) = &mut sha {
            vec![self.cut_segment(cutter, 0, self.length, sink, Some(sha))?]
        } else {
            let cut = |start| self.cut_segment(cutter, start, segment.min(self.length - start), sink, None);
            self.starts(segment).into_par_iter().map(cut).collect::<Result<_, Error>>()?
        };
        let chunks = self.join(cutter, &segments, sink)?;
        let hashes: Vec<Subtree> = segments.into_iter().map(|segment| segment.hash).collect();
        let digest = merge(&hashes, self.length, segment);
        // A file that has no cut is its own only chunk.
        if chunks.len() > 1 {
            sink.list(digest, chunks)?;
        }
        Ok(Identity { digest, bytes: self.length, sha256: finish(sha) })
    }

    /// Hashes the bytes of one segment and stores the chunks that begin in it.
    fn cut_segment(
        &self,
        cutter: Cutter,
        start: u64,
        length: u64,
        sink: &dyn Sink,
        mut sha: Option<&mut sha2::Sha256>,
    ) -> Result<Segment, Error> {
        let end = start + length;
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(start);
        let (mut first, mut chunks) = (None, Vec::new());
        with_buffer(|buffer| {
            let mut window = Window::new(buffer, start.saturating_sub((RUN_UP * cutter.mean()) as u64));
            while window.at < end {
                while window.needs_more(cutter.max(), self.length) {
                    self.check_cancelled()?;
                    let own = within(window.fill(self, end + cutter.max() as u64)?, start, end);
                    update(&mut hasher, sha.as_deref_mut(), own);
                    self.progress.advance(own.len() as u64);
                }
                let chunk = window.first(cutter);
                let length = chunk.len();
                if window.at >= start {
                    first.get_or_insert(window.at);
                    chunks.push(put(sink, chunk)?);
                }
                window.skip(length);
            }
            Ok::<_, Error>(())
        })?;
        Ok(Segment { hash: self.close(&hasher, length), first: first.unwrap_or(self.length), chunks })
    }

    /// One list from those of the segments. Where one segment's last chunk does not end where the next one's first
    /// begins, cuts again from there until both agree.
    fn join(&self, cutter: Cutter, segments: &[Segment], sink: &dyn Sink) -> Result<Vec<Part>, Error> {
        let mut chunks = Vec::with_capacity(segments.iter().map(|segment| segment.chunks.len()).sum());
        let mut at = 0;
        for segment in segments {
            let mut candidate = segment.first;
            for part in &segment.chunks {
                while at < candidate {
                    let part = self.cut_again(cutter, at, sink)?;
                    at += part.bytes;
                    chunks.push(part);
                }
                if at == candidate {
                    at += part.bytes;
                    chunks.push(*part);
                }
                candidate += part.bytes;
            }
        }
        while at < self.length {
            let part = self.cut_again(cutter, at, sink)?;
            at += part.bytes;
            chunks.push(part);
        }
        Ok(chunks)
    }

    fn cut_again(&self, cutter: Cutter, at: u64, sink: &dyn Sink) -> Result<Part, Error> {
        self.check_cancelled()?;
        let mut bytes = vec![0; (self.length - at).min(cutter.max() as u64) as usize];
        self.read_at(&mut bytes, at)?;
        put(sink, &bytes[..cutter.first(&bytes)])
    }

    fn close(&self, hasher: &blake3::Hasher, length: u64) -> Subtree {
        if length == self.length {
            Subtree::Root(Digest::from_bytes(*hasher.finalize().as_bytes()))
        } else {
            Subtree::Inner(hasher.finalize_non_root())
        }
    }

    fn check_cancelled(&self) -> Result<(), Error> {
        if self.progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// The part of a file that is in memory while it is cut.
struct Window<'a> {
    buffer: &'a mut Vec<u8>,
    /// Where in the file the next chunk begins, and where in the buffer that is.
    at: u64,
    head: usize,
    /// Where in the file the buffer ends, and where in the buffer that is.
    end: u64,
    tail: usize,
}

impl<'a> Window<'a> {
    fn new(buffer: &'a mut Vec<u8>, at: u64) -> Self {
        Self { buffer, at, head: 0, end: at, tail: 0 }
    }

    fn needs_more(&self, max: usize, length: u64) -> bool {
        self.tail - self.head < max && self.end < length
    }

    /// Reads another block, keeping what has not been cut, and no further than `limit`. Gives where the new bytes begin
    /// in the file, and them.
    fn fill(&mut self, source: &Source<'_>, limit: u64) -> Result<(u64, &[u8]), Error> {
        self.buffer.copy_within(self.head..self.tail, 0);
        self.tail -= self.head;
        self.head = 0;
        let wanted = (source.length.min(limit) - self.end).min(BLOCK as u64) as usize;
        let fresh = &mut at_least(self.buffer, self.tail + wanted)[self.tail..];
        source.read_at(fresh, self.end)?;
        let from = self.end;
        self.tail += wanted;
        self.end += wanted as u64;
        Ok((from, fresh))
    }

    /// The next chunk.
    fn first(&self, cutter: Cutter) -> &[u8] {
        let rest = &self.buffer[self.head..self.tail];
        &rest[..cutter.first(rest)]
    }

    fn skip(&mut self, length: usize) {
        self.head += length;
        self.at += length as u64;
    }
}

/// Lends this thread's buffer. It is taken out meanwhile, because a thread that waits for others in the middle of one
/// file may be given another.
fn with_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = BUFFER.take();
    let result = work(&mut buffer);
    BUFFER.set(buffer);
    result
}

/// The first `length` bytes of a buffer that grows as needed and never shrinks.
fn at_least(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}

/// The bytes of `block`, which begins at `from`, that lie in `start..end`.
fn within((from, block): (u64, &[u8]), start: u64, end: u64) -> &[u8] {
    let clip = |at: u64| (at.saturating_sub(from) as usize).min(block.len());
    &block[clip(start)..clip(end)]
}

fn update(hasher: &mut blake3::Hasher, sha: Option<&mut sha2::Sha256>, bytes: &[u8]) {
    let mut blake3 = || {
        hasher.update(bytes);
    };
    match sha {
        None => blake3(),
        Some(sha) => {
            rayon::join(|| sha.update(bytes), blake3);
        }
    }
}

/// Hands one chunk to `sink`.
pub(crate) fn put(sink: &dyn Sink, bytes: &[u8]) -> Result<Part, Error> {
    let digest = Digest::of(bytes);
    sink.blob(digest, bytes)?;
    Ok(Part { digest, bytes: bytes.len() as u64 })
}

fn finish(sha: Option<sha2::Sha256>) -> Option<Sha256> {
    sha.map(|sha| Sha256::from_bytes(sha.finalize().into()))
}

/// The digest of a file of `length` bytes from those of its segments.
fn merge(hashes: &[Subtree], length: u64, segment: u64) -> Digest {
    if let [Subtree::Root(digest)] = hashes {
        return *digest;
    }
    let left_length = hazmat::left_subtree_len(length);
    let split = (left_length / segment) as usize;
    let left = subtree(&hashes[..split], left_length, segment);
    let right = subtree(&hashes[split..], length - left_length, segment);
    Digest::from_bytes(*hazmat::merge_subtrees_root(&left, &right, hazmat::Mode::Hash).as_bytes())
}

fn subtree(hashes: &[Subtree], length: u64, segment: u64) -> ChainingValue {
    match hashes {
        [Subtree::Inner(value)] => *value,
        [Subtree::Root(digest)] => *digest.as_bytes(),
        _ => {
            let left_length = hazmat::left_subtree_len(length);
            let split = (left_length / segment) as usize;
            let left = subtree(&hashes[..split], left_length, segment);
            let right = subtree(&hashes[split..], length - left_length, segment);
            hazmat::merge_subtrees_non_root(&left, &right, hazmat::Mode::Hash)
        }
    }
}

/// [`put_bytes`], with what the content is called.
pub(crate) fn put_known(bytes: &[u8], sink: &dyn Sink, sha256: bool) -> Result<Identity, Error> {
    let digest = put_bytes(bytes, sink)?;
    let sha256 = sha256.then(|| Sha256::from_bytes(sha2::Sha256::digest(bytes).into()));
    Ok(Identity { digest, bytes: bytes.len() as u64, sha256 })
}

/// Hands bytes that are in memory to `sink`, as if they were read from a file.
pub(crate) fn put_bytes(bytes: &[u8], sink: &dyn Sink) -> Result<Digest, Error> {
    let digest = Digest::of(bytes);
    if bytes.len() as u64 <= WHOLE_FILE {
        sink.blob(digest, bytes)?;
        return Ok(digest);
    }
    let cutter = Cutter::for_size(bytes.len() as u64);
    let (mut rest, mut chunks) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(cutter.first(rest));
        chunks.push(put(sink, chunk)?);
        rest = later;
    }
    if chunks.len() > 1 {
        sink.list(digest, chunks)?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests;
