//! Group commit: many small concurrent writes become one transaction.

use tidemill_core::NewEvent;

use crate::{Db, Point, Result, StepResult, StepRun};

/// The way to write for many concurrent tasks. Each call returns once its rows are durably committed.
///
/// A call whose future is dropped may still be written.
#[derive(Clone)]
pub struct Ingest {
    db: Db,
}

impl Db {
    /// The group-commit writer.
    pub fn ingest(&self) -> Ingest {
        Ingest { db: self.clone() }
    }
}

impl Ingest {
    /// Stores metric points; all of them or, on error, none.
    pub async fn metrics(&self, points: Vec<Point>) -> Result<()> {
        let _ = points;
        Err(self.db.unfinished())
    }

    /// Appends events and gives their sequence numbers; the events of one call stand together, in order.
    pub async fn events(&self, events: Vec<NewEvent>) -> Result<Vec<u64>> {
        let _ = events;
        Err(self.db.unfinished())
    }

    /// Records that a step ended, as [`crate::Tx::finish_step`], and appends its event.
    pub async fn step_finished(
        &self,
        step: StepRun,
        result: Option<StepResult>,
        event: NewEvent,
    ) -> Result<u64> {
        let _ = (step, result, event);
        Err(self.db.unfinished())
    }
}
