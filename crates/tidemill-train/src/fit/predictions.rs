//! The table of scored rows, and what is asked of it later: costs of each row and the comparison of two models.

use arrow::array::RecordBatch;
use tidemill_core::declare::Costs;

use crate::metric::Paired;
use crate::report::MetricValue;
use crate::{Error, Result};

/// A model on a table.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Each metric with its interval.
    pub metrics: Vec<MetricValue>,
    /// One line a row, in the table's order:
    /// * `row` (`UInt64`): the row's number in the table, from 0;
    /// * `target`: what was true, as text for classes and as `Float64` for regression;
    /// * `label` (`Utf8`, classification): the class that is answered;
    /// * `probability` (`Float64`, two classes): of the positive class;
    /// * `probability_0`, `probability_1`, … (`Float64`, more classes): of each class;
    /// * `prediction` (`Float64`, regression);
    /// * `weight` (`Float64`), where there are weights;
    /// * then every column of the table that does not hold floating-point numbers (so that rows can be joined to
    ///   outcomes and cut into slices), but for names that are taken by the above.
    ///
    /// The schema's metadata says under `tidemill.predictions` what [`super::by_slice`] needs: classes, threshold, costs.
    pub predictions: RecordBatch,
}

/// The cost of each decision in a table of predictions for two classes.
///
/// # Errors
/// [`Error::Unfit`] for a table that does not hold such predictions.
pub fn row_costs(predictions: &RecordBatch, costs: &Costs) -> Result<Vec<f64>> {
    let _ = (predictions, costs);
    Err(Error::NoTask)
}

/// Compares the costs of two models' decisions on the same rows, for a test like `cost: {max_regression: 0.0}`.
///
/// # Errors
/// [`Error::Unpaired`] where the two do not hold the same rows with the same targets.
pub fn compare_costs(new: &RecordBatch, old: &RecordBatch, costs: &Costs, seed: u64) -> Result<Paired> {
    let _ = (new, old, costs, seed);
    Err(Error::NoTask)
}
