//! The whole training: split, cross-validation or search, fit, evaluation, outputs.
//!
//! The order of things: rows are held out for testing; a search and cross-validation see only the others; the
//! threshold is chosen on held-out training rows; the final model learns from all training rows (with early stopping
//! from all but the validation part); only then are the test rows scored. Nothing here reads files.

mod outputs;
mod predictions;
mod slice;

use arrow::array::RecordBatch;
use tidemill_core::Progress;
use tidemill_core::declare::{Costs, Metric, Training};

pub use predictions::{Evaluation, compare_costs, row_costs};
pub use slice::{Slice, by_slice};

use crate::metric::Decision;
use crate::model::TrainedModel;
use crate::report::{Curve, Report, Signature};
use crate::{Error, Result};

/// What a training gives.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The model.
    pub model: TrainedModel,
    /// Everything about it that people and gates ask for.
    pub report: Report,
    /// Metrics by boosting round; empty for other algorithms.
    pub curves: Vec<Curve>,
    /// The test rows with their answers: see [`predictions`](Evaluation::predictions).
    pub predictions: RecordBatch,
    /// The inputs of the first test rows and the trainer's answers, for parity checks: the model's input columns
    /// under their own names, then the columns `answer_0`, `answer_1`, … as 64-bit floats, one for regression and one
    /// a class for classification.
    pub golden: RecordBatch,
    /// What the model takes and gives.
    pub signature: Signature,
}

/// Trains as declared on a table given as record batches of one schema.
///
/// `golden_rows` test rows are kept for parity checks. Everything random follows from `training.seed`, and the result
/// does not depend on the number of threads. Progress counts fits, then rounds within them.
///
/// # Errors
/// Whatever [`Error`] lists for a declaration or a table that cannot be used; [`Error::Cancelled`].
pub fn fit(
    batches: &[RecordBatch],
    training: &Training,
    golden_rows: usize,
    progress: &dyn Progress,
) -> Result<Fitted> {
    let _ = (batches, training, golden_rows, progress);
    Err(Error::NoTask)
}

/// How a further table is evaluated.
#[derive(Clone, Debug, Default)]
pub struct EvaluateOptions<'a> {
    /// Column of row weights.
    pub weight: Option<&'a str>,
    /// Metrics; all that fit where not given.
    pub metrics: Option<&'a [Metric]>,
    /// The threshold, and the costs where there are some.
    pub decision: Decision,
    /// Seed of the intervals.
    pub seed: u64,
}

/// Scores and measures a model on a table that has its inputs and its target.
///
/// # Errors
/// [`Error::Unfit`] or [`Error::UnknownColumn`] where the table lacks a column, [`Error::MetricUnfit`], and what
/// reading the target can give.
pub fn evaluate_on(
    model: &TrainedModel,
    batches: &[RecordBatch],
    options: &EvaluateOptions<'_>,
) -> Result<Evaluation> {
    let _ = (model, batches, options);
    Err(Error::NoTask)
}

fn _unused(_: &Costs) {}
