//! What arrives in pieces must be stored as the file would be.

use proptest::prelude::*;
use tidemill_core::Quiet;

use super::*;
use crate::{AddOptions, Store, StoreOptions};

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut bytes);
    bytes
}

fn open(dir: &std::path::Path) -> Store {
    Store::open(&dir.join("store"), StoreOptions::default()).unwrap()
}

/// Writes `bytes` in pieces of the given sizes, over and over.
fn write(store: &Store, bytes: &[u8], pieces: &[usize], options: WriterOptions) -> Entry {
    let mut writer = store.writer(options);
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(rest.len().min(*piece));
        writer.write(now).unwrap();
        rest = later;
    }
    assert_eq!(writer.len(), bytes.len() as u64);
    writer.finish().unwrap()
}

/// The entry and the chunks are those of adding the file.
fn check(bytes: &[u8], pieces: &[usize], options: WriterOptions) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let entry = write(&store, bytes, pieces, options);
    assert_eq!(store.get(&entry.digest).unwrap(), bytes);
    let path = dir.path().join("file");
    fs_err::write(&path, bytes).unwrap();
    let other = Store::open(&dir.path().join("other"), StoreOptions::default()).unwrap();
    let add = AddOptions { sha256: options.sha256, ..AddOptions::default() };
    assert_eq!(other.add_many(&[path], &add, &Quiet).unwrap(), [entry]);
    assert_eq!(lengths(&store, &entry), lengths(&other, &entry));
}

fn lengths(store: &Store, entry: &Entry) -> Vec<usize> {
    let chunks = store.chunks(&entry.digest, 0..u64::MAX).unwrap();
    chunks.map(|chunk| chunk.unwrap().as_slice().len()).collect()
}

#[test]
fn around_every_limit() {
    let whole = WHOLE_FILE as usize;
    let max = Cutter::for_size(1).max();
    let limits = [0, 1, whole, max, BLOCK, BLOCK + max, 3 * BLOCK];
    for limit in limits {
        for length in [limit.saturating_sub(1), limit, limit + 1] {
            for sha256 in [false, true] {
                let options = WriterOptions { bytes: Some(length as u64), sha256 };
                check(&noise(length as u64, length), &[65_536], options);
            }
        }
    }
}

#[test]
fn an_announced_size_decides_the_cuts_and_a_wrong_one_only_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = noise(5, 3_000_000);
    let small = write(&store, &bytes, &[100_000], WriterOptions::default());
    let objects = store.stats().objects;
    // The list of a file that is there already is kept.
    let announced = WriterOptions { bytes: Some(1 << 40), sha256: false };
    let large = write(&store, &bytes, &[100_000], announced);
    assert_eq!(small, large);
    assert!(store.stats().objects > objects);
    assert_eq!(store.get(&large.digest).unwrap(), bytes);
    let other = Store::open(&dir.path().join("other"), StoreOptions::default()).unwrap();
    assert_eq!(write(&other, &bytes, &[100_000], announced), small);
    assert!(lengths(&other, &small).len() < lengths(&store, &small).len());
}

#[test]
fn a_writer_that_is_dropped_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut writer = store.writer(WriterOptions::default());
    writer.write(&noise(1, 2_000_000)).unwrap();
    assert!(!writer.is_empty());
    drop(writer);
    assert_eq!(store.stats().objects, 0);
    assert_eq!(fs_err::read_dir(dir.path().join("store/tmp")).unwrap().count(), 0);
}

#[test]
fn a_small_file_waits_outside_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut writer = store.writer(WriterOptions::default());
    writer.write(b"half").unwrap();
    // A collection needs the store for itself, and gets it.
    let impatient =
        StoreOptions { lock_wait: std::time::Duration::from_millis(1), ..StoreOptions::default() };
    Store::open(store.dir(), impatient).unwrap().gc(&[], false, &Quiet).unwrap();
    writer.write(b" and half").unwrap();
    assert_eq!(store.get(&writer.finish().unwrap().digest).unwrap(), b"half and half");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_length_in_any_pieces(
        length in 0..3_000_000_usize,
        seed in any::<u64>(),
        zeros in 0..2_000_000_usize,
        pieces in proptest::collection::vec(1..900_000_usize, 1..8),
        announced in any::<bool>(),
        sha256 in any::<bool>(),
    ) {
        let mut bytes = noise(seed, length);
        let at = length / 2;
        let end = (at + zeros).min(length);
        bytes[at..end].fill(0);
        check(&bytes, &pieces, WriterOptions { bytes: announced.then_some(length as u64), sha256 });
    }
}
