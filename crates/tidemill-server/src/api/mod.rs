//! Tidemill's own API below `/api/v1`, described by an OpenAPI document.
//!
//! Resources are plural nouns. Every answer has one envelope, `{"data": …}`; lists are pages with `next`, which is the
//! `cursor` of the next one. Times are RFC 3339 with `Z`. Errors are `application/problem+json` with a hint. Parameters
//! that are not known are refused, so that a misspelt one does not silently select everything.

mod datasets;
mod endpoints;
mod envelope;
mod events;
mod experiments;
mod freezes;
mod info;
mod jobs;
mod log;
mod models;
mod monitors;
mod pages;
mod pipeline;
mod problem;
mod quarantines;
mod rollouts;
mod runs;
mod step_logs;
mod triggers;

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::routing::{MethodRouter, get, post};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

pub(crate) use envelope::{Position, Query};
pub(crate) use problem::{Problem, status};

use crate::App;

/// A route and what answers there.
type Route = (&'static str, fn() -> MethodRouter<App>);

/// Every route of the API, in the order of the document.
const ROUTES: &[Route] = &[
    ("/api/v1/openapi.json", || get(document)),
    ("/api/v1/info", || get(info::get)),
    ("/api/v1/experiments", || get(experiments::list)),
    ("/api/v1/experiments/{id}", || get(experiments::get)),
    ("/api/v1/experiments/{id}/runs", || get(experiments::runs)),
    ("/api/v1/runs/{id}", || get(runs::get)),
    ("/api/v1/runs/{id}/metrics/{key}", || get(runs::metric)),
    ("/api/v1/models", || get(models::list)),
    ("/api/v1/models/{name}", || get(models::get)),
    ("/api/v1/models/{name}/versions", || get(models::versions)),
    ("/api/v1/models/{name}/versions/{version}", || get(models::version)),
    ("/api/v1/models/{name}/aliases/{alias}", || get(models::alias)),
    ("/api/v1/datasets", || get(datasets::list)),
    ("/api/v1/datasets/{name}", || get(datasets::get)),
    ("/api/v1/datasets/{name}/versions", || get(datasets::versions)),
    ("/api/v1/pipeline-runs", || get(pipeline::list)),
    ("/api/v1/pipeline-runs/{id}", || get(pipeline::get)),
    ("/api/v1/pipeline-runs/{id}/steps/{step}/log", || get(step_logs::get)),
    ("/api/v1/endpoints", || get(endpoints::list)),
    ("/api/v1/endpoints/{name}", || get(endpoints::get).put(endpoints::put).delete(endpoints::delete)),
    ("/api/v1/endpoints/{name}/history", || get(endpoints::history)),
    ("/api/v1/serving/models", || get(endpoints::models)),
    ("/api/v1/serving/counts", || post(endpoints::counts)),
    ("/api/v1/releases", || get(rollouts::releases)),
    ("/api/v1/rollouts", || get(rollouts::list)),
    ("/api/v1/rollouts/{id}", || get(rollouts::get)),
    ("/api/v1/rollouts/{id}/actions", || post(rollouts::action)),
    ("/api/v1/freezes", || get(freezes::list).post(freezes::set)),
    ("/api/v1/freezes/{id}/lift", || post(freezes::lift)),
    ("/api/v1/quarantines", || get(quarantines::list)),
    ("/api/v1/quarantines/lift", || post(quarantines::lift)),
    ("/api/v1/triggers", || get(triggers::list)),
    ("/api/v1/triggers/{name}", || get(triggers::get)),
    ("/api/v1/triggers/{name}/fire", || post(triggers::fire)),
    ("/api/v1/jobs", || get(jobs::list)),
    ("/api/v1/jobs/{id}", || get(jobs::get)),
    ("/api/v1/jobs/{id}/cancel", || post(jobs::cancel)),
    ("/api/v1/monitors", || get(monitors::monitors)),
    ("/api/v1/windows", || get(monitors::windows)),
    ("/api/v1/alerts", || get(monitors::alerts)),
    ("/api/v1/alerts/{id}", || get(monitors::alert)),
    ("/api/v1/events", || get(events::list)),
    ("/api/v1/events/stream", || get(events::follow)),
    ("/api/v1/log/head", || get(log::head)),
    ("/api/v1/log/proof/{seq}", || get(log::proof)),
];

pub(crate) fn routes() -> Router<App> {
    ROUTES.iter().fold(Router::new(), |router, (path, handler)| router.route(path, handler()))
}

/// The route of a server that only answers requests for predictions.
pub(crate) fn serving_routes() -> Router<App> {
    Router::new().route("/api/v1/serving/models", get(endpoints::models))
}

/// What every route may answer besides.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "the variants are read by the macro only")]
pub(crate) enum Failures {
    /// A parameter is not right
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The token is missing or wrong
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// The `Host` header names no host of this server
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no such thing
    #[response(status = 404, content_type = "application/problem+json")]
    Missing(Problem),
    /// The server failed
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(Problem),
    /// The server is busy; `Retry-After` says when to try again
    #[response(status = 503, content_type = "application/problem+json")]
    Busy(Problem),
}

/// This document
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "getDocument", tag = "server",
    responses((status = 200, description = "The OpenAPI document", body = Object), Failures))]
async fn document() -> ([(header::HeaderName, HeaderValue); 1], &'static str) {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi().to_json().unwrap_or_default());
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], TEXT.as_str())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidemill",
        description = "Continuous delivery for machine learning: experiments, models, data, runs and the log of events.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        document,
        info::get,
        experiments::list,
        experiments::get,
        experiments::runs,
        runs::get,
        runs::metric,
        models::list,
        models::get,
        models::versions,
        models::version,
        models::alias,
        datasets::list,
        datasets::get,
        datasets::versions,
        pipeline::list,
        pipeline::get,
        step_logs::get,
        endpoints::list,
        endpoints::get,
        endpoints::put,
        endpoints::delete,
        endpoints::history,
        endpoints::models,
        endpoints::counts,
        crate::serving_outcomes::take,
        crate::serving_outcomes::counts,
        rollouts::releases,
        rollouts::list,
        rollouts::get,
        rollouts::action,
        freezes::list,
        freezes::set,
        freezes::lift,
        quarantines::list,
        quarantines::lift,
        triggers::list,
        triggers::get,
        triggers::fire,
        jobs::list,
        jobs::get,
        jobs::cancel,
        monitors::monitors,
        monitors::windows,
        monitors::alerts,
        monitors::alert,
        events::list,
        events::follow,
        log::head,
        log::proof,
    ),
    components(schemas(Problem)),
    tags(
        (name = "server", description = "The server itself"),
        (name = "tracking", description = "Experiments, runs and their metrics"),
        (name = "models", description = "Registered models"),
        (name = "data", description = "Versioned datasets"),
        (name = "pipeline", description = "Runs of the pipeline"),
        (name = "serving", description = "Endpoints that answer requests for predictions, and the models behind them"),
        (name = "delivery", description = "Releases, and how they get their requests stage by stage"),
        (name = "triggers", description = "What starts work, and the jobs that came of it"),
        (name = "monitoring", description = "What is watched in production, and what fires"),
        (name = "log", description = "The append-only log of every change of state"),
    ),
    security((), ("token" = []), ("basic" = [])),
    modifiers(&Schemes)
)]
struct Document;

/// The two ways to send the token.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, scheme, text) in [
            ("token", HttpAuthScheme::Bearer, "The server's token"),
            ("basic", HttpAuthScheme::Basic, "Any user name, which is recorded, and the token as password"),
        ] {
            let scheme = HttpBuilder::new().scheme(scheme).description(Some(text)).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

/// The OpenAPI document of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
