//! The server: MLflow's wire protocol, Tidemill's own API, health and metrics.
//!
//! [`router`] builds everything from an [`App`]; [`serve`] answers on a listener until it is told to stop, then drains.
//! Rules are not here but in `tidemill-registry`: handlers translate.

mod app;
mod mlflow;
mod serve;

pub use app::{App, Config};
pub use mlflow::deliver_webhooks;
pub use serve::{router, serve};
