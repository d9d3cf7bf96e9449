//! Bytes of text files, decompressed on the way. What the text means is for `csv` and `json`.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use crate::Error;

/// A stream of text.
pub(super) type Text = Box<dyn Read + Send>;

/// Opens a file; gzip and Zstandard are known by their first bytes, a byte order mark is skipped.
pub(super) fn open(path: &Path) -> Result<Text, Error> {
    let mut file = BufReader::new(fs_err::File::open(path).map_err(Error::io("open", path))?);
    let head = file.fill_buf().map_err(|error| failed(path, error))?;
    let text: Text = if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(file))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(|error| failed(path, error))?)
    } else {
        Box::new(file)
    };
    skip_mark(path, text)
}

fn skip_mark(path: &Path, mut text: Text) -> Result<Text, Error> {
    let mut head = Vec::with_capacity(3);
    text.by_ref().take(3).read_to_end(&mut head).map_err(|error| failed(path, error))?;
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Err(Error::Line {
            path: path.to_owned(),
            line: 1,
            why: "the text is UTF-16".to_owned(),
            hint: Some("convert it to UTF-8".to_owned()),
        });
    }
    if head == [0xef, 0xbb, 0xbf] {
        head.clear();
    }
    Ok(Box::new(Cursor::new(head).chain(text)))
}

/// The error for a read that failed in the middle of `path`.
pub(super) fn failed(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::Truncated { path: path.to_owned(), why: "its compressed content ends early".to_owned() }
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            Error::Corrupt { path: path.to_owned(), format: "compressed", why: error.to_string() }
        }
        _ => Error::Io { action: "read", path: path.to_owned(), source: error },
    }
}
