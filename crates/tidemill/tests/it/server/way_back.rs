//! The way back from outside: how long a version goes on answering after it was decided that it goes, and that no caller notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tidemill_core::{Clock as _, SystemClock};

use super::client::Client;
use super::process::{Place, Server};
use super::registered::Api;
use super::rollouts::{json, wait};
use crate::fixture::repository;

/// Half of the requests go to the candidate, for as long as nobody says otherwise.
const PROJECT: &str = "project: served
release:
  model: late
  environments:
    prod:
      rollout:
        stages: [{canary: {share: 50%, samples: 1000000000}}, {full: {}}]
        judge: {error_budget: 0.05, metrics: [errors]}
";
const MLMODEL: &str = r#"flavors:
  onnx: {data: model.onnx, providers: [CPUExecutionProvider]}
  python_function: {data: model.onnx, loader_module: mlflow.onnx}
signature:
  inputs: '[{"name": "x", "type": "string", "required": true}]'
"#;
const QUESTION: &str = r#"{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": ["7"]}]}"#;
const CLIENTS: usize = 4;
/// What may pass between the decision and the last request that the bad version answers, in milliseconds.
const MOST: i64 = 1_000;
/// So often it is tried: on a machine that does much else everybody is late now and then, and not time after time.
const TRIES: u64 = 3;

/// A version that answers like all others and is another model by its files.
fn register(api: &Api, number: u64) {
    let model =
        fs_err::read(repository().join("crates/tidemill/tests/fixtures/rollout-healthy.onnx")).unwrap();
    let files = [
        ("MLmodel", MLMODEL.as_bytes().to_vec()),
        ("model.onnx", model),
        ("number.txt", number.to_string().into_bytes()),
    ];
    assert_eq!(api.register_files("late", &files), number.to_string());
}

/// When a request was sent, and the version that answered; none where nobody did.
type Asked = (i64, Option<String>);

/// One client that asks until it is over.
fn ask(url: &str, is_over: &AtomicBool) -> Vec<Asked> {
    let mut client = Client::connect(url).unwrap();
    let mut asked = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let sent = SystemClock.now().millis();
        let answer =
            client.send("POST", "/v2/models/late/infer", "application/json", QUESTION.as_bytes()).unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let version = body["model_version"].as_str().filter(|_| answer.status == 200);
        asked.push((sent, version.map(str::to_owned)));
    }
    asked
}

/// Releases a version, takes it back by hand while it is asked, and gives the milliseconds from the decision to its last request.
fn taken_back(place: &Place, server: &Server, rollout: u64, version: &str) -> i64 {
    let release = format!("late@{version}");
    json(place, &["release", &release, "--to", "prod"]);
    let is_over = AtomicBool::new(false);
    let asked: Vec<Asked> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| ask(&server.url, &is_over))).collect();
        wait(place, rollout, server, |status| status["requests"].as_u64() > Some(0));
        json(place, &["rollout", "rollback", &rollout.to_string(), "--reason", "calls"]);
        let ended = wait(place, rollout, server, |status| status["over"] == true);
        assert_eq!(ended["phase"], "rolled-back", "{ended}");
        // What would still go to it is seen by then.
        std::thread::sleep(Duration::from_secs(1));
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(asked.iter().all(|(_, version)| version.is_some()), "a caller got no answer");
    let log = json(place, &["log", "-n", "1000", "--kind", "rollout.moved"]);
    let is_decision = |event: &&Value| event["rollout"] == rollout && event["to"] == "rolling-back";
    let decision = log.as_array().unwrap().iter().find(is_decision).unwrap_or_else(|| panic!("{log}"));
    let decided = decision["at"].as_i64().unwrap_or_else(|| panic!("{decision}"));
    let of_it = asked.iter().filter(|(_, answered)| answered.as_deref() == Some(version));
    of_it.map(|(sent, _)| *sent - decided).max().expect("it answered none")
}

#[test]
fn within_a_second_of_the_decision_nobody_asks_the_bad_version() {
    let place = Place::sqlite();
    fs_err::write(place.root().join("tidemill.yaml"), PROJECT).unwrap();
    let server = place.serve();
    let api = Api::of(&server, None);
    register(&api, 1);
    json(&place, &["release", "late@1", "--to", "prod"]);
    wait(&place, 1, &server, |status| status["phase"] == "complete");
    let mut took = Vec::new();
    for number in 2..2 + TRIES {
        register(&api, number);
        took.push(taken_back(&place, &server, number, &number.to_string()));
        if took.last() < Some(&MOST) {
            break;
        }
    }
    println!("from the decision to the last request, ms: {took:?}");
    assert!(took.last() < Some(&MOST), "{took:?}");
    server.stop();
}
