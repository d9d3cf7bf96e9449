//! What every request goes through before and after its handler, in the order in which it happens:
//!
//! 1. it gets a name ([`RequestId`]) and a record;
//! 2. the `Host` and `Origin` headers are looked at ([`Origins`]);
//! 3. who it comes from is found out ([`Token`], or a user's password);
//! 4. it takes one of the places for requests in flight, and memory for its body, or is told to come back;
//! 5. its handler runs; a panic there becomes an answer;
//! 6. headers that protect browsers are set, and the record is closed.
//!
//! One function instead of a stack of layers: a request pays for one boxed future, not for seven.

mod body;
mod origins;
mod record;
mod refuse;
mod request_id;
mod token;

#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use hyper::body::Incoming;
use tidemill_core::{Actor, ActorKind};
use tidemill_registry::Error;
use tidemill_serve::oip::{Direct, Wanted};
use tracing::Instrument as _;

use crate::access::{self, Caller};
use crate::{App, ui};
use body::{Counted, Patient};
use record::{About, Record, Route};

pub use origins::Origins;
pub(crate) use origins::is_same;
pub(crate) use refuse::{error as refusal, is_ours};
pub(crate) use request_id::RequestId;
pub use token::Token;
pub(crate) use token::{Credentials, NOBODY, bearer, user_name};

/// Puts the shell around all routes.
pub(crate) fn around(app: &App, router: Router<App>) -> Router {
    let router = router
        .fallback(async |request: Request| {
            ui::no_route(&request).unwrap_or_else(|| refuse::no_route(request.uri().path()))
        })
        .method_not_allowed_fallback(async |request: Request| {
            refuse::no_method(request.uri().path(), request.method())
        });
    access::around(app, router)
        .layer(DefaultBodyLimit::max(app.config().json_limit))
        .layer(from_fn_with_state(app.clone(), pass))
        .with_state(app.clone())
}

/// On requests to webhooks whose sender does not know the server's token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unknown;

/// One request on its way through.
async fn pass(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str).to_owned();
    let begun = Instant::now();
    let id = RequestId::of(request.headers());
    let span =
        tracing::info_span!("request", request.id = %id, http.method = %request.method(), http.route = route);
    let stall = app.config().stall_timeout;
    let run = |request: Request| next.run(request.map(|body| Patient::wrap(body, stall)));
    through(&app, Route::Matched(route), (id, begun), request, run).instrument(span).await
}

/// An inference on its way through, past the routes. It is too short for a span of its own: what goes wrong names the request.
pub(crate) async fn pass_direct(
    app: &App,
    direct: &Direct,
    wanted: Wanted,
    request: hyper::Request<Incoming>,
) -> Response {
    let begun = Instant::now();
    let id = RequestId::of(request.headers());
    let (stall, route) = (app.config().stall_timeout, Route::Past(wanted.route()));
    let run = move |request: hyper::Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        direct.answer(wanted, &head.headers, Patient::new(body, stall)).await
    };
    through(app, route, (id, begun), request, run).await
}

/// What holds for every request, whichever way it goes.
async fn through<B, F>(
    app: &App,
    route: Route,
    (id, begun): (RequestId, Instant),
    request: hyper::Request<B>,
    run: impl FnOnce(hyper::Request<B>) -> F,
) -> Response
where
    B: HttpBody,
    F: Future<Output = Response>,
{
    let method = request.method().clone();
    let page = app.config().origins.allowed(request.headers());
    // What answers past the routes does not ask who it is for.
    let is_told = matches!(route, Route::Matched(_));
    let mut response = answer(app, &id, request, is_told, run).await;

    finish_headers(response.headers_mut(), &id, page);
    let about = About { id, method, route, status: response.status(), begun };
    match response.body().size_hint().exact() {
        Some(bytes) => {
            about.close(app, bytes);
            response
        }
        None => response.map(|body| Counted::wrap(body, Record { app: app.clone(), about })),
    }
}

async fn answer<B, F>(
    app: &App,
    id: &RequestId,
    mut request: hyper::Request<B>,
    is_told: bool,
    run: impl FnOnce(hyper::Request<B>) -> F,
) -> Response
where
    B: HttpBody,
    F: Future<Output = Response>,
{
    let path = request.uri().path();
    let config = app.config();
    if let Err(why) = config.origins.check(request.method(), path, request.headers()) {
        tracing::warn!("refused a request: {why}");
        return refuse::forbidden(path, why);
    }
    if is_preflight(request.method(), request.headers()) {
        return StatusCode::NO_CONTENT.into_response();
    }
    // Probes must work without a secret, and also when everything is busy.
    let probe = matches!(path, "/health" | "/version");
    let open = probe || ui::is_open(path);
    let known = match identify(app, &mut request, open).await {
        Ok(known) => known,
        Err(error) => return refuse::error(request.uri().path(), error),
    };
    let path = request.uri().path();
    let actor = match known {
        Some(actor) => actor,
        // Those who call webhooks sign with a secret of the trigger instead, which its handler checks.
        None if path.starts_with("/hooks/") => {
            request.extensions_mut().insert(Unknown);
            Actor { kind: ActorKind::Service, name: "webhook".to_owned() }
        }
        None if ui::is_page(request.method(), path, request.headers()) => {
            return ui::to_sign_in(request.uri());
        }
        None => return refuse::unauthenticated(path, config.access.is_some()),
    };
    let path = request.uri().path();
    // PostgreSQL cannot keep this character, so no statement may be asked for it. MLflow's routes look for it themselves.
    if refuse::is_ours(path) && path.contains("%00") {
        return refuse::error(
            path,
            Error::invalid("nothing is called by a name with the character NUL in it"),
        );
    }
    let place = app.meter().enter();
    if place.taken() > config.in_flight && !probe && path != "/metrics" {
        return refuse::busy(path);
    }
    let Some(_room) = app.room(kept_bytes(&request, config.json_limit)) else {
        return refuse::crowded(path);
    };

    if let Some(before) = &config.before {
        before.0().await;
    }
    // Kept for the answer to a panic; a copy only of a short text.
    let path = path.to_owned();
    if is_told {
        request.extensions_mut().insert(actor);
        request.extensions_mut().insert(id.clone());
    }
    match AssertUnwindSafe(run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("nothing");
            tracing::error!(panic = said, request.id = %id, "a handler panicked");
            refuse::broken(&path)
        }
    }
}

/// Who sends a request, or nobody whom we know. What a server with users has to know of them goes with the request.
async fn identify<B>(app: &App, request: &mut hyper::Request<B>, open: bool) -> Result<Option<Actor>, Error> {
    let (config, path) = (app.config(), request.uri().path());
    let to_hook = path.starts_with("/hooks/");
    let Some(access) = config.access.as_ref().filter(|_| !open) else {
        let token = if open { None } else { config.token.as_ref() };
        let known = token::actor(token, &config.user, request.headers()).or_else(|| {
            let now = app.registry().clock().now();
            ui::actor(token?, request.method(), path, request.headers(), now)
        });
        if config.access.is_some() {
            request.extensions_mut().insert(Caller::Server);
        }
        return Ok(known);
    };
    // In a box, or the way of all requests would be as large.
    let find = access::find(app, access, (request.method(), path), request.headers());
    let caller = Box::pin(find).await?;
    let known = caller.as_ref().map(Caller::actor);
    // Whoever may not do everything signs what they send to a webhook, as somebody unknown does.
    if to_hook && caller.as_ref().is_some_and(|caller| !caller.is_admin()) {
        request.extensions_mut().insert(Unknown);
    }
    match caller {
        Some(caller) => drop(request.extensions_mut().insert(caller)),
        // Its handler asks for a signature.
        None if to_hook => drop(request.extensions_mut().insert(Caller::Server)),
        None => {}
    }
    Ok(known)
}

/// How much of a request's body will be in memory at most. Artifacts go to the disk as they come.
fn kept_bytes<B: HttpBody>(request: &hyper::Request<B>, limit: usize) -> usize {
    if request.method() == Method::PUT && request.uri().path().contains("/mlflow-artifacts/") {
        return 0;
    }
    let length = request.body().size_hint().upper().and_then(|length| usize::try_from(length).ok());
    length.map_or(limit, |length| length.min(limit))
}

/// A browser asks whether it may ask (CORS); the answer is in the headers that every answer gets.
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn finish_headers(headers: &mut HeaderMap, id: &RequestId, page: Option<HeaderValue>) {
    const FRAME: HeaderName = HeaderName::from_static("x-frame-options");
    headers.insert(request_id::HEADER, id.header());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Pages are stricter.
    headers.entry(FRAME).or_insert(HeaderValue::from_static("SAMEORIGIN"));
    if let Some(page) = page {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, x-request-id"),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, "x-request-id, retry-after"),
            (header::VARY, "origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
    }
}
