//! The built-in tabular trainer: boosted trees, linear models, baselines, their measures and their ONNX export.
//!
//! It works on record batches and returns values; it starts no tasks, reads no files and knows no paths.
//! Parallel parts run on the caller's current rayon pool, and every result is the same bit for bit whatever
//! the number of threads.
//!
//! The way through the crate: a [`frame::Table`] of record batches gives a [`frame::FrameSchema`] and a
//! [`frame::Frame`] of features with a [`frame::Target`]; [`fit()`](fit::fit) splits, searches, trains and evaluates; the
//! result is a [`model::TrainedModel`] that [`onnx::to_onnx`] writes out.

pub mod domain;
pub mod fit;
pub mod frame;
pub mod gbdt;
pub mod importance;
pub mod linear;
pub mod metric;
pub mod model;
pub mod onnx;
pub mod prior;
pub mod probe;
pub mod report;
pub mod search;
pub mod split;

mod error;
mod random;

pub use error::Error;
pub use fit::{Evaluation, Fitted, by_slice, compare_costs, evaluate_on, fit, with_answers};

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
