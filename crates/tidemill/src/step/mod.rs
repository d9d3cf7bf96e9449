//! The bodies of built-in steps, behind the pipeline's `Builtin` seam.

mod progress;
pub(crate) mod sql;
pub(crate) mod train;

use std::path::{Path, PathBuf};

use tidemill_core::declare::{Action, Step};
use tidemill_core::{Cancel, Digest};
use tidemill_pipeline::{Builtin, StepContext, StepFailure};
use tokio::runtime::Handle;

use progress::StepProgress;

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

    #[cfg(feature = "sql")]
    fn identify_object(&self, url: &str) -> anyhow::Result<Digest> {
        Ok(self.runtime.block_on(tidemill_data::sql::identify(url))?)
    }

    #[cfg(not(feature = "sql"))]
    #[expect(clippy::unused_self, reason = "the engine's form needs it")]
    fn identify_object(&self, _: &str) -> anyhow::Result<Digest> {
        Err(crate::failure::Failure::new("this build reads no object stores")
            .hint("build it with the feature `sql`")
            .into())
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

    fn identify_remote(&self, _: &Step, url: &str) -> Result<Digest, StepFailure> {
        let found = match crate::table::identify_file(url, &Cancel::new()) {
            Ok(Some(digest)) => Ok(digest),
            Ok(None) => self.identify_object(url),
            Err(error) => Err(error),
        };
        found.map_err(|error| {
            let failure = StepFailure::new(error.to_string());
            match crate::failure::hint_of(&error) {
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
            Action::Train(training) => train::run(step, training, context, &self.runtime),
            Action::Run { .. } => Err(StepFailure::new("a `run` step has no built-in body")),
        }
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
