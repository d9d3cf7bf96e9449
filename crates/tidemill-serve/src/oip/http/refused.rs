//! What Triton's clients may ask for and this server does not have. Each is refused in words that a person reads in
//! the client's exception; what is true without the feature (no region is registered) is answered.

use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::{refusal, value};

pub(super) async fn statistics() -> Response {
    refusal(StatusCode::NOT_IMPLEMENTED, STATISTICS)
}

pub(in crate::oip) const STATISTICS: &str =
    "there are no statistics by this protocol; counts and latencies are at /metrics, for Prometheus";

pub(super) async fn trace() -> Response {
    refusal(StatusCode::NOT_IMPLEMENTED, TRACE)
}

pub(in crate::oip) const TRACE: &str =
    "this server has no trace settings; it passes `traceparent` on and is traced by OpenTelemetry";

pub(super) async fn logging() -> Response {
    refusal(StatusCode::NOT_IMPLEMENTED, LOGGING)
}

pub(in crate::oip) const LOGGING: &str = "this server has no log settings by this protocol";

pub(super) async fn generate() -> Response {
    refusal(StatusCode::NOT_IMPLEMENTED, "the generate extension is not available; use `infer`")
}

pub(in crate::oip) fn no_region(kind: &str, region: &str) -> String {
    format!(
        "failed to register {kind} shared memory region: '{region}', shared memory is not available; send tensors with the request"
    )
}

pub(super) async fn regions() -> Response {
    value(&json!([]))
}

pub(super) async fn region(Path(region): Path<String>) -> Response {
    refusal(StatusCode::NOT_FOUND, &format!("Unable to find shared memory region: '{region}'"))
}

pub(super) fn register(kind: &str, region: &str) -> Response {
    refusal(StatusCode::BAD_REQUEST, &no_region(kind, region))
}

/// Nothing is registered, so nothing is left after it.
pub(super) async fn unregister() -> Response {
    value(&json!({}))
}

pub(super) async fn unknown() -> Response {
    refusal(StatusCode::NOT_FOUND, "the protocol has no such path")
}

pub(super) async fn method(request: Request) -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("{} is not a method of this path", request.method()))
}
