//! Evaluation datasets.
