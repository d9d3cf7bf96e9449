//! The seam to where commands run. Scheduling, caching and checking outputs are not here.

#[cfg(target_os = "linux")]
mod editable;
mod leftover;
mod local;
mod sandbox;
#[cfg(target_os = "linux")]
mod surroundings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tidemill_core::Cancel;

use crate::Error;

pub(crate) use leftover::RUN_VARIABLE;
pub use local::LocalExecutor;

/// A command to run, complete: nothing else of Tidemill's environment reaches it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The step's name, for messages and for the names that other systems show.
    pub step: String,
    /// The step's cache key, to find a job again.
    pub key: String,
    /// Run by `sh -c`.
    pub command: String,
    /// Where it runs, absolute.
    pub folder: PathBuf,
    /// Its whole environment.
    pub env: BTreeMap<String, OsString>,
    /// When it is killed.
    pub timeout: Option<Duration>,
    /// How long it has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// What it may read and write; `None` for everything.
    pub access: Option<Access>,
}

/// What a sandboxed command may do: inside the project folder, and outside of it beside what every command may. That is to
/// read programs, libraries, settings and caches, and to write the system's folders for temporary files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The project folder, absolute.
    pub root: PathBuf,
    /// Files and folders that may be read and executed, absolute.
    pub read: Vec<PathBuf>,
    /// Files and folders that may also be written, absolute; they exist.
    pub write: Vec<PathBuf>,
    /// The user's folder, of which settings and caches may be read; `None` where the command has none.
    pub home: Option<PathBuf>,
    /// Folders with `bin` and `lib` whose programs the command may use, absolute. What Python packages that are installed to be
    /// edited name may be read with them.
    pub prefixes: Vec<PathBuf>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
    /// Killed after the timeout.
    TimedOut,
    /// Killed on request.
    Cancelled,
}

impl Exit {
    /// Whether it did what it should.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

/// Receives a command's output as it comes, in pieces of any size.
pub trait Output: Send {
    /// Takes a piece.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()>;
}

/// Whether commands can be kept from undeclared files here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxSupport {
    /// They can.
    Available,
    /// They cannot, for this reason.
    Unavailable(String),
}

/// Where commands run: on this machine, or by a scheduler of many.
pub trait Executor: Send + Sync {
    /// Its name, for example `local`.
    fn name(&self) -> &'static str;

    /// Whether [`Job::access`] is enforced; where it is not, jobs come without it.
    fn sandbox(&self) -> SandboxSupport;

    /// Runs a command to its end on the calling thread. When it returns, no process of the job is left, whichever
    /// way it ended. An error means that it could not be started.
    fn run(&self, job: &Job, output: &mut dyn Output, cancel: &Cancel) -> Result<Exit, Error>;

    /// Ends what an earlier Tidemill that was killed left running in this project; returns how many jobs that were.
    /// Called by the holder of the project's lock before anything runs.
    fn recover(&self) -> Result<usize, Error> {
        Ok(0)
    }
}
