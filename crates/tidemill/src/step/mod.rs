//! The bodies of built-in steps, behind the pipeline's `Builtin` seam.

pub(crate) mod sql;
pub(crate) mod train;

use std::path::{Path, PathBuf};

#[cfg(feature = "sql")]
use tidemill_core::Digest;
use tidemill_core::declare::{Action, Step};
use tidemill_core::{Cancel, Progress, Unit};
use tidemill_pipeline::{Builtin, StepContext, StepFailure};
use tokio::runtime::Handle;

/// Runs `sql` and `train` steps in this process.
pub(crate) struct Bodies {
    runtime: Handle,
    memory: usize,
}

impl Bodies {
    /// Bodies that may use `memory` bytes each before they spill.
    pub(crate) fn new(runtime: Handle, memory: usize) -> Self {
        Self { runtime, memory }
    }
}

impl Builtin for Bodies {
    fn version(&self, step: &Step) -> String {
        match &step.action {
            Action::Run { .. } => "run/1".to_owned(),
            Action::Sql { .. } => format!("sql/{}", sql::VERSION),
            Action::Train(_) => format!("train/{}", train::VERSION),
        }
    }

    #[cfg(feature = "sql")]
    fn identify_remote(&self, step: &Step, url: &str) -> Result<Digest, StepFailure> {
        use tidemill_core::Hint as _;

        if !matches!(step.action, Action::Sql { .. }) {
            return Err(StepFailure::new("only `sql` steps read from object stores")
                .with_hint("copy it with a `sql` step, and read that step's output"));
        }
        self.runtime.block_on(tidemill_data::sql::identify(url)).map_err(|error| {
            let failure = StepFailure::new(error.to_string());
            match error.hint() {
                Some(hint) => failure.with_hint(hint),
                None => failure,
            }
        })
    }

    fn run(&self, step: &Step, context: &StepContext<'_>) -> Result<(), StepFailure> {
        match &step.action {
            Action::Sql { source, text, .. } => {
                sql::run(step, source, text, context, &self.runtime, self.memory)
            }
            Action::Train(training) => train::run(step, training, context),
            Action::Run { .. } => Err(StepFailure::new("a `run` step has no built-in body")),
        }
    }
}

/// Stops with the step and tells the log how far the work is.
struct StepProgress<'a>(&'a Cancel);

impl Progress for StepProgress<'_> {
    fn begin(&self, _: &str, _: Option<u64>, _: Unit) {}
    fn advance(&self, _: u64) {}
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// The one output of a built-in step.
fn only_out(step: &Step, root: &Path, what: &str) -> Result<PathBuf, StepFailure> {
    match step.outs.as_slice() {
        [out] => Ok(root.join(&out.path)),
        outs => Err(StepFailure::new(format!(
            "a `{what}` step writes one output, and this one declares {}",
            outs.len()
        ))
        .with_hint(format!("keep one path under `outs:` of step `{}`", step.name))),
    }
}

/// Writes one line to the step's log.
fn say(context: &StepContext<'_>, text: &str) {
    if let Ok(mut log) = context.log.lock() {
        // A log that cannot be written must not fail the work it describes.
        let _ = writeln!(log, "{text}");
    }
}
