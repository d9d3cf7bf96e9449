//! Artifacts of runs and the artifact proxy.
//!
//! Bodies are neither gathered in memory nor written to a temporary file: they go into the store while they arrive, and
//! come out of it while they are sent.

mod listing;
mod multipart;
mod proxy;
mod range;
mod receive;
mod run;
mod send;

pub(super) use multipart::is_reachable;
pub(crate) use multipart::target;
pub(crate) use proxy::path_after;
pub(super) use send::send;

use axum::Router;
use axum::routing::{get, post, put};

use crate::App;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
        .route("/mlflow-artifacts/artifacts", get(proxy::list).delete(proxy::delete_root))
        .route("/mlflow-artifacts/artifacts/", get(proxy::list).delete(proxy::delete_root))
        .route(
            "/mlflow-artifacts/artifacts/{*artifact_path}",
            get(proxy::download).put(proxy::upload).delete(proxy::delete),
        )
        .route("/mlflow-artifacts/presigned/{*artifact_path}", get(multipart::presigned))
        .route("/mlflow-artifacts/mpu/create/{*artifact_path}", post(multipart::create))
        .route("/mlflow-artifacts/mpu/create", post(multipart::create))
        .route("/mlflow-artifacts/mpu/part/{upload}/{number}", put(multipart::part))
        .route("/mlflow-artifacts/mpu/complete/{*artifact_path}", post(multipart::complete))
        .route("/mlflow-artifacts/mpu/complete", post(multipart::complete))
        .route("/mlflow-artifacts/mpu/abort/{*artifact_path}", post(multipart::abort))
        .route("/mlflow-artifacts/mpu/abort", post(multipart::abort))
        .route("/mlflow/artifacts/list", get(run::list))
        .route("/mlflow/upload-artifact", post(run::upload))
        .route("/mlflow/logged-models/{model_id}/artifacts/directories", get(run::list_model))
        .route("/mlflow/logged-models/{model_id}/artifacts/files", get(run::download_model))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
        .route("/get-artifact", get(run::download))
        .route("/model-versions/get-artifact", get(run::download_version))
}
