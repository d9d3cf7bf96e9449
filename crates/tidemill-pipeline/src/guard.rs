//! One run at a time in a project: an advisory lock on a file below `.tidemill`, released by the system when the
//! process ends in whichever way.

use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use tidemill_core::{Cancel, RunId, Timestamp};

use crate::Error;

/// How often a waiting run tries again.
const RETRY: Duration = Duration::from_millis(50);

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

impl Holder {
    /// This process with a run that begins now.
    pub fn this_process(run: RunId, since: Timestamp) -> Self {
        Self { pid: std::process::id(), since, run: run.to_string() }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (pid, since, run) = (words.next()?, words.next()?, words.next()?);
        let since = Timestamp::from_millis(since.parse().ok()?);
        Some(Self { pid: pid.parse().ok()?, since, run: run.to_owned() })
    }
}

/// The lock; released when dropped.
#[derive(Debug)]
pub struct Guard {
    _file: fs::File,
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
        let folder = root.join(".tidemill");
        fs::create_dir_all(&folder)?;
        let path = folder.join("run.lock");
        let mut file =
            fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let started = Instant::now();
        let mut told = false;
        loop {
            match flock(file.file(), FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
            // The holder writes who it is just after it took the lock; until then the text is empty or older.
            let other = read_holder(&mut file)?;
            if started.elapsed() >= wait.max(RETRY) {
                let other =
                    other.unwrap_or(Holder { pid: 0, since: holder.since, run: "unknown".to_owned() });
                return Err(Error::Busy { pid: other.pid, since: other.since, run: other.run });
            }
            if let (false, Some(other), true) = (told, other, wait > RETRY) {
                waiting(&other);
                told = true;
            }
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            std::thread::sleep(RETRY / 5);
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{} {} {}", holder.pid, holder.since.millis(), holder.run)?;
        Ok(Self { _file: file })
    }
}

fn read_holder(file: &mut fs::File) -> Result<Option<Holder>, Error> {
    let mut text = String::new();
    file.rewind()?;
    // Anything else than our own text is as good as none.
    let read = Read::by_ref(file).take(1024).read_to_string(&mut text);
    Ok(read.ok().and_then(|_| Holder::parse(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (root, cancel) = (folder.path(), Cancel::new());
        let run = RunId::from_entropy([7; 16]);
        let holder = Holder::this_process(run, Timestamp::from_millis(1_000));
        let first = Guard::acquire(root, &holder, Duration::ZERO, &|_| (), &cancel).unwrap();
        let error = Guard::acquire(root, &holder, Duration::ZERO, &|_| (), &cancel).unwrap_err();
        let expected = format!(
            "another run has been going on in this project since 1970-01-01T00:00:01Z (process {}, run {run})",
            std::process::id()
        );
        assert_eq!(error.to_string(), expected);
        drop(first);
        Guard::acquire(root, &holder, Duration::ZERO, &|_| (), &cancel).unwrap();
    }

    #[test]
    fn waiting_ends_when_the_other_run_does_or_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let (root, cancel) = (folder.path(), Cancel::new());
        let holder = Holder::this_process(RunId::from_entropy([7; 16]), Timestamp::from_millis(1_000));
        let first = std::sync::Mutex::new(Some(
            Guard::acquire(root, &holder, Duration::ZERO, &|_| (), &cancel).unwrap(),
        ));
        let release = |other: &Holder| {
            assert_eq!(*other, holder);
            first.lock().unwrap().take();
        };
        let second = Guard::acquire(root, &holder, Duration::MAX, &release, &cancel).unwrap();
        let stop = |_: &Holder| cancel.cancel();
        let stopped = Guard::acquire(root, &holder, Duration::MAX, &stop, &cancel);
        assert!(matches!(stopped, Err(Error::Cancelled)));
        drop(second);
    }
}
