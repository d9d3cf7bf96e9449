//! The shell around handlers that do as badly as handlers can, on real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use tempfile::TempDir;
use tidemill_core::SystemClock;
use tidemill_db::Db;
use tidemill_registry::Registry;
use tidemill_store::{Store, StoreOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{App, Config, bind, health, listen};

/// A server with handlers that misbehave.
struct Bad {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<bool>,
    _dir: TempDir,
}

/// What came back: all text until the server closed the connection.
struct Reply(String);

impl Reply {
    fn status(&self) -> u16 {
        self.0.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    #[track_caller]
    fn is(&self, status: u16, texts: &[&str]) {
        assert_eq!(self.status(), status, "{}", self.0);
        for text in texts {
            assert!(self.0.contains(text), "`{text}` is not in:\n{}", self.0);
        }
    }
}

impl Bad {
    async fn start(set: impl FnOnce(&mut Config)) -> Self {
        Self::start_draining(set, Duration::from_secs(5)).await
    }

    async fn start_draining(set: impl FnOnce(&mut Config), drain: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let db = Db::open(dir.path().join("t.db").to_str().unwrap(), clock.clone()).await.unwrap();
        let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        let mut config = Config::new(dir.path().to_owned());
        set(&mut config);
        let app = App::new(Registry::new(db, store, clock), config);
        let router = super::around(&app, health::routes().merge(routes()));
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move { listen::answer(&app, router, listener, stopped, drain).await });
        Self { address, stop, task, _dir: dir }
    }

    async fn open(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn get(&self, path: &str) -> Reply {
        rest(self.open(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await)
            .await
    }
}

fn routes() -> Router<App> {
    Router::new()
        .route("/api/2.0/boom", get(async || -> String { panic!("on purpose") }))
        .route("/api/v1/boom", get(async || -> String { panic!("on purpose, number {}", 2) }))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_millis(400)).await))
        .route("/hang", get(async || std::future::pending::<()>().await))
        .route("/echo", post(async |body: Bytes| body.len().to_string()))
        .route(
            "/endless",
            get(async || {
                let block = Bytes::from(vec![7; 1 << 16]);
                let blocks = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(block.clone()));
                Response::new(Body::from_stream(blocks))
            }),
        )
        .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
}

async fn rest(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    // A connection that is cut in the middle is an error for the reader, and what came before is what matters.
    drop(tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer in time"));
    Reply(String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_server_lives() {
    let bad = Bad::start(|_| ()).await;
    let said = "the server failed at this request";
    bad.get("/api/2.0/boom").await.is(500, &["\"error_code\":\"INTERNAL_ERROR\"", said, "x-request-id: "]);
    bad.get("/api/v1/boom")
        .await
        .is(500, &["content-type: application/problem+json", "\"code\":\"internal\"", said]);
    bad.get("/health").await.is(200, &["OK"]);

    // The same connection goes on too.
    let twice = "GET /api/2.0/boom HTTP/1.1\r\nhost: localhost\r\n\r\nGET /version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let reply = rest(bad.open(twice).await).await;
    reply.is(500, &["HTTP/1.1 200 OK", crate::MLFLOW_VERSION]);
}

#[tokio::test]
async fn more_requests_than_there_is_room_for_are_told_to_come_back() {
    let bad = Bad::start(|config| config.in_flight = 2).await;
    let first = bad.open("GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let _second = bad.open("GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let busy = async || bad.get("/slow").await.status() == 503;
    until(busy).await;
    bad.get("/slow").await.is(503, &["retry-after: 1", "\"error_code\":\"TEMPORARILY_UNAVAILABLE\""]);
    bad.get("/api/v1/x").await.is(503, &["retry-after: 1", "\"code\":\"unavailable\""]);
    bad.get("/health").await.is(200, &[]);
    bad.get("/metrics").await.is(200, &["tidemill_http_in_flight 3"]);
    drop(first);
    until(async || bad.get("/slow").await.status() == 200).await;
}

/// Waits until it holds, for up to ten seconds.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "it did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn connections_are_bounded() {
    let bad = Bad::start(|config| config.connections = 1).await;
    let first = bad.open("").await;
    until(async || {
        let second = bad.open("GET /version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        tokio::time::timeout(Duration::from_millis(300), rest(second)).await.is_err()
    })
    .await;
    drop(first);
    bad.get("/version").await.is(200, &[]);
}

#[tokio::test]
async fn slow_clients_do_not_hold_a_connection() {
    let short = Duration::from_millis(300);
    let bad = Bad::start(|config| (config.head_timeout, config.stall_timeout) = (short, short)).await;
    for half in ["", "GET /health HTT", "GET /health HTTP/1.1\r\nhost: localhost\r\nx-a: "] {
        let begun = Instant::now();
        rest(bad.open(half).await).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{half}");
    }
    // A body that stops in the middle.
    let half = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n12345";
    rest(bad.open(half).await).await.is(400, &["the body of the request did not go on"]);
    // One that is slow but goes on.
    let mut slow = bad
        .open("POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 5\r\n\r\n")
        .await;
    for byte in b"12345" {
        tokio::time::sleep(short / 2).await;
        slow.write_all(&[*byte]).await.unwrap();
    }
    rest(slow).await.is(200, &["\r\n\r\n5"]);
    // An answer that nobody takes.
    let _lazy = bad.open("GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    until(async || bad.get("/metrics").await.0.contains("tidemill_http_connections 1\n")).await;
}

/// It begins anew with each request.
#[tokio::test]
async fn a_connection_in_use_outlives_the_time_for_a_head() {
    let bad = Bad::start(|config| config.head_timeout = Duration::from_secs(2)).await;
    let mut stream = bad.open("").await;
    for request in 0..6 {
        stream.write_all(b"GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).ends_with(crate::MLFLOW_VERSION) {
            let read = stream.read_buf(&mut answer).await.unwrap();
            assert!(read > 0, "request {request}: {}", String::from_utf8_lossy(&answer));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let begun = Instant::now();
    rest(stream).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "an idle connection is closed");
}

#[tokio::test]
async fn bodies_are_bounded() {
    let bad = Bad::start(|config| config.json_limit = 1000).await;
    let post = async |length: usize| {
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        rest(bad.open(&(head + &"x".repeat(length))).await).await
    };
    post(1000).await.is(200, &["1000"]);
    post(1001).await.is(413, &[]);
}

/// Each within its own limit, and together more than the machine has.
#[tokio::test]
async fn bodies_are_bounded_together() {
    let bad = Bad::start(|config| config.body_memory = 1 << 20).await;
    let head = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let large = 700 << 10;
    let mut first = bad.open(&head("/echo", large)).await;
    let refused = async || rest(bad.open(&head("/echo", large)).await).await.status() == 503;
    until(refused).await;
    let why = "take all the memory that is set aside for them";
    rest(bad.open(&head("/echo", large)).await)
        .await
        .is(503, &["retry-after: 1", "TEMPORARILY_UNAVAILABLE", why]);
    rest(bad.open(&head("/api/v1/x", large)).await).await.is(503, &["\"code\":\"unavailable\"", why]);
    // One whose length nobody knows counts as the largest; small ones always pass.
    let unknown =
        "POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    rest(bad.open(unknown).await).await.is(503, &[]);
    rest(bad.open(&(head("/echo", 5) + "12345")).await).await.is(200, &["\r\n\r\n5"]);
    first.write_all(&vec![b'x'; large]).await.unwrap();
    rest(first).await.is(200, &["716800"]);
    rest(bad.open(&(head("/echo", large) + &"x".repeat(large))).await).await.is(200, &["716800"]);
}

#[tokio::test]
async fn what_has_begun_is_finished() {
    let bad = Bad::start(|_| ()).await;
    let idle = bad.open("").await;
    let slow = bad.open("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    bad.stop.cancel();
    rest(slow).await.is(200, &["connection: close"]);
    rest(idle).await.is(0, &[]);
    assert!(bad.task.await.unwrap(), "nothing was cut off");
    assert!(TcpStream::connect(bad.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_does_not_end_is_cut_off() {
    let bad = Bad::start_draining(|_| (), Duration::from_millis(200)).await;
    let hang = bad.open("GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    bad.stop.cancel();
    assert!(!bad.task.await.unwrap());
    rest(hang).await.is(0, &[]);
}
