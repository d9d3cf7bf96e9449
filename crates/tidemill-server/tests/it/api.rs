//! Our own API: pages, times, errors, the stream of events, and the document that says so.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tidemill_core::{Actor, EventKind, NewEvent, Timestamp};
use tokio::io::AsyncReadExt as _;

use crate::client::Server;

/// Events of three experiments, one a minute.
async fn three_events(server: &Server) {
    // The default experiment is there before the first answer.
    server.get("/health").await;
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
        // A stream has no end, and outcomes are taken only beside a gateway: the real binary's tests ask for both.
        let is_read = !document["paths"][path]["get"].is_null();
        if !is_read || path.ends_with("/stream") || path.ends_with("/outcomes") {
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

#[tokio::test]
async fn there_are_places_for_so_many_streams() {
    let server = Server::start_with(|config| config.streams = 1).await;
    three_events(&server).await;
    let path = "/api/v1/events/stream?after=0";
    let mut first = server.send("GET", path, &[], "").await;
    read_until(&mut first, &mut String::new(), "tides 3").await;
    let second = server.get(path).await;
    second.is(503, &["as many clients follow the log as the server takes", "hint"]);
    assert_eq!(second.header("retry-after"), Some("1"));
    drop(first);
    // The server notices that a client is gone when it has something to say to it.
    let mut text = String::new();
    while !text.contains("tides 3") {
        three_events(&server).await;
        let mut again = server.send("GET", path, &[], "").await;
        let mut buffer = vec![0; 1 << 16];
        let read = again.read(&mut buffer).await.unwrap();
        text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        if !text.starts_with("HTTP/1.1 503") && !text.contains("tides 3") {
            read_until(&mut again, &mut text, "tides 3").await;
        }
    }
}

#[tokio::test]
async fn nothing_is_called_by_the_character_nul() {
    let server = Server::start().await;
    for path in [
        "/api/v1/runs/a%00b",
        "/api/v1/models/%00/aliases/champion",
        "/api/2.0/mlflow/experiments/get-by-name?experiment_name=%00",
    ] {
        server.get(path).await.is(400, &["the character NUL"]);
    }
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

/// One request of MLflow's API that must go well.
async fn mlflow(server: &Server, path: &str, body: serde_json::Value) -> serde_json::Value {
    let reply = server.ask("POST", &format!("/api/2.0/mlflow/{path}"), &[], &body.to_string()).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

#[tokio::test]
async fn experiments_runs_and_metrics() {
    let server = Server::start().await;
    let experiment = mlflow(&server, "experiments/create", json!({"name": "tides"})).await;
    let experiment = experiment["experiment_id"].as_str().unwrap().to_owned();
    let mut runs = Vec::new();
    for started in [10_000, 30_000, 20_000] {
        let new =
            json!({"experiment_id": experiment, "start_time": started, "run_name": format!("at {started}")});
        let run = mlflow(&server, "runs/create", new).await;
        runs.push(run["run"]["info"]["run_id"].as_str().unwrap().to_owned());
    }
    let metrics: Vec<_> = (0..1000)
        .map(|i| json!({"key": "val/loss", "value": if i == 617 { 9.0 } else { 0.5 }, "timestamp": i, "step": i}))
        .collect();
    mlflow(&server, "runs/log-batch", json!({"run_id": runs[0], "metrics": metrics})).await;
    mlflow(&server, "runs/log-parameter", json!({"run_id": runs[0], "key": "depth", "value": "7"})).await;
    mlflow(
        &server,
        "runs/log-metric",
        json!({"run_id": runs[0], "key": "odd", "value": "NaN", "timestamp": 1}),
    )
    .await;

    let names = async |query: &str| -> (Vec<String>, serde_json::Value) {
        let page = server.get(&format!("/api/v1/experiments/{experiment}/runs?{query}")).await.json();
        let names = page["data"].as_array().unwrap().iter();
        (names.map(|run| run["name"].as_str().unwrap().to_owned()).collect(), page["next"].clone())
    };
    let (first, next) = names("limit=2").await;
    assert_eq!(first, ["at 30000", "at 20000"]);
    let (second, end) = names(&format!("limit=2&cursor={}", next.as_str().unwrap())).await;
    assert_eq!((second, end), (vec!["at 10000".to_owned()], serde_json::Value::Null));
    assert_eq!(names("deleted=true").await.0, [""; 0]);

    let run = server.get(&format!("/api/v1/runs/{}", runs[0])).await.json()["data"].clone();
    assert_eq!(run["started_at"], "1970-01-01T00:00:10Z");
    assert_eq!(run["params"], json!({"depth": "7"}));
    assert_eq!(run["metrics"][0]["value"], "NaN");
    assert_eq!((&run["metrics"][1]["key"], &run["metrics"][1]["step"]), (&json!("val/loss"), &json!(999)));

    let series = server.get(&format!("/api/v1/runs/{}/metrics/val%2Floss?points=20", runs[0])).await;
    let points = series.json()["data"]["points"].as_array().unwrap().clone();
    assert!(points.len() <= 20, "{}", points.len());
    assert!(
        points.contains(&json!({"step": 617, "at": "1970-01-01T00:00:00.617Z", "value": 9.0})),
        "{points:?}"
    );
    assert_eq!((&points[0]["step"], &points[points.len() - 1]["step"]), (&json!(0), &json!(999)));
    server.get(&format!("/api/v1/runs/{}/metrics/none", runs[0])).await.is(404, &["has no metric `none`"]);
    server.get(&format!("/api/v1/runs/{}/metrics/none", "0".repeat(32))).await.is(404, &["there is no run"]);

    let all = server.get("/api/v1/experiments").await.json();
    assert_eq!((&all["data"][0]["name"], &all["data"][1]["name"]), (&json!("tides"), &json!("Default")));
    server.get(&format!("/api/v1/experiments/{experiment}")).await.is(200, &["\"deleted\":false"]);
    server.get("/api/v1/experiments/99").await.is(404, &["there is no experiment 99"]);
}

#[tokio::test]
async fn which_version_was_champion_then() {
    let server = Server::start().await;
    mlflow(&server, "registered-models/create", json!({"name": "churn"})).await;
    for version in ["1", "2"] {
        mlflow(&server, "model-versions/create", json!({"name": "churn", "source": "s3://b/m"})).await;
        server.clock.advance(Duration::from_secs(3600));
        let alias = json!({"name": "churn", "alias": "champion", "version": version});
        let alias = server
            .ask(
                "POST",
                "/api/2.0/mlflow/registered-models/alias",
                &[("authorization", "Basic YWRhOg==")],
                &alias.to_string(),
            )
            .await;
        alias.is(200, &[]);
    }
    let model = server.get("/api/v1/models/churn").await.json()["data"].clone();
    assert_eq!((&model["aliases"], &model["latest_version"]), (&json!({"champion": 2}), &json!(2)));
    let at = async |query: &str| {
        server.get(&format!("/api/v1/models/churn/aliases/champion{query}")).await.json()["data"].clone()
    };
    let now = at("").await;
    assert_eq!(now["version"], 2);
    assert_eq!(now["history"][1]["from"], 1);
    assert_eq!(now["history"][1]["by"], "user:ada");
    // The clock began at 2023-11-14T22:13:20Z.
    assert_eq!(at("?at=2023-11-14T23:13:20Z").await["version"], 1);
    assert_eq!(at("?at=2023-11-15T01:00:00%2B01:00").await["version"], 1);
    assert_eq!(at("?at=2023-11-14T22:00:00Z").await.get("version"), None);
    server.get("/api/v1/models/churn/aliases/none").await.is(404, &["never had an alias `none`"]);

    let versions = server.get("/api/v1/models/churn/versions?limit=1").await.json();
    assert_eq!((&versions["data"][0]["version"], &versions["next"]), (&json!(2), &json!("2")));
    server.get("/api/v1/models/churn/versions/1").await.is(200, &["\"stage\":\"None\""]);
    server.get("/api/v1/models/churn/versions/3").await.is(404, &["there is no version 3"]);
    server.get("/api/v1/models?limit=1").await.is(200, &["\"name\":\"churn\""]);
    server.get("/api/v1/models/a%00b").await.is(400, &["the character NUL"]);
}
