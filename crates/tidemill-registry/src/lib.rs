//! Experiments, runs, logged models and registered models: MLflow's semantics without MLflow's wire.
//!
//! A [`Registry`] holds the rules: which names and values are allowed, what cannot be changed any more, what a refusal
//! says. Rows are `tidemill-db`'s, bytes are `tidemill-store`'s; JSON and HTTP are the server's. Every function that
//! changes a state takes the [`tidemill_core::Actor`] who does it; what is logged inside of a run is an observation.

pub mod access;
pub mod artifacts;
pub mod datasets;
mod error;
mod experiments;
pub mod filter;
mod fresh;
pub mod import;
mod logged_models;
mod models;
mod page;
mod registry;
mod runs;
mod search;
pub mod traces;
mod validate;
mod webhooks;

pub use error::{Code, Error};
pub use fresh::uuid;
pub use logged_models::{LoggedModelRequest, LoggedModelSearch, SearchOrder};
pub use models::{CHAMPION, Found, Moment, VersionRequest, is_prompt, model_of_source};
pub use page::{page_offset, page_token};
pub use registry::Registry;
pub use runs::{MetricPage, NewRun, RUN_NAME, RunChange};
pub use search::{Answers, Question, View};
pub use validate::{batch_size, experiment_id};
pub use webhooks::{
    ACTIONS, ENTITIES, Reach, WebhookRequest, check_address, example_data, webhook_event, webhook_host,
};

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
