//! schemathesis over our own OpenAPI document: no request that follows it, or breaks it, ends in a 500. And what only
//! PostgreSQL would stumble over.

use serde_json::json;

use super::client::Client;
use super::process::{Place, script, succeeds};

#[test]
fn the_own_api_keeps_what_its_document_says() {
    let place = Place::sqlite();
    let server = place.serve();
    succeeds(script(&place, "api_v1.py", &[&server.url]), &[&server]);
    server.stop();
}

/// PostgreSQL keeps no text with this character, so it is refused on both databases, and takes nothing else with it.
#[track_caller]
fn refuses_nul(place: &Place) {
    let server = place.serve();
    let mut client = Client::connect(&server.url).unwrap();
    let made = client.call("POST", "runs/create", &json!({"experiment_id": "0"})).unwrap();
    let run = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    for (path, body) in [
        ("runs/set-tag", json!({"run_id": run, "key": "a", "value": "x\0y"})),
        ("runs/log-parameter", json!({"run_id": run, "key": "a", "value": "\0"})),
        ("runs/log-batch", json!({"run_id": run, "params": [{"key": "a", "value": "\0"}]})),
        ("runs/log-batch", json!({"run_id": "\0", "params": []})),
        (
            "runs/log-batch",
            json!({"run_id": run, "metrics": [{"key": "m", "value": 1, "timestamp": 1, "model_id": "\0"}]}),
        ),
        ("runs/log-metric", json!({"run_id": "\0", "key": "m", "value": 1, "timestamp": 1})),
        ("experiments/create", json!({"name": "\0"})),
        ("registered-models/create", json!({"name": "m", "description": "\0"})),
        ("runs/search", json!({"experiment_ids": ["0"], "filter": "tags.a = '\0'"})),
    ] {
        let sent = serde_json::to_vec(&body).unwrap();
        let path = format!("/api/2.0/mlflow/{path}");
        let answer = client.send("POST", &path, "application/json", &sent).unwrap();
        assert_eq!(answer.status, 400, "{path} {body}: {}", String::from_utf8_lossy(&answer.body));
    }
    for path in
        ["/api/2.0/mlflow/runs/get?run_id=%00", "/api/v1/runs/%00", "/api/2.0/mlflow/logged-models/%00"]
    {
        assert_eq!(client.send("GET", path, "application/json", b"").unwrap().status, 400, "{path}");
    }
    client.call("POST", "runs/set-tag", &json!({"run_id": run, "key": "a", "value": "\\0"})).unwrap();
    server.stop();
}

#[test]
fn the_character_nul_is_refused_on_sqlite() {
    refuses_nul(&Place::sqlite());
}

#[test]
fn the_character_nul_is_refused_on_postgres() {
    refuses_nul(&Place::postgres());
}
