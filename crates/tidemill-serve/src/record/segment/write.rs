//! Appending to a segment.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tidemill_core::Timestamp;

use super::{FRAME, MAGIC, MAX_PAYLOAD, OPEN, PREAMBLE, VERSION, checksum, folder_name, seal, sync_folder};
use crate::Record;
use crate::record::bytes::put_text;
use crate::record::codec::{self, Layout};

/// A segment being written.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    path: PathBuf,
    file: File,
    /// Frames that are not in the file yet.
    buffer: Vec<u8>,
    /// Records in the buffer.
    buffered: u64,
    /// Length of the file: all of it whole frames.
    offset: u64,
    layouts: Vec<Layout>,
    /// How many of the layouts are in the file.
    written_layouts: usize,
    last: usize,
    pub(crate) rows: u64,
    pub(crate) opened: Timestamp,
    /// Whether something was written since the last sync.
    pub(crate) is_dirty: bool,
}

/// Layouts that a segment may have; with more it is closed, which bounds what writer and readers hold.
const MAX_LAYOUTS: usize = 1024;

impl SegmentWriter {
    /// Begins a segment in the endpoint's folder, which is made where it is not there.
    pub(crate) fn create(dir: &Path, endpoint: &str, now: Timestamp) -> io::Result<Self> {
        let folder = dir.join(folder_name(endpoint));
        if !folder.is_dir() {
            fs_err::create_dir_all(&folder)?;
            sync_folder(dir)?;
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let name = format!("{:013}-{:016x}.{OPEN}", now.millis().max(0), u64::from_le_bytes(random));
        let path = folder.join(name);
        let file = fs_err::OpenOptions::new().append(true).create_new(true).open(&path)?.into_parts().0;
        let mut segment = Self {
            path,
            file,
            buffer: Vec::new(),
            buffered: 0,
            offset: 0,
            layouts: Vec::new(),
            written_layouts: 0,
            last: 0,
            rows: 0,
            opened: now,
            is_dirty: true,
        };
        segment.buffer.extend_from_slice(MAGIC);
        segment.buffer.extend_from_slice(&VERSION.to_le_bytes());
        segment.frame(|out| put_text(out, endpoint));
        segment.write_out()?;
        sync_folder(&folder)?;
        Ok(segment)
    }

    /// Takes a record into the buffer; `false` where it is too large to be kept.
    pub(crate) fn append(&mut self, record: &Record) -> bool {
        let layout = match self.layouts.get(self.last) {
            Some(layout) if layout.fits(record) => self.last,
            _ => match self.layouts.iter().position(|layout| layout.fits(record)) {
                Some(found) => found,
                None => {
                    let layout = Layout::of(record);
                    self.frame(|out| layout.encode(out));
                    self.layouts.push(layout);
                    self.layouts.len() - 1
                }
            },
        };
        self.last = layout;
        let before = self.buffer.len();
        self.frame(|out| codec::encode(record, layout, out));
        if self.buffer.len() - before > MAX_PAYLOAD + FRAME {
            self.buffer.truncate(before);
            return false;
        }
        self.buffered += 1;
        let rows = record.inputs.iter().chain(&record.outputs).map(|named| named.tensor.rows()).max();
        self.rows += rows.unwrap_or(1).max(1) as u64;
        true
    }

    fn frame(&mut self, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; FRAME]);
        payload(&mut self.buffer);
        let (head, body) = self.buffer.split_at_mut(start + FRAME);
        let checksum = checksum(body, self.offset + start as u64);
        if let Some(head) = head.get_mut(start..) {
            let (length, sum) = head.split_at_mut(4);
            length.copy_from_slice(&(body.len() as u32).to_le_bytes());
            sum.copy_from_slice(&checksum.to_le_bytes());
        }
    }

    /// Bytes in the buffer.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Length of the file and the buffer.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Whether it has as many layouts as it may.
    pub(crate) fn is_crowded(&self) -> bool {
        self.layouts.len() >= MAX_LAYOUTS
    }

    /// Hands the buffer to the operating system: it then survives the end of this process. Where that fails, the file
    /// is cut to whole frames again and the buffer is given up; the error says how many records were in it.
    pub(crate) fn write_out(&mut self) -> Result<(), WriteError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer);
        let (records, length) = (self.buffered, self.buffer.len() as u64);
        self.buffer.clear();
        self.buffered = 0;
        if self.buffer.capacity() > 4 << 20 {
            self.buffer.shrink_to(1 << 20);
        }
        match written {
            Ok(()) => {
                self.offset += length;
                self.written_layouts = self.layouts.len();
                self.is_dirty = true;
                Ok(())
            }
            Err(source) => {
                // A file that cannot even be cut is cut by the next start.
                self.layouts.truncate(self.written_layouts);
                let whole = self.file.set_len(self.offset).is_ok();
                Err(WriteError { source, records, is_usable: whole && self.offset > PREAMBLE })
            }
        }
    }

    /// Makes what was written out durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.is_dirty = false;
        Ok(())
    }

    /// Closes the segment: written out, durable, and named as complete.
    pub(crate) fn seal(mut self) -> Result<PathBuf, WriteError> {
        self.write_out()?;
        self.sync()?;
        Ok(seal(&self.path)?)
    }

    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A failed write.
#[derive(Debug)]
pub(crate) struct WriteError {
    pub(crate) source: io::Error,
    /// Records that are lost.
    pub(crate) records: u64,
    /// Whether the segment can be written further.
    pub(crate) is_usable: bool,
}

impl From<io::Error> for WriteError {
    fn from(source: io::Error) -> Self {
        Self { source, records: 0, is_usable: false }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        error.source
    }
}
