//! Puts the parts together and answers on a listener.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use crate::{App, api, delivery, health, listen, mlflow, monitoring, otlp, serving, shell, triggers, ui};

/// How long loops may go on after the last request.
const LOOPS: Duration = Duration::from_secs(5);

/// All routes, with everything around them.
pub fn router(app: App) -> Router {
    let routes = Router::new().merge(health::routes()).merge(serving::routes(&app));
    let routes = if app.config().only_serving {
        routes.merge(api::serving_routes())
    } else {
        routes
            .merge(api::routes())
            .merge(mlflow::routes())
            .merge(otlp::routes())
            .merge(triggers::routes())
            .merge(ui::routes())
    };
    let routes = match &app.config().mlflow_pages {
        Some(_) if !app.config().only_serving => routes.merge(mlflow::web::routes()),
        _ => routes,
    };
    shell::around(&app, routes)
}

/// What a GET of an address gives: path and query, without a socket. For programs that show a page where no server runs.
pub async fn get(app: &App, address: &str) -> (StatusCode, Bytes) {
    /// The most of an answer, in bytes.
    const MOST: usize = 256 << 20;
    let request = Request::get(address).header(header::HOST, "127.0.0.1").body(Body::empty());
    let Ok(request) = request else {
        return (StatusCode::BAD_REQUEST, Bytes::new());
    };
    // The routes answer everything, so nothing fails.
    let response = router(app.clone()).oneshot(request).await.unwrap_or_else(|never| match never {});
    let status = response.status();
    match axum::body::to_bytes(response.into_body(), MOST).await {
        Ok(body) => (status, body),
        Err(_) => (StatusCode::INSUFFICIENT_STORAGE, Bytes::new()),
    }
}

/// Answers on `listener` until `stop` resolves, then finishes what has begun for up to `drain`; `false` if it had to cut
/// something off. The database is the caller's to close.
pub async fn serve(
    app: App,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
    drain: Duration,
) -> bool {
    // Clients list experiments before they name one. Without it the first that names the default one makes it.
    if !app.config().only_serving
        && let Err(error) = app.registry().prepare().await
    {
        tracing::warn!(error = %error, "the default experiment cannot be made yet");
    }
    start_loops(&app);
    let stop = {
        let app = app.clone();
        async move {
            stop.await;
            tracing::info!("stopping: no new connections are taken");
            app.background().stop();
        }
    };
    let router = router(app.clone());
    let whole = listen::answer(&app, router, listener, stop, drain).await;
    app.background().wait(LOOPS).await && whole
}

/// What goes on beside requests.
fn start_loops(app: &App) {
    if !app.config().only_serving {
        let webhooks = app.clone();
        app.background().spawn("webhooks", |stop| mlflow::deliver_webhooks(webhooks, stop.cancelled_owned()));
        let alerts = app.clone();
        app.background().spawn("alerts", |stop| monitoring::notify::deliver(alerts, stop));
    }
    if let Some(found) = &app.config().triggers {
        triggers::start(found, app.background());
    }
    if let Some(ledger) = app.config().ledger.clone() {
        let kept = app.clone();
        app.background().spawn("ledger", |stop| delivery::keep_ledger(kept, ledger, stop));
    }
    if let Some(serving) = app.serving() {
        let served = app.clone();
        app.background().spawn("serving", |stop| serving::run(served, stop));
        // What a gateway counts is asked for by the one whose rollouts it answers; two who ask would each stop what the other wants.
        if app.config().drives_rollouts && serving.is_of_registry() {
            let rollouts = app.clone();
            app.background().spawn("rollouts", |stop| delivery::run(rollouts, stop));
        }
    }
}
