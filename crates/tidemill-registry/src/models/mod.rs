//! Registered models, versions, aliases, stages.

mod alias;
mod names;
mod registered;
mod search;
mod source;
mod version;

pub use alias::{CHAMPION, Moment};
pub use registered::is_prompt;
pub use search::Found;
pub use source::model_of_source;
pub use version::VersionRequest;

use crate::Error;

/// Marks a model or a version as a prompt of MLflow's prompt registry.
pub(crate) const PROMPT_TAG: &str = "mlflow.prompt.is_prompt";

fn no_model(name: &str) -> Error {
    Error::missing(format!("Registered Model with name={name} not found"))
}

fn no_version(name: &str, version: impl std::fmt::Display) -> Error {
    Error::missing(format!("Model Version (name={name}, version={version}) not found"))
}
