//! Pipeline runs and the steps that they did.

use tidemill_core::{Digest, RunId, RunState, StepState, Timestamp};

use crate::{Db, Owner, Result, StepResult, Tx};

/// A pipeline run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its identifier.
    pub id: RunId,
    /// The project's name.
    pub project: String,
    /// How it stands.
    pub state: RunState,
    /// Digest of the stored plan.
    pub plan: Digest,
    /// Commit of the code, where the project is in Git.
    pub commit: Option<String>,
    /// Digest of the lock file that it wrote.
    pub lock: Option<Digest>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The sequence number of the event that led to it.
    pub cause: Option<u64>,
    /// The process that runs it, or ran it.
    pub owner: Owner,
}

/// A run that is about to begin. Fields as in [`RunRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `RunRecord`")]
pub struct NewRun {
    pub id: RunId,
    pub project: String,
    pub plan: Digest,
    pub commit: Option<String>,
    pub started_at: Timestamp,
    pub cause: Option<u64>,
    pub owner: Owner,
}

/// One attempt at one step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRun {
    /// The run.
    pub run: RunId,
    /// The step's name.
    pub step: String,
    /// The step's cache key.
    pub key: Digest,
    /// How it ended.
    pub state: StepState,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Exit code, where a process ran.
    pub exit_code: Option<i32>,
    /// Digest of the record of its outputs.
    pub outputs: Option<Digest>,
    /// Digest of its stored log.
    pub log: Option<Digest>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why it ran or did not, in the caller's words or JSON.
    pub reason: Option<String>,
}

impl Db {
    /// The latest runs, newest first.
    pub async fn runs(&self, limit: usize) -> Result<Vec<RunRecord>> {
        let _ = limit;
        Err(self.unfinished())
    }

    /// The run whose id begins with `prefix` (hexadecimal digits, at least one).
    ///
    /// Fails with [`crate::Error::NotFound`] or [`crate::Error::Ambiguous`].
    pub async fn run(&self, prefix: &str) -> Result<RunRecord> {
        let _ = prefix;
        Err(self.unfinished())
    }

    /// The steps of a run, in the order in which they ended.
    pub async fn step_runs(&self, run: RunId) -> Result<Vec<StepRun>> {
        let _ = run;
        Err(self.unfinished())
    }

    /// Runs in state `running`, oldest first. One whose [`Owner::is_alive`] is `Some(false)` crashed.
    pub async fn running_runs(&self) -> Result<Vec<RunRecord>> {
        Err(self.unfinished())
    }
}

impl Tx {
    /// Records that a run began.
    pub async fn start_run(&mut self, run: &NewRun) -> Result<()> {
        let _ = run;
        Err(self.unfinished())
    }

    /// Records how an attempt at a step ended; with `result` its outputs are put into the step cache.
    pub async fn finish_step(&mut self, step: &StepRun, result: Option<&StepResult>) -> Result<()> {
        let _ = (step, result);
        Err(self.unfinished())
    }

    /// Records how a run ended. Fails if it is not running.
    pub async fn finish_run(
        &mut self,
        run: RunId,
        state: RunState,
        lock: Option<Digest>,
        ended_at: Timestamp,
    ) -> Result<()> {
        let _ = (run, state, lock, ended_at);
        Err(self.unfinished())
    }

    /// Records that a run's process ended without saying so. Fails if it is not running.
    pub async fn mark_interrupted(&mut self, run: RunId, found_at: Timestamp) -> Result<()> {
        self.finish_run(run, RunState::Interrupted, None, found_at).await
    }
}
