//! Delimiter, quote and header of delimited text, declared or found out. Types are found in `infer`.

use std::io::{Cursor, Read};
use std::path::Path;

use super::nulls::Nulls;
use super::record::Records;
use crate::read::scalar::{Class, classify};
use crate::read::{duplicate, text};
use crate::{CsvOptions, Error};

/// How one file is cut into fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) header: bool,
}

/// Bytes looked at to find the delimiter.
const SAMPLE: u64 = 64 << 10;
const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The dialect of `path`.
pub(super) fn find(path: &Path, options: &CsvOptions, nulls: &Nulls) -> Result<Dialect, Error> {
    let quote = ascii("quote", options.quote)?.unwrap_or(b'"');
    let delimiter = ascii("delimiter", options.delimiter)?;
    if delimiter == Some(quote) {
        return Err(Error::Unusable("the delimiter and the quote are the same character".to_owned()));
    }
    let mut sample = Vec::new();
    text::open(path)?.take(SAMPLE).read_to_end(&mut sample).map_err(|error| text::failed(path, error))?;
    let whole = (sample.len() as u64) < SAMPLE;
    let base = Dialect { delimiter: b',', quote, header: true };
    let delimiter = match delimiter {
        Some(delimiter) => delimiter,
        None => {
            CANDIDATES
                .into_iter()
                .map(|delimiter| (score(path, &sample, whole, Dialect { delimiter, ..base }), delimiter))
                // The first of equals, hence the comma where nothing tells.
                .fold((0, b','), |best, found| if found.0 > best.0 { found } else { best })
                .1
        }
    };
    let dialect = Dialect { delimiter, ..base };
    let header = match options.header {
        Some(header) => header,
        None => names_columns(path, &sample, dialect, nulls),
    };
    Ok(Dialect { header, ..dialect })
}

fn ascii(what: &str, given: Option<char>) -> Result<Option<u8>, Error> {
    let byte =
        |c: char| u8::try_from(c).ok().filter(|byte| byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0));
    given
        .map(|c| {
            byte(c).ok_or_else(|| Error::Unusable(format!("the {what} `{c}` is not one ASCII character")))
        })
        .transpose()
}

/// How well a delimiter fits: the number of records with as many fields as the first, weighted so that more
/// fields win; 0 where the first record is one field.
fn score(path: &Path, sample: &[u8], whole: bool, dialect: Dialect) -> usize {
    let mut records = Records::over(path, Box::new(Cursor::new(sample.to_vec())), dialect);
    let mut lengths = Vec::new();
    while let Ok(Some(record)) = records.next() {
        lengths.push(record.len());
    }
    if !whole {
        lengths.pop();
    }
    let first = lengths.first().copied().unwrap_or(0);
    if first < 2 {
        return 0;
    }
    let same = lengths.iter().filter(|&&length| length == first).count();
    // A delimiter that fits nearly every record beats one that fits some of them with more fields.
    if same * 10 >= lengths.len() * 9 { 1_000_000 + first } else { same * 1000 / lengths.len() }
}

/// Whether the first record looks like names: no number, date or truth value among its fields.
fn names_columns(path: &Path, sample: &[u8], dialect: Dialect, nulls: &Nulls) -> bool {
    let mut records = Records::over(path, Box::new(Cursor::new(sample.to_vec())), dialect);
    let Ok(Some(record)) = records.next() else { return true };
    (0..record.len()).all(|i| match record.text(path, i) {
        Ok(text) => nulls.contains(text) || classify(text) == Class::Text,
        Err(_) => true,
    })
}

/// The names of the columns; `None` for a text without records. Without a header they are `column_1` and so on.
pub(super) fn columns(
    path: &Path,
    records: &mut Records,
    dialect: Dialect,
) -> Result<Option<Vec<String>>, Error> {
    if !dialect.header {
        // The first record is data, so it is looked at in a stream of its own.
        let mut probe = Records::open(path, dialect)?;
        let first = probe.next()?;
        return Ok(first.map(|record| (1..=record.len()).map(|i| format!("column_{i}")).collect()));
    }
    let Some(record) = records.next()? else { return Ok(None) };
    let line = record.line;
    let mut names = Vec::with_capacity(record.len());
    for i in 0..record.len() {
        let name = record.text(path, i)?.trim();
        names.push(if name.is_empty() { format!("column_{}", i + 1) } else { name.to_owned() });
    }
    // The header is no data row.
    records.count = 0;
    match duplicate(names.iter().map(String::as_str)) {
        None => Ok(Some(names)),
        Some(name) => Err(Error::Line {
            path: path.to_owned(),
            line,
            why: format!("two columns are called `{name}`"),
            hint: Some("rename one of them, or declare `header: false`".to_owned()),
        }),
    }
}
