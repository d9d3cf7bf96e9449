//! What a request is, and what it is answered.

use tidemill_core::{NewEvent, RunId};

use crate::tracking::{Batch, NewTrackedRun, RunInfo};
use crate::{StepResult, StepRun};

/// What one caller wants to be written, all or none.
pub(super) enum Work {
    Create {
        run: Box<NewTrackedRun>,
        batch: Batch,
        event: NewEvent,
    },
    /// With an event the caller wants to know what the run is then.
    Write {
        run: RunId,
        batch: Batch,
        event: Option<NewEvent>,
    },
    Events(Vec<NewEvent>),
    Step {
        step: Box<StepRun>,
        result: Option<StepResult>,
        event: NewEvent,
    },
}

/// What a caller hears after the commit.
pub(super) enum Answer {
    Done,
    Info(Box<RunInfo>),
    Seqs(Vec<u64>),
}

impl Work {
    /// About how many rows it writes.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Create { batch, .. } => 2 + rows(batch),
            Self::Write { batch, .. } => 1 + rows(batch),
            Self::Events(events) => events.len(),
            Self::Step { .. } => 2,
        }
    }

    /// Whether it may append events, for which the log's head must be locked.
    pub(super) fn may_append(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Events(_) | Self::Step { .. } => true,
            Self::Write { batch, event, .. } => event.is_some() && batch.status.is_some(),
        }
    }
}

fn rows(batch: &Batch) -> usize {
    batch.params.len()
        + batch.metrics.len()
        + batch.tags.len()
        + batch.removed_tags.len()
        + batch.datasets.len()
        + batch.model_inputs.len()
        + batch.model_outputs.len()
}
