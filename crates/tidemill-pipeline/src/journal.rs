//! The seam to the metadata database: which action gave which result, and how runs went. SQL is not here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tidemill_core::{Digest, RunId, RunState, StepState, Timestamp};

use crate::{ActionRecord, Content, Error, LockedStep};

/// The result record of an action: what a step with this cache key wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachedStep {
    /// The step's name when it ran.
    pub step: String,
    /// What it wrote, by path.
    pub outs: BTreeMap<String, Content>,
    /// The run in which it ran.
    pub run: RunId,
    /// When it ended.
    pub finished: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
}

/// A run begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// Commit of the code, as the caller gave it.
    pub commit: Option<String>,
    /// Digest of the plan's canonical JSON.
    pub plan: Digest,
    /// The steps that take part, in order.
    pub steps: Vec<String>,
}

/// A step of a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepFinished {
    /// The run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// The step.
    pub step: String,
    /// How it ended.
    pub state: StepState,
    /// Its cache key; `None` for a step that was skipped before its inputs were known.
    pub key: Option<Digest>,
    /// What it was keyed on.
    pub record: Option<ActionRecord>,
    /// What the key was compared with when it missed: the record of the last run, so that `why` can answer later.
    pub compared_with: Option<ActionRecord>,
    /// Why it ran, in words.
    pub reasons: Vec<String>,
    /// What it wrote; empty unless it ran, was restored or is unchanged.
    pub outs: BTreeMap<String, Content>,
    /// The exit code, where a process ended with one.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub failure: Option<String>,
    /// Attempts made.
    pub attempts: u32,
    /// How long it took.
    pub duration_ms: u64,
    /// Path of its log relative to the project folder.
    pub log: Option<String>,
    /// The stored log; `None` where nothing was printed.
    pub stored_log: Option<Digest>,
}

impl StepFinished {
    /// The result record that later runs look up; only of steps that ran.
    pub fn cached(&self) -> Option<(Digest, CachedStep)> {
        let key = self.key.filter(|_| self.state == StepState::Ran)?;
        let cached = CachedStep {
            step: self.step.clone(),
            outs: self.outs.clone(),
            run: self.run,
            finished: self.at,
            duration_ms: self.duration_ms,
        };
        Some((key, cached))
    }
}

/// Something that a run found in the place of an output, that no run had written there, and kept before it replaced it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    /// The run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// The step whose output it is.
    pub step: String,
    /// The output's path.
    pub path: String,
    /// What was there; durable in the store already.
    pub content: Content,
}

/// A run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFinished {
    /// The run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// How.
    pub state: RunState,
    /// Digest of the lock file's text as it is now.
    pub lock: Option<Digest>,
}

/// Metadata of runs, implemented over the database by the binary.
///
/// Calls come from several threads. `step_finished` may return before the record is durable; [`Journal::flush`]
/// may not. Once a record is durable it is found by `lookup`, also when the run never finished: that is how a run
/// goes on after `kill -9`.
pub trait Journal: Send + Sync {
    /// The result records of actions, in order of the keys; the newest one where an action ran more than once.
    fn lookup(&self, keys: &[Digest]) -> Result<Vec<Option<CachedStep>>, Error>;
    /// What the last run of each step was keyed on and wrote, for reasons; used where the lock file does not know.
    fn last(&self, steps: &[&str]) -> Result<Vec<Option<LockedStep>>, Error> {
        Ok(vec![None; steps.len()])
    }
    /// A run begins.
    fn run_started(&self, started: &RunStarted) -> Result<(), Error>;
    /// A step ended. The contents that it names, and its log, are durable in the store already.
    fn step_finished(&self, finished: &StepFinished) -> Result<(), Error>;
    /// Something was kept that is about to be replaced; durable on return, so that no collection takes it.
    fn set_aside(&self, _aside: &SetAside) -> Result<(), Error> {
        Ok(())
    }
    /// Returns when everything said so far is durable.
    fn flush(&self) -> Result<(), Error>;
    /// A run ended; durable on return.
    fn run_finished(&self, finished: &RunFinished) -> Result<(), Error>;
}

/// A journal that forgets with the process, for tests and for `reproduce` in a clean folder.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    results: HashMap<Digest, CachedStep>,
    last: HashMap<String, LockedStep>,
    steps: Vec<StepFinished>,
    runs: Vec<(RunStarted, Option<RunFinished>)>,
}

impl MemoryJournal {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything said by `step_finished`, in order.
    pub fn steps(&self) -> Vec<StepFinished> {
        self.lock().steps.clone()
    }

    /// The runs with their ends.
    pub fn runs(&self) -> Vec<(RunStarted, Option<RunFinished>)> {
        self.lock().runs.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn lookup(&self, keys: &[Digest]) -> Result<Vec<Option<CachedStep>>, Error> {
        let memory = self.lock();
        Ok(keys.iter().map(|key| memory.results.get(key).cloned()).collect())
    }

    fn last(&self, steps: &[&str]) -> Result<Vec<Option<LockedStep>>, Error> {
        let memory = self.lock();
        Ok(steps.iter().map(|step| memory.last.get(*step).cloned()).collect())
    }

    fn run_started(&self, started: &RunStarted) -> Result<(), Error> {
        self.lock().runs.push((started.clone(), None));
        Ok(())
    }

    fn step_finished(&self, finished: &StepFinished) -> Result<(), Error> {
        let mut memory = self.lock();
        if let Some((key, cached)) = finished.cached() {
            memory.results.insert(key, cached);
        }
        if let (true, Some(record)) = (!finished.outs.is_empty(), &finished.record) {
            let last = LockedStep { record: record.clone(), outs: finished.outs.clone() };
            memory.last.insert(finished.step.clone(), last);
        }
        memory.steps.push(finished.clone());
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn run_finished(&self, finished: &RunFinished) -> Result<(), Error> {
        let mut memory = self.lock();
        if let Some(run) = memory.runs.iter_mut().find(|run| run.0.run == finished.run) {
            run.1 = Some(finished.clone());
        }
        Ok(())
    }
}
