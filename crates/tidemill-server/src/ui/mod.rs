//! The web pages at `/`. Handlers read through the registry and the database and fill the views of `tidemill-ui`, which
//! alone knows HTML; what a page shows can be had as JSON or CSV at the same address.

mod ageing;
mod answer;
mod ask;
mod candidates;
mod card;
mod code;
mod compare;
mod cones;
mod curves;
mod data;
mod decide;
mod delivery;
mod difference;
mod diffs;
mod earned;
mod evaluation;
mod evidence;
mod expectations;
mod experiments;
mod files;
mod groups;
mod home;
mod inputs;
mod kept;
mod log;
mod models;
mod monitoring;
mod next;
mod owner;
mod pipeline;
mod profile;
mod projects;
mod quarantine;
mod release;
mod rivers;
mod rollout;
mod run;
mod runs;
mod series;
mod serving;
mod session;
mod sign_in;
mod slices;
mod stations;
mod steps;
mod total;
mod verdict;
mod version;
mod words;

use std::future::Future;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use tidemill_registry::{Code, Error};
use tidemill_ui::Page;

use crate::App;
use ask::Ask;

pub(crate) use cones::Cones;
pub(crate) use diffs::Diffs;
pub(crate) use kept::Documents;
pub(crate) use session::{FormKey, actor, claim};
pub(crate) use sign_in::to_sign_in;

/// What makes a page gives.
type Made = Result<Page, Error>;

/// All pages.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", page(home::home))
        .route("/projects/{name}", page(projects::page))
        .route("/experiments", page(experiments::list))
        .route("/experiments/{id}", page(runs::table))
        .route("/runs/{id}", page(run::run))
        .route("/runs/{id}/curves/{metric}", page(run::curve_page))
        .route("/compare", page(compare::compare))
        .route("/pipelines", page(pipeline::list))
        .route("/pipelines/{id}", page(steps::run))
        .route("/data", page(data::list))
        .route("/data/{name}", page(data::dataset))
        .route("/data/{name}/difference", page(difference::page))
        .route("/data/{name}/expectations", page(expectations::page))
        .route("/models", page(models::list))
        .route("/models/{name}", page(models::model))
        .route("/models/{name}/{version}", page(version::version))
        .route("/models/{name}/{version}/card", page(card::card))
        .route("/delivery", page(delivery::list))
        .route("/delivery/releases", page(delivery::releases))
        .route("/delivery/releases/{digest}", page(release::release))
        .route("/delivery/rollouts/{id}", page(rollout::rollout))
        .route("/serving", page(serving::list))
        .route("/serving/{name}", page(serving::endpoint))
        .route("/monitoring", page(monitoring::list))
        .route("/monitoring/{endpoint}/{watch}", page(series::series))
        .route("/log", page(log::list))
        .route("/log/{seq}", page(log::event))
        .route("/owner", page(owner::owner))
        .route("/login", page(sign_in::page))
        .route("/ui/login", post(sign_in::sign_in))
        .route("/ui/logout", post(sign_in::sign_out))
        .route("/ui/models/{name}/alias", post(models::set_alias))
        .route("/ui/rollouts/{id}/{action}", post(decide::rollout))
        .route("/ui/quarantines/lift", post(decide::end_quarantine))
        .route("/ui/freezes", post(decide::set_freeze))
        .route("/ui/freezes/{id}/lift", post(decide::end_freeze))
        .route("/ui/static/{file}", get(answer::asset))
}

/// A route that gives a page.
fn page<F, Fut>(make: F) -> MethodRouter<App>
where
    F: Fn(Ask) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Made> + Send,
{
    get(async move |ask: Ask| {
        let shown = ask.shown();
        let made = match ask.refused() {
            Some(error) => Err(error),
            None => make(ask).await,
        };
        answer::answer(&shown, made)
    })
}

/// Whether a request is one for a page: a browser that goes somewhere, not a client of an API.
pub(crate) fn is_page(method: &Method, path: &str, headers: &axum::http::HeaderMap) -> bool {
    // MLflow's pages ask their API with what the browser itself signs in with, so it is asked at the first of them.
    const APIS: [&str; 5] = ["/api/", "/ajax-api/", "/mlflow/", "/v2", "/v1/"];
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    *method == Method::GET
        && accepts.is_some_and(|accept| accept.contains("text/html"))
        && !APIS.iter().any(|api| path.starts_with(api))
}

/// Paths that are answered to everybody: how else would one sign in?
pub(crate) fn is_open(path: &str) -> bool {
    path == "/login" || path == "/ui/login" || path.starts_with("/ui/static/")
}

/// The page for an address that leads nowhere; nothing where no page was asked for.
pub(crate) fn no_route(request: &Request) -> Option<Response> {
    let path = request.uri().path();
    if !is_page(request.method(), path, request.headers()) {
        return None;
    }
    let why = Error::new(Code::EndpointNotFound, format!("there is no page `{path}`"));
    Some(answer::answer(&ask::Shown::of(request.uri(), request.headers()), Err(why)).into_response())
}
