//! MLflow's own web pages below `/mlflow/`, from the files of an installed client. They name their files and the API
//! relative to their address, so that both are answered there as well.

use std::path::{Component, Path as FsPath, PathBuf};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use tidemill_registry::{Code, Error};

use crate::App;
use crate::mlflow::Failure;

/// Names of files hold a digest of their content.
const KEEP: &str = "public, max-age=2592000, immutable";
/// The page itself names them.
const LOOK: &str = "no-cache";

/// The folder of the built pages in `folder`: the package `mlflow`, or that folder itself.
pub fn mlflow_pages(folder: &FsPath) -> Option<PathBuf> {
    let places = ["", "server/js/build", "mlflow/server/js/build"];
    places.into_iter().map(|place| folder.join(place)).find(|place| {
        // The package has no such file, and other pages do not name theirs so.
        fs_err::read_to_string(place.join("index.html")).is_ok_and(|page| page.contains("static-files/"))
    })
}

/// The pages, and what they ask for.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/mlflow", get(async || Redirect::permanent("/mlflow/")))
        .route("/mlflow/", get(async |State(app): State<App>| file(&app, "index.html", LOOK).await))
        .route("/mlflow/static-files/{*path}", get(asset))
        .nest("/mlflow", super::routes())
}

async fn asset(State(app): State<App>, Path(path): Path<String>) -> Response {
    file(&app, &path, KEEP).await
}

async fn file(app: &App, path: &str, cache: &'static str) -> Response {
    const CACHE: HeaderName = header::CACHE_CONTROL;
    let relative = FsPath::new(path);
    let is_below = relative.components().all(|part| matches!(part, Component::Normal(_)));
    let content = match &app.config().mlflow_pages {
        Some(folder) if is_below => tokio::fs::read(folder.join(relative)).await.ok(),
        _ => None,
    };
    match content {
        Some(content) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, kind(path)), (CACHE, cache)], content).into_response()
        }
        None => {
            let why = format!("MLflow's pages have no file `{path}`.");
            Failure(Error::new(Code::EndpointNotFound, why)).into_response()
        }
    }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::Request;
    use tidemill_core::SystemClock;
    use tidemill_db::Db;
    use tidemill_registry::Registry;
    use tidemill_store::{Store, StoreOptions};
    use tower::ServiceExt as _;

    use super::*;
    use crate::{Config, router};

    #[tokio::test]
    async fn the_pages_find_their_files_and_the_api() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("mlflow");
        let build = package.join("server/js/build");
        fs_err::create_dir_all(build.join("static/js")).unwrap();
        fs_err::write(build.join("index.html"), "<script src=\"static-files/static/js/main.js\">").unwrap();
        fs_err::write(build.join("static/js/main.js"), "1").unwrap();
        fs_err::write(package.join("secret.html"), "no").unwrap();
        assert_eq!(mlflow_pages(&package).as_deref(), Some(build.as_path()));
        assert_eq!(mlflow_pages(&build).as_deref(), Some(build.as_path()));
        assert_eq!(mlflow_pages(&package.join("server")), None);

        let clock = Arc::new(SystemClock);
        let db = Db::open(dir.path().join("t.db").to_str().unwrap(), clock.clone()).await.unwrap();
        let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        let registry = Registry::new(db, store, clock);
        registry.prepare().await.unwrap();
        let mut config = Config::new(dir.path().to_owned());
        config.mlflow_pages = mlflow_pages(&package);
        let with = router(App::new(registry.clone(), config));
        let without = router(App::new(registry, Config::new(dir.path().to_owned())));
        let search = "/mlflow/ajax-api/2.0/mlflow/experiments/search?max_results=5";
        for (path, status, text, pages) in [
            ("/mlflow", 308, "", &with),
            ("/mlflow/", 200, "static-files/static/js/main.js", &with),
            ("/mlflow/static-files/static/js/main.js", 200, "1", &with),
            ("/mlflow/static-files/static/js/none.js", 404, "ENDPOINT_NOT_FOUND", &with),
            ("/mlflow/static-files/..%2F..%2F..%2Fsecret.html", 404, "ENDPOINT_NOT_FOUND", &with),
            ("/mlflow/static-files/static//js/../../../../../secret.html", 404, "ENDPOINT_NOT_FOUND", &with),
            (search, 200, "\"Default\"", &with),
            ("/mlflow/", 404, "ENDPOINT_NOT_FOUND", &without),
            (search, 404, "ENDPOINT_NOT_FOUND", &without),
        ] {
            let request = Request::get(path).header(header::HOST, "localhost").body(Body::empty()).unwrap();
            let response = pages.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path}");
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let body = String::from_utf8_lossy(&body);
            assert!(body.contains(text), "{path}: {body}");
        }
    }
}
