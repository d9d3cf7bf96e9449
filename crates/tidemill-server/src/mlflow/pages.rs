//! What MLflow's web pages and its client ask for besides: what the server offers, telemetry, gateway, assistant.

use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tidemill_registry::{Code, Error};

use crate::App;
use crate::mlflow::artifacts;
use crate::mlflow::wire::Answer;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new().route("/mlflow/gateway-proxy", get(gateway).post(no_gateway))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
        .route("/mlflow/server-info", get(server_info))
        .route("/mlflow/server-features", get(server_info))
        .route("/mlflow/ui-telemetry", get(telemetry).post(no_telemetry))
        .route("/mlflow/assistant/config", get(assistant))
        .route("/mlflow/assistant/providers", get(assistants))
        .route("/mlflow/scorers/list", get(none))
        .route("/mlflow/label-schemas/list", get(none))
        .route("/mlflow/review-queues/list", get(none))
        .route("/mlflow/gateway/endpoints/list", get(none))
        .route("/mlflow/gateway/secrets/list", get(none))
        .route("/mlflow/mcp-servers", get(no_mcp_servers).post(no_mcp_registry))
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}

/// What clients and pages may use. Large files come in parts where the addresses of parts are surely good. They go out in
/// one stream: in parts the client would ask for an address before each file, however small.
async fn server_info(headers: HeaderMap) -> Json<Value> {
    Json(json!({
        "store_type": "SqlStore",
        "workspaces_enabled": false,
        "trace_archival_enabled": false,
        "artifact_serving_enabled": true,
        "multipart_uploads_enabled": artifacts::is_reachable(&headers),
        "multipart_downloads_enabled": false,
        "presigned_upload_run_id_supported": false,
        "presigned_upload_model_id_supported": false,
        "features_enabled": {"gateway": false},
    }))
}

/// The pages report to nobody.
async fn telemetry() -> Json<Value> {
    Json(json!({"disable_ui_events": [], "disable_ui_telemetry": true, "ui_rollout_percentage": 0}))
}

/// Pages that were open before may still send something.
async fn no_telemetry() -> Json<Value> {
    Json(json!({"status": "disabled"}))
}

async fn assistant() -> Json<Value> {
    Json(json!({"providers": {}, "projects": {}, "remote_access_allowed": false}))
}

async fn assistants() -> Json<Value> {
    Json(json!({"providers": []}))
}

/// Lists of what this server does not keep: scorers that it would run by itself, questions and queues of reviewers,
/// endpoints of a gateway. Pages about traces ask for them, and show nothing instead of an error. Making one is refused.
async fn none() -> Json<Value> {
    Json(json!({}))
}

/// The one list that the pages read without looking whether it is there.
async fn no_mcp_servers() -> Json<Value> {
    Json(json!({"mcp_servers": [], "next_page_token": null}))
}

async fn no_mcp_registry() -> Answer {
    Err(Error::new(Code::EndpointNotFound, "This server has no registry of MCP servers.").into())
}

/// The pages look for endpoints of a gateway on each table of runs.
async fn gateway() -> Json<Value> {
    Json(json!({"endpoints": []}))
}

async fn no_gateway() -> Answer {
    Err(Error::new(Code::EndpointNotFound, "This server has no AI gateway.").into())
}
