//! Files of runs, of logged models and of versions of registered models.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use axum::response::{IntoResponse, Response as Answer};
use serde_json::json;
use tidemill_registry::artifacts::{ArtifactPath, Place};
use tidemill_registry::{Code, Error};

use crate::App;
use crate::mlflow::artifacts::receive::{Refused, linger, receive_small};
use crate::mlflow::artifacts::{listing, send};
use crate::mlflow::entity::Object;
use crate::mlflow::failure::Failure;
use crate::mlflow::wire::{self, Call, Fields};

/// Items of one page of a list. MLflow's own clients know no pages here, so it is large.
const PAGE: usize = 20_000;
/// What the web pages may upload.
const UPLOAD: u64 = 10 << 20;

/// The run that is meant: web pages call it `run_uuid`.
fn run_id(fields: &Fields) -> tidemill_registry::Result<&str> {
    let given = |name| fields.opt_str(name).map(|id| id.filter(|id| !id.is_empty()));
    match given("run_id")? {
        Some(id) => Ok(id),
        None => given("run_uuid")?.ok_or_else(|| fields.missing("run_id")),
    }
}

pub(super) async fn list(State(app): State<App>, call: Call) -> wire::Answer {
    let root = app.registry().run_artifact_uri(run_id(&call.fields)?).await?;
    list_below(&app, root, call.fields.opt_str("path")?, call.fields.opt_str("page_token")?).await
}

pub(super) async fn list_model(State(app): State<App>, call: Call) -> wire::Answer {
    let fields = &call.fields;
    let root = app.registry().logged_model_artifact_uri(fields.str("model_id")?).await?;
    list_below(&app, root, fields.opt_str("artifact_directory_path")?, fields.opt_str("page_token")?).await
}

async fn list_below(app: &App, root: String, path: Option<&str>, token: Option<&str>) -> wire::Answer {
    let path = ArtifactPath::parse(path.unwrap_or_default())?;
    let place = Place::of(&root)?.join(&path)?;
    let token = token.filter(|token| !token.is_empty());
    let page = app.registry().list_artifacts(&place, &app.config().artifact_roots, token, PAGE).await?;
    let answer = Object::default()
        .set("root_uri", root)
        .list("files", page.files.iter().map(|file| listing::file_info(path.as_str(), file)))
        .opt("next_page_token", page.next);
    Ok(Json(answer.done()))
}

pub(super) async fn download(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, Failure> {
    let fields = Fields::from_query(uri.query().unwrap_or_default());
    let path = ArtifactPath::parse(fields.str("path")?)?;
    let root = app.registry().run_artifact_uri(run_id(&fields)?).await?;
    download_below(&app, &root, &path, &headers).await
}

pub(super) async fn download_model(
    State(app): State<App>,
    headers: HeaderMap,
    call: Call,
) -> Result<Response<Body>, Failure> {
    let path = call.fields.opt_str("artifact_file_path")?.filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| {
        Error::new(Code::BadRequest, "Request must include the \"artifact_file_path\" query parameter.")
    })?;
    let path = ArtifactPath::parse(path)?;
    let root = app.registry().logged_model_artifact_uri(call.fields.str("model_id")?).await?;
    download_below(&app, &root, &path, &headers).await
}

pub(super) async fn download_version(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, Failure> {
    let fields = Fields::from_query(uri.query().unwrap_or_default());
    let path = ArtifactPath::parse(fields.str("path")?)?;
    let root = app.registry().version_location(fields.str("name")?, fields.str("version")?).await?;
    download_below(&app, &root, &path, &headers).await
}

async fn download_below(
    app: &App,
    root: &str,
    path: &ArtifactPath,
    headers: &HeaderMap,
) -> Result<Response<Body>, Failure> {
    let place = app.registry().artifact_place(root).await?.join(path)?;
    let content = app.registry().artifact(&place, &app.config().artifact_roots, path.as_str()).await?;
    Ok(send::send(app.registry(), content, path.name(), headers))
}

/// What the web pages upload: notes and images.
pub(super) async fn upload(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Refused> {
    let fields = Fields::from_query(uri.query().unwrap_or_default());
    let given = |name: &str| {
        let value = fields.opt_str(name).map(|value| value.filter(|value| !value.is_empty()));
        value.and_then(|value| value.ok_or_else(|| Error::invalid(format!("Request must specify {name}."))))
    };
    let (run, path) = (given("run_uuid")?, ArtifactPath::parse(given("path")?)?);
    let bytes = match receive_small(&headers, body, UPLOAD).await {
        Err(Refused::TooLarge(_, rest)) => {
            linger(rest);
            return Err(Error::invalid("Artifact size is too large. Max size is 10MB.").into());
        }
        received => received?,
    };
    if bytes.is_empty() {
        return Err(Error::invalid("Request must specify data.").into());
    }
    let root = app.registry().run_artifact_uri(run).await?;
    match Place::of(&root)? {
        Place::Proxy(folder) => {
            app.registry().put_artifact(folder.join(&path)?, bytes).await?;
            Ok(Json(json!({})).into_response())
        }
        Place::Local(_) | Place::Elsewhere(_) => Err(Error::invalid(format!(
            "The artifacts of this run are in '{root}', where clients write themselves; this server cannot."
        ))
        .into()),
    }
}
