//! Routes for those who look after the server: `/health`, `/version`, `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::App;

/// The version of MLflow whose protocol we speak: the newest one whose client the tests run. Clients decide by it what
/// they may send.
pub const MLFLOW_VERSION: &str = "3.17.2";

/// How long a good answer of the database is believed.
const FRESH: Duration = Duration::from_secs(1);
/// How long the database may take.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/health", get(health))
        .route("/version", get(async || MLFLOW_VERSION))
        .route("/metrics", get(metrics))
}

/// When the database answered last.
pub(crate) struct Pulse {
    start: Instant,
    /// Milliseconds after `start`; 0 for never.
    last: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Pulse {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Whether the database answers. Probes come often; it is asked once a second at most while all is well.
    pub(crate) async fn check(&self, app: &App) -> Result<(), String> {
        let last = self.last.load(Ordering::Relaxed);
        if last != 0 && self.now().saturating_sub(last) < FRESH.as_millis() as u64 {
            return Ok(());
        }
        match tokio::time::timeout(PATIENCE, app.registry().db().ping()).await {
            Ok(Ok(())) => {
                self.last.store(self.now(), Ordering::Relaxed);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it did not answer within {} seconds", PATIENCE.as_secs())),
        }
    }
}

async fn health(State(app): State<App>) -> Response {
    match app.pulse().check(&app).await {
        Ok(()) => "OK".into_response(),
        Err(why) => {
            tracing::error!(error.cause = why, "the database does not answer");
            let retry = [(header::RETRY_AFTER, HeaderValue::from_static("5"))];
            (StatusCode::SERVICE_UNAVAILABLE, retry, "the database does not answer").into_response()
        }
    }
}

async fn metrics(State(app): State<App>) -> Response {
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    match app.meter().page(&app).await {
        Ok(page) => ([(header::CONTENT_TYPE, TEXT)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
