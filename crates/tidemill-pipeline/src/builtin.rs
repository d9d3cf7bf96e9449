//! The seam to step bodies that run inside this process: `sql` and `train`. Their code lives in other crates.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use tidemill_core::declare::Step;
use tidemill_core::{Cancel, Digest, RunId};

/// What a built-in body gets.
pub struct StepContext<'a> {
    /// The project folder, absolute; the step's paths are relative to it.
    pub root: &'a Path,
    /// The run.
    pub run: RunId,
    /// The step's log; every line is also shown to the observer. Lock it for as short as one write.
    pub log: &'a std::sync::Mutex<dyn Write + Send + 'a>,
    /// Set when the step should stop; check it every few hundred milliseconds and return
    /// [`StepFailure::cancelled`].
    pub cancel: &'a Cancel,
    /// An empty folder of its own for temporary files, absolute; removed afterwards.
    pub scratch: &'a Path,
    /// Number of threads that it should use at most.
    pub threads: usize,
    /// Values of the step's environment variables: declared ones and those of the run.
    pub env: &'a BTreeMap<String, std::ffi::OsString>,
}

/// Why a step failed, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepFailure {
    /// What happened: lower case, no full stop.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Whether it was stopped rather than failed.
    pub cancelled: bool,
    /// The exit code, where a process ended with one.
    pub exit_code: Option<i32>,
    /// The last lines of the log.
    pub tail: Vec<String>,
}

impl StepFailure {
    /// A failure with a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, cancelled: false, exit_code: None, tail: Vec::new() }
    }

    /// The answer to a cancellation.
    pub fn cancelled() -> Self {
        Self { cancelled: true, ..Self::new("stopped") }
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The bodies of `sql` and `train` steps, run on the step's thread.
pub trait Builtin: Send + Sync {
    /// The version of the body that would run the step, for example `sql/1`. It is in the cache key: raise it when
    /// the same inputs give other bytes.
    fn version(&self, step: &Step) -> String;

    /// Runs the step's body to its end. Its outputs have been removed before, and are checked afterwards.
    fn run(&self, step: &Step, context: &StepContext<'_>) -> Result<(), StepFailure>;

    /// What stands behind an object-store URL among the step's inputs: a digest of sizes and entity tags that
    /// changes when the content does.
    fn identify_remote(&self, step: &Step, url: &str) -> Result<Digest, StepFailure> {
        Err(StepFailure::new(format!(
            "step `{}` reads `{url}`, and inputs at a URL are not supported here",
            step.name
        )))
    }
}
