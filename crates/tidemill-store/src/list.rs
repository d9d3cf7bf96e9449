//! Chunk lists: which chunks, in which order, make up a large file. No IO.
//!
//! A list with many chunks is itself cut at content-defined places (after a digest whose low bits are zero), so that
//! two versions of a file also share most of their lists. Level 0 names chunks, level n lists of level n - 1.
//!
//! ```text
//! 0  2  magic "TL"
//! 2  1  format, 1
//! 3  1  level
//! 4  4  number of parts, little endian
//! 8  …  parts: digest (32), content bytes below it (8)
//! ```

use tidemill_core::Digest;

use crate::Error;

const HEADER: usize = 8;
const PART: usize = 40;
/// Lists of up to this many chunks are one object.
const WHOLE: usize = 256;
/// Bounds of a cut list, and the mask whose zero bits end one: 512 parts on average.
const SHORTEST: usize = 64;
const LONGEST: usize = 4096;
const MASK: u16 = 511;
/// More levels than a file of 2^64 bytes could need.
const MAX_LEVEL: u8 = 8;

/// A chunk or a lower list, and the content bytes it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

/// One node of a chunk list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) level: u8,
    pub(crate) parts: Vec<Part>,
}

impl List {
    /// Content bytes of everything below.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self.level, &self.parts)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let bad = |why: &str| Error::malformed("chunk list", why);
        let (head, body) = bytes.split_at_checked(HEADER).ok_or_else(|| bad("it ends too early"))?;
        if head[..2] != *b"TL" || head[2] != 1 {
            return Err(bad("its first bytes are not those of a chunk list"));
        }
        let level = head[3];
        let count = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if level > MAX_LEVEL || count == 0 || count.checked_mul(PART) != Some(body.len()) {
            return Err(bad("its level or length is impossible"));
        }
        let parts = body.chunks_exact(PART).map(|part| {
            let (mut digest, mut length) = ([0; 32], [0; 8]);
            digest.copy_from_slice(&part[..32]);
            length.copy_from_slice(&part[32..]);
            Part { digest: Digest::from_bytes(digest), bytes: u64::from_le_bytes(length) }
        });
        Ok(Self { level, parts: parts.collect() })
    }
}

/// The top list over `chunks`. Lower lists are handed to `store` as (digest, bytes).
pub(crate) fn build(
    chunks: Vec<Part>,
    mut store: impl FnMut(Digest, &[u8]) -> Result<(), Error>,
) -> Result<List, Error> {
    let (mut level, mut parts) = (0, chunks);
    while parts.len() > WHOLE {
        let mut above = Vec::with_capacity(parts.len() / WHOLE);
        for node in cut(&parts) {
            let bytes = encode(level, node);
            let digest = Digest::of(&bytes);
            store(digest, &bytes)?;
            above.push(Part { digest, bytes: node.iter().map(|part| part.bytes).sum() });
        }
        level += 1;
        parts = above;
    }
    Ok(List { level, parts })
}

fn cut(parts: &[Part]) -> Vec<&[Part]> {
    let mut nodes = Vec::new();
    let mut start = 0;
    for (at, part) in parts.iter().enumerate() {
        let length = at + 1 - start;
        let raw = part.digest.as_bytes();
        if length >= LONGEST || (length >= SHORTEST && u16::from_le_bytes([raw[0], raw[1]]) & MASK == 0) {
            nodes.push(&parts[start..=at]);
            start = at + 1;
        }
    }
    if start < parts.len() {
        nodes.push(&parts[start..]);
    }
    nodes
}

fn encode(level: u8, parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + parts.len() * PART);
    out.extend_from_slice(b"TL");
    out.extend_from_slice(&[1, level]);
    out.extend_from_slice(&(parts.len() as u32).to_le_bytes());
    for part in parts {
        out.extend_from_slice(part.digest.as_bytes());
        out.extend_from_slice(&part.bytes.to_le_bytes());
    }
    out
}

/// Feeds foreign bytes to the parser of chunk lists.
pub fn fuzz_chunk_list(bytes: &[u8]) {
    if let Ok(list) = List::decode(bytes) {
        let _ = list.bytes();
        assert_eq!(list.encode(), bytes, "a chunk list has one encoding");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn chunks(count: u32) -> Vec<Part> {
        (0..count).map(|i| Part { digest: Digest::of(&i.to_le_bytes()), bytes: u64::from(i % 7) }).collect()
    }

    fn flatten(list: &List, below: &HashMap<Digest, Vec<u8>>) -> Vec<Part> {
        if list.level == 0 {
            return list.parts.clone();
        }
        list.parts
            .iter()
            .flat_map(|part| {
                let lower = List::decode(&below[&part.digest]).unwrap();
                assert_eq!((lower.level, lower.bytes()), (list.level - 1, part.bytes));
                flatten(&lower, below)
            })
            .collect()
    }

    #[test]
    fn any_number_of_chunks_comes_back_in_order() {
        for count in [1, 2, 256, 257, 5000, 200_000] {
            let mut below = HashMap::new();
            let top = build(chunks(count), |digest, bytes| {
                assert_eq!(digest, Digest::of(bytes));
                below.insert(digest, bytes.to_vec());
                Ok(())
            })
            .unwrap();
            assert!(top.parts.len() <= WHOLE);
            assert_eq!(flatten(&top, &below), chunks(count));
            assert_eq!(List::decode(&top.encode()).unwrap(), top);
        }
    }

    #[test]
    fn one_changed_chunk_changes_few_lists() {
        let lists = |parts| {
            let mut all = Vec::new();
            build(parts, |digest, _| {
                all.push(digest);
                Ok(())
            })
            .unwrap();
            all
        };
        let before = lists(chunks(50_000));
        let mut changed = chunks(50_000);
        changed.remove(25_000);
        let after = lists(changed);
        let fresh = after.iter().filter(|digest| !before.contains(digest)).count();
        assert!(before.len() > 60 && (1..=2).contains(&fresh), "{} lists, {fresh} new", before.len());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz_chunk_list(&bytes);
            bytes.splice(0..0, [b'T', b'L', 1, 0, (bytes.len() / PART) as u8, 0, 0, 0]);
            fuzz_chunk_list(&bytes);
        }
    }
}
