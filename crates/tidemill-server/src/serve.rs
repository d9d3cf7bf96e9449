//! Puts the parts together and answers on a listener.

use std::future::Future;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::{App, mlflow};

/// All routes.
pub fn router(app: App) -> Router {
    Router::new().route("/health", get(|| async { "OK" })).merge(mlflow::routes()).with_state(app)
}

/// Answers on `listener` until `stop` resolves, then finishes what has begun.
pub async fn serve(
    app: App,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(app)).with_graceful_shutdown(stop).await
}
