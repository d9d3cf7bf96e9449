//! Our own API: pages, times, errors, the stream of events, and the document that says so.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tidemill_core::{Actor, EventKind, NewEvent, Timestamp};
use tokio::io::AsyncReadExt as _;

use crate::client::Server;

/// Events of three experiments, one a minute.
async fn three_events(server: &Server) {
    for experiment in 1..=3 {
        let kind = EventKind::ExperimentCreated { experiment, name: format!("tides {experiment}") };
        let at = Timestamp::from_millis(1_700_000_000_000 + experiment * 60_000);
        let event = NewEvent { at, actor: Actor::user("ada"), kind, cause: None };
        server.db.begin().await.unwrap().commit(vec![event]).await.unwrap();
    }
}

#[test]
fn the_document_is_as_it_was() {
    insta::assert_snapshot!(tidemill_server::openapi().to_pretty_json().unwrap());
}

#[tokio::test]
async fn every_documented_route_is_there() {
    let server = Server::start().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths: BTreeSet<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
    for path in &paths {
        if path.ends_with("/stream") {
            continue;
        }
        let reply = server.get(&path.replace("{seq}", "1").replace(['{', '}'], "")).await;
        assert!(!reply.body.contains("no_such_route"), "{path}: {reply:?}");
        assert!(matches!(reply.status, 200 | 400 | 404), "{path}: {reply:?}");
    }
    assert!(paths.len() > 8, "{paths:?}");
}

#[tokio::test]
async fn pages_of_events() {
    let server = Server::start().await;
    three_events(&server).await;
    let first = server.get("/api/v1/events?kind=experiment.created&limit=2").await.json();
    let seqs = |page: &serde_json::Value| -> Vec<String> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["subject"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(seqs(&first), ["experiment:3", "experiment:2"]);
    let cursor = first["next"].as_str().unwrap();
    let second =
        server.get(&format!("/api/v1/events?kind=experiment.created&limit=2&cursor={cursor}")).await.json();
    assert_eq!(seqs(&second).first().map(String::as_str), Some("experiment:1"));
    assert_eq!(second.get("next"), None);

    let event = &server.get("/api/v1/events?subject=experiment:2").await.json()["data"][0];
    assert_eq!(
        *event,
        json!({
            "seq": event["seq"], "at": "2023-11-14T22:15:20Z", "kind": "experiment.created",
            "subject": "experiment:2", "actor": {"kind": "user", "name": "ada"},
            "details": {"experiment": 2, "name": "tides 2"},
        })
    );
    let window = "since=2023-11-14T22:15:00Z&until=2023-11-14T22:16:20Z&order=oldest&kind=experiment.created";
    let found = server.get(&format!("/api/v1/events?{window}")).await.json();
    assert_eq!(seqs(&found), ["experiment:2"]);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let server = Server::start().await;
    for (path, status, text) in [
        ("/api/v1/events?limt=3", 400, "unknown field `limt`"),
        ("/api/v1/events?limit=0", 400, "a page holds 1 to 1000 things, not 0"),
        ("/api/v1/events?limit=x", 400, "limit"),
        ("/api/v1/events?limit=1&limit=2", 400, "duplicate field `limit`"),
        ("/api/v1/events?since=yesterday", 400, "`yesterday` is not a time as RFC 3339 says it"),
        ("/api/v1/events?subject=a%00b", 400, "zero byte"),
        ("/api/v1/log/proof/0", 404, "entries are numbered from 1"),
        ("/api/v1/log/proof/x", 400, "the path is not right"),
        ("/api/v1/log/proof/%FF", 400, "invalid_value"),
        ("/api/v1/datasets/none", 404, "`/api/v1/datasets` lists them"),
        ("/api/v1/datasets/a%20b/versions", 404, "not_found"),
        ("/api/v1/pipeline-runs/0123", 404, "not_found"),
        ("/api/v1/pipeline-runs?cursor=abc", 400, "send `next` of the page before"),
    ] {
        let reply = server.get(path).await;
        reply.is(status, &[text, "\"detail\":"]);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{path}");
    }
}

#[tokio::test]
async fn an_entry_is_proven_to_be_in_the_log() {
    let server = Server::start().await;
    three_events(&server).await;
    let head = server.get("/api/v1/log/head").await.json()["data"].clone();
    let size = head["size"].as_u64().unwrap();
    let found = server.get(&format!("/api/v1/log/proof/{size}")).await.json()["data"].clone();
    assert_eq!(found["head"], head);
    let proof: tidemill_db::InclusionProof = serde_json::from_value(found.clone()).unwrap();
    proof.verify(found["entry"].as_str().unwrap().as_bytes()).unwrap();
    assert!(proof.verify(b"something else").is_err());
}

#[tokio::test]
async fn a_stream_follows_the_log_and_ends_with_the_server() {
    let server = Server::start().await;
    three_events(&server).await;
    let mut stream =
        server.send("GET", "/api/v1/events/stream?kind=experiment.created&after=0", &[], "").await;
    let mut text = String::new();
    read_until(&mut stream, &mut text, "tides 3").await;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    assert!(
        text.contains("event: experiment.created\n") || text.contains("event:experiment.created\n"),
        "{text}"
    );
    three_events(&server).await;
    read_until(&mut stream, &mut text, "tides 3").await;
    assert!(server.running.stop().await, "the stream did not hold the server back");
    stream.read_to_string(&mut text).await.unwrap();
}

/// Reads what is new until it contains `wanted`.
async fn read_until(stream: &mut tokio::net::TcpStream, text: &mut String, wanted: &str) {
    let from = text.len();
    let mut buffer = [0; 4096];
    while !text[from..].contains(wanted) {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer)).await;
        let read = read.unwrap_or_else(|_| panic!("`{wanted}` did not come: {text}")).unwrap();
        assert!(read > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}
