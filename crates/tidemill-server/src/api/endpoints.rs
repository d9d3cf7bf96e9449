//! Endpoints of serving: what is behind each, its changes, and how models stand.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_core::Actor;
use tidemill_db::endpoints::{Endpoint as Stored, EndpointRevision};
use tidemill_serve::ModelState;
use tidemill_serve::gateway::Gateway;
use tidemill_serve::gateway::allot::Stretch;
use tidemill_serve::gateway::endpoint::EndpointSpec;
use tidemill_serve::gateway::slot::ModelStatus;
use utoipa::{IntoParams, ToSchema};

use super::envelope::{One, OneAnswer, Page, PageAnswer, Path, Position, Query, Time, malformed, one};
use super::pages::{ByName, ByNumber};
use super::{Failures, Problem};
use crate::serving::counts::Report;
use crate::serving::slices::{SlicesWanted, wanted};
use crate::{App, serving};

/// A name that requests for predictions go to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Endpoint {
    /// Its name.
    name: String,
    /// Counts its changes, from 1.
    #[schema(minimum = 1)]
    revision: u64,
    /// When it was made.
    created_at: Time,
    /// When it was last changed.
    updated_at: Time,
    /// What it is declared to do.
    spec: EndpointSpec,
}

/// A declaration that an endpoint has or had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Revision {
    /// Its number.
    #[schema(minimum = 1)]
    revision: u64,
    /// When it was made.
    at: Time,
    /// Who made it, for example `user:ada`.
    by: String,
    /// The declaration; missing where the endpoint was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<EndpointSpec>,
}

/// A change that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// The endpoint.
    name: String,
    /// The number of the change.
    #[schema(minimum = 1)]
    revision: u64,
    /// The declaration as it is in effect.
    spec: EndpointSpec,
}

/// A version of a model in the memory of this server, or why it is not there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServedModel {
    /// The model.
    model: String,
    /// Its version.
    version: String,
    /// `ready`, `loading` (or to be loaded when it is asked for), `unloaded` or `failed`.
    #[schema(pattern = "^(ready|loading|unloaded|failed)$")]
    state: &'static str,
    /// Why it cannot be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Digest of the files that were loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    /// What runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'static str>,
    /// Bytes that it occupies.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    /// Requests that wait for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u64>,
    /// Milliseconds since it was last asked; missing if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u64>,
}

impl Endpoint {
    fn new(stored: Stored) -> Result<Self, Problem> {
        let spec = read(&stored.spec)?;
        let Stored { name, revision, created_at, updated_at, .. } = stored;
        Ok(Self { name, revision, created_at: Time(created_at), updated_at: Time(updated_at), spec })
    }
}

impl Revision {
    fn new(stored: EndpointRevision) -> Result<Self, Problem> {
        let spec = stored.spec.as_deref().map(read).transpose()?;
        let EndpointRevision { revision, at, actor, .. } = stored;
        Ok(Self { revision, at: Time(at), by: actor.to_string(), spec })
    }
}

impl From<ModelStatus> for ServedModel {
    fn from(status: ModelStatus) -> Self {
        let (state, reason) = match status.state {
            ModelState::Ready => ("ready", None),
            ModelState::Loading => ("loading", None),
            ModelState::Unloaded => ("unloaded", None),
            ModelState::Failed(why) => ("failed", Some(why)),
        };
        let loaded = status.loaded.as_deref();
        Self {
            model: status.model.to_string(),
            version: status.version.to_string(),
            state,
            reason,
            release: loaded.map(|loaded| loaded.release.to_string()),
            runtime: loaded.map(|loaded| loaded.lane.session().runtime()),
            memory_bytes: loaded.map(|loaded| loaded.memory),
            waiting: loaded.map(|loaded| loaded.lane.waiting() as u64),
            idle_ms: status.idle.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Endpoints, by name
#[utoipa::path(get, path = "/api/v1/endpoints", operation_id = "listEndpoints", tag = "serving", params(ByName),
    responses((status = 200, description = "A page of endpoints", body = Page<Endpoint>), Failures))]
pub(super) async fn list(State(app): State<App>, Query(wanted): Query<ByName>) -> PageAnswer<Endpoint> {
    let after = wanted.cursor.as_ref().map(|text| text.0.as_str());
    let found = app.registry().db().endpoints_after(after, wanted.limit.and_one()).await?;
    let found = found.into_iter().map(Endpoint::new).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::of(found, wanted.limit, |endpoint| endpoint.name.clone(), |endpoint| endpoint))
}

/// One endpoint
#[utoipa::path(get, path = "/api/v1/endpoints/{name}", operation_id = "getEndpoint", tag = "serving",
    params(("name" = String, Path, description = "The endpoint", min_length = 1, max_length = 128)),
    responses((status = 200, description = "The endpoint", body = One<Endpoint>), Failures))]
pub(super) async fn get(State(app): State<App>, Path(name): Path<String>) -> OneAnswer<Endpoint> {
    let found = app.registry().db().endpoint(known(&name)?).await?;
    one(Endpoint::new(found.ok_or_else(|| no_endpoint(&name))?)?)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Expected {
    /// Only this revision is replaced, 0 where the endpoint is not there yet; whichever there is where not given
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    revision: Option<Position>,
}

/// A declaration. `5.0` is a whole number in JSON Schema, but not to the parser of our types.
fn whole_numbers(body: &[u8]) -> serde_json::Result<EndpointSpec> {
    serde_json::from_slice(body).or_else(|error| {
        let mut value: serde_json::Value = serde_json::from_slice(body)?;
        make_whole(&mut value);
        // The first error names line and column.
        serde_json::from_value(value).map_err(|_| error)
    })
}

fn make_whole(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(members) => members.values_mut().for_each(make_whole),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
            // Beyond this not every whole number is a float.
            if let Some(whole) = whole.filter(|whole| whole.abs() < 9_007_199_254_740_992.0) {
                *value = Value::from(whole as i64);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Declares an endpoint: its arms, routing, checks and fallback
///
/// The models of its arms are loaded first. Then the change is recorded, and in effect at once.
#[utoipa::path(put, path = "/api/v1/endpoints/{name}", operation_id = "putEndpoint", tag = "serving",
    params(("name" = String, Path, description = "The endpoint", pattern = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"), Expected),
    request_body = EndpointSpec,
    responses((status = 200, description = "The change", body = One<Changed>), Failures,
        (status = 409, description = "The declaration contradicts itself, a model cannot answer, or somebody else changed the endpoint",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The declaration is too large")))]
pub(super) async fn put(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Query(wanted): Query<Expected>,
    body: Bytes,
) -> OneAnswer<Changed> {
    let spec: EndpointSpec = whole_numbers(&body).map_err(|error| malformed("declaration", &error))?;
    let expected = wanted.revision.map(|revision| revision.0);
    let change =
        serving::put(app.registry(), gateway(&app), &actor, &name, spec, expected).await.map_err(refused)?;
    one(Changed { name, revision: change.revision, spec: change.spec })
}

/// Deletes an endpoint
///
/// Its history stays.
#[utoipa::path(delete, path = "/api/v1/endpoints/{name}", operation_id = "deleteEndpoint", tag = "serving",
    params(("name" = String, Path, description = "The endpoint", min_length = 1, max_length = 128)),
    responses((status = 204, description = "It is deleted"), Failures,
        (status = 409, description = "Releases go to it", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<axum::http::StatusCode, Problem> {
    if serving::delete(app.registry(), gateway(&app), &actor, known(&name)?).await.map_err(refused)? {
        return Ok(axum::http::StatusCode::NO_CONTENT);
    }
    Err(no_endpoint(&name))
}

/// Every declaration of an endpoint, newest first
///
/// It can be asked for after the endpoint was deleted.
#[utoipa::path(get, path = "/api/v1/endpoints/{name}/history", operation_id = "listEndpointRevisions", tag = "serving",
    params(("name" = String, Path, description = "The endpoint", min_length = 1, max_length = 128), ByNumber),
    responses((status = 200, description = "A page of declarations", body = Page<Revision>), Failures))]
pub(super) async fn history(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(wanted): Query<ByNumber>,
) -> PageAnswer<Revision> {
    let before = wanted.cursor.map(|cursor| cursor.0);
    let (db, endpoint) = (app.registry().db(), known(&name)?);
    let found = db.endpoint_history(endpoint, before, wanted.limit.and_one()).await?;
    // An empty page may also be the one behind the last.
    let is_known =
        !found.is_empty() || (before.is_some() && !db.endpoint_history(endpoint, None, 1).await?.is_empty());
    if !is_known {
        return Err(no_endpoint(&name));
    }
    let found = found.into_iter().map(Revision::new).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::of(found, wanted.limit, |one| one.revision.to_string(), |one| one))
}

/// Models that this server was asked for, and how they stand
#[utoipa::path(get, path = "/api/v1/serving/models", operation_id = "listServedModels", tag = "serving",
    responses((status = 200, description = "The models", body = One<Vec<ServedModel>>), Failures))]
pub(super) async fn models(State(app): State<App>) -> OneAnswer<Vec<ServedModel>> {
    let statuses = app.serving().map(|serving| serving.gateway().models().statuses());
    one(statuses.unwrap_or_default().into_iter().map(ServedModel::from).collect())
}

/// A stored declaration, with its slots left out where they are many.
fn read(text: &str) -> Result<EndpointSpec, Problem> {
    const MANY: usize = 1_000;
    let mut spec: EndpointSpec = serde_json::from_str(text).map_err(|error| {
        let message = format!("a stored declaration cannot be read: {error}");
        Problem::from(tidemill_registry::Error::new(tidemill_registry::Code::InternalError, message))
    })?;
    if spec.allotment.len() > MANY {
        let shares = spec.shares().into_iter().map(|(arm, slots)| Stretch { arm: arm.to_owned(), slots });
        spec.allotment = shares.collect();
    }
    Ok(spec)
}

fn gateway(app: &App) -> Option<&Gateway> {
    app.serving().map(serving::Serving::gateway)
}

/// What became of a report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Taken {
    /// Arms that are there by the revision that was reported; 0 where the report was taken before.
    counted: usize,
    /// By the values of which inputs of which endpoints the next reports are to tell what was counted, too.
    slices: Vec<SlicesWanted>,
}

/// Takes what a gateway next to the traffic counted
///
/// `tidemill serve --server` tells it each second, so that rollouts are judged by its requests, too.
#[utoipa::path(post, path = "/api/v1/serving/counts", operation_id = "takeCounts", tag = "serving",
    request_body = Report,
    responses((status = 200, description = "What became of it", body = One<Taken>), Failures,
        (status = 409, description = "Latencies do not fit their bounds", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large")))]
pub(super) async fn counts(State(app): State<App>, body: Bytes) -> OneAnswer<Taken> {
    let report: Report = serde_json::from_slice(&body).map_err(|error| malformed("body", &error))?;
    let Some(serving) = app.serving() else {
        return Err(Problem::missing("this server answers no requests for predictions"));
    };
    let counted = serving.reported().take(serving.gateway(), &report)?;
    one(Taken { counted, slices: wanted(serving.gateway()) })
}

fn refused(refusal: serving::Refusal) -> Problem {
    Problem::from(refusal.error).hint(refusal.hint)
}

/// What no database takes is the name of nothing.
fn known(name: &str) -> Result<&str, Problem> {
    if name.contains('\0') { Err(no_endpoint(name)) } else { Ok(name) }
}

fn no_endpoint(name: &str) -> Problem {
    Problem::missing(format!("there is no endpoint `{name}`")).hint("`/api/v1/endpoints` lists them")
}
