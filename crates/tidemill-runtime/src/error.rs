//! Why a model cannot be loaded, and why a call failed.

use crate::TensorError;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not a model of the format.
    #[error("not a readable model: {0}")]
    Malformed(String),
    /// The model uses what the runtime does not have.
    #[error("the {runtime} runtime cannot run this model: {what}")]
    Unsupported {
        /// The runtime's name.
        runtime: &'static str,
        /// What is missing: operators with their domains and where they stand in the graph.
        what: String,
    },
    /// The runtime itself is not there, for example a shared library that is not installed.
    #[error("the {runtime} runtime is not available: {why}")]
    Unavailable {
        /// The runtime's name.
        runtime: &'static str,
        /// Why, and what would make it available.
        why: String,
    },
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// So many inputs were given.
    #[error("the model takes {expected} inputs and was given {given}")]
    InputCount {
        /// How many the model takes.
        expected: usize,
        /// How many there were.
        given: usize,
    },
    /// An input has another element type or shape than the model takes.
    #[error("input `{input}`: {why}")]
    Input {
        /// The input's name.
        input: String,
        /// What was expected and what was given.
        why: String,
    },
    /// A tensor that does not hold together.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The model failed on inputs that fit it.
    #[error("the model failed: {0}")]
    Model(String),
}
