//! Remembers the digests of files by their stat data, so that unchanged files are not read again.
//!
//! Stat data change when a file changes, but only as finely as the clock of the file system ticks: a file that is
//! written, read and written again within one tick looks the same twice. So a file is remembered only if its last
//! change lies further back than one tick from the moment at which reading it began.
//!
//! ```text
//! magic "TMSTAT01" · entries u64
//! entries: device 8 · inode 8 · size 8 · mtime ns 16 · ctime ns 16 · digest 32 · last used (days) 4 · flags 1 · sha256 32
//! BLAKE3 of everything before, 32
//! ```

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use tidemill_core::{Clock, Digest, Sha256, SystemClock, Timestamp};

use crate::{Entry, EntryKind, Error, disk};

const MAGIC: &[u8; 8] = b"TMSTAT01";
const HEAD: usize = 16;
const ENTRY: usize = 125;
const CHECK: usize = 32;
/// Longest tick of a kernel clock (100 Hz is 10 ms), doubled.
const TICK_MS: i64 = 20;
/// Longest tick of file systems that keep no fractions of a second (FAT: 2 s).
const COARSE_TICK_MS: i64 = 2_000;
/// Entries that nothing asked for in this time are dropped.
const KEEP_DAYS: u32 = 60;
/// No more entries than this are kept.
const MOST: usize = 4 << 20;

/// (device, inode, size, mtime ns, ctime ns) → [`Entry`], in one file; shared by threads through `&self`.
///
/// A file that was modified within the clock's granularity before it was hashed is not remembered, since a later
/// change in the same tick would not show in its stat data.
#[derive(Debug, Default)]
pub struct StatCache {
    file: Option<PathBuf>,
    known: RwLock<HashMap<Key, Known>>,
    changed: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    size: u64,
    mtime: i128,
    ctime: i128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    digest: Digest,
    sha256: Option<Sha256>,
    used: u32,
}

impl StatCache {
    /// Loads the cache from `file`. A missing, damaged or older file gives an empty cache: it is only a cache.
    pub fn open(file: &Path) -> Result<Self, Error> {
        let known = match fs_err::read(file) {
            Ok(bytes) => parse(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(Error::io("open", file)(error)),
        };
        Ok(Self { file: Some(file.to_owned()), known: RwLock::new(known), changed: AtomicBool::new(false) })
    }

    /// A cache that is kept in memory only; [`Self::save`] does nothing.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// What is known about the file with this stat data.
    pub fn lookup(&self, metadata: &Metadata) -> Option<Entry> {
        let key = key(metadata);
        let known = *self.known.read().unwrap_or_else(PoisonError::into_inner).get(&key)?;
        let today = days(SystemClock.now());
        if today > known.used {
            if let Some(known) = self.known.write().unwrap_or_else(PoisonError::into_inner).get_mut(&key) {
                known.used = today;
            }
            self.changed.store(true, Ordering::Relaxed);
        }
        Some(Entry {
            digest: known.digest,
            kind: EntryKind::File { executable: metadata.mode() & 0o100 != 0 },
            bytes: key.size,
            files: 1,
            sha256: known.sha256,
        })
    }

    /// Remembers `entry` for a file whose stat data, taken before and after it was read, is `metadata`. Reading it
    /// must have begun only just now.
    pub fn insert(&self, metadata: &Metadata, entry: &Entry) {
        self.insert_read(metadata, entry, SystemClock.now());
    }

    /// Remembers `entry` for a file that began to be read at `began`.
    pub(crate) fn insert_read(&self, metadata: &Metadata, entry: &Entry, began: Timestamp) {
        if entry.is_tree() || is_racy(metadata, began) {
            return;
        }
        let known = Known { digest: entry.digest, sha256: entry.sha256, used: days(began) };
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(key(metadata), known);
        self.changed.store(true, Ordering::Relaxed);
    }

    /// How many files are remembered.
    pub fn len(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no file is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the file anew if anything changed, atomically.
    pub fn save(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let oldest = days(SystemClock.now()).saturating_sub(KEEP_DAYS);
        let bytes = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            encode(known.iter().filter(|(_, known)| known.used >= oldest).take(MOST))
        };
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        disk::create_dir(dir)?;
        // Not synced: after a power failure an incomplete file fails its checksum, and the cache starts anew.
        let mut new = disk::TempFile::create(dir, "stat")?;
        new.write_all(&bytes)?;
        new.persist(file)
    }
}

fn key(metadata: &Metadata) -> Key {
    let nanos = |seconds: i64, part: i64| i128::from(seconds) * 1_000_000_000 + i128::from(part);
    Key {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
        ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Whether a change after `began` could leave the same stat data.
fn is_racy(metadata: &Metadata, began: Timestamp) -> bool {
    let key = key(metadata);
    let coarse = metadata.mtime_nsec() == 0 && metadata.ctime_nsec() == 0;
    let tick = if coarse { COARSE_TICK_MS } else { TICK_MS };
    let latest = (key.mtime.max(key.ctime) / 1_000_000) as i64;
    latest + tick >= began.millis()
}

fn days(at: Timestamp) -> u32 {
    u32::try_from(at.millis() / 86_400_000).unwrap_or(0)
}

fn encode<'a>(known: impl Iterator<Item = (&'a Key, &'a Known)>) -> Vec<u8> {
    let mut out = vec![0; HEAD];
    let mut count = 0_u64;
    for (key, known) in known {
        out.extend_from_slice(&key.device.to_le_bytes());
        out.extend_from_slice(&key.inode.to_le_bytes());
        out.extend_from_slice(&key.size.to_le_bytes());
        out.extend_from_slice(&key.mtime.to_le_bytes());
        out.extend_from_slice(&key.ctime.to_le_bytes());
        out.extend_from_slice(known.digest.as_bytes());
        out.extend_from_slice(&known.used.to_le_bytes());
        out.push(u8::from(known.sha256.is_some()));
        out.extend_from_slice(known.sha256.map_or([0; 32], |sha256| *sha256.as_bytes()).as_slice());
        count += 1;
    }
    out[..8].copy_from_slice(MAGIC);
    out[8..HEAD].copy_from_slice(&count.to_le_bytes());
    let check = Digest::of(&out);
    out.extend_from_slice(check.as_bytes());
    out
}

fn parse(bytes: &[u8]) -> Result<HashMap<Key, Known>, Error> {
    let bad = |why: &str| Error::malformed("stat cache", why);
    let body =
        bytes.len().checked_sub(CHECK).filter(|at| *at >= HEAD).ok_or_else(|| bad("it ends too early"))?;
    let (covered, check) = bytes.split_at(body);
    if covered[..8] != *MAGIC {
        return Err(bad("its first bytes are not those of a stat cache"));
    }
    if Digest::of(covered).as_bytes() != check {
        return Err(bad("it does not fit its checksum"));
    }
    let entries = &covered[HEAD..];
    let count = u64::from_le_bytes(take(covered, 8));
    if !entries.len().is_multiple_of(ENTRY) || (entries.len() / ENTRY) as u64 != count {
        return Err(bad("its length does not fit its header"));
    }
    let mut known = HashMap::with_capacity(entries.len() / ENTRY);
    for entry in entries.chunks_exact(ENTRY) {
        let key = Key {
            device: u64::from_le_bytes(take(entry, 0)),
            inode: u64::from_le_bytes(take(entry, 8)),
            size: u64::from_le_bytes(take(entry, 16)),
            mtime: i128::from_le_bytes(take(entry, 24)),
            ctime: i128::from_le_bytes(take(entry, 40)),
        };
        let sha256 = (entry[92] == 1).then(|| Sha256::from_bytes(take(entry, 93)));
        let used = u32::from_le_bytes(take(entry, 88));
        known.insert(key, Known { digest: Digest::from_bytes(take(entry, 56)), sha256, used });
    }
    Ok(known)
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Feeds foreign bytes to the parser of stat caches.
pub fn fuzz_stat_cache(bytes: &[u8]) {
    if let Ok(known) = parse(bytes) {
        let _ = encode(known.iter());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(count: u64) -> HashMap<Key, Known> {
        (0..count)
            .map(|i| {
                let key = Key { device: 1, inode: i, size: i * 7, mtime: -3, ctime: i128::from(i) << 64 };
                let sha256 = i.is_multiple_of(2).then(|| Sha256::from_bytes([i as u8; 32]));
                (key, Known { digest: Digest::of(&i.to_le_bytes()), sha256, used: i as u32 })
            })
            .collect()
    }

    #[test]
    fn what_was_written_comes_back_and_damage_is_found() {
        for count in [0, 1, 50] {
            let known = sample(count);
            let good = encode(known.iter());
            assert_eq!(parse(&good).unwrap(), known);
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert!(parse(&bad).is_err(), "flip at {at}");
                assert!(parse(&good[..at]).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn a_file_just_written_is_not_remembered_and_an_older_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs_err::write(&path, b"x").unwrap();
        let metadata = fs_err::metadata(&path).unwrap();
        let changed = (key(&metadata).ctime / 1_000_000) as i64;
        let entry = Entry {
            digest: Digest::of(b"x"),
            kind: EntryKind::File { executable: false },
            bytes: 1,
            files: 1,
            sha256: None,
        };
        let cache = StatCache::in_memory();
        cache.insert_read(&metadata, &entry, Timestamp::from_millis(changed + TICK_MS));
        assert_eq!(cache.lookup(&metadata), None);
        cache.insert_read(&metadata, &entry, Timestamp::from_millis(changed + COARSE_TICK_MS + 1));
        assert_eq!(cache.lookup(&metadata), Some(entry));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            fuzz_stat_cache(&bytes);
            let mut forged = [MAGIC.as_slice(), &bytes].concat();
            let check = Digest::of(&forged);
            forged.extend_from_slice(check.as_bytes());
            fuzz_stat_cache(&forged);
        }
    }
}
