//! Webhooks: managing them, and delivering to them.

mod client;
mod deliver;
mod manage;

use axum::Router;
use axum::routing::{get, post};

pub(crate) use deliver::deliver;

use crate::App;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
        .route("/mlflow/webhooks", get(manage::list).post(manage::create))
        .route(
            "/mlflow/webhooks/{webhook_id}",
            get(manage::read).patch(manage::update).delete(manage::remove),
        )
        .route("/mlflow/webhooks/{webhook_id}/test", post(manage::test))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}
