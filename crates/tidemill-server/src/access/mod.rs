//! Whether a request of a user may be answered: the one place where that is decided.
//!
//! [`gate`] lies around all routes of a server that has users. What a route needs is a [`Rule`] of its method and path; [`judge`]
//! finds what the request is about and asks what its sender holds. A route without a rule is refused, so that a new one is closed
//! until somebody says what it needs. Searches are answered with what their sender may see, which goes to their handlers as [`Seen`].
//! Of what is denied as a whole, [`Hidden`] leaves the identifiers out of other answers.

mod caller;
mod judge;
mod rule;
mod withhold;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tidemill_registry::access::{Access, ModelScope, Person, Scope};
use tidemill_registry::{Code, Error};

use crate::App;
use crate::mlflow::{Fields, Read, parse_body, read_body, read_fields};
use judge::{Judge, Verdict};
use rule::Reads;
use withhold::Hidden;

pub(crate) use caller::{Caller, find};

/// What the sender of a search may see; all of what is not said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) experiments: Scope,
    pub(crate) models: ModelScope,
}

/// Puts the gate around routes, if the server has users.
pub(crate) fn around(app: &App, routes: Router<App>) -> Router<App> {
    match app.config().access {
        Some(_) => routes.layer(from_fn_with_state(app.clone(), gate)),
        None => routes,
    }
}

/// Lets a request through, or refuses it.
async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    let person = match request.extensions().get::<Caller>() {
        Some(Caller::Server) => None,
        Some(Caller::Person(person)) => Some(Arc::clone(person)),
        None => return denied(request.uri().path()),
    };
    let access = app.config().access.clone();
    match (person, access) {
        (None, _) => next.run(request).await,
        (Some(person), _) if person.admin => next.run(request).await,
        (Some(_), None) => denied(request.uri().path()),
        (Some(person), Some(access)) => match admit(&app, &access, &person, request).await {
            Ok(request) => answer(&app, &person, request, next).await,
            Err(refused) => refused,
        },
    }
}

/// What the routes answer, without what their answers name besides and the sender must not see.
async fn answer(app: &App, person: &Person, request: Request, next: Next) -> Response {
    let hidden = Hidden::of(&person.held).filter(|_| {
        let Some(template) = request.extensions().get::<MatchedPath>() else { return false };
        let rule = rule::of(request.method(), template.as_str());
        rule.is_some_and(|rule| Hidden::is_named_by(&rule, template.as_str()))
    });
    let Some(hidden) = hidden else { return next.run(request).await };
    let path = request.uri().path().to_owned();
    let answered = hidden.withhold(app, next.run(request).await).await;
    answered.unwrap_or_else(|error| crate::shell::refusal(&path, error))
}

/// The request, as far as its sender may see what it asks for.
async fn admit(app: &App, access: &Access, person: &Person, request: Request) -> Result<Request, Response> {
    let path = request.uri().path().to_owned();
    let fail = |error: Error| crate::shell::refusal(&path, error);
    // What there is no route for is told by the fallback.
    let Some(template) = request.extensions().get::<MatchedPath>().cloned() else { return Ok(request) };
    let Some(rule) = rule::of(request.method(), template.as_str()) else { return Err(denied(&path)) };
    let (mut parts, body) = request.into_parts();
    let (mut fields, body) = match rule.reads() {
        Reads::Nothing => (Fields::of_path(&mut parts, app).await, body),
        Reads::Query => (Fields::from_query(parts.uri.query().unwrap_or_default()), body),
        Reads::Fields => {
            let read = read_fields(parts.clone(), body, app).await;
            (read.map_err(|failure| failure.into_response())?, Body::empty())
        }
        Reads::Body => {
            let whole = read_body(Request::from_parts(parts.clone(), body), app).await.map_err(fail)?;
            (parse_body(&whole, app).map_err(fail)?, Body::from(whole))
        }
    };
    let verdict = Judge { app, access, person, parts: &parts }.judge(&rule, &mut fields).await;
    match verdict.map_err(fail)? {
        Verdict::No => return Err(denied(&path)),
        Verdict::Yes => {}
        Verdict::Sees(seen) => drop(parts.extensions.insert(seen)),
    }
    if matches!(rule.reads(), Reads::Fields) {
        parts.extensions.insert(Read(fields));
    }
    Ok(Request::from_parts(parts, body))
}

/// What MLflow's plugin says, and its client shows.
fn denied(path: &str) -> Response {
    const WHY: &str = "Permission denied";
    if crate::shell::is_ours(path) {
        return crate::shell::refusal(path, Error::new(Code::PermissionDenied, WHY));
    }
    (StatusCode::FORBIDDEN, WHY).into_response()
}

/// After a change of what was granted that no handler of users made.
pub(crate) fn forget(app: &App) {
    if let Some(access) = &app.config().access {
        access.forget();
    }
}
