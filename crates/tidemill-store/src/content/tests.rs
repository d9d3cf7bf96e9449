//! Reading in parallel segments must give what one pass over the bytes gives.

use std::collections::HashMap;
use std::sync::Mutex;

use proptest::prelude::*;
use tidemill_core::Quiet;

use super::*;

#[derive(Default)]
struct Memory {
    blobs: Mutex<HashMap<Digest, Vec<u8>>>,
    lists: Mutex<HashMap<Digest, Vec<Part>>>,
}

impl Sink for Memory {
    fn blob(&self, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
        assert_eq!(digest, Digest::of(bytes));
        self.blobs.lock().unwrap().insert(digest, bytes.to_vec());
        Ok(())
    }

    fn list(&self, file: Digest, chunks: Vec<Part>) -> Result<(), Error> {
        self.lists.lock().unwrap().insert(file, chunks);
        Ok(())
    }
}

impl Memory {
    fn content(&self, file: Digest) -> Vec<u8> {
        let blobs = self.blobs.lock().unwrap();
        match self.lists.lock().unwrap().get(&file) {
            Some(parts) => parts.iter().flat_map(|part| blobs[&part.digest].clone()).collect(),
            None => blobs[&file].clone(),
        }
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut bytes);
    bytes
}

fn check(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs_err::write(&path, bytes).unwrap();
    let digest = Digest::of(bytes);
    let sequential = Memory::default();
    assert_eq!(put_bytes(bytes, &sequential).unwrap(), digest);
    assert_eq!(sequential.content(digest), bytes);
    for sha256 in [false, true] {
        let memory = Memory::default();
        let (identity, _) = read_file(&path, Some(&memory), sha256, &Quiet).unwrap();
        assert_eq!((identity.digest, identity.bytes), (digest, bytes.len() as u64));
        assert_eq!(*memory.lists.lock().unwrap(), *sequential.lists.lock().unwrap());
        assert_eq!(memory.content(digest), bytes);
        assert_eq!(read_file(&path, None, sha256, &Quiet).unwrap().0, identity);
        let expected = Sha256::from_bytes(sha2::Sha256::digest(bytes).into());
        assert_eq!(identity.sha256, sha256.then_some(expected));
    }
}

#[test]
fn segments_give_the_cuts_of_one_pass() {
    let segment = SEGMENT as usize;
    for length in [0, 1, 65_536, 65_537, 1 << 20, segment - 1, segment, segment + 1, 3 * segment + 12_345] {
        check(&noise(length as u64, length));
    }
}

#[test]
fn so_they_do_where_cuts_never_fall_into_step() {
    let segment = SEGMENT as usize;
    // Constant bytes are cut only at the largest size; an odd start keeps those cuts apart for ever.
    let mut bytes = noise(1, 100_000);
    bytes.resize(2 * segment + 777, 0);
    check(&bytes);
    // A period that is no divisor of anything.
    let bytes: Vec<u8> = noise(2, 9_973).into_iter().cycle().take(2 * segment + 999_999).collect();
    check(&bytes);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs_err::write(&path, noise(3, 200_000)).unwrap();
    /// Appends to the file as soon as its first bytes have been read.
    struct Appending(std::path::PathBuf);
    impl Sink for Appending {
        fn blob(&self, _: Digest, _: &[u8]) -> Result<(), Error> {
            use std::io::Write;
            let mut file = fs_err::OpenOptions::new().append(true).open(&self.0).unwrap();
            file.write_all(b"more").unwrap();
            Ok(())
        }
        fn list(&self, _: Digest, _: Vec<Part>) -> Result<(), Error> {
            Ok(())
        }
    }
    let error = read_file(&path, Some(&Appending(path.clone())), false, &Quiet).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` changed while it was being read", path.display()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_length(length in 0..5_000_000_usize, seed in any::<u64>(), zeros in 0..2_000_000_usize) {
        let mut bytes = noise(seed, length);
        let at = length / 2;
        let end = (at + zeros).min(length);
        bytes[at..end].fill(0);
        check(&bytes);
    }
}
