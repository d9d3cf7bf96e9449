//! OpenTelemetry's protocol for traces over HTTP: `POST /v1/traces`, protobuf or JSON, compressed or not.
//!
//! This is how MLflow's client sends spans, and how any OpenTelemetry SDK does. The experiment is a header. A request is
//! stored whole or not at all; the same spans again change nothing, so a client may repeat what it is not sure of.

mod decode;
mod inflate;
mod json;
mod measure;
mod proto;
#[cfg(test)]
mod tests;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tidemill_registry::traces::SpanGroup;

pub use decode::decode;

use crate::App;
use crate::app::CROWDED;
use crate::mlflow::Failure;

/// The header that names the experiment.
pub(crate) const EXPERIMENT: &str = "x-mlflow-experiment-id";
/// The header that names a run to link the traces to.
pub(crate) const RUN: &str = "x-mlflow-run-id";
/// Bodies above this size are decoded on a thread of their own.
const LARGE: usize = 64 << 10;

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/x-protobuf`
    Protobuf,
    /// `application/json`
    Json,
}

/// Why a request is not taken. It would not be taken later either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no such message.
    Malformed,
    /// It has no spans.
    Empty,
    /// A span has no identifier, or one of the wrong length, or a time that is out of range.
    Span,
    /// It cannot be decompressed.
    Encoding(String),
    /// Decompressed, it is larger than this.
    TooLarge(usize),
    /// There is too much of something.
    Limit(String),
}

/// The route.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/v1/traces", post(export))
}

async fn export(State(app): State<App>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    match take(&app, &headers, body).await {
        Ok(Form::Protobuf) => ([(header::CONTENT_TYPE, "application/x-protobuf")], ()).into_response(),
        Ok(Form::Json) => Json(json!({})).into_response(),
        Err(refused) => refused,
    }
}

async fn take(app: &App, headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Form, Response> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(experiment) = text(EXPERIMENT) else {
        let missing = json!({
            "type": "missing", "loc": ["header", EXPERIMENT], "msg": "Field required", "input": null,
        });
        return Err(refuse(StatusCode::UNPROCESSABLE_ENTITY, json!([missing])));
    };
    let kind = text("content-type").unwrap_or_default();
    let form = match kind.split(';').next().unwrap_or_default().trim() {
        "application/x-protobuf" => Form::Protobuf,
        "application/json" => Form::Json,
        _ => {
            let detail =
                format!("Invalid Content-Type: {kind}. Expected: application/x-protobuf or application/json");
            return Err(refuse(StatusCode::BAD_REQUEST, json!(detail)));
        }
    };
    let body = body.map_err(|rejection| refuse(rejection.status(), json!(rejection.body_text())))?;
    let encoding = text("content-encoding").unwrap_or_default().to_owned();
    let limit = app.config().json_limit;
    // What comes out of a compressed body may be as large as a body may be.
    let room = if headers.contains_key(header::CONTENT_ENCODING) { app.room(limit) } else { app.room(0) };
    let Some(_room) = room else {
        let mut busy = refuse(StatusCode::SERVICE_UNAVAILABLE, json!(CROWDED));
        busy.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return Err(busy);
    };
    let read = move || read(&body, &encoding, form, limit);
    let groups = if headers.contains_key(header::CONTENT_ENCODING) || read_size(headers) > LARGE {
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR, json!("decoding failed")))?
    } else {
        read()
    };
    let groups = groups.map_err(Refusal::into_response)?;
    let stored = app.registry().put_spans(experiment, groups, text(RUN)).await;
    stored.map_err(|error| Failure::from(error).into_response())?;
    Ok(form)
}

fn read_size(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)
}

fn read(body: &[u8], encoding: &str, form: Form, limit: usize) -> Result<Vec<SpanGroup>, Refusal> {
    decode(&inflate::inflate(body, encoding, limit)?, form)
}

fn refuse(status: StatusCode, detail: Value) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}

impl Refusal {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "Invalid OpenTelemetry format".to_owned()),
            Self::Empty => {
                (StatusCode::BAD_REQUEST, "Invalid OpenTelemetry format - no spans found".to_owned())
            }
            Self::Span => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "Cannot convert OpenTelemetry span to MLflow span".to_owned(),
            ),
            Self::Encoding(detail) => (StatusCode::BAD_REQUEST, detail),
            Self::TooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the decompressed request is larger than {limit} bytes"),
            ),
            Self::Limit(detail) => (StatusCode::BAD_REQUEST, detail),
        };
        refuse(status, json!(detail))
    }
}

/// For fuzzing: every request is read or refused, compressed or not, and what is read keeps to the limits.
pub fn fuzz_entry(data: &[u8]) {
    const LIMIT: usize = 1 << 20;
    for form in [Form::Protobuf, Form::Json] {
        for encoding in ["", "gzip", "deflate"] {
            let Ok(groups) = read(data, encoding, form, LIMIT) else { continue };
            let spans = groups.iter().map(|group| group.spans.len()).sum::<usize>();
            assert!(spans <= measure::SPANS, "{spans} spans");
            for span in groups.iter().flat_map(|group| &group.spans) {
                assert!(span.trace != [0; 16] && span.id != [0; 8], "a span without an identifier");
            }
        }
    }
}
