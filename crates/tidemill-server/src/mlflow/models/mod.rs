//! Registered models, their versions, aliases and stages.

mod entity;
mod registered;
mod version;

use axum::Router;
use axum::routing::{delete, get, patch, post};
use tidemill_db::tracking::KeyValue;
use tidemill_registry::Result;

use super::wire::Fields;
use crate::App;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    let models = Router::new()
        .route("/create", post(registered::create))
        .route("/get", get(registered::get))
        .route("/rename", post(registered::rename))
        .route("/update", patch(registered::update))
        .route("/delete", delete(registered::remove))
        .route("/search", get(registered::search))
        .route("/get-latest-versions", get(registered::latest).post(registered::latest))
        .route("/set-tag", post(registered::set_tag))
        .route("/delete-tag", delete(registered::delete_tag))
        .route("/alias", get(version::by_alias).post(registered::set_alias).delete(registered::delete_alias));
    let versions = Router::new()
        .route("/create", post(version::create))
        .route("/get", get(version::get))
        .route("/update", patch(version::update))
        .route("/delete", delete(version::remove))
        .route("/search", get(version::search))
        .route("/get-download-uri", get(version::download_uri))
        .route("/transition-stage", post(version::transition))
        .route("/set-tag", post(version::set_tag))
        .route("/delete-tag", delete(version::delete_tag));
    Router::new().nest("/mlflow/registered-models", models).nest("/mlflow/model-versions", versions)
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}

/// Text that must be there and not empty: MLflow's messages cannot tell the two apart.
pub(super) fn required<'a>(fields: &'a Fields, name: &str) -> Result<&'a str> {
    let text = fields.str(name)?;
    if text.is_empty() { Err(fields.missing(name)) } else { Ok(text) }
}

/// Text of any kind; unset is empty.
pub(super) fn text(fields: &Fields, name: &str) -> Result<String> {
    Ok(fields.opt_str(name)?.unwrap_or_default().to_owned())
}

/// A list of keys with values; what is unset is empty.
pub(crate) fn pairs(fields: &Fields, name: &str) -> Result<Vec<KeyValue>> {
    let messages = fields.messages(name)?;
    messages
        .iter()
        .map(|pair| Ok(KeyValue { key: text(pair, "key")?, value: text(pair, "value")? }))
        .collect()
}
