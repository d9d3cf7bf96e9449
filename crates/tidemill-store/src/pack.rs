//! Writing pack files: records are appended under a temporary name; a sealed pack gets the name of its content.

use std::ops::Range;
use std::path::{Path, PathBuf};

use fs_err::File;
use tidemill_core::{Clock, Digest, Hasher, SystemClock};

use crate::Error;
use crate::disk::{self, TempFile, temporary_name, unique};
use crate::index::{Location, PackName};
use crate::record::{Header, PACK_MAGIC};

/// Records are gathered up to this size before they are written.
const BUFFER: usize = 256 << 10;
/// What is this large is written from where it lies, together with what was gathered before it: a copy costs more than
/// a call of the system.
const UNCOPIED: usize = 32 << 10;

/// The disk begins to write after so many bytes, so that it does not stand still until the pack is complete.
const WRITE_BACK: u64 = 16 << 20;

/// A pack being written by one thread at a time.
pub(crate) struct PackWriter {
    file: TempFile,
    buffer: Vec<u8>,
    length: u64,
    /// The length up to which the disk was asked to begin writing.
    begun: u64,
    names: Hasher,
    entries: Vec<(u64, Header)>,
}

/// A complete pack that has not got its final name yet.
#[derive(Debug)]
pub(crate) struct SealedPack {
    file: TempFile,
    pub(crate) name: PackName,
    entries: Vec<(u64, Header)>,
    /// From where on the disk has not been asked to begin writing, and the length.
    rest: Range<u64>,
}

/// A part of a pack with which the disk can begin.
pub(crate) struct Begun {
    file: File,
    part: Range<u64>,
}

impl Begun {
    /// Has the disk begin, and does not wait for it.
    pub(crate) fn begin(&self) {
        disk::begin_writing(&self.file, &self.part);
    }
}

impl PackWriter {
    pub(crate) fn create(tmp: &Path) -> Result<Self, Error> {
        Ok(Self {
            file: TempFile::create(tmp, "pack")?,
            buffer: PACK_MAGIC.to_vec(),
            length: PACK_MAGIC.len() as u64,
            begun: 0,
            names: Hasher::new(),
            entries: Vec::new(),
        })
    }

    /// Bytes of the pack so far.
    pub(crate) const fn len(&self) -> u64 {
        self.length
    }

    /// Appends a record.
    pub(crate) fn append(&mut self, header: Header, stored: &[u8]) -> Result<(), Error> {
        let head = header.encode();
        self.names.update(&head);
        self.entries.push((self.length, header));
        self.length += header.record_len();
        self.buffer.extend_from_slice(&head);
        if stored.len() >= UNCOPIED {
            self.file.write_both(&self.buffer, stored)?;
            self.buffer.clear();
            return Ok(());
        }
        if self.buffer.len() + stored.len() > BUFFER {
            self.flush()?;
        }
        self.buffer.extend_from_slice(stored);
        Ok(())
    }

    /// What has been written since the last time, if that is enough for the disk to be busy with.
    pub(crate) fn take_begun(&mut self) -> Result<Option<Begun>, Error> {
        if self.length - self.begun < WRITE_BACK {
            return Ok(None);
        }
        let part = self.begun..self.length;
        self.begun = self.length;
        Ok(Some(Begun { file: self.file.handle()?, part }))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is still gathered and names the pack. The name is used by no other pack, so that whoever made it
    /// may remove it again, whatever other writers do.
    pub(crate) fn seal(mut self) -> Result<SealedPack, Error> {
        self.flush()?;
        let now = SystemClock.now().millis();
        let salt = format!("{} {now}", temporary_name("pack"));
        let name = self.names.update(salt.as_bytes()).finish();
        Ok(SealedPack { file: self.file, name, entries: self.entries, rest: self.begun..self.length })
    }
}

impl SealedPack {
    /// Has the disk begin with the end of the pack, and does not wait for it.
    pub(crate) fn begin(&self) {
        self.file.begin_writing(&self.rest);
    }

    /// Moves the pack to its place; with `durable` its bytes are on the disk before it has its name.
    pub(crate) fn publish(self, path: PathBuf, durable: bool) -> Result<Vec<Location>, Error> {
        if durable {
            self.file.sync()?;
        }
        self.file.persist(&path)?;
        Ok(locations(self.name, &self.entries))
    }
}

/// Index entries of a pack from the offsets of its records.
pub(crate) fn locations(pack: PackName, entries: &[(u64, Header)]) -> Vec<Location> {
    entries.iter().map(|&(offset, header)| Location { pack, offset, header }).collect()
}

/// The name and the index entries of a pack that would hold these records in this order. The name is used once only, on
/// whichever machine: what a collection at a remote removes is never what somebody is just sending again.
pub(crate) fn plan(headers: impl IntoIterator<Item = Header>) -> (PackName, Vec<Location>, u64) {
    let mut names = Hasher::new();
    let mut offset = PACK_MAGIC.len() as u64;
    let mut entries = Vec::new();
    for header in headers {
        names.update(&header.encode());
        entries.push((offset, header));
        offset += header.record_len();
    }
    let name: Digest = names.update(unique().as_bytes()).finish();
    (name, locations(name, &entries), offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Encoding, HEADER, Kind};

    fn append(pack: &mut PackWriter, stored: &[u8], expected: &mut Vec<u8>) {
        let length = stored.len() as u32;
        let (kind, encoding) = (Kind::Blob, Encoding::Plain);
        let header = Header { digest: Digest::of(stored), kind, encoding, stored: length, raw: length };
        pack.append(header, stored).unwrap();
        expected.extend_from_slice(&header.encode());
        expected.extend_from_slice(stored);
        assert_eq!(pack.len(), expected.len() as u64);
    }

    #[test]
    fn records_lie_one_after_the_other_whatever_their_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut pack = PackWriter::create(dir.path()).unwrap();
        let mut expected = PACK_MAGIC.to_vec();
        let sizes = [0, 1, UNCOPIED - 1, UNCOPIED, UNCOPIED - 1, BUFFER - HEADER, BUFFER, 3 * BUFFER, 5];
        for (at, size) in sizes.into_iter().enumerate() {
            append(&mut pack, &vec![at as u8; size], &mut expected);
            assert!(pack.take_begun().unwrap().is_none());
        }
        append(&mut pack, &vec![100; WRITE_BACK as usize], &mut expected);
        // The disk begins with what is there, and with nothing twice.
        pack.take_begun().unwrap().unwrap().begin();
        assert!(pack.take_begun().unwrap().is_none());
        append(&mut pack, b"the last", &mut expected);
        let (sealed, path) = (pack.seal().unwrap(), dir.path().join("x.pack"));
        sealed.begin();
        let locations = sealed.publish(path.clone(), true).unwrap();
        assert_eq!(locations.len(), sizes.len() + 2);
        assert!(fs_err::read(&path).unwrap() == expected);
    }
}
