//! Small file operations: temporary files that vanish unless kept, atomic replacement, syncing; and names that nobody
//! else gives.

use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, IoSlice, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tidemill_core::{Clock, Digest, SystemClock};

use crate::Error;

/// A file under a temporary name, removed on drop unless it was moved to its place.
#[derive(Debug)]
pub(crate) struct TempFile {
    file: fs_err::File,
    path: PathBuf,
    moved: bool,
}

impl TempFile {
    /// Creates a new file in `dir`, with a name no other process or thread uses.
    pub(crate) fn create(dir: &Path, suffix: &str) -> Result<Self, Error> {
        loop {
            let path = dir.join(temporary_name(suffix));
            match fs_err::OpenOptions::new().write(true).read(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { file, path, moved: false }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", &path)(error)),
            }
        }
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::io("write to", &self.path))
    }

    /// Writes two pieces, one after the other, from where they lie.
    pub(crate) fn write_both(&mut self, first: &[u8], second: &[u8]) -> Result<(), Error> {
        let mut pieces = [IoSlice::new(first), IoSlice::new(second)];
        let mut left = &mut pieces[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match self.file.write_vectored(left) {
                Ok(0) => return Err(Error::io("write to", &self.path)(ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("write to", &self.path)(error)),
            }
        }
        Ok(())
    }

    /// See [`begin_writing`].
    pub(crate) fn begin_writing(&self, part: &Range<u64>) {
        begin_writing(&self.file, part);
    }

    /// Another handle of the same file.
    pub(crate) fn handle(&self) -> Result<fs_err::File, Error> {
        self.file.try_clone().map_err(Error::io("open", &self.path))
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io("sync", &self.path))
    }

    /// Gives the file another name as well; an error if there is something of that name.
    pub(crate) fn link(&self, target: &Path) -> Result<(), Error> {
        fs_err::hard_link(&self.path, target).map_err(Error::io("create", target))
    }

    /// Gives the file its final name, replacing what is there.
    pub(crate) fn persist(mut self, target: &Path) -> Result<(), Error> {
        fs_err::rename(&self.path, target).map_err(Error::io("create", target))?;
        self.moved = true;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.moved {
            let _ = fs_err::remove_file(&self.path);
        }
    }
}

/// A name that no other process or thread of this machine uses at this time.
pub(crate) fn temporary_name(suffix: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!(".{}-{}.{suffix}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Names something once only, on whichever machine.
pub(crate) fn unique() -> Digest {
    let (one, other) = (RandomState::new(), RandomState::new());
    let name = temporary_name("name");
    let salt = (one.hash_one(&name), other.hash_one(&name), SystemClock.now().millis());
    Digest::of(format!("{salt:?}").as_bytes())
}

/// Writes `bytes` to `target` so that it holds either its old or its new content at any time, synced on return.
pub(crate) fn replace(target: &Path, bytes: &[u8]) -> Result<(), Error> {
    let dir = target.parent().ok_or(Error::Internal("a file without a folder"))?;
    let mut file = TempFile::create(dir, "new")?;
    file.write_all(bytes)?;
    file.sync()?;
    file.persist(target)?;
    sync_dir(dir)
}

/// Has the disk begin to write a part of a file, and does not wait for it: when the file is synced later, most of it is
/// there. What goes wrong shows then.
pub(crate) fn begin_writing(file: &fs_err::File, part: &Range<u64>) {
    #[cfg(target_os = "linux")]
    {
        let length = std::num::NonZeroU64::new(part.end.saturating_sub(part.start));
        // What was changed is not dropped: Linux begins to write it, and keeps it until it is written.
        if length.is_some() {
            let _ = rustix::fs::fadvise(file, part.start, length, rustix::fs::Advice::DontNeed);
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (part, file.sync_data());
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    let file = fs_err::File::open(dir).map_err(Error::io("open", dir))?;
    file.sync_all().map_err(Error::io("sync", dir))
}

/// Makes everything on the file system of `dir` durable.
pub(crate) fn sync_file_system(dir: &Path) -> Result<(), Error> {
    let file = fs_err::File::open(dir).map_err(Error::io("open", dir))?;
    #[cfg(target_os = "linux")]
    let result = rustix::fs::syncfs(&file).map_err(std::io::Error::from);
    #[cfg(not(target_os = "linux"))]
    let result = file.sync_all();
    result.map_err(Error::io("sync", dir))
}

/// Creates a folder and those above it.
pub(crate) fn create_dir(dir: &Path) -> Result<(), Error> {
    fs_err::create_dir_all(dir).map_err(Error::io("create the folder", dir))
}

/// Removes a file; that it is gone already is no error. Returns whether it was there.
pub(crate) fn remove(path: &Path) -> Result<bool, Error> {
    match fs_err::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("remove", path)(error)),
    }
}
