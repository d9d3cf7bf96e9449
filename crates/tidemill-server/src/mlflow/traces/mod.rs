//! Traces, their tags and assessments.

mod assessments;
mod charts;
mod old;
mod shape;
mod span;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use axum::routing::{delete, get, patch, post};
use serde_json::{Value, json};
use tidemill_core::Timestamp;
use tidemill_db::traces::TraceInfo;
use tidemill_registry::artifacts::{ArtifactPath, Place};
use tidemill_registry::traces::{ARTIFACTS_TAG, FoundTraces, Trace, TracesToDelete};
use tidemill_registry::{Code, Error, Result};

use crate::App;
use crate::mlflow::artifacts;
use crate::mlflow::entity::Object;
use crate::mlflow::failure::Failure;
use crate::mlflow::wire::{Answer, Call, Fields, nothing};

/// The most traces that a page may have.
const MOST: i64 = 500;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    common()
        .route("/mlflow/traces", get(old::search).post(old::begin))
        .route("/mlflow/traces/{trace_id}", patch(old::end))
        .route("/mlflow/traces/{trace_id}/info", get(old::info))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    common()
        .route("/mlflow/traces", post(start))
        .route("/mlflow/traces/search", post(search))
        .route("/mlflow/traces/get", get(read))
        .route("/mlflow/traces/batchGet", get(read_many))
        .route("/mlflow/traces/batchGetInfos", post(infos))
        .route("/mlflow/traces/metrics", post(charts::chart))
        .route("/mlflow/traces/{trace_id}", get(info))
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}

/// What clients of every age find below both.
fn common() -> Router<App> {
    Router::new()
        .route("/mlflow/traces/delete-traces", post(delete_traces))
        .route("/mlflow/traces/link-to-run", post(link_to_run))
        .route("/mlflow/traces/link-prompts", post(link_prompts))
        .route("/mlflow/traces/{trace_id}/tags", patch(set_tag).delete(delete_tag))
        .route("/mlflow/traces/{trace_id}/assessments", post(assessments::create))
        .route(
            "/mlflow/traces/{trace_id}/assessments/{assessment_id}",
            get(assessments::read).patch(assessments::update).merge(delete(assessments::remove)),
        )
        .route("/mlflow/get-trace-artifact", get(artifact))
}

async fn start(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let trace = fields.message("trace")?.ok_or_else(|| fields.missing("trace"))?;
    let info = trace.message("trace_info")?.ok_or_else(|| trace.missing("trace_info"))?;
    let info = shape::read_info(&info, app.registry().clock().now())?;
    let info = app.registry().start_trace(info).await?;
    Ok(axum::Json(json!({"trace": {"trace_info": shape::info(&info)}})))
}

async fn info(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let info = app.registry().trace_info(fields.str("trace_id")?).await?;
    Ok(axum::Json(json!({"trace": {"trace_info": shape::info(&info)}})))
}

async fn infos(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let (ids, experiments) = ids_and_experiments(&fields)?;
    let infos = app.registry().trace_infos(&ids, experiments.as_deref()).await?;
    Ok(axum::Json(Object::default().list("trace_infos", infos.iter().map(shape::info)).done()))
}

async fn read(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let id = fields.str("trace_id")?;
    let partial = fields.opt_bool("allow_partial")?.unwrap_or(false);
    let trace = app.registry().trace(id, partial).await?;
    if !trace.is_stored_here() {
        return Err(not_here().into());
    }
    Ok(axum::Json(json!({"trace": with_spans(&trace)?})))
}

async fn read_many(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let (ids, experiments) = ids_and_experiments(&fields)?;
    let traces = app.registry().traces(&ids, experiments.as_deref()).await?;
    let traces = traces.iter().map(with_spans).collect::<Result<Vec<Value>>>()?;
    Ok(axum::Json(Object::default().list("traces", traces.into_iter()).done()))
}

fn ids_and_experiments(fields: &Fields) -> Result<(Vec<String>, Option<Vec<String>>)> {
    let ids = fields.strings("trace_ids")?;
    if ids.is_empty() {
        return Err(fields.missing("trace_ids"));
    }
    let experiments = fields.strings("experiment_ids")?;
    Ok((ids, fields.get("experiment_ids").is_some().then_some(experiments)))
}

fn with_spans(trace: &Trace) -> Result<Value> {
    let spans = trace.bodies()?;
    Ok(Object::default()
        .set("trace_info", shape::info(&trace.info))
        .list("spans", spans.iter().map(span::json))
        .done())
}

/// The spans of a trace whose client keeps them elsewhere. The client then reads them there itself.
fn not_here() -> Error {
    Error::new(Code::EndpointNotFound, "Trace data not stored in tracking store")
}

async fn search(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    if fields.get("locations").is_none() {
        return Err(fields.missing("locations").into());
    }
    let mut experiments = Vec::new();
    for place in fields.messages("locations")? {
        if let Some(experiment) = place.message("mlflow_experiment")? {
            experiments.push(experiment.str("experiment_id")?.to_owned());
        }
    }
    let FoundTraces { traces, next } = find(&app, &fields, &experiments).await?;
    let answer = Object::default().list("traces", traces.iter().map(shape::info));
    Ok(axum::Json(answer.opt("next_page_token", next).done()))
}

/// What both versions of the search have in common.
async fn find(app: &App, fields: &Fields, experiments: &[String]) -> Result<FoundTraces> {
    let limit = fields.opt_int("max_results")?.unwrap_or(100);
    if limit > MOST {
        let given = fields.get("max_results").cloned().unwrap_or_default();
        return Err(fields.invalid("max_results", &given));
    }
    let filter = fields.opt_str("filter")?.unwrap_or_default();
    let order = fields.strings("order_by")?;
    app.registry().search_traces(experiments, filter, &order, limit, fields.opt_str("page_token")?).await
}

async fn set_tag(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let value = fields.opt_str("value")?.unwrap_or_default();
    app.registry().set_trace_tag(fields.str("trace_id")?, fields.str("key")?, value).await?;
    nothing()
}

async fn delete_tag(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    app.registry().delete_trace_tag(fields.str("trace_id")?, fields.str("key")?).await?;
    nothing()
}

async fn delete_traces(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let which = TracesToDelete {
        experiment: fields.str("experiment_id")?.to_owned(),
        until: fields.opt_int("max_timestamp_millis")?.map(Timestamp::from_millis),
        limit: fields.opt_int("max_traces")?,
        ids: fields.strings("request_ids")?,
    };
    let deleted = app.registry().delete_traces(&which, &actor).await?;
    Ok(axum::Json(json!({"traces_deleted": deleted})))
}

async fn link_to_run(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    if fields.get("trace_ids").is_none() {
        return Err(fields.missing("trace_ids").into());
    }
    app.registry().link_traces(&fields.strings("trace_ids")?, fields.str("run_id")?).await?;
    nothing()
}

async fn link_prompts(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    if fields.get("prompt_versions").is_none() {
        return Err(fields.missing("prompt_versions").into());
    }
    let mut prompts = Vec::new();
    for prompt in fields.messages("prompt_versions")? {
        prompts.push((prompt.str("name")?.to_owned(), prompt.str("version")?.to_owned()));
    }
    app.registry().link_prompts(fields.str("trace_id")?, &prompts).await?;
    nothing()
}

/// The spans of a trace as a file, or one of its attachments, for MLflow's web pages.
async fn artifact(
    State(app): State<App>,
    headers: HeaderMap,
    Call { fields, .. }: Call,
) -> Result<Response<Body>, Failure> {
    let id = fields.opt_str("request_id")?.filter(|id| !id.is_empty()).ok_or_else(|| {
        Error::new(Code::BadRequest, "Request must include the \"request_id\" query parameter.")
    })?;
    if let Some(path) = fields.opt_str("path")?.filter(|path| !path.is_empty()) {
        let info = app.registry().trace_info(id).await?;
        return uploaded(&app, &info, &format!("attachments/{path}"), &headers).await;
    }
    // While a trace is still going on, what is there is shown.
    let trace = app.registry().trace(id, true).await?;
    if !trace.is_stored_here() {
        return uploaded(&app, &trace.info, "traces.json", &headers).await;
    }
    let body = format!("{{\"spans\": [{}]}}", trace.spans.join(", "));
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=traces.json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// What the client of a trace uploaded as an artifact of it.
async fn uploaded(
    app: &App,
    info: &TraceInfo,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response<Body>, Failure> {
    let path = ArtifactPath::parse(path)?;
    let root = info.tags.iter().find(|tag| tag.key == ARTIFACTS_TAG).map(|tag| tag.value.as_str());
    let root =
        root.ok_or_else(|| Error::missing(format!("Trace data not found for path={}", path.as_str())))?;
    let place = Place::of(root)?.join(&path)?;
    let content = app.registry().artifact(&place, &app.config().artifact_roots, path.as_str()).await;
    let content = content.map_err(|error| match error.code {
        Code::ResourceDoesNotExist => {
            Error::missing(format!("Trace data not found for path={}", path.as_str()))
        }
        _ => error,
    })?;
    Ok(artifacts::send(app.registry(), content, path.name(), headers))
}
