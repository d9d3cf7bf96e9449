//! The server: web pages, MLflow's wire protocol, Tidemill's own API, health and metrics.
//!
//! [`router`] builds everything from an [`App`]; [`serve`] answers on a listener until it is told to stop, then drains;
//! [`Running`] is such a server inside of another program. Rules are not here but in `tidemill-registry`: handlers
//! translate. What every request goes through (identity, limits, records) is in `shell`, in the order in which it happens.

mod access;
mod api;
mod app;
mod background;
pub mod delivery;
mod health;
mod listen;
mod meter;
mod mlflow;
pub mod monitoring;
pub mod otlp;
mod outgoing;
mod running;
mod serve;
mod serving;
mod serving_outcomes;
mod shell;
mod step_log;
pub mod triggers;
mod ui;

pub use api::openapi;
pub use app::{About, AboutData, App, Before, Config, Secrets};
pub use background::Background;
pub use health::MLFLOW_VERSION;
pub use listen::bind;
pub use mlflow::web::mlflow_pages;
pub use running::Running;
pub use serve::{get, router, serve};
pub use serving::{Followed, Otlp, RegistrySource, Remote, Sending, Serving, endpoints};
pub use serving_outcomes::OutcomeApi;
pub use shell::{Origins, Token};
