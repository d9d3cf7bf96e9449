//! The data that benchmarks work on. Everything comes from a seed, so two sessions measure the same bytes.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// Writes `bytes` pseudo-random bytes, which no compression shrinks.
pub(crate) fn random_file(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut file = fs_err::File::create(path)?;
    let mut block = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        stream.fill(&mut block[..part]);
        file.write_all(&block[..part])?;
        left -= part as u64;
    }
    file.sync_all()?;
    Ok(())
}

/// Writes a copy of `from` with `extra` pseudo-random bytes after its first `at` bytes.
pub(crate) fn with_insertion(from: &Path, to: &Path, at: u64, extra: u64, seed: u64) -> Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom, copy};
    let inserted = to.with_extension("inserted");
    random_file(&inserted, extra, seed)?;
    let mut source = fs_err::File::open(from)?;
    let mut target = fs_err::File::create(to)?;
    copy(&mut (&mut source).take(at), &mut target)?;
    copy(&mut fs_err::File::open(&inserted)?, &mut target)?;
    source.seek(SeekFrom::Start(at))?;
    copy(&mut source, &mut target)?;
    target.sync_all()?;
    fs_err::remove_file(inserted)?;
    Ok(())
}

/// Writes `count` files of `bytes` pseudo-random bytes, at most 1,000 in a folder.
pub(crate) fn small_files(folder: &Path, count: u64, bytes: u64, seed: u64) -> Result<()> {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut content = vec![0; usize::try_from(bytes)?];
    for index in 0..count {
        let part = folder.join(format!("{:03}", index / 1_000));
        if index % 1_000 == 0 {
            fs_err::create_dir_all(&part)?;
        }
        stream.fill(&mut content);
        fs_err::write(part.join(format!("{index:06}.bin")), &content)?;
    }
    settle()
}

/// Waits until the kernel has written what was written, so that a measurement does not pay for its preparation.
pub(crate) fn settle() -> Result<()> {
    process::run(&mut Command::new("sync"))
}

/// Reads a file once, so that every tool finds it in the page cache.
pub(crate) fn warm(path: &Path) -> Result<()> {
    let mut file = fs_err::File::open(path)?;
    std::io::copy(&mut file, &mut std::io::sink())
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(())
}

/// Bytes of all files below `folder`, hard links counted once; 0 when it is not there.
pub(crate) fn stored_bytes(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut seen = std::collections::BTreeSet::new();
    let mut open = vec![folder.to_path_buf()];
    let mut total = 0;
    while let Some(folder) = open.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let metadata = entry.metadata()?;
                if seen.insert(metadata.ino()) {
                    total += metadata.len();
                }
            }
        }
    }
    Ok(total)
}

/// Removes a file or folder if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs_err::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs_err::remove_dir_all(path)?,
        Ok(_) => fs_err::remove_file(path)?,
        Err(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insertion_keeps_both_sides() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        random_file(&a, 10_000, 1).unwrap();
        with_insertion(&a, &b, 4_000, 100, 2).unwrap();
        let (a, b) = (fs_err::read(a).unwrap(), fs_err::read(b).unwrap());
        assert_eq!((b.len(), &b[..4_000], &b[4_100..]), (10_100, &a[..4_000], &a[4_000..]));
    }

    #[test]
    fn hard_links_are_stored_once() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("a"), [0; 100]).unwrap();
        fs_err::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_eq!(stored_bytes(folder.path()).unwrap(), 100);
        assert_eq!(stored_bytes(&folder.path().join("none")).unwrap(), 0);
    }
}
