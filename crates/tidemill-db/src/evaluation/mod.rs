//! Evaluation datasets and their records: what a model or an agent is asked, and what it should answer.
//!
//! Their content is JSON whose meaning is the caller's matter; records are told apart by a hash of their inputs.

mod read;
mod types;
mod write;

pub use read::EvaluationQuery;
pub use types::{EvaluationDataset, EvaluationRecord};
