//! Artifact folders on this machine.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::source::SourceFile;
use crate::artifacts::ArtifactWriter;
use crate::{Error, Result};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;
/// Folders below an artifact folder that are followed at most.
const DEPTH: usize = 64;

/// The folder that an address names: a path, or a `file:` URL without a host.
pub(super) fn folder(uri: &str) -> Option<PathBuf> {
    if let Ok(url) = url::Url::parse(uri) {
        return (url.scheme() == "file").then(|| url.to_file_path().ok()).flatten();
    }
    Some(PathBuf::from(uri))
}

/// All files below a folder with their sizes, by path. Symbolic links are not followed: a store from elsewhere must
/// not make us read what does not belong to it.
pub(super) fn files(folder: &Path) -> Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    if folder.is_dir() {
        walk(folder, "", DEPTH, &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<SourceFile>) -> Result<()> {
    if depth == 0 {
        return Err(Error::invalid(format!("`{}` is nested too deeply", folder.display())));
    }
    for entry in fs_err::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Error::invalid(format!("the name of `{}` is not UTF-8", path.display())));
        };
        let metadata = fs_err::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if metadata.is_dir() {
            walk(&path, &format!("{prefix}{name}/"), depth - 1, found)?;
        } else if metadata.is_file() {
            found.push(SourceFile { path: format!("{prefix}{name}"), bytes: Some(metadata.len()) });
        }
    }
    Ok(())
}

/// Copies one of [`files`].
pub(super) async fn copy(folder: &Path, file: &SourceFile, into: &mut ArtifactWriter) -> Result<()> {
    let path = folder.join(&file.path);
    let mut from = fs_err::File::open(&path).map_err(|error| unreadable(&path, &error))?;
    loop {
        let mut buffer = vec![0; PIECE];
        let n = from.read(&mut buffer).map_err(|error| unreadable(&path, &error))?;
        if n == 0 {
            return Ok(());
        }
        buffer.truncate(n);
        into.write(buffer.into()).await?;
    }
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    // `fs_err` names the path itself.
    let text = error.to_string();
    let reason = text.rsplit_once(": ").map_or(text.as_str(), |(_, reason)| reason);
    Error::invalid(format!("cannot read `{}`: {reason}", path.display()))
}
