//! Metrics on slices of the test rows.

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use tidemill_core::declare::Metric;

use crate::metric::Interval;
use crate::{Error, Result};

/// One slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The value of the column that its rows share, as text; `None` where it is missing.
    pub value: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// The metric on them; `None` where it is not defined, for example ROC AUC with one class.
    pub metric: Option<f64>,
    /// 95 % bootstrap interval.
    pub interval: Option<Interval>,
}

/// Cuts a table of predictions by the values of one of its columns and measures each slice of at least `min_rows`
/// rows, the largest first.
///
/// # Errors
/// [`Error::UnknownColumn`], [`Error::Unfit`] for a table that does not hold predictions, [`Error::MetricUnfit`].
pub fn by_slice(
    predictions: &RecordBatch,
    column: &str,
    metric: Metric,
    min_rows: usize,
) -> Result<Vec<Slice>> {
    let _ = (predictions, column, metric, min_rows);
    Err(Error::NoTask)
}
