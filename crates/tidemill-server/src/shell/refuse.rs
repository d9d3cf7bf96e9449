//! Answers of the shell itself, in the form that the asked API speaks.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tidemill_registry::{Code, Error};

use crate::api::Problem;
use crate::app::CROWDED;
use crate::mlflow::Failure;

/// Whether a path belongs to our own API; all else speaks MLflow's language.
pub(crate) fn is_ours(path: &str) -> bool {
    path.starts_with("/hooks/")
        || path.strip_prefix("/api/v1").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An error in the form that belongs to the path.
pub(crate) fn error(path: &str, error: Error) -> Response {
    if is_ours(path) { Problem::from(error).into_response() } else { Failure(error).into_response() }
}

/// A refusal in plain text, as MLflow's own server sends it; its client shows the text.
pub(super) fn forbidden(path: &str, why: &'static str) -> Response {
    if is_ours(path) {
        return error(path, Error::new(Code::PermissionDenied, why));
    }
    (StatusCode::FORBIDDEN, why).into_response()
}

/// Nobody whom we know. Text for MLflow's client, which shows it as it is.
pub(super) fn unauthenticated(path: &str, users: bool) -> Response {
    const TOKEN: &str = "You are not authenticated. Please set MLFLOW_TRACKING_TOKEN to the server's token, or \
        MLFLOW_TRACKING_USERNAME to your name and MLFLOW_TRACKING_PASSWORD to the token.";
    const USERS: &str = "You are not authenticated. Please set MLFLOW_TRACKING_USERNAME to your name and \
        MLFLOW_TRACKING_PASSWORD to your password.";
    let mut response = match (is_ours(path), users) {
        (true, false) => Problem::from(Error::new(Code::Unauthenticated, "the request carries no valid token"))
            .hint("send `Authorization: Bearer TOKEN`, or Basic with any user name and the token as password")
            .into_response(),
        (true, true) => Problem::from(Error::new(Code::Unauthenticated, "nobody with a valid password sent the request"))
            .hint("send `Authorization: Basic` with your user name and password, or `Bearer` with the server's token")
            .into_response(),
        (false, _) => (StatusCode::UNAUTHORIZED, if users { USERS } else { TOKEN }).into_response(),
    };
    for scheme in ["Basic realm=\"mlflow\"", "Bearer realm=\"tidemill\""] {
        response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

/// More requests are being worked on than the server takes.
pub(super) fn busy(path: &str) -> Response {
    come_back(path, "the server works on as many requests as it can; try again in a moment")
}

/// The bodies of other requests take all memory that there is for them.
pub(super) fn crowded(path: &str) -> Response {
    come_back(path, CROWDED)
}

fn come_back(path: &str, why: &str) -> Response {
    let mut response = error(path, Error::new(Code::TemporarilyUnavailable, why));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A handler panicked.
pub(super) fn broken(path: &str) -> Response {
    error(path, Error::new(Code::InternalError, "the server failed at this request; its log says how"))
}

/// No such route.
pub(super) fn no_route(path: &str) -> Response {
    error(path, Error::new(Code::EndpointNotFound, format!("There is no route `{path}`.")))
}

/// The route is there, but not for this method. The status tells it from a route that is missing; the client only looks
/// at the code.
pub(super) fn no_method(path: &str, method: &axum::http::Method) -> Response {
    let why = format!("The route `{path}` does not take {method}.");
    let mut response = error(path, Error::new(Code::EndpointNotFound, why));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}
