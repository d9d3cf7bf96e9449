//! One server for one SQLite file: two would take turns at its write lock and slow each other down.

use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::app::reason;
use crate::failure::Failure;

/// What stands behind the address of a server that has a token or users.
const ASKS: &str = " (signed in)";

/// Held as long as the server lives; the kernel gives it back also when the process is killed.
pub(super) struct ServerLock {
    file: fs_err::File,
}

impl ServerLock {
    /// Takes the lock that belongs to a database file.
    pub(super) fn take(database: &Path) -> anyhow::Result<Self> {
        let path = beside(database);
        let open = fs_err::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|error| {
            Failure::new(format!("cannot open `{}`: {}", path.display(), reason(&error)))
                .hint("the folder of the database must be there and writable")
        })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(Errno::WOULDBLOCK) => {
                let holder = holder(file).map(|holder| format!(": {holder}")).unwrap_or_default();
                let message =
                    format!("a server already works on the database `{}`{holder}", database.display());
                Err(Failure::new(message)
                    .hint(
                        "use that one, or give this one a home of its own with --home DIR; \
                         several servers can share a PostgreSQL database",
                    )
                    .into())
            }
            Err(error) => {
                let error = std::io::Error::from(error);
                Err(Failure::new(format!("cannot lock `{}`: {}", path.display(), reason(&error))).into())
            }
        }
    }

    /// Writes down who holds it, for the message that another one gets, and whether it asks who somebody is.
    pub(super) fn note(&self, url: &str, asks: bool) -> std::io::Result<()> {
        let mut file = self.file.file();
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "process {} on {url}{}", std::process::id(), if asks { ASKS } else { "" })
    }
}

/// The address of the server that works on a database file, or last did, as it noted it itself.
pub(in crate::command) fn noted(database: &Path) -> Option<String> {
    let file = fs_err::File::open(beside(database)).ok()?;
    let said = holder(file)?;
    said.rsplit_once(" on ").map(|(_, url)| url.strip_suffix(ASKS).unwrap_or(url).to_owned())
}

/// The address of the server that works on a database file, if one does and asks who somebody is.
pub(in crate::command) fn asks(database: &Path) -> Option<String> {
    let said = holder(fs_err::File::open(beside(database)).ok()?)?;
    let (process, url) = said.strip_prefix("process ")?.split_once(" on ")?;
    let process = Pid::from_raw(process.parse().ok()?)?;
    // What a server that was killed has noted is still there.
    url.strip_suffix(ASKS).filter(|_| is_there(process)).map(str::to_owned)
}

/// Whether a process is there, also one of another account, which this one may send no signal.
pub(in crate::command) fn is_there(process: Pid) -> bool {
    test_kill_process(process) != Err(Errno::SRCH)
}

fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-server");
    path.into()
}

/// What the holder wrote, if it is a line of ours.
fn holder(file: fs_err::File) -> Option<String> {
    let mut text = String::new();
    file.take(200).read_to_string(&mut text).ok()?;
    (text.starts_with("process ") && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_other_accounts_are_there() {
        let of = |number: i32| is_there(Pid::from_raw(number).unwrap());
        // The first is the system's own; no process has so large a number as the last.
        assert_eq!([1, std::process::id() as i32, 2_147_483_646].map(of), [true, true, false]);
    }
}
