//! Metric points of runs: named series of (step, time, value).

use tidemill_core::{RunId, Timestamp};

use crate::{Db, Result};

/// One measured value. NaN and infinities are kept as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The run.
    pub run: RunId,
    /// What was measured, for example `validation.log_loss`.
    pub key: String,
    /// The training step, or 0.
    pub step: i64,
    /// When.
    pub at: Timestamp,
    /// The value.
    pub value: f64,
}

/// All points of one key of a run, in summary.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The run.
    pub run: RunId,
    /// What was measured.
    pub key: String,
    /// Number of points.
    pub count: u64,
    /// The newest point: the greatest by step, then time, then value (NaN above all).
    pub last: Point,
}

impl Db {
    /// The series of a run, by key.
    pub async fn series(&self, run: RunId) -> Result<Vec<Series>> {
        let _ = run;
        Err(self.unfinished())
    }

    /// The points of one series in the order of step, then arrival: those after the first `skip`, at most `limit`.
    pub async fn points(&self, run: RunId, key: &str, skip: u64, limit: usize) -> Result<Vec<Point>> {
        let _ = (run, key, skip, limit);
        Err(self.unfinished())
    }
}
