//! Reading a segment, from its beginning or at places that are known.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FRAME, MAGIC, MAX_PAYLOAD, PREAMBLE, SEALED, VERSION, checksum};
use crate::record::LogError;
use crate::record::bytes::Cursor;
use crate::record::codec::{self, Layout, Payload, View};

/// A segment being read, frame by frame, in bounded memory.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    path: PathBuf,
    file: io::BufReader<File>,
    /// Where the next frame begins.
    offset: u64,
    /// Where the file stands; not known after a read that failed.
    position: Option<u64>,
    payload: Vec<u8>,
    pub(crate) endpoint: Arc<str>,
    pub(crate) layouts: Vec<Layout>,
    /// Where the frame of the last record began.
    pub(crate) at: u64,
}

impl SegmentReader {
    /// Opens a segment, complete or being written. `None` if it holds not even its endpoint's name.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, LogError> {
        let file = fs_err::File::open(path).map_err(LogError::io("read", path))?.into_parts().0;
        Self::from_file(file, path)
    }

    pub(crate) fn from_file(file: File, path: &Path) -> Result<Option<Self>, LogError> {
        let mut reader = Self {
            path: path.to_owned(),
            file: io::BufReader::with_capacity(256 << 10, file),
            offset: PREAMBLE,
            position: Some(PREAMBLE),
            payload: Vec::new(),
            endpoint: "".into(),
            layouts: Vec::new(),
            at: 0,
        };
        let mut preamble = [0; PREAMBLE as usize];
        if let Err(error) = reader.file.read_exact(&mut preamble) {
            return if error.kind() == io::ErrorKind::UnexpectedEof {
                Ok(None)
            } else {
                Err(LogError::io("read", path)(error))
            };
        }
        let (magic, version) = preamble.split_at(MAGIC.len());
        if magic != MAGIC {
            let why = "it does not begin as one".to_owned();
            return Err(LogError::Foreign { path: path.to_owned(), why });
        }
        if version != VERSION.to_le_bytes() {
            let why = format!("its version is {version:?}");
            return Err(LogError::Foreign { path: path.to_owned(), why });
        }
        if !reader.frame()? {
            return Ok(None);
        }
        let Some(endpoint) = Cursor::new(&reader.payload).text() else { return Ok(None) };
        reader.endpoint = endpoint.into();
        Ok(Some(reader))
    }

    /// Reads the next frame into the payload; `false` at the end or at a frame that is not whole.
    fn frame(&mut self) -> Result<bool, LogError> {
        let mut head = [0; FRAME];
        if !self.fill(&mut head)? {
            return Ok(false);
        }
        let mut cursor = Cursor::new(&head);
        let (Some(length), Some(sum)) =
            (cursor.fixed().map(u32::from_le_bytes), cursor.fixed().map(u64::from_le_bytes))
        else {
            return Ok(false);
        };
        let length = length as usize;
        if length > MAX_PAYLOAD {
            return Ok(false);
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(length, 0);
        let whole = self.fill(&mut payload)?;
        self.payload = payload;
        if !whole || checksum(&self.payload, self.offset) != sum {
            return Ok(false);
        }
        self.at = self.offset;
        self.offset += (FRAME + length) as u64;
        Ok(true)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, LogError> {
        let position = self.position.take();
        match self.file.read_exact(buffer) {
            Ok(()) => {
                self.position = position.map(|position| position + buffer.len() as u64);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(LogError::io("read", &self.path)(error)),
        }
    }

    /// Gives the next record to `take`; `false` at the end of what is whole.
    pub(crate) fn next(&mut self, take: impl FnOnce(&View<'_>, &Layout, u64)) -> Result<bool, LogError> {
        loop {
            let before = self.offset;
            if !self.frame()? {
                return Ok(false);
            }
            match codec::decode(&self.payload, &self.layouts) {
                Some(Payload::Layout(layout)) => self.layouts.push(layout),
                Some(Payload::Record(view)) => {
                    if let Some(layout) = self.layouts.get(view.layout) {
                        take(&view, layout, self.at);
                    }
                    return Ok(true);
                }
                None => {
                    // Whole but not understood: as good as damaged.
                    self.offset = before;
                    return Ok(false);
                }
            }
        }
    }

    /// Reads the record whose frame begins at `at`, which [`next`](Self::next) has told.
    pub(crate) fn read_at<T>(
        &mut self,
        at: u64,
        take: impl FnOnce(&View<'_>, &Layout) -> T,
    ) -> Result<T, LogError> {
        let sought = match self.position {
            // Within the buffer this costs no system call.
            Some(position) => self.file.seek_relative(at as i64 - position as i64),
            None => self.file.seek(SeekFrom::Start(at)).map(|_| ()),
        };
        sought.map_err(LogError::io("read", &self.path))?;
        (self.offset, self.position) = (at, Some(at));
        let path = self.path.clone();
        let damaged = || LogError::Damaged(format!("`{}` is damaged at byte {at}", path.display()));
        if !self.frame()? {
            return Err(damaged());
        }
        let Some(Payload::Record(view)) = codec::decode(&self.payload, &self.layouts) else {
            return Err(damaged());
        };
        let layout = self.layouts.get(view.layout).ok_or_else(damaged)?;
        Ok(take(&view, layout))
    }

    /// A second reader of the same file, which knows what this one has learned.
    pub(crate) fn again(&self) -> Result<Self, LogError> {
        // A descriptor of its own: a duplicate would share the position. The name may be another by now.
        let failed = |error| LogError::Io { action: "read", path: self.path.clone(), source: error };
        let link = format!("/proc/self/fd/{}", self.file.get_ref().as_fd().as_raw_fd());
        let file = fs_err::File::open(&link)
            .or_else(|_| fs_err::File::open(&self.path))
            .or_else(|_| fs_err::File::open(self.path.with_extension(SEALED)))
            .map_err(failed)?;
        Ok(Self {
            path: self.path.clone(),
            file: io::BufReader::with_capacity(64 << 10, file.into_parts().0),
            offset: 0,
            position: None,
            payload: Vec::new(),
            endpoint: self.endpoint.clone(),
            layouts: self.layouts.clone(),
            at: 0,
        })
    }

    /// Where what is whole ends, after [`next`](Self::next) has come to its end.
    pub(crate) const fn end(&self) -> u64 {
        self.offset
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
