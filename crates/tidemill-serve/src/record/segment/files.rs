//! The files of segments: what they are called, which there are, and closing those of a killed process.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::{FRAME, MAX_PAYLOAD, OPEN, PREAMBLE, SEALED, SegmentReader, seal};
use crate::record::LogError;

/// What [`recover`] did with the segments of a process that did not close them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) segments: u64,
    pub(crate) records: u64,
    /// Bytes cut off.
    pub(crate) cut: u64,
}

/// Closes segments that were left open: what is not whole at their end is cut off. Where more is cut than one torn
/// frame can explain, the bytes are kept beside the segment as `NAME.cut`.
pub(crate) fn recover(dir: &Path) -> Result<Recovered, LogError> {
    let mut recovered = Recovered::default();
    for (path, _) in
        list(dir)?.into_iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == OPEN))
    {
        let failed = |error| LogError::Io { action: "recover", path: path.clone(), source: error };
        let length = fs_err::metadata(&path).map_err(failed)?.len();
        let (mut records, mut end) = (0, PREAMBLE.min(length));
        match SegmentReader::open(&path) {
            Ok(Some(mut reader)) => {
                while reader.next(|_, _, _| ())? {
                    records += 1;
                }
                end = reader.end();
            }
            Ok(None) => {}
            Err(LogError::Foreign { why, .. }) => {
                // One such file must not keep a server from starting; nothing of it is thrown away.
                tracing::warn!(file = %path.display(), why, "a file is no segment that can be read; it is set aside");
                fs_err::rename(&path, path.with_extension("foreign")).map_err(failed)?;
                continue;
            }
            Err(error) => return Err(error),
        }
        recovered.segments += 1;
        recovered.records += records;
        recovered.cut += length - end;
        if length > end && !is_torn(&path, end, length).map_err(failed)? {
            fs_err::copy(&path, path.with_extension("cut")).map_err(failed)?;
            tracing::warn!(
                file = %path.display(), at = end, bytes = length - end,
                "a segment of the inference log is damaged in its middle; a copy is kept as `.cut`"
            );
        }
        if records == 0 {
            fs_err::remove_file(&path).map_err(failed)?;
            continue;
        }
        let file = fs_err::OpenOptions::new().write(true).open(&path).map_err(failed)?;
        file.set_len(end).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        seal(&path).map_err(failed)?;
    }
    Ok(recovered)
}

/// Whether the frame at `end` reaches to the end of the file or beyond: a write that did not finish.
fn is_torn(path: &Path, end: u64, length: u64) -> io::Result<bool> {
    if length - end < FRAME as u64 {
        return Ok(true);
    }
    let mut file = fs_err::File::open(path)?;
    file.seek(SeekFrom::Start(end))?;
    let mut head = [0; 4];
    file.read_exact(&mut head)?;
    let declared = u64::from(u32::from_le_bytes(head));
    // A power failure may also leave zeros where the length was extended and the bytes did not arrive.
    Ok(declared == 0 || declared <= MAX_PAYLOAD as u64 && end + FRAME as u64 + declared >= length)
}

/// Every segment below `dir` with its endpoint's folder, oldest first within an endpoint.
pub(crate) fn list(dir: &Path) -> Result<Vec<(PathBuf, String)>, LogError> {
    let mut segments = Vec::new();
    let failed = |error| LogError::Io { action: "list", path: dir.to_owned(), source: error };
    if !dir.is_dir() {
        return Ok(segments);
    }
    for folder in fs_err::read_dir(dir).map_err(failed)? {
        let folder = folder.map_err(failed)?.path();
        if !folder.is_dir() {
            continue;
        }
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for file in fs_err::read_dir(&folder).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            if path.extension().is_some_and(|kind| kind == OPEN || kind == SEALED) {
                segments.push((path, name.clone()));
            }
        }
    }
    segments.sort();
    Ok(segments)
}

/// A segment's name in the database: its endpoint's folder and its file's name without the ending.
pub(crate) fn segment_name(path: &Path) -> String {
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    format!("{}/{}", part(path.parent().and_then(Path::file_name)), part(path.file_stem()))
}

/// A folder name that no endpoint shares with another, whatever it is called.
pub(crate) fn folder_name(endpoint: &str) -> String {
    let mut name = String::with_capacity(endpoint.len());
    for (i, byte) in endpoint.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'_' || i > 0 && matches!(byte, b'-' | b'.');
        if plain {
            name.push(byte as char);
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.is_empty() {
        name.push('%');
    }
    // File names have at most 255 bytes; a digest keeps long ones apart.
    if name.len() > 200 {
        let digest = tidemill_core::Digest::of(endpoint.as_bytes()).hex();
        name.truncate(160);
        name.push('%');
        name.push_str(digest.get(..32).unwrap_or_default());
    }
    name
}
