//! Who may change the store: writers together, garbage collection alone. Advisory locks of the operating system, which
//! end with the process however it ends.

use std::path::Path;
use std::time::Duration;

use fs_err::File;

use crate::Error;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Beside other writers.
    Shared,
    /// Alone.
    Exclusive,
}

/// A held lock; released on drop.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Takes the lock on `path`, waiting up to `wait` for others.
pub(crate) fn acquire(
    path: &Path,
    mode: Mode,
    wait: Duration,
    cancelled: &dyn Fn() -> bool,
) -> Result<Lock, Error> {
    const STEP: Duration = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    loop {
        if let Some(lock) = attempt(path, mode)? {
            return Ok(lock);
        }
        if cancelled() {
            return Err(Error::Cancelled);
        }
        if waited >= wait {
            return Err(Error::Busy { path: path.parent().unwrap_or(path).to_owned() });
        }
        std::thread::sleep(STEP);
        waited += STEP;
    }
}

/// Takes the lock if nobody is in the way.
pub(crate) fn attempt(path: &Path, mode: Mode) -> Result<Option<Lock>, Error> {
    // Locking needs no right to write: a store on a read-only disk can still be read and verified.
    let file = match File::options().read(true).write(true).create(true).truncate(false).open(path) {
        Ok(file) => file,
        Err(_) => File::open(path).map_err(Error::io("open", path))?,
    };
    let taken = match mode {
        Mode::Shared => file.file().try_lock_shared(),
        Mode::Exclusive => file.file().try_lock(),
    };
    match taken {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}
