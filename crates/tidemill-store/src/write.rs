//! Writes what a checkout decided: files in parallel, each under a temporary name until it is complete.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::os::unix::fs::OpenOptionsExt;
use rayon::prelude::*;
use tidemill_core::{Digest, Progress};

use crate::compare::{Change, join};
use crate::disk::{self, temporary_name};
use crate::inner::Inner;
use crate::list::{List, Part};
use crate::record::Kind;
use crate::remote::Staged;
use crate::target::{Target, TargetFile};
use crate::{Entry, Error, StatCache};

/// Writes files of the store.
pub(crate) struct Writer<'a> {
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) stat: Option<&'a StatCache>,
    pub(crate) progress: &'a dyn Progress,
}

/// A path that is removed on drop, with all below it, unless it was renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = match fs_err::symlink_metadata(&self.0) {
            Ok(metadata) if metadata.is_dir() => fs_err::remove_dir_all(&self.0),
            Ok(_) => fs_err::remove_file(&self.0),
            Err(_) => Ok(()),
        };
    }
}

/// Writes the whole target beside `dest` and renames it there.
pub(crate) fn write_new_folder(writer: &Writer<'_>, target: &Target, dest: &Path) -> Result<(), Error> {
    let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unfinished = Unfinished(parent.join(temporary_name("checkout")));
    let dir = &unfinished.0;
    fs_err::create_dir(dir).map_err(Error::io("create the folder", dir))?;
    for folder in &target.folders {
        let folder = dir.join(folder);
        fs_err::create_dir(&folder).map_err(Error::io("create the folder", &folder))?;
    }
    let content = |file: &&TargetFile| (file.entry.digest, file.entry.bytes);
    writer.write_each(&writer.ordered(&target.files)?, content, |file, ahead| {
        let path = dir.join(&file.path);
        writer.write_file(&file.entry, &path, ahead)
    })?;
    for (path, to) in &target.links {
        link(to, &dir.join(path))?;
    }
    fs_err::rename(dir, dest).map_err(Error::io("create the folder", dest))?;
    writer.remember(target.files.iter(), dest);
    Ok(())
}

impl Writer<'_> {
    /// Makes `dest` equal the target.
    pub(crate) fn apply(&self, target: &Target, change: &Change, dest: &Path) -> Result<(), Error> {
        for path in &change.remove {
            disk::remove(&join(dest, path))?;
        }
        for path in &change.remove_folders {
            let path = join(dest, path);
            match fs_err::remove_dir(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        if target.tree {
            disk::create_dir(dest)?;
        }
        for folder in &target.folders {
            disk::create_dir(&join(dest, folder))?;
        }
        let files: Vec<TargetFile> = change.write.iter().map(|&at| target.files[at].clone()).collect();
        let content = |file: &&TargetFile| (file.entry.digest, file.entry.bytes);
        self.write_each(&self.ordered(&files)?, content, |file, ahead| {
            self.replace_file(&file.entry, &join(dest, &file.path), ahead)
        })?;
        for &at in &change.mode {
            let file = &target.files[at];
            set_mode(&join(dest, &file.path), file.entry.is_executable())?;
        }
        for &at in &change.links {
            let (path, to) = &target.links[at];
            let unfinished = Unfinished(beside(&join(dest, path)));
            link(to, &unfinished.0)?;
            let path = join(dest, path);
            fs_err::rename(&unfinished.0, &path).map_err(Error::io("create", &path))?;
        }
        let changed = change.write.iter().chain(&change.mode).map(|&at| &target.files[at]);
        self.remember(changed, dest);
        Ok(())
    }

    /// The files in the order in which their content lies in the packs; an error if one is not in the store.
    fn ordered<'f>(&self, files: &'f [TargetFile]) -> Result<Vec<&'f TargetFile>, Error> {
        let mut places = Vec::with_capacity(files.len());
        let tables = self.inner.catalog.tables();
        for file in files {
            let location = match tables.find(&file.entry.digest)? {
                Some(location) => location,
                None => self.inner.locate(&file.entry.digest)?,
            };
            places.push((location.pack, location.offset, file));
        }
        places.sort_unstable_by_key(|&(pack, offset, _)| (pack, offset));
        Ok(places.into_iter().map(|(_, _, file)| file).collect())
    }

    /// Writes items on all cores, given the content of each with its bytes. What is not here is fetched first, as much as
    /// fits into memory at a time.
    fn write_each<T: Sync>(
        &self,
        items: &[T],
        content: impl Fn(&T) -> (Digest, u64),
        write: impl Fn(&T, &Staged) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        let all_here = !self.inner.lacks_any(items.iter().map(|item| content(item).0))?;
        for window in windows(items, all_here, |item| content(item).1) {
            let ahead = if all_here {
                Staged::new()
            } else {
                let digests: Vec<Digest> = window.iter().map(|item| content(item).0).collect();
                self.inner.ahead(&digests)?
            };
            window.par_iter().try_for_each(|item| write(item, &ahead))?;
        }
        Ok(())
    }

    fn replace_file(&self, entry: &Entry, path: &Path, ahead: &Staged) -> Result<(), Error> {
        let unfinished = Unfinished(beside(path));
        self.write_file(entry, &unfinished.0, ahead)?;
        fs_err::rename(&unfinished.0, path).map_err(Error::io("create", path))
    }

    /// Writes a new file. Content is verified before it is written.
    fn write_file(&self, entry: &Entry, path: &Path, ahead: &Staged) -> Result<(), Error> {
        if self.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let (kind, bytes) = self.inner.fetch_with(ahead, &entry.digest)?;
        // The umask takes from these what the user does not want to give.
        let mode = if entry.is_executable() { 0o777 } else { 0o666 };
        let file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(Error::io("create", path))?;
        match kind {
            Kind::Blob => self.write_chunk(&file, path, 0, &bytes),
            Kind::File => self.inner.leaf_lists(List::decode(&bytes)?, 0, &mut |offset, parts| {
                self.write_chunks(&file, path, offset, parts)
            }),
        }
    }

    fn write_chunks(
        &self,
        file: &fs_err::File,
        path: &Path,
        start: u64,
        parts: &[Part],
    ) -> Result<(), Error> {
        let mut at = start;
        let places: Vec<(u64, Part)> = parts
            .iter()
            .map(|part| {
                let place = (at, *part);
                at = at.saturating_add(part.bytes);
                place
            })
            .collect();
        let content = |(_, part): &(u64, Part)| (part.digest, part.bytes);
        self.write_each(&places, content, |(offset, part), ahead| {
            if self.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let (_, chunk) = self.inner.fetch_with(ahead, &part.digest)?;
            if chunk.len() as u64 != part.bytes {
                return Err(Error::malformed("chunk list", format!("{} has another length", part.digest)));
            }
            self.write_chunk(file, path, *offset, &chunk)
        })
    }

    fn write_chunk(&self, file: &fs_err::File, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        file.file().write_all_at(bytes, offset).map_err(Error::io("write to", path))?;
        self.progress.advance(bytes.len() as u64);
        Ok(())
    }

    fn remember<'f>(&self, files: impl Iterator<Item = &'f TargetFile>, dest: &Path) {
        let Some(stat) = self.stat else { return };
        for file in files {
            if let Ok(metadata) = fs_err::symlink_metadata(join(dest, &file.path)) {
                stat.insert(&metadata, &file.entry);
            }
        }
    }
}

/// Bytes of content that are fetched at a time.
const WINDOW: u64 = 8 << 20;

/// Neighbours that are fetched together; all where nothing has to be fetched.
fn windows<T>(items: &[T], all: bool, bytes: impl Fn(&T) -> u64) -> Vec<&[T]> {
    if all {
        return vec![items];
    }
    let (mut windows, mut start, mut sum) = (Vec::new(), 0, 0_u64);
    for (at, item) in items.iter().enumerate() {
        let bytes = bytes(item);
        if at > start && sum.saturating_add(bytes) > WINDOW {
            windows.push(&items[start..at]);
            (start, sum) = (at, 0);
        }
        sum = sum.saturating_add(bytes);
    }
    windows.push(&items[start..]);
    windows
}

fn beside(path: &Path) -> PathBuf {
    path.with_file_name(temporary_name("checkout"))
}

fn link(to: &Path, path: &Path) -> Result<(), Error> {
    fs_err::os::unix::fs::symlink(to, path).map_err(Error::io("create the link", path))
}

fn set_mode(path: &Path, executable: bool) -> Result<(), Error> {
    let metadata = fs_err::metadata(path).map_err(Error::io("inspect", path))?;
    let mode = metadata.permissions().mode();
    // Whoever may read it may execute it, as a shell's `chmod +x` with the usual mask does.
    let mode = if executable { mode | (mode & 0o444) >> 2 } else { mode & !0o111 };
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(Error::io("change the mode of", path))
}
