//! What every request gets: a name, protection of browsers, the right kind of refusal.

use tidemill_server::{MLFLOW_VERSION, Origins, Token};

use crate::client::Server;

#[tokio::test]
async fn probes_and_what_there_is_not() {
    let server = Server::start().await;
    let health = server.get("/health").await;
    health.is(200, &["OK"]);
    assert_eq!(health.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(health.header("x-frame-options"), Some("SAMEORIGIN"));
    server.get("/version").await.is(200, &[MLFLOW_VERSION]);

    server.get("/api/2.0/mlflow/nonsense").await.is(404, &["\"error_code\":\"ENDPOINT_NOT_FOUND\""]);
    server.get("/nonsense").await.is(404, &["\"error_code\":\"ENDPOINT_NOT_FOUND\""]);
    let ours = server.get("/api/v1/nonsense").await;
    ours.is(404, &["\"code\":\"no_such_route\""]);
    assert_eq!(ours.header("content-type"), Some("application/problem+json"));
    let method = server.ask("DELETE", "/api/3.0/mlflow/server-info", &[], "").await;
    method.is(405, &["\"error_code\":\"ENDPOINT_NOT_FOUND\"", "does not take DELETE"]);
    assert_eq!(method.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn requests_have_names() {
    let server = Server::start().await;
    let named = server.ask("GET", "/version", &[("x-request-id", "batch-7/3")], "").await;
    assert_eq!(named.header("x-request-id"), Some("batch-7/3"));
    let bad = server.ask("GET", "/version", &[("x-request-id", "two words")], "").await;
    let made = bad.header("x-request-id").unwrap();
    assert!(made != "two words" && made.len() > 8, "{made}");
}

#[tokio::test]
async fn browsers_are_protected() {
    let server =
        Server::start_with(|config| config.origins = Origins::default().page("https://desk.example")).await;
    let path = "/api/2.0/mlflow/experiments/search";
    server
        .ask("GET", path, &[("host", "evil.example")], "")
        .await
        .is(403, &["Invalid Host header - possible DNS rebinding attack detected"]);
    server.ask("GET", "/health", &[("host", "evil.example")], "").await.is(200, &[]);
    server
        .ask("POST", path, &[("origin", "https://evil.example")], "{}")
        .await
        .is(403, &["Cross-origin request blocked"]);
    let problem = server.ask("POST", "/api/v1/info", &[("origin", "https://evil.example")], "{}").await;
    problem.is(403, &["\"code\":\"forbidden\""]);

    let preflight = [
        ("origin", "https://desk.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let allowed = server.ask("OPTIONS", path, &preflight, "").await;
    allowed.is(204, &[]);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://desk.example"));
    let other = server.ask("OPTIONS", path, &[("origin", "https://evil.example"), preflight[1]], "").await;
    assert_eq!(other.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn with_a_token_every_route_asks_for_it() {
    let server = Server::start_with(|config| config.token = Some(Token::new("s3cret"))).await;
    // `ada:s3cret`, `:s3cret`, `ada:other`
    let (ada, nameless, wrong) = ("Basic YWRhOnMzY3JldA==", "Basic OnMzY3JldA==", "Basic YWRhOm90aGVy");
    for path in
        ["/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info", "/api/v1/info", "/metrics"]
    {
        for (given, good) in [
            (None, false),
            (Some("Bearer s3cret"), true),
            (Some("Bearer S3cret"), false),
            (Some(ada), true),
            (Some(nameless), true),
            (Some(wrong), false),
            (Some("s3cret"), false),
        ] {
            let headers: Vec<_> = given.map(|given| ("authorization", given)).into_iter().collect();
            let reply = server.ask("GET", path, &headers, "").await;
            assert_eq!(reply.status, if good { 200 } else { 401 }, "{path} {given:?}");
            if !good {
                assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"mlflow\""), "{path}");
            }
        }
    }
    server.get("/api/2.0/mlflow/runs/get").await.is(401, &["You are not authenticated. Please set"]);
    server.get("/nonsense").await.is(401, &[]);
    server.get("/health").await.is(200, &["OK"]);
    server.get("/version").await.is(200, &[]);
}

#[tokio::test]
async fn what_prometheus_reads() {
    let server = Server::start().await;
    server.get("/version").await.is(200, &[]);
    server.get("/api/v1/datasets/none").await.is(404, &[]);
    let page = server.get("/metrics").await;
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    page.is(
        200,
        &[
            "tidemill_http_requests_total{method=\"GET\",route=\"/version\",status=\"200\"} 1",
            "tidemill_http_requests_total{method=\"GET\",route=\"/api/v1/datasets/{name}\",status=\"404\"} 1",
            "tidemill_http_request_duration_seconds_count{method=\"GET\",route=\"/version\"} 1",
            "tidemill_http_in_flight 1",
            "tidemill_ingest_groups_total 0",
            "tidemill_ingest_waiting 0",
            "tidemill_database_bytes ",
            "tidemill_log_entries ",
            "tidemill_store_bytes 0",
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
            &format!("mlflow_version=\"{MLFLOW_VERSION}\""),
        ],
    );
}

#[tokio::test]
async fn the_server_stops_when_it_is_asked_to() {
    let server = Server::start().await;
    let address = server.running.address();
    assert!(server.running.stop().await);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
