//! Carrying out a plan: ready steps on threads, outputs checked, stored and recorded, the lock file written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tidemill_core::{Cancel, Clock, Digest, RunId, RunState, StepState};

use crate::{
    Builtin, Content, Contents, Dag, Error, Executor, Journal, Lock, Observer, Plan, Selection, StepFailure,
};

/// The seams of a run, chosen by the binary.
pub struct Services<'a> {
    /// Bytes.
    pub contents: &'a dyn Contents,
    /// Metadata.
    pub journal: &'a dyn Journal,
    /// Bodies of `sql` and `train` steps.
    pub builtin: &'a dyn Builtin,
    /// Where commands run.
    pub executor: &'a dyn Executor,
    /// What is shown.
    pub observer: &'a dyn Observer,
    /// Time.
    pub clock: &'a dyn Clock,
}

/// What to run and how.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The run's identifier, drawn at random by the caller.
    pub run: RunId,
    /// Commit of the code, where the project is in Git.
    pub commit: Option<String>,
    /// Which steps.
    pub selection: Selection,
    /// Run them whatever is known.
    pub force: bool,
    /// Most steps at a time, at least 1.
    pub jobs: usize,
    /// After a failure, go on with the steps that do not need the failed one.
    pub keep_going: bool,
    /// After a failure, stop the steps that are running.
    pub fail_fast: bool,
    /// Whether the sandbox is used for the steps that do not opt out.
    pub sandbox: bool,
    /// How long a command has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Tidemill's own environment, from which PATH, HOME, LANG, `LC_*` and inherited variables are taken.
    pub environment: BTreeMap<String, OsString>,
    /// Further variables for every step, for example `MLFLOW_TRACKING_URI`; not in cache keys.
    pub extra_env: BTreeMap<String, OsString>,
    /// The project file's name, for messages.
    pub project_file: String,
    /// Stops the run.
    pub cancel: Cancel,
}

impl RunOptions {
    /// Everything up to date, one step at a time, with the sandbox.
    pub fn new(run: RunId, environment: BTreeMap<String, OsString>) -> Self {
        Self {
            run,
            commit: None,
            selection: Selection::default(),
            force: false,
            jobs: 1,
            keep_going: false,
            fail_fast: false,
            sandbox: true,
            grace: Duration::from_secs(5),
            environment,
            extra_env: BTreeMap::new(),
            project_file: "tidemill.yaml".to_owned(),
            cancel: Cancel::new(),
        }
    }
}

/// How one step of a run ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// The step.
    pub step: String,
    /// How; [`StepState::Skipped`] also where it was not reached.
    pub state: StepState,
    /// Why it ran, in words; for a skipped step why it did not.
    pub reasons: Vec<String>,
    /// Its cache key, where that was known.
    pub key: Option<Digest>,
    /// What it wrote.
    pub outs: BTreeMap<String, Content>,
    /// Why it failed.
    #[serde(skip)]
    pub failure: Option<StepFailure>,
    /// Attempts made.
    pub attempts: u32,
    /// How long it took.
    pub duration_ms: u64,
    /// Path of its log relative to the project folder, where it has one.
    pub log: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// How.
    pub state: RunState,
    /// The steps in running order.
    pub steps: Vec<StepReport>,
    /// The plan that it began with.
    pub plan: Plan,
    /// The lock as written.
    pub lock: Lock,
    /// How long it took.
    pub duration_ms: u64,
}

/// Plans and runs what is out of date in the project at `root`, and writes `tidemill.lock`.
///
/// The caller holds the project's [`crate::Guard`]. A failed step is not an `Err`: it is in the report. `Err` means
/// that planning, storing or recording failed; what was finished by then is recorded all the same.
pub fn execute(
    root: &Path,
    dag: &Dag,
    services: &Services<'_>,
    options: &RunOptions,
) -> Result<RunReport, Error> {
    let _ = (root, dag, services, options);
    Err(Error::Internal("not written yet".to_owned()))
}
