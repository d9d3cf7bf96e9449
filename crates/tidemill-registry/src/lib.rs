//! Experiments, runs, logged models and registered models: MLflow's semantics without MLflow's wire.
//!
//! A [`Registry`] holds the rules: which names and values are allowed, what cannot be changed any more, what a refusal
//! says. Rows are `tidemill-db`'s, bytes are `tidemill-store`'s; JSON and HTTP are the server's. Every function that
//! changes something takes the [`tidemill_core::Actor`] who does it.

mod artifacts;
pub mod datasets;
mod error;
mod experiments;
pub mod filter;
mod logged_models;
mod models;
mod registry;
mod runs;
mod search;
pub mod traces;
mod validate;
mod webhooks;

pub use error::{Code, Error};
pub use registry::Registry;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
