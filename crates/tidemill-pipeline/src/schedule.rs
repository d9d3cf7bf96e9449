//! Carrying out a plan: ready steps on threads, outputs checked, stored and recorded, the lock file written.

mod access;
mod environment;
mod explain;
mod log;
mod outputs;
mod outside;
mod recorder;
mod rescue;
mod run;
mod step;
mod unfinished;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use serde::Serialize;
use tidemill_core::{Cancel, Clock, Digest, RunId, RunState, StepState};

pub use self::access::tool_folders;
pub use self::log::log_file;
use self::run::{Done, Run};
use crate::{
    Builtin, Content, Contents, Dag, Error, Executor, Journal, Lock, LockedStep, Observer, Plan, RunFinished,
    Selection, StepFailure, Tracker, Workspace,
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
    /// Runs that people compare.
    pub tracker: &'a dyn Tracker,
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
    /// Cores that the steps share which run at the same time.
    pub cores: usize,
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
    /// Everything up to date, one step at a time on all cores, with the sandbox.
    pub fn new(run: RunId, environment: BTreeMap<String, OsString>) -> Self {
        Self {
            run,
            commit: None,
            selection: Selection::default(),
            force: false,
            jobs: 1,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
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
/// that planning, storing or recording failed; what was finished by then is recorded all the same. A run that finds
/// everything up to date leaves no trace in the journal.
pub fn execute(
    root: &Path,
    dag: &Dag,
    services: &Services<'_>,
    options: &RunOptions,
) -> Result<RunReport, Error> {
    let started = services.clock.now();
    let root = &fs::canonicalize(root)?;
    // Before anything is looked at: what is left of a killed run may still be writing.
    services.executor.recover()?;
    unfinished::settle(root);
    let old = Lock::read(root)?;
    let workspace = Workspace {
        root,
        contents: services.contents,
        journal: services.journal,
        builtin: services.builtin,
        env: &options.environment,
        lock: &old,
        cancel: &options.cancel,
    };
    let plan = crate::plan(dag, &workspace, &options.selection, options.force)?;
    services.observer.plan_ready(&plan);
    let idle = plan.is_up_to_date();
    let (done, result) = Run::new(root, dag, services, options, &workspace, &plan).go();
    let lock = updated(dag, &old, &done);
    let written = lock.write(root);
    let steps: Vec<StepReport> = done.into_values().map(|done| done.report).collect();
    let state = match &result {
        Ok(()) => overall(&steps),
        Err(_) => RunState::Failed,
    };
    let now = services.clock.now();
    let finished =
        RunFinished { run: options.run, at: now, state, lock: written.is_ok().then(|| lock.digest()) };
    let recorded = if idle {
        Ok(())
    } else {
        services.journal.flush().and_then(|()| services.journal.run_finished(&finished))
    };
    // The first thing that went wrong is what the user should hear of.
    result.and(written).and(recorded)?;
    let duration_ms = u64::try_from(now.since(started).as_millis()).unwrap_or(u64::MAX);
    Ok(RunReport { run: options.run, state, steps, plan, lock, duration_ms })
}

/// The lock after a run: new blocks of the steps that have outputs, the old ones of the others, without the steps that
/// are gone from the pipeline.
fn updated(dag: &Dag, old: &Lock, done: &BTreeMap<usize, Done>) -> Lock {
    let mut lock = Lock::default();
    for (at, node) in dag.nodes().iter().enumerate() {
        let name = &node.step.name;
        let new = done.get(&at).and_then(|done| {
            let good =
                matches!(done.report.state, StepState::Ran | StepState::Restored | StepState::Unchanged);
            let record = done.record.clone().filter(|_| good)?;
            Some(LockedStep { record, outs: done.report.outs.clone() })
        });
        if let Some(step) = new.or_else(|| old.steps.get(name).cloned()) {
            lock.steps.insert(name.clone(), step);
        }
    }
    lock
}

fn overall(steps: &[StepReport]) -> RunState {
    let any = |state| steps.iter().any(|step| step.state == state);
    if any(StepState::Failed) {
        RunState::Failed
    } else if any(StepState::Cancelled) || any(StepState::Skipped) {
        RunState::Cancelled
    } else {
        RunState::Succeeded
    }
}
