//! What tests of a model ask: for whom it is bad, what it answers when rows change, whether the training can be trusted.
//!
//! Pure functions over tables of predictions (see [`crate::Evaluation`]) and the rows that they are about. They find and
//! count; limits and words are the caller's. Statistics come from `tidemill-stats`, so that a figure here is the same
//! as one of monitoring.

mod behaviour;
mod calibrated;
mod compare;
mod disturb;
mod groups;
mod leak;
mod smoke;
mod worst;

pub use behaviour::{Changes, direction, invariance};
pub use calibrated::{Calibrated, calibrated};
pub use compare::{Compared, compare, interval, value};
pub use disturb::{is_number, raised, replaced, shuffled, values_of, with_missing, with_noise};
pub use groups::{Groups, groups};
pub use leak::{Alone, alone, overlap};
pub use smoke::{Sign, smoke};
pub use tidemill_stats::slices::Search;
pub use worst::{BadSlice, Coded, Loss, coded, losses, row_weights, worst};

use arrow::array::{ArrayRef, RecordBatch};

use crate::{Error, Result};

/// A column of the rows, or an error that says which there are.
fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| Error::UnknownColumn {
        role: "rows",
        column: name.into(),
        known: rows.schema_ref().fields().iter().map(|field| field.name().clone()).collect(),
    })
}
