//! Segments: append-only files of checksummed records, one at a time for each endpoint.
//!
//! A file begins with the magic bytes and the version of the format; then come frames: length (4 bytes), checksum
//! (8 bytes, XXH3 of the payload with the frame's offset as seed), payload. The first payload names the endpoint.
//! `NAME.open` is being written; `NAME.seg` is complete. What a killed process left is cut at the first frame that
//! is not whole, and closed.

mod files;
mod read;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

pub(crate) use files::{folder_name, list, recover, segment_name};
pub(crate) use read::SegmentReader;
pub(crate) use write::{SegmentWriter, WriteError};

const MAGIC: &[u8; 8] = b"TMRECORD";
const VERSION: u32 = 1;
/// Magic and version.
const PREAMBLE: u64 = 12;
/// Length and checksum.
const FRAME: usize = 12;
/// Longer payloads are not written, and no reader takes them for one.
pub(crate) const MAX_PAYLOAD: usize = 64 << 20;

pub(crate) const OPEN: &str = "open";
pub(crate) const SEALED: &str = "seg";

fn seal(open: &Path) -> io::Result<PathBuf> {
    let sealed = open.with_extension(SEALED);
    fs_err::rename(open, &sealed)?;
    sync_folder(open.parent().unwrap_or(Path::new(".")))?;
    Ok(sealed)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs_err::File::open(folder)?.sync_all()
}

fn checksum(payload: &[u8], offset: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(offset, payload)
}

#[cfg(test)]
pub(crate) mod tests;
