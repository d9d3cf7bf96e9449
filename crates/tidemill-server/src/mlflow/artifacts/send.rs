//! Sending a file: its headers, and its bytes as they come out of the store.

use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use futures::StreamExt as _;
use futures::stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidemill_core::Timestamp;
use tidemill_registry::artifacts::{Content, Pieces};
use tidemill_registry::{Error, Registry};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::mlflow::artifacts::range::{Wanted, wanted};

/// About as many bytes are read while as many are being sent.
const AHEAD: usize = 512 << 10;

/// The answer with a file that people know as `name`. Always an attachment: what somebody uploaded must not run as a page
/// of this server.
pub(in crate::mlflow) fn send(
    registry: &Registry,
    content: Content,
    name: &str,
    headers: &HeaderMap,
) -> Response<Body> {
    let (length, tag) = (content.bytes(), format!("\"{}\"", content.tag()));
    let wanted = wanted(headers, length, &tag);
    let (status, range) = match wanted {
        Wanted::All => (StatusCode::OK, 0..length),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
        Wanted::Unchanged => (StatusCode::NOT_MODIFIED, 0..0),
    };
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    let mut set = |name: header::HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, tag);
    set(header::LAST_MODIFIED, http_date(content.at()));
    set(header::CACHE_CONTROL, "no-cache".to_owned());
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
    match status {
        StatusCode::NOT_MODIFIED => return answer,
        StatusCode::RANGE_NOT_SATISFIABLE => {
            set(header::CONTENT_RANGE, format!("bytes */{length}"));
            return answer;
        }
        StatusCode::PARTIAL_CONTENT => {
            set(header::CONTENT_RANGE, format!("bytes {}-{}/{length}", range.start, range.end - 1));
        }
        _ => {}
    }
    set(header::CONTENT_TYPE, media_type(name).to_owned());
    set(header::CONTENT_DISPOSITION, attachment(name));
    set(header::CONTENT_LENGTH, (range.end - range.start).to_string());
    *answer.body_mut() = body(registry.clone(), content, range);
    answer
}

type Step = (Vec<Result<Bytes, Error>>, Option<Pieces>);

/// Where a download is. Nothing is read before the first byte is asked for.
enum Download {
    Begin(Registry, Content, Range<u64>),
    Reading(JoinHandle<Step>),
    Done,
}

/// Bytes as they are read, on blocking threads which are held only while they read, one step ahead of what is sent.
fn body(registry: Registry, content: Content, range: Range<u64>) -> Body {
    if range.is_empty() {
        return Body::empty();
    }
    let steps = stream::unfold(Download::Begin(registry, content, range), |download| async move {
        let done = match download {
            Download::Begin(registry, content, range) => {
                spawn_blocking(move || match registry.pieces(&content, range) {
                    Ok(pieces) => read(pieces),
                    Err(error) => (vec![Err(error)], None),
                })
                .await
            }
            Download::Reading(ahead) => ahead.await,
            Download::Done => return None,
        };
        let (pieces, next) = match done {
            Ok((pieces, rest)) => (pieces, rest.map(|rest| spawn_blocking(move || read(rest)))),
            Err(error) => (vec![Err(stopped(error))], None),
        };
        Some((stream::iter(pieces), next.map_or(Download::Done, Download::Reading)))
    });
    // An error ends the connection before the announced length is reached, so that the client notices.
    Body::from_stream(steps.flatten().inspect(|piece| {
        if let Err(error) = piece {
            let cause = error.source.as_deref().map(ToString::to_string).unwrap_or_default();
            tracing::error!(error.cause = cause, "a download ended early: {error}");
        }
    }))
}

fn read(mut pieces: Pieces) -> Step {
    let (mut read, mut bytes) = (Vec::new(), 0);
    while bytes < AHEAD {
        match pieces.next() {
            Some(Ok(piece)) => {
                bytes += piece.len();
                read.push(Ok(piece));
            }
            Some(Err(error)) => {
                read.push(Err(error));
                return (read, None);
            }
            None => return (read, None),
        }
    }
    (read, Some(pieces))
}

fn stopped(error: JoinError) -> Error {
    let mut failure =
        Error::new(tidemill_registry::Code::InternalError, "the server stopped while it read a file");
    failure.source = Some(Box::new(error));
    failure
}

fn http_date(at: Timestamp) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    OffsetDateTime::from_unix_timestamp(at.millis().div_euclid(1000))
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_default()
}

/// Characters of a name that need no encoding in an extended parameter (RFC 8187).
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn attachment(name: &str) -> String {
    let plain = name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\\'));
    if plain {
        return format!("attachment; filename=\"{name}\"");
    }
    format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(name, ATTRIBUTE))
}

/// What MLflow's pages show as text is `text/plain`, whatever it is called elsewhere.
fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "txt" | "log" | "err" | "cfg" | "conf" | "cnf" | "cf" | "ini" | "properties" | "prop" | "hocon"
        | "toml" | "yaml" | "yml" | "xml" | "json" | "js" | "py" | "py3" | "md" | "rst" | "sql" => {
            "text/plain"
        }
        "csv" => "text/csv",
        "tsv" => "text/tab-separated-values",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "bmp" => "image/bmp",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "mp3" => "audio/mpeg",
        "wav" => "audio/x-wav",
        "mp4" => "video/mp4",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        _ if matches!(name, "MLmodel" | "MLproject") => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_file() {
        assert_eq!(attachment("a b.txt"), "attachment; filename=\"a b.txt\"");
        assert_eq!(attachment("a\"b\\.txt"), "attachment; filename*=UTF-8''a%22b%5C.txt");
        assert_eq!(attachment("ü x.bin"), "attachment; filename*=UTF-8''%C3%BC%20x.bin");
        assert_eq!(http_date(Timestamp::from_millis(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(Timestamp::from_millis(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        for (name, kind) in [
            ("MLmodel", "text/plain"),
            ("conda.YAML", "text/plain"),
            ("image.png", "image/png"),
            ("model.pkl", "application/octet-stream"),
            ("noending", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name), kind);
        }
    }
}
