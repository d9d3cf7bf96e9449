//! Experiments and tracked runs with their parameters, metrics, tags, inputs and outputs.
//!
//! A tracked run is what MLflow calls a run. A pipeline run has a tracked run of the same identifier, whose children
//! are the trainings of its steps. What may be written and in which words a refusal is given is the registry's matter.
//!
//! Here is what reads, and the rare changes that take a [`crate::Tx`]. What clients write all the time, the making of
//! a run and everything that is logged inside of it, goes through [`crate::Ingest`].

mod curve;
pub(crate) mod experiments;
mod history;
pub(crate) mod load;
pub(crate) mod point;
mod remove;
pub(crate) mod runs;
mod sample;
mod types;
mod whole;

pub use curve::{Curve, Smoothing};
pub use remove::{Removable, Removal};
pub use sample::extremes;
pub(crate) use types::artifacts_below;
pub use types::{
    Batch, Experiment, HistoryPoint, InputDataset, KeyValue, Metric, ModelOutput, NewTrackedRun, ParamChange,
    Run, RunInfo, RunStatus, Stage,
};
pub use whole::WholeHistory;
