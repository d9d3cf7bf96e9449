//! How a command fails: what is said, what to do next, and the exit code.

use std::fmt;

use tidemill_core::Hint;

/// Exit codes, as documented in `docs/reference/exit-codes.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked could not be done, or its answer is no: a step failed, data broke an expectation.
    Failed = 1,
    /// The command line or the project file is wrong; nothing was started.
    Usage = 2,
    /// A person or a signal stopped it.
    Cancelled = 130,
}

/// An error of the binary's own, with its exit code and perhaps a hint.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// What was asked could not be done.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit: Exit::Failed }
    }

    /// The command line or the project file is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// Somebody stopped it.
    pub(crate) fn cancelled() -> Self {
        Self { exit: Exit::Cancelled, ..Self::new("stopped") }
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do next, if there is something.
    pub(crate) fn hint_maybe(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Hint for Failure {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// The command did its work and has said why the answer is no; nothing more is to be printed.
#[derive(Debug)]
pub(crate) struct Said(pub(crate) Exit);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}", self.0 as u8)
    }
}

impl std::error::Error for Said {}

/// The exit code of an error.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(said) = cause.downcast_ref::<Said>() {
            return said.0;
        }
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if cause.is::<tidemill_project::Report>() {
            return Exit::Usage;
        }
    }
    Exit::Failed
}

/// The causes behind an error, in words. One that the messages above it already contain says nothing new.
pub(crate) fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !said.contains(&text) {
            said.push_str(&text);
            causes.push(text);
        }
    }
    causes
}

/// The first hint along the chain of causes.
pub(crate) fn hint_of(error: &anyhow::Error) -> Option<String> {
    fn of<E: Hint + 'static>(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
        cause.downcast_ref::<E>().and_then(Hint::hint)
    }
    error.chain().find_map(|cause| {
        of::<Failure>(cause)
            .or_else(|| of::<tidemill_store::Error>(cause))
            .or_else(|| of::<tidemill_db::Error>(cause))
            .or_else(|| of::<tidemill_data::Error>(cause))
            .or_else(|| of::<tidemill_train::Error>(cause))
            .or_else(|| of::<tidemill_pipeline::Error>(cause))
            .or_else(|| of::<tidemill_pipeline::LockError>(cause))
    })
}
