//! The protocol over HTTP: routes, bodies, and how an error is told.

mod direct;
mod infer;
mod models;
mod refused;

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::HttpBody;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

pub use self::direct::{Direct, Wanted};
pub(super) use self::models::{overrides, state_words};
pub(super) use self::refused::{LOGGING, STATISTICS, TRACE, no_region};
use super::{Shared, TIMEOUT_HEADER, Unreadable, unpack};
use crate::InferError;

/// From this many bytes on a body is read or written on a thread where it holds no other connection up.
const HEAVY: usize = 1 << 20;

pub(super) fn router(shared: Shared) -> Router {
    let mut router = Router::new()
        .route("/v2", get(models::server))
        .route("/v2/", get(models::server))
        .route("/v2/health/live", get(models::live))
        .route("/v2/health/ready", get(models::server_ready))
        .route("/v2/models/stats", get(refused::statistics));
    for model in ["/v2/models/{name}", "/v2/models/{name}/versions/{version}"] {
        router = router
            .route(model, get(models::metadata))
            .route(&format!("{model}/ready"), get(models::ready))
            .route(&format!("{model}/config"), get(models::config))
            .route(&format!("{model}/infer"), post(infer::infer))
            .route(&format!("{model}/stats"), get(refused::statistics))
            .route(&format!("{model}/generate"), post(refused::generate))
            .route(&format!("{model}/generate_stream"), post(refused::generate));
    }
    for (part, kind) in [("systemsharedmemory", "system"), ("cudasharedmemory", "CUDA")] {
        let register = move |Path(region): Path<String>| std::future::ready(refused::register(kind, &region));
        router = router
            .route(&format!("/v2/{part}/status"), get(refused::regions))
            .route(&format!("/v2/{part}/unregister"), post(refused::unregister))
            .route(&format!("/v2/{part}/region/{{region}}/status"), get(refused::region))
            .route(&format!("/v2/{part}/region/{{region}}/register"), post(register))
            .route(&format!("/v2/{part}/region/{{region}}/unregister"), post(refused::unregister));
    }
    router
        .route("/v2/models/{name}/trace/setting", get(refused::trace).post(refused::trace))
        .route("/v2/repository/index", post(models::index))
        .route("/v2/repository/models/{name}/load", post(models::load))
        .route("/v2/repository/models/{name}/unload", post(models::unload))
        .route("/v2/trace/setting", get(refused::trace).post(refused::trace))
        .route("/v2/logging", get(refused::logging).post(refused::logging))
        .route("/v2/{*rest}", axum::routing::any(refused::unknown))
        .method_not_allowed_fallback(refused::method)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(shared)
}

/// An error as the protocol tells it.
fn refusal(status: StatusCode, message: &str) -> Response {
    let mut body = b"{\"error\":".to_vec();
    super::values::write_text(message, &mut body);
    body.push(b'}');
    json(status, body)
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn value(value: &serde_json::Value) -> Response {
    json(StatusCode::OK, value.to_string().into_bytes())
}

/// How the protocol tells that a request was not answered.
impl From<&InferError> for StatusCode {
    fn from(error: &InferError) -> Self {
        match error {
            InferError::NotFound(_) => Self::NOT_FOUND,
            InferError::Invalid(_) => Self::BAD_REQUEST,
            InferError::TooMany { .. } => Self::TOO_MANY_REQUESTS,
            InferError::Unavailable { .. } => Self::SERVICE_UNAVAILABLE,
            InferError::Deadline(_) => Self::GATEWAY_TIMEOUT,
            InferError::Model(_) | InferError::Internal(_) => Self::INTERNAL_SERVER_ERROR,
        }
    }
}

fn failed(error: &InferError) -> Response {
    let mut response = refusal(error.into(), &error.to_string());
    if let Some(seconds) = retry_after(error) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// `Retry-After` in whole seconds, rounded up, where an error says when to come back.
pub(crate) fn retry_after(error: &InferError) -> Option<HeaderValue> {
    let wait = match error {
        InferError::TooMany { retry_after, .. } => *retry_after,
        InferError::Unavailable { retry_after, .. } => (*retry_after)?,
        _ => return None,
    };
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Some(HeaderValue::from(seconds.max(1)))
}

/// Why a body did not come in.
pub(crate) enum Received {
    /// It is larger than so many bytes.
    TooLarge(usize),
    /// Its encoding is none that we know.
    Encoding(String),
    /// It broke off, or is not what its encoding says.
    Broken(String),
}

impl Received {
    fn refusal(&self) -> Response {
        match self {
            Self::TooLarge(most) => refusal(StatusCode::PAYLOAD_TOO_LARGE, &self.message(*most)),
            Self::Encoding(_) => refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &self.message(0)),
            Self::Broken(_) => refusal(StatusCode::BAD_REQUEST, &self.message(0)),
        }
    }

    fn message(&self, most: usize) -> String {
        match self {
            Self::TooLarge(_) => format!("the body is larger than {most} bytes; send fewer rows at once"),
            Self::Encoding(name) => {
                format!("`Content-Encoding: {name}` is not known; there are gzip and deflate")
            }
            Self::Broken(why) => why.clone(),
        }
    }
}

impl std::fmt::Display for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message(if let Self::TooLarge(most) = self { *most } else { 0 }))
    }
}

/// A body in full, unpacked. Nothing is reserved by what its head declares.
pub(crate) async fn receive<B>(headers: &HeaderMap, body: B, most: usize) -> Result<Bytes, Received>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<axum::BoxError>,
{
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|declared| declared > most as u64) {
        return Err(Received::TooLarge(most));
    }
    let body = whole(Limited::new(body, most)).await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Received::TooLarge(most)
        } else {
            Received::Broken("the body broke off".to_owned())
        }
    })?;
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else { return Ok(body) };
    let encoding = encoding.to_str().unwrap_or("?").to_owned();
    let heavy = body.len() >= HEAVY / 16;
    let unpacked = run(heavy, move || match unpack(&body, &encoding, most) {
        Ok(None) => Ok(body),
        Ok(Some(unpacked)) => Ok(Bytes::from(unpacked)),
        Err(Unreadable::TooLarge) => Err(Received::TooLarge(most)),
        Err(Unreadable::Unknown(name)) => Err(Received::Encoding(name)),
        Err(Unreadable::Broken(encoding)) => Err(Received::Broken(format!("the body is not {encoding}"))),
    });
    unpacked.await.unwrap_or_else(|error| Err(Received::Broken(error.to_string())))
}

/// All pieces of a body. Most have one, which is taken as it is.
async fn whole<B>(body: B) -> Result<Bytes, B::Error>
where
    B: HttpBody<Data = Bytes>,
{
    let mut body = pin!(body);
    let (mut first, mut all) = (Bytes::new(), Vec::<u8>::new());
    while let Some(frame) = body.frame().await {
        // Trailers say nothing here.
        let Ok(piece) = frame?.into_data() else { continue };
        if first.is_empty() {
            first = piece;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&piece);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// Runs work of the processor: here, or where it is much on a thread that answers no connections.
pub(crate) async fn run<T: Send + 'static>(
    heavy: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InferError> {
    if !heavy {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| InferError::Internal("the request could not be read or answered".to_owned()))
}

/// What an inference gives until the request's deadline.
pub(crate) async fn answer(
    inference: &dyn crate::Inference,
    request: crate::Request,
) -> Result<crate::Response, InferError> {
    let Some(deadline) = request.deadline else { return inference.infer(request).await };
    let late = || {
        InferError::Deadline(format!(
            "the request was not answered before its deadline; `{TIMEOUT_HEADER}` says how long it may take"
        ))
    };
    if deadline <= Instant::now() {
        return Err(late());
    }
    let mut answer = inference.infer(request);
    // Most are answered at once, and no timer is set for them.
    if let Poll::Ready(answer) = futures::poll!(answer.as_mut()) {
        return answer;
    }
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(answer) => answer,
        Err(_) => Err(late()),
    }
}

/// When a request that says nothing of a deadline is given up.
pub(crate) fn at_latest(deadline: Option<Instant>, begin: Instant, longest: Duration) -> Option<Instant> {
    deadline.or_else(|| begin.checked_add(longest))
}
