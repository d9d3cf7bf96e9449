//! The seam to experiment tracking: a run that people compare for each step whose body runs. Nothing here decides
//! what is up to date, and cache keys know nothing of it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use tidemill_core::declare::Step;
use tidemill_core::{StepState, Timestamp};

use crate::{Content, StepFailure};

/// How the body of a step ended.
#[derive(Clone, Debug)]
pub struct StepEnd<'a> {
    /// [`StepState::Ran`], [`StepState::Failed`] or [`StepState::Cancelled`].
    pub state: StepState,
    /// When.
    pub at: Timestamp,
    /// What it read, by path.
    pub deps: &'a BTreeMap<String, Content>,
    /// What it wrote, by path; stored already. Empty unless it ran.
    pub outs: &'a BTreeMap<String, Content>,
    /// Why it failed.
    pub failure: Option<&'a str>,
    /// Path of its log relative to the project folder.
    pub log: Option<&'a str>,
}

/// Receives the steps whose bodies run, from the threads of the steps. What is restored or unchanged is not told.
pub trait Tracker: Send + Sync {
    /// A body is about to run. The variables are added to its environment, below those that the step declares.
    fn step_started(&self, step: &Step) -> Result<BTreeMap<String, OsString>, StepFailure>;

    /// The body has ended, after all attempts. A failure fails the step.
    fn step_ended(&self, step: &Step, end: &StepEnd<'_>) -> Result<(), StepFailure>;
}

/// Tracks nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untracked;

impl Tracker for Untracked {
    fn step_started(&self, _: &Step) -> Result<BTreeMap<String, OsString>, StepFailure> {
        Ok(BTreeMap::new())
    }

    fn step_ended(&self, _: &Step, _: &StepEnd<'_>) -> Result<(), StepFailure> {
        Ok(())
    }
}
