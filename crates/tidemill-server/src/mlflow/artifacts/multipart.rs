//! Large files in parts, and the address of a file for a download in parts.
//!
//! The client sends parts to an address that it is given, without its usual credentials. Ours is a route of this same
//! server, so the headers that go with the address carry the credentials of whoever asked for it: nothing can be reached
//! without them that could not be reached with them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use tidemill_registry::artifacts::{ArtifactPath, PartReceipt, Place};
use tidemill_registry::{Error, Result};

use crate::App;
use crate::mlflow::artifacts::proxy::path_after;
use crate::mlflow::artifacts::receive::{Refused, announced, receive};
use crate::mlflow::wire::{self, Call, Fields};

/// The path of the whole file: the folder in the request's path, the name from the client's own path of it.
pub(crate) fn target(uri: &Uri, marker: &str, fields: &Fields) -> Result<ArtifactPath> {
    let folder = path_after(uri, marker)?;
    let local = fields.str("path")?;
    let name = local.rsplit(['/', '\\']).next().unwrap_or_default();
    folder.join(&ArtifactPath::parse(name)?)
}

pub(super) async fn create(State(app): State<App>, uri: Uri, headers: HeaderMap, call: Call) -> wire::Answer {
    let path = target(&uri, "/mlflow-artifacts/mpu/create", &call.fields)?;
    let parts = call.fields.opt_int("num_parts")?.unwrap_or(1);
    let upload = app.registry().start_upload(&path, parts).await?;
    let (base, credentials) = (base(&headers)?, credentials(&headers));
    let credentials: Vec<Value> = (1..=parts)
        .map(|number| {
            let url = format!("{base}/mlflow-artifacts/mpu/part/{upload}/{number}");
            json!({"url": url, "part_number": number, "headers": credentials})
        })
        .collect();
    Ok(Json(json!({"upload_id": upload, "credentials": credentials})))
}

pub(super) async fn part(
    State(app): State<App>,
    Path((upload, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let number = number.parse().map_err(|_| Error::invalid("Invalid part number"))?;
    let mut writer = app.registry().part_writer(&upload, number, announced(&headers)).await?;
    receive(&app, &headers, body, writer.intake()).await?;
    let tag = writer.finish().await?;
    Ok((StatusCode::OK, [(header::ETAG, format!("\"{tag}\""))]).into_response())
}

pub(super) async fn complete(State(app): State<App>, uri: Uri, call: Call) -> wire::Answer {
    let path = target(&uri, "/mlflow-artifacts/mpu/complete", &call.fields)?;
    let parts = call.fields.messages("parts")?;
    let receipts: Vec<PartReceipt> = parts
        .iter()
        .map(|part| {
            let number = u64::try_from(part.int("part_number")?).unwrap_or_default();
            Ok(PartReceipt { number, tag: part.opt_str("etag")?.unwrap_or_default().to_owned() })
        })
        .collect::<Result<_>>()?;
    app.registry().complete_upload(&path, call.fields.str("upload_id")?, &receipts).await?;
    wire::nothing()
}

pub(super) async fn abort(State(app): State<App>, uri: Uri, call: Call) -> wire::Answer {
    let path = target(&uri, "/mlflow-artifacts/mpu/abort", &call.fields)?;
    app.registry().abort_upload(&path, call.fields.str("upload_id")?).await?;
    wire::nothing()
}

/// The address of a file and its size, from which the client reads ranges in parallel.
pub(super) async fn presigned(State(app): State<App>, uri: Uri, headers: HeaderMap) -> wire::Answer {
    const PATH: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let path = path_after(&uri, "/mlflow-artifacts/presigned")?;
    let content = app.registry().artifact(&Place::Proxy(path.clone()), &[], path.as_str()).await?;
    let url = format!(
        "{}/mlflow-artifacts/artifacts/{}",
        base(&headers)?,
        utf8_percent_encode(path.as_str(), PATH)
    );
    Ok(Json(json!({"url": url, "headers": credentials(&headers), "file_size": content.bytes()})))
}

/// Whether the addresses that clients are given are surely those under which they reach this server. A proxy that speaks
/// TLS and does not say so would make them send their credentials in the open: its address has no port, which one of
/// ours has.
pub(in crate::mlflow) fn is_reachable(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let told = text("x-forwarded-proto").is_some();
    let has_port = |host: &str| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    told || text("x-forwarded-host").is_none() && text("host").is_some_and(has_port)
}

/// Where the client reaches this server's API, as the client or the proxy before us says.
fn base(headers: &HeaderMap) -> Result<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let first = |name: &str| text(name).and_then(|list| list.split(',').next()).map(str::trim);
    let scheme = first("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https"));
    let host = first("x-forwarded-host").or_else(|| text("host"));
    let host = host.filter(|host| !host.is_empty() && !host.contains(['/', '@', '?', '#', '\\', ' ']));
    let host = host.ok_or_else(|| Error::invalid("The request has no valid Host header."))?;
    let prefix = first("x-forwarded-prefix").filter(|prefix| prefix.starts_with('/')).unwrap_or_default();
    Ok(format!("{}://{host}{}/api/2.0", scheme.unwrap_or("http"), prefix.trim_end_matches('/')))
}

/// The headers that a request to the given address needs.
fn credentials(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    if let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        map.insert("Authorization".to_owned(), value.into());
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_offered_where_their_addresses_are_sure() {
        let reachable = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (header::HeaderName::from_static(name), header::HeaderValue::from_static(value))
            });
            is_reachable(&pairs.collect())
        };
        assert!(reachable(&[("host", "localhost:5000")]));
        assert!(reachable(&[("host", "[::1]:5000")]));
        assert!(reachable(&[("host", "ml.example.com"), ("x-forwarded-proto", "https")]));
        assert!(!reachable(&[("host", "ml.example.com")]));
        assert!(!reachable(&[("host", "[::1]")]));
        assert!(!reachable(&[("host", "upstream:5000"), ("x-forwarded-host", "ml.example.com")]));
    }
}
