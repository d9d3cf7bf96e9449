//! Lists of files as JSON.

use std::path::PathBuf;

use axum::body::{Body, Bytes};
use axum::http::{Response, header};
use futures::stream;
use serde_json::{Value, json};
use tidemill_registry::artifacts::{FileInfo, Listing, Place};
use tidemill_registry::{Error, Registry};

/// Items that are read from the database at once.
const PAGE: usize = 5000;

/// A file as MLflow shows it; `folder` comes before its name.
pub(super) fn file_info(folder: &str, file: &FileInfo) -> Value {
    let path = if folder.is_empty() { file.name.clone() } else { format!("{folder}/{}", file.name) };
    match file.bytes {
        Some(bytes) => json!({"path": path, "is_dir": false, "file_size": bytes}),
        None => json!({"path": path, "is_dir": true}),
    }
}

/// The whole of a folder, written page by page: clients of the proxy know no pages, and a folder may be large.
pub(super) async fn whole(registry: Registry, place: Place) -> Result<Response<Body>, Error> {
    let first = registry.list_artifacts(&place, &[], None, PAGE).await?;
    let body = if first.files.is_empty() {
        Body::from("{}")
    } else {
        let state = Some((first, "{\"files\": ["));
        Body::from_stream(stream::unfold((registry, place, state), |(registry, place, state)| async move {
            let (page, before) = state?;
            let text = Bytes::from(text(&page, before));
            let roots: [PathBuf; 0] = [];
            let next = match &page.next {
                None => Ok(None),
                Some(token) => registry
                    .list_artifacts(&place, &roots, Some(token), PAGE)
                    .await
                    .map(|page| Some((page, ", "))),
            };
            match next {
                Ok(next) => Some((Ok(text), (registry, place, next))),
                Err(error) => Some((Err(error), (registry, place, None))),
            }
        }))
    };
    let mut answer = Response::new(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(answer)
}

fn text(page: &Listing, before: &str) -> String {
    let files: Vec<String> = page.files.iter().map(|file| file_info("", file).to_string()).collect();
    let after = if page.next.is_some() { "" } else { "]}" };
    format!("{before}{}{after}", files.join(", "))
}
