//! Errors of our own API: `application/problem+json` (RFC 9457) with a hint.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidemill_core::Hint as _;
use tidemill_registry::{Code, Error};
use utoipa::ToSchema;

/// What went wrong, as `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The HTTP status once more.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A word for programs, for example `not_found`. Never changes its meaning.
    code: &'static str,
    /// What the status means.
    title: &'static str,
    /// What went wrong here.
    detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Problem {
    /// A value that is not allowed.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::from(Error::invalid(detail))
    }

    /// A thing that is not there.
    pub(super) fn missing(detail: impl Into<String>) -> Self {
        Self::from(Error::missing(detail))
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        let error: Error = error.into();
        let (code, status) = words(error.code);
        let hint = error.hint();
        Self {
            status: status.as_u16(),
            code,
            title: status.canonical_reason().unwrap_or("Error"),
            detail: error.message,
            hint,
            source: error.source,
        }
    }
}

/// The status of an answer with this code.
pub(crate) const fn status(code: Code) -> StatusCode {
    words(code).1
}

/// Word and status of each code.
const fn words(code: Code) -> (&'static str, StatusCode) {
    match code {
        Code::InvalidParameterValue => ("invalid_value", StatusCode::BAD_REQUEST),
        Code::BadRequest => ("bad_request", StatusCode::BAD_REQUEST),
        Code::ResourceAlreadyExists => ("already_exists", StatusCode::CONFLICT),
        Code::ResourceDoesNotExist => ("not_found", StatusCode::NOT_FOUND),
        Code::EndpointNotFound => ("no_such_route", StatusCode::NOT_FOUND),
        Code::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED),
        Code::PermissionDenied => ("forbidden", StatusCode::FORBIDDEN),
        Code::InvalidState => ("wrong_state", StatusCode::CONFLICT),
        Code::ResourceConflict => ("conflict", StatusCode::CONFLICT),
        Code::ResourceExhausted => ("too_many_requests", StatusCode::TOO_MANY_REQUESTS),
        Code::NotImplemented => ("not_implemented", StatusCode::NOT_IMPLEMENTED),
        Code::TemporarilyUnavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        Code::InternalError => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        const KIND: HeaderValue = HeaderValue::from_static("application/problem+json");
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            let cause = self.source.as_deref().map(ToString::to_string).unwrap_or_default();
            tracing::error!(error.code = self.code, error.cause = cause, "{}", self.detail);
        }
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, KIND);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
