//! Index files: sorted tables that say in which pack, and where in it, an object lies.
//!
//! Small tables are read whole and verified at once. Large ones stay on disk: their fan-out is kept in memory, and a
//! look-up reads one bucket of about sixty entries, so that memory does not grow with the store.
//!
//! ```text
//! magic "TMINDEX1" · fan-out bits u32 · packs u32 · entries u64          24 bytes, little endian
//! pack names                                                             32 bytes each
//! fan-out: number of entries whose first bits are at most i              8 bytes each, 2^bits of them
//! entries, sorted by digest: digest 32 · offset 8 · pack 4 · stored 4 · raw 4 · kind 1 · encoding 1
//! BLAKE3 of everything before                                            32 bytes
//! ```

use std::cmp::Ordering;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tidemill_core::Digest;

use crate::Error;
use crate::record::{Encoding, HEADER as RECORD_HEADER, Header, Kind, MAX_OBJECT};

const MAGIC: &[u8; 8] = b"TMINDEX1";
const HEAD: usize = 24;
const NAME: usize = 32;
const ENTRY: usize = 54;
const CHECK: usize = 32;
/// Index files up to this size are held in memory.
const IN_MEMORY: u64 = 32 << 20;

/// Names a pack file: BLAKE3 over the headers of its records.
pub(crate) type PackName = Digest;

/// Where an object lies and how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) pack: PackName,
    pub(crate) offset: u64,
    pub(crate) header: Header,
}

/// One index file.
#[derive(Debug)]
pub(crate) struct Table {
    packs: Vec<PackName>,
    fanout: Vec<u64>,
    bits: u32,
    count: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Memory(Vec<u8>),
    File { file: std::fs::File, path: PathBuf, start: u64 },
}

impl Table {
    /// Reads an index file, whole if it is small.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let mut file = fs_err::File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("inspect", path))?.len();
        if length <= IN_MEMORY {
            let mut bytes = Vec::with_capacity(length as usize);
            file.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
            return Self::parse(&bytes);
        }
        let (file, _) = file.into_parts();
        Self::open_large(file, path, length)
    }

    fn open_large(file: std::fs::File, path: &Path, length: u64) -> Result<Self, Error> {
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).map_err(Error::io("read", path))?;
        let shape = Shape::read(&head, length)?;
        let mut table = vec![0; shape.entries_at - HEAD];
        file.read_exact_at(&mut table, HEAD as u64).map_err(Error::io("read", path))?;
        let (packs, fanout) = shape.tables(&table)?;
        let body = Body::File { file, path: path.to_owned(), start: shape.entries_at as u64 };
        Ok(Self { packs, fanout, bits: shape.bits, count: shape.count, body })
    }

    /// Reads and verifies an index from memory.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let shape = Shape::read(bytes, bytes.len() as u64)?;
        let (covered, check) = bytes.split_at(bytes.len() - CHECK);
        if Digest::of(covered).as_bytes() != check {
            return Err(Error::malformed("index", "it does not fit its checksum"));
        }
        let (packs, fanout) = shape.tables(&bytes[HEAD..shape.entries_at])?;
        let body = Body::Memory(covered[shape.entries_at..].to_vec());
        let table = Self { packs, fanout, bits: shape.bits, count: shape.count, body };
        let mut before: Option<Digest> = None;
        for at in 0..table.count {
            let location = table.entry(at)?;
            if before.is_some_and(|before| before > location.header.digest) {
                return Err(Error::malformed("index", "its entries are not sorted"));
            }
            before = Some(location.header.digest);
        }
        Ok(table)
    }

    /// The packs it speaks of.
    pub(crate) fn packs(&self) -> &[PackName] {
        &self.packs
    }

    /// The number of objects.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Where `digest` is; the first if it is there more than once.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<Location>, Error> {
        let bucket = bucket(digest, self.bits);
        let start = if bucket == 0 { 0 } else { self.fanout[bucket - 1] as usize };
        let end = self.fanout[bucket] as usize;
        if start == end {
            return Ok(None);
        }
        match &self.body {
            Body::Memory(bytes) => self.search(&bytes[start * ENTRY..end * ENTRY], digest),
            Body::File { file, path, start: first } => {
                let mut bytes = vec![0; (end - start) * ENTRY];
                file.read_exact_at(&mut bytes, first + (start * ENTRY) as u64)
                    .map_err(Error::io("read", path))?;
                self.search(&bytes, digest)
            }
        }
    }

    /// Calls `visit` with every entry in the order of the digests.
    pub(crate) fn each(&self, mut visit: impl FnMut(Location) -> Result<(), Error>) -> Result<(), Error> {
        const BATCH: usize = 4096;
        let mut at = 0;
        while at < self.count {
            let batch = BATCH.min(self.count - at);
            match &self.body {
                Body::Memory(_) => {
                    for i in at..at + batch {
                        visit(self.entry(i)?)?;
                    }
                }
                Body::File { file, path, start } => {
                    let mut bytes = vec![0; batch * ENTRY];
                    file.read_exact_at(&mut bytes, start + (at * ENTRY) as u64)
                        .map_err(Error::io("read", path))?;
                    for entry in bytes.chunks_exact(ENTRY) {
                        visit(self.decode(entry)?)?;
                    }
                }
            }
            at += batch;
        }
        Ok(())
    }

    fn entry(&self, at: usize) -> Result<Location, Error> {
        match &self.body {
            Body::Memory(bytes) => self.decode(&bytes[at * ENTRY..(at + 1) * ENTRY]),
            Body::File { .. } => Err(Error::Internal("a large index was asked for one entry")),
        }
    }

    fn search(&self, entries: &[u8], digest: &Digest) -> Result<Option<Location>, Error> {
        let (mut low, mut high) = (0, entries.len() / ENTRY);
        while low < high {
            let middle = usize::midpoint(low, high);
            match entries[middle * ENTRY..middle * ENTRY + 32].cmp(digest.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal | Ordering::Greater => high = middle,
            }
        }
        match entries.get(low * ENTRY..(low + 1) * ENTRY) {
            Some(entry) if entry[..32] == *digest.as_bytes() => self.decode(entry).map(Some),
            _ => Ok(None),
        }
    }

    fn decode(&self, entry: &[u8]) -> Result<Location, Error> {
        let bad = |why: &str| Error::malformed("index", why);
        let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let (mut digest, mut offset) = ([0; 32], [0; 8]);
        digest.copy_from_slice(&entry[..32]);
        offset.copy_from_slice(&entry[32..40]);
        let pack = *self.packs.get(word(40) as usize).ok_or_else(|| bad("an entry names no pack"))?;
        let kind = Kind::from_code(entry[52]).ok_or_else(|| bad("an entry has an unknown kind"))?;
        let encoding =
            Encoding::from_code(entry[53]).ok_or_else(|| bad("an entry has an unknown encoding"))?;
        let header =
            Header { digest: Digest::from_bytes(digest), kind, encoding, stored: word(44), raw: word(48) };
        let offset = u64::from_le_bytes(offset);
        if header.stored > MAX_OBJECT || header.raw > MAX_OBJECT || offset > u64::MAX / 2 {
            return Err(bad("an entry has an impossible length"));
        }
        Ok(Location { pack, offset, header })
    }
}

/// The lengths at the front of an index file, checked against its size.
struct Shape {
    bits: u32,
    packs: usize,
    count: usize,
    entries_at: usize,
}

impl Shape {
    fn read(bytes: &[u8], length: u64) -> Result<Self, Error> {
        let bad = |why: &str| Error::malformed("index", why);
        let head = bytes.get(..HEAD).ok_or_else(|| bad("it ends too early"))?;
        if head[..8] != *MAGIC {
            return Err(bad("its first bytes are not those of an index"));
        }
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (bits, packs) = (word(8), u64::from(word(12)));
        let count = u64::from(word(16)) | u64::from(word(20)) << 32;
        if bits > 16 || count > u64::from(u32::MAX) {
            return Err(bad("its size is impossible"));
        }
        let entries_at = HEAD as u64 + packs * NAME as u64 + (8_u64 << bits);
        if entries_at + count * ENTRY as u64 + CHECK as u64 != length {
            return Err(bad("its length does not fit its header"));
        }
        Ok(Self { bits, packs: packs as usize, count: count as usize, entries_at: entries_at as usize })
    }

    fn tables(&self, bytes: &[u8]) -> Result<(Vec<PackName>, Vec<u64>), Error> {
        let (names, fanout) = bytes.split_at(self.packs * NAME);
        let packs = names.chunks_exact(NAME).map(|name| {
            let mut raw = [0; 32];
            raw.copy_from_slice(name);
            Digest::from_bytes(raw)
        });
        let fanout: Vec<u64> = fanout
            .chunks_exact(8)
            .map(|n| u64::from_le_bytes([n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]]))
            .collect();
        if !fanout.is_sorted() || fanout.last().copied() != Some(self.count as u64) {
            return Err(Error::malformed("index", "its fan-out is not sorted"));
        }
        Ok((packs.collect(), fanout))
    }
}

/// The bytes of an index over `entries`, which are sorted here; of equal digests the first stays.
pub(crate) fn encode(mut entries: Vec<Location>) -> Vec<u8> {
    entries.sort_by_key(|location| location.header.digest);
    entries.dedup_by_key(|location| location.header.digest);
    let mut packs: Vec<PackName> = entries.iter().map(|location| location.pack).collect();
    packs.sort_unstable();
    packs.dedup();
    let bits = (entries.len() / 64).checked_ilog2().unwrap_or(0).min(16);
    let mut fanout = vec![0_u64; 1 << bits];
    for location in &entries {
        fanout[bucket(&location.header.digest, bits)] += 1;
    }
    for at in 1..fanout.len() {
        fanout[at] += fanout[at - 1];
    }
    let mut out =
        Vec::with_capacity(HEAD + packs.len() * NAME + fanout.len() * 8 + entries.len() * ENTRY + CHECK);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&bits.to_le_bytes());
    out.extend_from_slice(&(packs.len() as u32).to_le_bytes());
    out.extend_from_slice(&(entries.len() as u64).to_le_bytes());
    for name in &packs {
        out.extend_from_slice(name.as_bytes());
    }
    for n in &fanout {
        out.extend_from_slice(&n.to_le_bytes());
    }
    for location in &entries {
        let pack = packs.binary_search(&location.pack).unwrap_or_default() as u32;
        out.extend_from_slice(location.header.digest.as_bytes());
        out.extend_from_slice(&location.offset.to_le_bytes());
        out.extend_from_slice(&pack.to_le_bytes());
        out.extend_from_slice(&location.header.stored.to_le_bytes());
        out.extend_from_slice(&location.header.raw.to_le_bytes());
        out.extend_from_slice(&[location.header.kind.code(), location.header.encoding.code()]);
    }
    let check = Digest::of(&out);
    out.extend_from_slice(check.as_bytes());
    out
}

/// Reads a large index whole and verifies its checksum, which opening it does not.
pub(crate) fn verify_file(path: &Path) -> Result<(), Error> {
    let mut file = fs_err::File::open(path).map_err(Error::io("open", path))?;
    let length = file.metadata().map_err(Error::io("inspect", path))?.len();
    let mut hasher = tidemill_core::Hasher::new();
    let mut left = length.saturating_sub(CHECK as u64);
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let wanted = left.min(buffer.len() as u64) as usize;
        file.read_exact(&mut buffer[..wanted]).map_err(Error::io("read", path))?;
        hasher.update(&buffer[..wanted]);
        left -= wanted as u64;
    }
    let mut check = [0; CHECK];
    file.read_exact(&mut check).map_err(Error::io("read", path))?;
    if hasher.finish().as_bytes() == &check {
        Ok(())
    } else {
        Err(Error::malformed("index", "it does not fit its checksum"))
    }
}

fn bucket(digest: &Digest, bits: u32) -> usize {
    let raw = digest.as_bytes();
    (u32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]) as usize) >> (32 - bits)
}

/// Where the records of a pack end, were it to hold exactly `location` last.
pub(crate) const fn end_of(location: &Location) -> u64 {
    location.offset + RECORD_HEADER as u64 + location.header.stored as u64
}

/// Feeds foreign bytes to the parser of index files.
pub fn fuzz_index(bytes: &[u8]) {
    if let Ok(table) = Table::parse(bytes) {
        let _ = table.each(|location| table.find(&location.header.digest).map(|_| ()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn location(seed: u32) -> Location {
        let digest = Digest::of(&seed.to_le_bytes());
        Location {
            pack: Digest::of(&[(seed % 5) as u8]),
            offset: 8 + u64::from(seed) * 1000,
            header: Header { digest, kind: Kind::Blob, encoding: Encoding::Plain, stored: seed, raw: seed },
        }
    }

    fn large(bytes: &[u8]) -> Table {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.idx");
        fs_err::write(&path, bytes).unwrap();
        let (file, _) = fs_err::File::open(&path).unwrap().into_parts();
        Table::open_large(file, &path, bytes.len() as u64).unwrap()
    }

    fn check(seeds: &[u32]) {
        let bytes = encode(seeds.iter().map(|&seed| location(seed)).collect());
        for table in [Table::parse(&bytes).unwrap(), large(&bytes)] {
            for &seed in seeds {
                assert_eq!(table.find(&location(seed).header.digest).unwrap(), Some(location(seed)));
            }
            assert_eq!(table.find(&Digest::of(b"absent")).unwrap(), None);
            let mut all = Vec::new();
            table
                .each(|found| {
                    all.push(found);
                    Ok(())
                })
                .unwrap();
            assert_eq!(encode(all), bytes);
        }
    }

    #[test]
    fn what_was_written_is_found() {
        for count in [0, 1, 2, 63, 64, 130, 5000, 9000] {
            check(&(0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_flipped_byte_is_found() {
        let good = encode((0..40).map(location).collect());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(Table::parse(&bad).is_err(), "flip at {at}");
            assert!(Table::parse(&good[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn round_trip(seeds in proptest::collection::btree_set(any::<u32>().prop_map(|n| n & 0xFF_FFFF), 0..300)) {
            check(&seeds.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0..2000_usize) {
            fuzz_index(&bytes);
            // Valid but for a patch with the checksum repaired, so that the checks behind it are reached.
            let mut forged = encode((0..30).map(location).collect());
            let end = forged.len() - CHECK;
            let at = at % end;
            for (i, byte) in bytes.iter().take(4).enumerate() {
                if at + i < end { forged[at + i] = *byte; }
            }
            let check = Digest::of(&forged[..end]);
            forged[end..].copy_from_slice(check.as_bytes());
            fuzz_index(&forged);
        }
    }
}
