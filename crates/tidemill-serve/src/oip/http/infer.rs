//! `POST /v2/models/{name}/infer`.

use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;

use super::{HEAVY, answer, at_latest, failed, receive, run};
use crate::inference_record::EVENT_TIME_HEADER;
use crate::oip::headers::{TRACEPARENT, traceparent};
use crate::oip::http::models::Asked;
use crate::oip::request::{self, Wishes};
use crate::oip::response::{self, Encoded};
use crate::oip::{Packing, Shared, deadline, selected};
use crate::{InferError, Request};

/// Says how many bytes of a body with binary tensors are JSON, in both directions.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

pub(super) async fn infer(
    State(shared): State<Shared>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    infer_of(&shared, asked, &headers, body).await
}

/// [`infer`], of a body of any kind.
pub(super) async fn infer_of<B>(shared: &Shared, asked: Asked, headers: &HeaderMap, body: B) -> Response
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<axum::BoxError>,
{
    let begin = Instant::now();
    let body = match receive(headers, body, shared.limits.body).await {
        Ok(body) => body,
        Err(refused) => return refused.refusal(),
    };
    let mut response = match answered(shared, asked, headers, body, begin).await {
        Ok(response) => response,
        Err(error) => failed(&error),
    };
    if let Some(trace) = traceparent(headers) {
        response.headers_mut().insert(TRACEPARENT, trace.clone());
    }
    response
}

async fn answered(
    shared: &Shared,
    asked: Asked,
    headers: &HeaderMap,
    body: Bytes,
    begin: Instant,
) -> Result<Response, InferError> {
    let json_length = match headers.get(JSON_LENGTH) {
        None => None,
        Some(value) => Some(length(value)?),
    };
    let heavy = body.len() >= HEAVY;
    let (mut request, wishes) = if json_length == Some(0) {
        let metadata = shared.inference.metadata(&asked.name, asked.version.as_deref()).await?;
        let request = Request { inputs: request::bare(&body, &metadata)?, ..Request::default() };
        (request, Wishes { binary: true, ..Wishes::default() })
    } else {
        run(heavy, move || request::decode(&body, json_length)).await??
    };
    let longest = shared.limits.longest;
    request.deadline = at_latest(deadline(headers, wishes.timeout_us, begin, longest), begin, longest);
    request.headers = selected(headers);
    if let Some(event_time) = wishes.event_time.clone() {
        request.headers.insert(EVENT_TIME_HEADER.to_owned(), event_time);
    }
    request.model = asked.name;
    request.version = asked.version;
    let response = answer(&*shared.inference, request).await?;

    let bytes: usize = response.outputs.iter().map(|output| output.tensor.values().len() * 8).sum();
    let encoded = run(bytes >= HEAVY, move || response::encode(&response, &wishes)).await??;
    let packing =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| Packing::accepted(value.to_str().ok()?));
    let packing = packing.filter(|_| encoded.body.len() >= shared.limits.pack_from);
    let (encoded, packing) = match packing {
        None => (encoded, None),
        Some(packing) => {
            let heavy = encoded.body.len() >= HEAVY / 16;
            run(heavy, move || match packing.pack(&encoded.body) {
                Some(body) => (Encoded { body, json_length: encoded.json_length }, Some(packing)),
                None => (encoded, None),
            })
            .await?
        }
    };
    Ok(reply(encoded, packing))
}

fn length(value: &HeaderValue) -> Result<usize, InferError> {
    value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        InferError::Invalid("`Inference-Header-Content-Length` must be a number of bytes".to_owned())
    })
}

fn reply(encoded: Encoded, packing: Option<Packing>) -> Response {
    let kind = if encoded.json_length.is_some() { "application/octet-stream" } else { "application/json" };
    let mut response = Response::new(Body::from(encoded.body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(length) = encoded.json_length {
        headers.insert(JSON_LENGTH, HeaderValue::from(length));
    }
    if let Some(packing) = packing {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(packing.name()));
    }
    response
}
