//! How MLflow's scoring server tells that a request was not answered: `error_code` and `message`, and for another
//! content type plain text.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::InferError;
use crate::oip::json::JsonError;
use crate::oip::{Received, retry_after};

/// A request that was not answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    status: StatusCode,
    /// MLflow's name for it; plain text without one.
    code: Option<&'static str>,
    /// MLflow's state and class of the error, which its clients group errors by.
    class: Option<(&'static str, &'static str)>,
    message: String,
    retry_after: Option<HeaderValue>,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        let class = match code {
            "BAD_REQUEST" => Some(("KAM00", "INVALID_PARAMETER_VALUE")),
            "RESOURCE_DOES_NOT_EXIST" => Some(("KAM00", "RESOURCE_NOT_FOUND")),
            "TEMPORARILY_UNAVAILABLE" | "INTERNAL_ERROR" => Some(("XXM00", "CLIENT_INTERNAL_ERROR")),
            _ => None,
        };
        Self { status, code: Some(code), class, message, retry_after: None }
    }

    /// The request is not what the protocol says, or a value cannot be of its column's type.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message.into())
    }

    /// The request's table does not fit the model.
    pub(super) fn schema(message: impl Into<String>) -> Self {
        let failure = Self::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETER_VALUE", message.into());
        Self { class: Some(("KAM01", "SCHEMA_ENFORCEMENT_FAILED")), ..failure }
    }

    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "RESOURCE_DOES_NOT_EXIST", message.into())
    }

    pub(super) fn media(message: String) -> Self {
        Self {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code: None,
            class: None,
            message,
            retry_after: None,
        }
    }

    pub(super) fn of_body(received: Received) -> Self {
        let message = received.to_string();
        match received {
            Received::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BAD_REQUEST", message),
            Received::Encoding(_) => Self::media(message),
            Received::Broken(_) => Self::bad(message),
        }
    }

    pub(super) fn response(self) -> Response {
        let Some(code) = self.code else {
            return (self.status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.message)
                .into_response();
        };
        let mut body = json!({"error_code": code, "message": self.message});
        if let (Some((state, class)), Some(body)) = (self.class, body.as_object_mut()) {
            body.insert("sqlstate".to_owned(), state.into());
            body.insert("error_class".to_owned(), class.into());
        }
        let mut response = super::json(self.status, body.to_string());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<JsonError> for Failure {
    fn from(error: JsonError) -> Self {
        Self::bad(format!("the request cannot be read: {error}"))
    }
}

/// The names are those of MLflow's `ErrorCode`.
impl From<InferError> for Failure {
    fn from(error: InferError) -> Self {
        let after = retry_after(&error);
        let (status, code) = match &error {
            InferError::NotFound(_) => (StatusCode::NOT_FOUND, "RESOURCE_DOES_NOT_EXIST"),
            InferError::Invalid(_) => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            InferError::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "REQUEST_LIMIT_EXCEEDED"),
            InferError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE"),
            InferError::Deadline(_) => (StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED"),
            InferError::Model(_) | InferError::Internal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")
            }
        };
        Self { retry_after: after, ..Self::new(status, code, error.to_string()) }
    }
}
