//! The artifact proxy: files by path, whoever they belong to.

use std::future::{Ready, ready};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use axum::response::{IntoResponse, Response as Answer};
use axum::{Extension, Json};
use serde_json::json;
use tidemill_core::Actor;
use tidemill_registry::artifacts::{ArtifactPath, Place};
use tidemill_registry::{Error, Result};

use crate::App;
use crate::mlflow::artifacts::receive::{Refused, announced, receive};
use crate::mlflow::artifacts::{listing, send};
use crate::mlflow::failure::Failure;
use crate::mlflow::wire::{self, Fields};

/// The path of an artifact in a request's own path: what follows `marker`, as it was sent, so that every layer of
/// encoding is looked at.
pub(crate) fn path_after(uri: &Uri, marker: &str) -> Result<ArtifactPath> {
    let raw = uri.path().split_once(marker).map_or("", |(_, path)| path);
    ArtifactPath::parse(raw.strip_prefix('/').unwrap_or(raw))
}

const ROUTE: &str = "/mlflow-artifacts/artifacts";

pub(super) async fn upload(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Refused> {
    let path = path_after(&uri, ROUTE)?;
    let mut writer = app.registry().artifact_writer(path, announced(&headers))?;
    receive(&app, &headers, body, writer.intake()).await?;
    writer.finish().await?;
    Ok(Json(json!({})).into_response())
}

pub(super) async fn download(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, Failure> {
    let path = path_after(&uri, ROUTE)?;
    let content = app.registry().artifact(&Place::Proxy(path.clone()), &[], path.as_str()).await?;
    Ok(send::send(app.registry(), content, path.name(), &headers))
}

pub(super) async fn list(State(app): State<App>, uri: Uri) -> Result<Response<Body>, Failure> {
    let fields = Fields::from_query(uri.query().unwrap_or_default());
    let path = ArtifactPath::parse(fields.opt_str("path")?.unwrap_or_default())?;
    Ok(listing::whole(app.registry().clone(), Place::Proxy(path)).await?)
}

pub(super) async fn delete(
    State(app): State<App>,
    uri: Uri,
    actor: Option<Extension<Actor>>,
) -> wire::Answer {
    let actor = actor.map_or_else(|| Actor::user("anonymous"), |Extension(actor)| actor);
    app.registry().delete_artifacts(&path_after(&uri, ROUTE)?, &actor).await?;
    wire::nothing()
}

/// Everything of everybody at once is deleted by nobody on purpose.
pub(super) fn delete_root() -> Ready<Failure> {
    ready(Error::invalid("Invalid path").into())
}
