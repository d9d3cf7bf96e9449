//! Records of delimited text with their line numbers. Fields are not interpreted.
//!
//! A line without a quote is cut at its delimiters where it lies, alone or with others as a block; all others go through `csv-core`'s
//! state machine, which reads byte by byte and copies. Both give the same records.

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
    dialect: Dialect,
    chunk: Vec<u8>,
    position: usize,
    filled: usize,
    ended: bool,
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// Where the fields of lines that are cut in place end.
    places: Vec<usize>,
    /// Where the lines of a block begin.
    starts: Vec<usize>,
    /// Whether the chunk holds bytes that are not UTF-8: its lines are looked at one by one.
    is_doubtful: bool,
    /// Line of the next unread byte, from 1.
    line: u64,
    /// Records read so far.
    pub(super) count: u64,
}

/// Lines of one chunk that are all text, without quotes, with equally many fields.
pub(super) struct Block<'a> {
    text: &'a str,
    /// Where each line begins, and where each of its fields ends.
    starts: &'a [usize],
    ends: &'a [usize],
    width: usize,
    /// The number of the first line, from 1.
    line: u64,
    /// Bytes of all fields, and of what is between them.
    pub(super) size: usize,
}

impl<'a> Block<'a> {
    /// Number of lines.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The fields of a column.
    #[inline]
    pub(super) fn column(&self, place: usize) -> impl Iterator<Item = &'a str> + use<'a> {
        let text = self.text;
        self.starts.iter().zip(self.ends.chunks_exact(self.width)).map(move |(&start, ends)| {
            let start = if place == 0 { start } else { ends[place - 1] + 1 };
            text.get(start..ends[place]).unwrap_or_default()
        })
    }

    /// The number of the line at `index`, from 1.
    pub(super) fn line(&self, index: usize) -> u64 {
        let before = &self.text.as_bytes()[self.starts[0]..self.starts[index]];
        self.line + before.iter().filter(|&&byte| byte == b'\n').count() as u64
    }
}

/// One record.
pub(super) struct Record<'a> {
    fields: &'a [u8],
    /// All fields as text, if they are: one check of a line costs less than one of each field.
    text: Option<&'a str>,
    ends: &'a [usize],
    /// Bytes between the end of a field and the start of the next.
    gap: usize,
    /// Its first line, from 1.
    pub(super) line: u64,
    /// Whether it goes over more than one line.
    pub(super) folded: bool,
}

impl<'a> Record<'a> {
    fn new(fields: &'a [u8], ends: &'a [usize], gap: usize, line: u64, folded: bool) -> Self {
        Self { fields, text: std::str::from_utf8(fields).ok(), ends, gap, line, folded }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self, index: usize) -> &[u8] {
        &self.fields[self.range(index)]
    }

    #[inline]
    fn range(&self, index: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] + self.gap };
        start..self.ends[index]
    }

    /// The field at `index`, which must be UTF-8.
    #[inline]
    pub(super) fn text(&self, path: &Path, index: usize) -> Result<&str, Error> {
        match self.text.and_then(|text| text.get(self.range(index))) {
            Some(text) => Ok(text),
            None => self.doubtful(path, index),
        }
    }

    #[cold]
    fn doubtful(&self, path: &Path, index: usize) -> Result<&str, Error> {
        std::str::from_utf8(self.bytes(index)).map_err(|_| Error::Line {
            path: path.to_owned(),
            line: self.line,
            why: format!("field {} is not UTF-8", index + 1),
            hint: Some("convert the file to UTF-8".to_owned()),
        })
    }

    /// Bytes of all fields, and of what is between them.
    pub(super) fn size(&self) -> usize {
        self.fields.len()
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
            dialect,
            chunk: vec![0; CHUNK],
            position: 0,
            filled: 0,
            ended: false,
            fields: vec![0; 1024],
            ends: vec![0; 64],
            places: Vec::new(),
            starts: Vec::new(),
            is_doubtful: false,
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
        self.places.clear();
        if let Some(length) = self.plain_line(0) {
            let start = self.position;
            self.position += length + 1;
            self.line += u64::from(self.chunk[start + length] == b'\n');
            self.count += 1;
            let fields = &self.chunk[start..start + length];
            return Ok(Some(Record::new(fields, &self.places, 1, line, false)));
        }
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
        Ok(Some(Record::new(&self.fields[..used], &self.ends[..ended], 0, line, folded)))
    }

    /// As many of the next records as are lines of this chunk with `width` fields each and nothing but text: at most `most`, and none after
    /// `bytes` bytes of them. `None` where [`Self::next`] has to tell what comes.
    pub(super) fn block(
        &mut self,
        width: usize,
        most: usize,
        bytes: usize,
    ) -> Result<Option<Block<'_>>, Error> {
        if width == 0 || !self.skip_line_ends()? || self.is_doubtful {
            return Ok(None);
        }
        let (first, line) = (self.position, self.line);
        let (mut end, mut size) = (first, 0);
        self.places.clear();
        self.starts.clear();
        while self.starts.len() < most && size < bytes {
            let start = self.position - first;
            let Some(length) = self.plain_line(start) else { break };
            if self.places.len() != (self.starts.len() + 1) * width {
                self.places.truncate(self.starts.len() * width);
                break;
            }
            self.starts.push(start);
            size += length;
            end = self.position + length;
            self.line += u64::from(self.chunk[end] == b'\n');
            self.position = end + 1;
            self.skip_within_chunk();
        }
        let Ok(text) = std::str::from_utf8(&self.chunk[first..end]) else {
            (self.position, self.line, self.is_doubtful) = (first, line, true);
            return Ok(None);
        };
        self.count += self.starts.len() as u64;
        let (starts, ends) = (self.starts.as_slice(), self.places.as_slice());
        Ok((!starts.is_empty()).then_some(Block { text, starts, ends, width, line, size }))
    }

    /// The length of the line that begins here, if it ends in this chunk and holds no quote; where its fields end, counted from `from` on, is then
    /// added to `places`.
    fn plain_line(&mut self, from: usize) -> Option<usize> {
        let rest = &self.chunk[self.position..self.filled];
        let length = memchr::memchr2(b'\n', b'\r', rest)?;
        let line = &rest[..length];
        if memchr::memchr(self.dialect.quote, line).is_some() {
            return None;
        }
        delimiters(line, self.dialect.delimiter, from, &mut self.places);
        self.places.push(from + length);
        Some(length)
    }

    /// Goes over line ends; whether something else follows in the chunk.
    fn skip_within_chunk(&mut self) -> bool {
        while self.position < self.filled {
            match self.chunk[self.position] {
                b'\n' => self.line += 1,
                b'\r' => {}
                _ => return true,
            }
            self.position += 1;
        }
        false
    }

    /// Goes to the first byte of the next record; false at the end of the text.
    fn skip_line_ends(&mut self) -> Result<bool, Error> {
        while !self.skip_within_chunk() {
            self.fill()?;
            if self.ended {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fill(&mut self) -> Result<(), Error> {
        if self.ended {
            return Ok(());
        }
        self.position = 0;
        self.is_doubtful = false;
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

/// Adds the places of `delimiter`, counted from `from` on, eight bytes at a time: fields are short, and a search that begins anew for each costs more.
fn delimiters(line: &[u8], delimiter: u8, from: usize, places: &mut Vec<usize>) {
    const LOW: u64 = u64::from_le_bytes([0x7f; 8]);
    let pattern = u64::from_le_bytes([delimiter; 8]);
    let (words, rest) = line.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        // Zero where a byte is the delimiter; then the highest bit is set there and nowhere else.
        let other = u64::from_le_bytes(*word) ^ pattern;
        let mut found = !(((other & LOW) + LOW) | other | LOW);
        while found != 0 {
            places.push(from + 8 * at + (found.trailing_zeros() / 8) as usize);
            found &= found - 1;
        }
    }
    let done = from + line.len() - rest.len();
    places.extend(rest.iter().enumerate().filter(|(_, byte)| **byte == delimiter).map(|(at, _)| done + at));
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

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use proptest::prelude::*;

    use super::*;

    const DIALECT: Dialect = Dialect { delimiter: b',', quote: b'"', header: false };

    /// Gives a few bytes a time, so that chunks end anywhere.
    struct Slow(Cursor<Vec<u8>>, usize);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let most = into.len().min(self.1);
            self.0.read(&mut into[..most])
        }
    }

    fn records(text: impl AsRef<[u8]>, step: usize) -> Vec<(u64, Vec<Vec<u8>>)> {
        let slow = Slow(Cursor::new(text.as_ref().to_vec()), step);
        let mut records = Records::over(Path::new("t.csv"), Box::new(slow), DIALECT);
        let mut all = Vec::new();
        while let Some(record) = records.next().unwrap() {
            all.push((record.line, (0..record.len()).map(|i| record.bytes(i).to_vec()).collect()));
        }
        all
    }

    /// As [`records`], by blocks where there are such.
    fn records_of_blocks(
        text: impl AsRef<[u8]>,
        step: usize,
        width: usize,
        most: usize,
    ) -> Vec<(u64, Vec<Vec<u8>>)> {
        let slow = Slow(Cursor::new(text.as_ref().to_vec()), step);
        let mut records = Records::over(Path::new("t.csv"), Box::new(slow), DIALECT);
        let mut all = Vec::new();
        loop {
            if let Some(block) = records.block(width, most, 20).unwrap() {
                assert!(block.len() <= most, "{} lines", block.len());
                for index in 0..block.len() {
                    let field = |place| block.column(place).nth(index).unwrap().as_bytes().to_vec();
                    all.push((block.line(index), (0..width).map(field).collect()));
                }
            } else if let Some(record) = records.next().unwrap() {
                all.push((record.line, (0..record.len()).map(|i| record.bytes(i).to_vec()).collect()));
            } else {
                return all;
            }
        }
    }

    /// What the state machine alone says, without lines.
    fn reference(text: &str) -> Vec<Vec<Vec<u8>>> {
        let mut machine = csv_core::Reader::new();
        let (mut fields, mut ends) = (vec![0; 4096], vec![0; 256]);
        let (mut input, mut used, mut ended, mut all) = (text.as_bytes(), 0, 0, Vec::new());
        loop {
            let (result, read, wrote, count) =
                machine.read_record(input, &mut fields[used..], &mut ends[ended..]);
            input = &input[read..];
            used += wrote;
            ended += count;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => {
                    let starts = std::iter::once(0).chain(ends[..ended].iter().copied());
                    all.push(
                        starts.zip(&ends[..ended]).map(|(from, &to)| fields[from..to].to_vec()).collect(),
                    );
                    (used, ended) = (0, 0);
                }
                ReadRecordResult::End => return all,
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn lines_cut_in_place_are_the_records_of_the_state_machine(
            text in "([a-c,\"\r\n]|é|,,|\r\n|\n){0,60}", step in 1usize..80
        ) {
            let found: Vec<_> = records(&text, step).into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(found, reference(&text));
        }

        #[test]
        fn blocks_hold_the_records_that_are_read_one_by_one(
            text in "([a-c,\"\r\n]|é|,|\r\n|\n|a,b\n|c,a\n){0,60}",
            step in 1usize..80, width in 1usize..4, most in 1usize..5,
        ) {
            prop_assert_eq!(records_of_blocks(&text, step, width, most), records(&text, step));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_in_no_block() {
        let bytes = b"a,b\n\n\xff,c\nd,e\n";
        for step in [4, 1000] {
            assert_eq!(records_of_blocks(bytes, step, 2, 10), records(bytes, step));
        }
    }

    #[test]
    fn lines_are_counted() {
        let lines = |text: &str| records(text, 1000).iter().map(|(line, _)| *line).collect::<Vec<_>>();
        assert_eq!(lines("a\nb\r\n\r\n\"c\nd\"\ne"), [1, 2, 4, 6]);
    }
}
