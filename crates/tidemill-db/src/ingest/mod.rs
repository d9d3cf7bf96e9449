//! Group commit: many small concurrent writes become one transaction.
//!
//! One task takes what waits in a bounded queue, reads the state that the requests touch, decides each of them in
//! order, writes one statement per table, commits, and only then answers every caller. Under load the next group forms
//! while the last one is synced to disk. A request that is refused has no part in the transaction, so it neither fails
//! nor repeats the others.
//!
//! * `work`: what a request is and what it is answered.
//! * `queue`: the bounded queue, its task, and how a group forms.
//! * `state`: what is known of the runs, read in one statement per table.
//! * `decide`: a request against the state: a refusal, or rows for the plan. Pure.
//! * `write`, `points`, `inputs`: the plan's rows as statements.
//! * `group`: a group as one transaction; `direct`: the thread that does it on SQLite.
//! * `few`: the short way of groups that hold a few points and nothing else, and `points::direct`, their statements.

mod decide;
mod direct;
mod few;
mod group;
mod inputs;
mod load;
mod points;
mod queue;
mod state;
mod work;
mod write;

use tidemill_core::{NewEvent, RunId};

pub(crate) use self::direct::Settings as IngestSettings;
pub use self::load::IngestLoad;
pub use self::queue::Ingest;
pub(crate) use self::queue::Queue;
use self::work::{Answer, Work};
use crate::tracking::{Batch, NewTrackedRun, RunInfo};
use crate::{Result, StepResult, StepRun};

/// Rows after which a group takes no further request.
const GROUP_ROWS: usize = 10_000;

impl Ingest {
    /// Records a tracked run and what is known of it from the start, and appends `event`.
    ///
    /// Fails with [`crate::Error::NotFound`] or [`crate::Error::Deleted`] where the experiment is not there or deleted, and with
    /// [`crate::Error::Exists`] where the run is there already.
    pub async fn create_run(&self, run: NewTrackedRun, batch: Batch, event: NewEvent) -> Result<RunInfo> {
        match self.send(Work::Create { run: Box::new(run), batch, event }).await? {
            Answer::Info(info) => Ok(*info),
            Answer::Done | Answer::Seqs(_) => Err(self.closed()),
        }
    }

    /// Writes to a run, and appends `event` if that changed its status; gives what the run is then.
    pub async fn update_run(&self, run: RunId, batch: Batch, event: NewEvent) -> Result<RunInfo> {
        match self.send(Work::Write { run, batch, event: Some(event) }).await? {
            Answer::Info(info) => Ok(*info),
            Answer::Done | Answer::Seqs(_) => Err(self.closed()),
        }
    }

    /// Writes what was observed in a run; all of it or, on error, nothing. More than 10,000 metrics are written in
    /// several parts, in order, each all or nothing. A change of status takes [`Ingest::update_run`].
    ///
    /// Fails with [`crate::Error::NotFound`], [`crate::Error::Deleted`] or [`crate::Error::ParamsChanged`].
    pub async fn log(&self, run: RunId, mut batch: Batch) -> Result<()> {
        batch.status = None;
        while batch.metrics.len() > GROUP_ROWS {
            let rest = batch.metrics.split_off(GROUP_ROWS);
            let part = std::mem::replace(&mut batch, Batch { metrics: rest, ..Batch::default() });
            self.send(Work::Write { run, batch: part, event: None }).await?;
        }
        self.send(Work::Write { run, batch, event: None }).await?;
        Ok(())
    }

    /// Appends events and gives their sequence numbers; the events of one call stand together, in order.
    pub async fn events(&self, events: Vec<NewEvent>) -> Result<Vec<u64>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        match self.send(Work::Events(events)).await? {
            Answer::Seqs(seqs) => Ok(seqs),
            Answer::Done | Answer::Info(_) => Err(self.closed()),
        }
    }

    /// Records that a step ended, as [`crate::Tx::finish_step`], and appends its event; gives the event's number.
    pub async fn step_finished(
        &self,
        step: StepRun,
        result: Option<StepResult>,
        event: NewEvent,
    ) -> Result<u64> {
        match self.send(Work::Step { step: Box::new(step), result, event }).await? {
            Answer::Seqs(seqs) => seqs.first().copied().ok_or_else(|| self.closed()),
            Answer::Done | Answer::Info(_) => Err(self.closed()),
        }
    }
}
