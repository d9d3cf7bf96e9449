//! Records of delimited text with their line numbers, on `csv-core`'s state machine. Fields are not interpreted.

use std::io::Read;
use std::path::{Path, PathBuf};

use csv_core::ReadRecordResult;

use super::dialect::Dialect;
use crate::Error;
use crate::read::text::{self, Text};

/// Longest record; a longer one is most likely a quote that is never closed.
const LONGEST: usize = 16 << 20;
const CHUNK: usize = 64 << 10;

/// A stream of records.
pub(super) struct Records {
    pub(super) path: PathBuf,
    text: Text,
    machine: csv_core::Reader,
    chunk: Vec<u8>,
    position: usize,
    filled: usize,
    ended: bool,
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// Line of the next unread byte, from 1.
    line: u64,
    /// Records read so far.
    pub(super) count: u64,
}

/// One record.
pub(super) struct Record<'a> {
    fields: &'a [u8],
    ends: &'a [usize],
    /// Its first line, from 1.
    pub(super) line: u64,
    /// Whether it goes over more than one line.
    pub(super) folded: bool,
}

impl Record<'_> {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.fields[start..self.ends[index]]
    }

    /// The field at `index`, which must be UTF-8.
    pub(super) fn text(&self, path: &Path, index: usize) -> Result<&str, Error> {
        std::str::from_utf8(self.bytes(index)).map_err(|_| Error::Line {
            path: path.to_owned(),
            line: self.line,
            why: format!("field {} is not UTF-8", index + 1),
            hint: Some("convert the file to UTF-8".to_owned()),
        })
    }

    /// An error unless the record has `expected` fields.
    pub(super) fn check_len(&self, path: &Path, expected: usize) -> Result<(), Error> {
        if self.len() == expected {
            return Ok(());
        }
        let hint = if self.folded {
            "the row goes over several lines: check for a quote that is not closed"
        } else if self.len() > expected {
            "put fields that hold the delimiter in quotes, or declare the delimiter"
        } else {
            "add the missing fields, or declare the delimiter"
        };
        Err(Error::Line {
            path: path.to_owned(),
            line: self.line,
            why: format!("the row has {} and the header {expected}", fields(self.len())),
            hint: Some(hint.to_owned()),
        })
    }
}

fn fields(count: usize) -> String {
    if count == 1 { "1 field".to_owned() } else { format!("{count} fields") }
}

impl Records {
    pub(super) fn open(path: &Path, dialect: Dialect) -> Result<Self, Error> {
        Ok(Self::over(path, text::open(path)?, dialect))
    }

    pub(super) fn over(path: &Path, text: Text, dialect: Dialect) -> Self {
        let machine =
            csv_core::ReaderBuilder::new().delimiter(dialect.delimiter).quote(dialect.quote).build();
        Self {
            path: path.to_owned(),
            text,
            machine,
            chunk: vec![0; CHUNK],
            position: 0,
            filled: 0,
            ended: false,
            fields: vec![0; 1024],
            ends: vec![0; 64],
            line: 1,
            count: 0,
        }
    }

    /// The next record that is not an empty line.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, Error> {
        if !self.skip_line_ends()? {
            return Ok(None);
        }
        let line = self.line;
        let (mut used, mut ended) = (0, 0);
        loop {
            if self.position == self.filled {
                self.fill()?;
            }
            let input = &self.chunk[self.position..self.filled];
            let (result, read, wrote, ends) =
                self.machine.read_record(input, &mut self.fields[used..], &mut self.ends[ended..]);
            self.line += input[..read].iter().filter(|&&byte| byte == b'\n').count() as u64;
            self.position += read;
            used += wrote;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => grow(&mut self.fields, &self.path, line)?,
                ReadRecordResult::OutputEndsFull => grow(&mut self.ends, &self.path, line)?,
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        self.count += 1;
        let last = u64::from(self.position > 0 && self.chunk[self.position - 1] == b'\n');
        let folded = self.line - last > line;
        Ok(Some(Record { fields: &self.fields[..used], ends: &self.ends[..ended], line, folded }))
    }

    /// Goes to the first byte of the next record; false at the end of the text.
    fn skip_line_ends(&mut self) -> Result<bool, Error> {
        loop {
            while self.position < self.filled {
                match self.chunk[self.position] {
                    b'\n' => self.line += 1,
                    b'\r' => {}
                    _ => return Ok(true),
                }
                self.position += 1;
            }
            self.fill()?;
            if self.ended {
                return Ok(false);
            }
        }
    }

    fn fill(&mut self) -> Result<(), Error> {
        if self.ended {
            return Ok(());
        }
        self.position = 0;
        self.filled = loop {
            match self.text.read(&mut self.chunk) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| text::failed(&self.path, error))?,
            }
        };
        self.ended = self.filled == 0;
        Ok(())
    }
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, path: &Path, line: u64) -> Result<(), Error> {
    if buffer.len() >= LONGEST {
        return Err(Error::Line {
            path: path.to_owned(),
            line,
            why: format!("the row that begins here is longer than {} MiB", LONGEST >> 20),
            hint: Some("check for a quote that is not closed".to_owned()),
        });
    }
    buffer.resize(buffer.len() * 2, T::default());
    Ok(())
}
