//! Writing pack files: records are appended under a temporary name; a sealed pack gets the name of its content.

use std::path::{Path, PathBuf};

use fs_err::File;
use tidemill_core::{Clock, Digest, Hasher, SystemClock};

use crate::Error;
use crate::disk::{TempFile, temporary_name, unique};
use crate::index::{Location, PackName};
use crate::record::{Header, PACK_MAGIC};

/// Records smaller than this are gathered before they are written.
const BUFFER: usize = 256 << 10;

/// The disk begins to write after so many bytes, so that it does not stand still until the pack is complete.
const WRITE_BACK: u64 = 16 << 20;

/// A pack being written by one thread at a time.
pub(crate) struct PackWriter {
    file: TempFile,
    buffer: Vec<u8>,
    length: u64,
    /// The length when the disk was last asked to begin writing.
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
        if self.buffer.len() + stored.len() > BUFFER {
            self.flush()?;
        }
        if stored.len() >= BUFFER {
            return self.file.write_all(stored);
        }
        self.buffer.extend_from_slice(stored);
        Ok(())
    }

    /// A handle to sync, if enough has been written since the last one for the disk to be busy with.
    pub(crate) fn take_unsynced(&mut self) -> Result<Option<File>, Error> {
        if self.length - self.begun < WRITE_BACK {
            return Ok(None);
        }
        self.begun = self.length;
        self.file.handle().map(Some)
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
        Ok(SealedPack { file: self.file, name, entries: self.entries })
    }
}

impl SealedPack {
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
