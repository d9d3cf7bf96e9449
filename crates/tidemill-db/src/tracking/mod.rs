//! Experiments and tracked runs with their parameters, metrics, tags, inputs and outputs.
//!
//! A tracked run is what MLflow calls a run. A pipeline run has a tracked run of the same identifier, whose children
//! are the trainings of its steps. What may be written and in which words a refusal is given is the registry's matter.

mod types;

pub use types::{Experiment, InputDataset, KeyValue, Metric, ModelOutput, Run, RunInfo, RunStatus, Stage};
