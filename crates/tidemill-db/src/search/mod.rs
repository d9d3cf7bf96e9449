//! Searches over runs, experiments, models and traces: conditions to SQL, in pages.
//!
//! The text of a filter is read in `tidemill-registry`; what arrives here is a list of conditions that must all hold.

mod condition;
mod experiments;
mod page;
pub(crate) mod parts;
mod runs;
mod sql;
mod text;

pub use condition::{Condition, Field, Op, Operand, OrderBy};
pub use experiments::{DatasetSummary, ExperimentSearch};
pub use page::{Cursor, Page};
pub(crate) use runs::Lacking;
pub use runs::{Effort, FoundRuns, KeyOf, RunSearch};
#[allow(unused_imports, reason = "for the searches of the other modules")]
pub(crate) use sql::{Column, Sql};
