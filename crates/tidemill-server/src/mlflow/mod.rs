//! MLflow's wire protocol. The only place that knows MLflow's JSON; its rules are in `tidemill-registry`.
//!
//! Each module has `routes_2`, `routes_3` and `routes_root`: paths below `/api/2.0`, below `/api/3.0` and of the root. The
//! first two are also served below `/ajax-api` for MLflow's web pages.

mod artifacts;
mod datasets;
mod entity;
mod experiments;
mod failure;
mod graphql;
mod list;
mod logged_models;
mod logging;
mod metrics;
mod models;
mod pages;
mod people;
mod runs;
mod search;
mod traces;
pub(crate) mod web;
mod webhooks;
mod wire;

use std::future::Future;

use axum::Router;

use crate::App;

pub(crate) use artifacts::{path_after, target};
pub(crate) use failure::Failure;
pub(crate) use models::pairs;
pub(crate) use wire::{Fields, Read, json_marks, parse_body, read_body, read_fields};

/// Whether a metric says what the machine was like, not the model: MLflow's system metrics.
pub(crate) fn is_system(key: &str) -> bool {
    key.starts_with("system/")
}

/// Delivers to webhooks what changes put into their outbox, until `stop` resolves; what is under way then is finished.
pub(crate) async fn deliver_webhooks(app: App, stop: impl Future<Output = ()> + Send) {
    webhooks::deliver(app, stop).await;
}

/// All routes of the protocol.
pub(crate) fn routes() -> Router<App> {
    let mut all = Router::new()
        .merge(artifacts::routes_root())
        .merge(datasets::routes_root())
        .merge(experiments::routes_root())
        .merge(graphql::routes_root())
        .merge(logged_models::routes_root())
        .merge(metrics::routes_root())
        .merge(models::routes_root())
        .merge(pages::routes_root())
        .merge(runs::routes_root())
        .merge(search::routes_root())
        .merge(traces::routes_root())
        .merge(webhooks::routes_root());
    for prefix in ["/api", "/ajax-api"] {
        all = all.nest(&format!("{prefix}/2.0"), routes_2()).nest(&format!("{prefix}/3.0"), routes_3());
    }
    all
}

/// Below `/api/2.0`.
fn routes_2() -> Router<App> {
    Router::new()
        .merge(artifacts::routes_2())
        .merge(datasets::routes_2())
        .merge(experiments::routes_2())
        .merge(graphql::routes_2())
        .merge(logged_models::routes_2())
        .merge(metrics::routes_2())
        .merge(models::routes_2())
        .merge(pages::routes_2())
        .merge(people::routes_2())
        .merge(runs::routes_2())
        .merge(search::routes_2())
        .merge(traces::routes_2())
        .merge(webhooks::routes_2())
}

/// Below `/api/3.0`.
fn routes_3() -> Router<App> {
    Router::new()
        .merge(artifacts::routes_3())
        .merge(datasets::routes_3())
        .merge(experiments::routes_3())
        .merge(graphql::routes_3())
        .merge(logged_models::routes_3())
        .merge(metrics::routes_3())
        .merge(models::routes_3())
        .merge(pages::routes_3())
        .merge(people::routes_3())
        .merge(runs::routes_3())
        .merge(search::routes_3())
        .merge(traces::routes_3())
        .merge(webhooks::routes_3())
}
