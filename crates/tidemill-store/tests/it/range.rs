//! Parts of files, and many small contents at once.

use proptest::prelude::*;
use tidemill_core::{Digest, Sha256};
use tidemill_store::{Error, Store, WriterOptions};

use crate::support::{Lab, noise};

fn read(store: &Store, digest: &Digest, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in store.chunks(digest, range).unwrap() {
        let chunk = chunk.unwrap();
        assert!(!chunk.range.is_empty(), "an empty chunk is of no use");
        out.extend_from_slice(chunk.as_slice());
    }
    out
}

#[test]
fn any_range_of_a_file_of_any_kind() {
    let lab = Lab::new();
    let text = b"2013-01-01,EWR,IAH,517,830\n".repeat(30_000);
    // Empty, one object, several chunks, compressed chunks, and lists of lists (chunks of nothing but the mean).
    for bytes in [vec![], b"short".to_vec(), noise(1, 700_000), text, noise(2, 30_000_000)] {
        let mut writer = lab.store.writer(WriterOptions::default());
        writer.write(&bytes).unwrap();
        let digest = writer.finish().unwrap().digest;
        let length = bytes.len() as u64;
        let middle = length / 2;
        for (start, end) in [
            (0, length),
            (0, 0),
            (0, 1),
            (middle, middle + 1),
            (middle, length),
            (length, length),
            (length + 5, length + 9),
            (length.saturating_sub(1), length + 100),
            (1, u64::MAX),
        ] {
            let clip = |at: u64| at.min(length) as usize;
            assert_eq!(
                read(&lab.store, &digest, start..end),
                bytes[clip(start)..clip(end).max(clip(start))],
                "{start}..{end} of {length}"
            );
        }
    }
}

#[test]
fn a_chunk_that_was_changed_on_disk_is_not_handed_out() {
    let lab = Lab::new();
    let bytes = noise(3, 400_000);
    let mut writer = lab.store.writer(WriterOptions::default());
    writer.write(&bytes).unwrap();
    let digest = writer.finish().unwrap().digest;
    let pack = lab.files("packs").pop().unwrap();
    let mut stored = fs_err::read(&pack).unwrap();
    let middle = stored.len() / 2;
    stored[middle] ^= 1;
    fs_err::write(&pack, stored).unwrap();
    let chunks: Vec<_> = lab.store.chunks(&digest, 0..u64::MAX).unwrap().collect();
    let (last, good) = chunks.split_last().unwrap();
    assert!(matches!(last, Err(Error::Damaged { .. })), "the stream ends with the damaged chunk");
    let read: Vec<u8> = good.iter().flat_map(|chunk| chunk.as_ref().unwrap().as_slice().to_vec()).collect();
    assert!(bytes.starts_with(&read) && read.len() < bytes.len());
}

#[test]
fn many_contents_with_one_sync() {
    let lab = Lab::new();
    let contents: Vec<Vec<u8>> =
        vec![b"one".to_vec(), vec![], noise(4, 200_000), b"one".to_vec(), b"other".to_vec()];
    let entries = lab.store.put_many(&contents, true).unwrap();
    assert_eq!(lab.files("packs").len(), 1);
    for (entry, bytes) in entries.iter().zip(&contents) {
        assert_eq!(entry.digest, Digest::of(bytes));
        assert_eq!(entry.bytes, bytes.len() as u64);
        assert_eq!(lab.store.get(&entry.digest).unwrap(), *bytes);
        let path = lab.write("same", bytes);
        let options = tidemill_store::AddOptions { sha256: true, ..tidemill_store::AddOptions::default() };
        let added = tidemill_store::hash_with(&path, &options, &tidemill_core::Quiet).unwrap();
        assert_eq!(added, *entry);
    }
    assert_eq!(entries[0].sha256, entries[3].sha256);
    assert_ne!(entries[0].sha256, None::<Sha256>);
    assert!(lab.store.put_many(&[] as &[Vec<u8>], false).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn ranges_are_slices(length in 1..2_000_000_usize, seed in any::<u64>(), ends in proptest::array::uniform2(0.0..1.1_f64)) {
        let lab = Lab::new();
        let bytes = noise(seed, length);
        let digest = lab.store.put(&bytes).unwrap();
        let at = |share: f64| (share * length as f64) as usize;
        let (start, end) = (at(ends[0].min(ends[1])), at(ends[0].max(ends[1])));
        let wanted = &bytes[start.min(length)..end.min(length)];
        prop_assert!(read(&lab.store, &digest, start as u64..end as u64) == wanted);
    }
}
