//! Receiving a file: limits, and bodies that end too early. Senders that stop sending are the shell's matter.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use serde_json::json;
use tidemill_registry::artifacts::Intake;
use tidemill_registry::{Code, Error};

use crate::App;
use crate::mlflow::failure::Failure;

/// Why a body was not taken.
pub(super) enum Refused {
    /// It is larger than allowed; 413, which the client does not try again. The rest of it is still in the body.
    TooLarge(u64, Body),
    /// Anything else.
    Failed(Failure),
}

impl<E: Into<Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Failed(Failure(error.into()))
    }
}

/// How long the rest of a body that is too large is read and thrown away.
const LINGER: Duration = Duration::from_secs(10);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Failed(failure) => failure.into_response(),
            Self::TooLarge(limit, rest) => {
                linger(rest);
                let message =
                    format!("The artifact is larger than the {limit} bytes that this server accepts.");
                let body = json!({"error_code": "INVALID_PARAMETER_VALUE", "message": message});
                (StatusCode::PAYLOAD_TOO_LARGE, [(header::CONNECTION, "close")], Json(body)).into_response()
            }
        }
    }
}

/// Takes what is still sent of a body that was refused. Most clients look for an answer only when they have sent
/// everything; if nobody took it they would find a broken connection instead, and try again.
pub(super) fn linger(mut rest: Body) {
    tokio::spawn(async move {
        let drain = async { while let Some(Ok(_)) = rest.frame().await {} };
        let _ = tokio::time::timeout(LINGER, drain).await;
    });
}

/// What the sender announced.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Moves a body into a file.
pub(super) async fn receive(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    intake: &mut Intake,
) -> Result<(), Refused> {
    let mut frames = Frames::begin(headers, body, app.config().artifact_limit)?;
    while let Some(bytes) = frames.next().await? {
        intake.write(bytes).await?;
    }
    Ok(())
}

/// A whole body of at most `limit` bytes.
pub(super) async fn receive_small(headers: &HeaderMap, body: Body, limit: u64) -> Result<Bytes, Refused> {
    let mut frames = Frames::begin(headers, body, limit)?;
    let mut all = Vec::new();
    while let Some(bytes) = frames.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all.into())
}

struct Frames {
    body: Body,
    limit: u64,
    seen: u64,
}

impl Frames {
    fn begin(headers: &HeaderMap, body: Body, limit: u64) -> Result<Self, Refused> {
        if announced(headers).is_some_and(|length| length > limit) {
            return Err(Refused::TooLarge(limit, body));
        }
        Ok(Self { body, limit, seen: 0 })
    }

    /// The next bytes, or `None` when the body has come to its proper end.
    async fn next(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Error::new(Code::BadRequest, format!("The artifact did not arrive completely: {error}."))
            })?;
            let Ok(bytes) = frame.into_data() else { continue };
            self.seen += bytes.len() as u64;
            if self.seen > self.limit {
                return Err(Refused::TooLarge(self.limit, std::mem::take(&mut self.body)));
            }
            return Ok(Some(bytes));
        }
    }
}
