//! One run at a time in a project: an advisory lock on a file below `.tidemill`, released by the system when the
//! process ends in whichever way.

use std::path::Path;
use std::time::Duration;

use tidemill_core::{Cancel, RunId, Timestamp};

use crate::Error;

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// Its run.
    pub run: String,
}

/// The lock; released when dropped.
#[derive(Debug)]
pub struct Guard {
    _file: fs_err::File,
}

impl Guard {
    /// Takes the lock of the project at `root`, waiting up to `wait` for another run to end ([`Duration::MAX`] waits
    /// as long as it takes). `waiting` is told once whom it waits for.
    ///
    /// # Errors
    /// [`Error::Busy`] if another run holds it still; [`Error::Cancelled`] if stopped while waiting.
    pub fn acquire(
        root: &Path,
        holder: &Holder,
        wait: Duration,
        waiting: &dyn Fn(&Holder),
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let _ = (root, holder, wait, waiting, cancel);
        Err(Error::Internal("not written yet".to_owned()))
    }

    /// A holder that is this process.
    pub fn this_process(run: RunId, since: Timestamp) -> Holder {
        Holder { pid: std::process::id(), since, run: run.to_string() }
    }
}
