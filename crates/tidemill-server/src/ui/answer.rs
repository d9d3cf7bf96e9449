//! Sending a page, its numbers, or why there is none.

use std::io::Write as _;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use tidemill_core::Hint as _;
use tidemill_registry::Error;
use tidemill_ui::{Area, Block, Empty, Figure, Page, asset};

use super::Made;
use super::ask::{Form, Shown, takes_gzip};
use crate::api::{Problem, status};

/// Pages load nothing but files of this server, run no script but its file, send forms nowhere else, and stand in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What a picture looks like is in its file, and it loads nothing.
const OF_PICTURES: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// A page in the wanted form; a failure as a page that says what to do, or as a problem for programs.
pub(super) fn answer(shown: &Shown, made: Made) -> Response {
    let mut response = match (made, &shown.form) {
        (Ok(page), Form::Html) => html(shown, StatusCode::OK, &page),
        (Ok(page), Form::Json) => Json(page.json()).into_response(),
        (Ok(page), Form::Markdown) => {
            const KIND: HeaderValue = HeaderValue::from_static("text/markdown; charset=utf-8");
            let picture = |figure: &Figure| shown.viewer.picture(figure);
            packed(shown.gzip, page.written(&picture).into_bytes(), KIND)
        }
        (Ok(page), Form::Svg(figure)) => match page.picture(figure.as_deref()) {
            Some(text) => {
                const KIND: HeaderValue = HeaderValue::from_static("image/svg+xml");
                packed(shown.gzip, text.into_bytes(), KIND)
            }
            None => Problem::from(Error::missing("this page has no such picture")).into_response(),
        },
        (Ok(page), Form::Csv(table)) => match page.csv(table.as_deref()) {
            Some(text) => {
                const KIND: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8");
                packed(shown.gzip, text.into_bytes(), KIND)
            }
            None => Problem::from(Error::missing("this page has no such table")).into_response(),
        },
        (Err(error), Form::Html) => {
            let status = status(error.code);
            if status.is_server_error() {
                let cause = error.source.as_deref().map(ToString::to_string).unwrap_or_default();
                tracing::error!(error.cause = cause, "a page failed: {error}");
            }
            html(shown, status, &failure(status, &error))
        }
        (Err(error), Form::Json | Form::Csv(_) | Form::Markdown | Form::Svg(_)) => {
            Problem::from(error).into_response()
        }
    };
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    guard(response.headers_mut());
    if matches!(shown.form, Form::Svg(_)) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OF_PICTURES));
    }
    response
}

/// Headers that protect whoever looks at the page.
pub(super) fn guard(headers: &mut HeaderMap) {
    const FRAME: HeaderName = HeaderName::from_static("x-frame-options");
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(FRAME, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding, cookie"));
}

pub(super) fn html(shown: &Shown, status: StatusCode, page: &Page) -> Response {
    const KIND: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
    let mut response = packed(shown.gzip, page.html(&shown.viewer).into_bytes(), KIND);
    *response.status_mut() = status;
    response
}

/// Compressed where the browser takes it: tables shrink to a tenth.
fn packed(gzip: bool, bytes: Vec<u8>, kind: HeaderValue) -> Response {
    let small = gzip.then(|| {
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::new(4));
        encoder.write_all(&bytes).and_then(|()| encoder.finish())
    });
    let (bytes, encoding) = match small {
        Some(Ok(small)) => (small, Some(HeaderValue::from_static("gzip"))),
        Some(Err(_)) | None => (bytes, None),
    };
    let mut response = Bytes::from(bytes).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
    }
    response
}

fn failure(status: StatusCode, error: &Error) -> Page {
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Refused",
        StatusCode::BAD_REQUEST => "Not understood",
        StatusCode::SERVICE_UNAVAILABLE => "Busy",
        _ => "This did not work",
    };
    let next = error.hint().unwrap_or_else(|| match status {
        StatusCode::NOT_FOUND => "It may have been deleted, or the address is not complete.".to_owned(),
        status if status.is_server_error() => "The server's log says more; try again in a moment.".to_owned(),
        _ => "Go back and change what was asked for.".to_owned(),
    });
    let empty = Empty::new(error.message.clone(), next).link("/", "To the home page");
    Page { title: title.to_owned(), area: Area::Home, blocks: vec![Block::Empty(empty)], ..Page::default() }
}

/// A file that pages load. Its address changes with it, so it may be kept for ever.
pub(super) async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Response {
    const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
    let Some(found) = asset::find(&format!("{}/{file}", asset::FOLDER)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind = HeaderValue::from_static(found.kind);
    let mut response = packed(takes_gzip(&headers), found.text.as_bytes().to_vec(), kind);
    response.headers_mut().insert(header::CACHE_CONTROL, FOREVER);
    guard(response.headers_mut());
    response
}
