//! MLflow's error envelope: `{"error_code": NAME, "message": text}` with the status of the code.
//!
//! The client retries 408, 429 and every 5xx for minutes, so a refusal that is for good never has such a status.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tidemill_registry::{Code, Error};

/// An error on its way to an MLflow client.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Error);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// Name on the wire and status of each code.
pub(crate) const fn wire(code: Code) -> (&'static str, StatusCode) {
    match code {
        Code::InvalidParameterValue => ("INVALID_PARAMETER_VALUE", StatusCode::BAD_REQUEST),
        Code::BadRequest => ("BAD_REQUEST", StatusCode::BAD_REQUEST),
        Code::ResourceAlreadyExists => ("RESOURCE_ALREADY_EXISTS", StatusCode::BAD_REQUEST),
        Code::ResourceDoesNotExist => ("RESOURCE_DOES_NOT_EXIST", StatusCode::NOT_FOUND),
        Code::EndpointNotFound => ("ENDPOINT_NOT_FOUND", StatusCode::NOT_FOUND),
        Code::Unauthenticated => ("UNAUTHENTICATED", StatusCode::UNAUTHORIZED),
        Code::PermissionDenied => ("PERMISSION_DENIED", StatusCode::FORBIDDEN),
        // MLflow answers 500 here, which its own client then retries for minutes.
        Code::InvalidState => ("INVALID_STATE", StatusCode::BAD_REQUEST),
        Code::ResourceConflict => ("RESOURCE_CONFLICT", StatusCode::CONFLICT),
        Code::ResourceExhausted => ("RESOURCE_EXHAUSTED", StatusCode::TOO_MANY_REQUESTS),
        Code::NotImplemented => ("NOT_IMPLEMENTED", StatusCode::NOT_IMPLEMENTED),
        Code::TemporarilyUnavailable => ("TEMPORARILY_UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE),
        Code::InternalError => ("INTERNAL_ERROR", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (name, status) = wire(self.0.code);
        if status.is_server_error() {
            let cause = self.0.source.as_deref().map(ToString::to_string).unwrap_or_default();
            tracing::error!(error.code = name, error.cause = cause, "{}", self.0.message);
        }
        (status, Json(json!({"error_code": name, "message": self.0.message}))).into_response()
    }
}
