//! Many connections while models are loaded again, routing changes and a shadow crashes: no request may fail.
//!
//! Twenty seconds run with the other tests. Five minutes are run by
//! `TIDEMILL_SOAK_SECONDS=300 cargo nextest run --workspace -E 'test(no_request_fails)' --no-capture`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tidemill_testkit::mlflow_python;

use super::client::Client;
use super::process::{Place, Server};
use super::registered::{Api, MODEL, row};

const CONNECTIONS: usize = 64;

/// A model of Python that ends its process on every third call.
const CRASHING: &str = "import os\n\n\nclass Model:\n    calls = 0\n\n    def predict(self, data):\n        \
    Model.calls += 1\n        if Model.calls % 3 == 0:\n            os._exit(9)\n        return [0.0] * len(data)\n\n\n\
    def _load_pyfunc(path):\n    return Model()\n";
const CRASHING_MODEL: &str = "flavors:\n  python_function:\n    code: code\n    loader_module: crashing\nsignature:\n  \
    inputs: '[{\"type\": \"double\", \"name\": \"a\"}, {\"type\": \"double\", \"name\": \"b\"}, {\"type\": \"long\", \"name\": \"n\"}, \
    {\"type\": \"string\", \"name\": \"colour\"}, {\"type\": \"boolean\", \"name\": \"flag\"}]'\n  \
    outputs: '[{\"type\": \"double\", \"name\": \"y\"}]'\n";

#[test]
fn no_request_fails_while_models_and_routes_change() {
    let seconds = std::env::var("TIDEMILL_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    soak(Duration::from_secs(seconds.unwrap_or(20)));
}

fn soak(time: Duration) {
    let place = Place::sqlite();
    let python = mlflow_python();
    let server = place.serve_with(&["--python", python.to_str().unwrap()]);
    let api = Api::of(&server, None);
    api.register("ridge", MODEL);
    api.register("ridge", MODEL);
    let files = [("MLmodel", CRASHING_MODEL.into()), ("code/crashing.py", CRASHING.into())];
    api.register_files("crashing", &files);
    route(&api, 1);

    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let (changes, reloads, mut effects) = std::thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let (server, stop, asked) = (&server, &stop, &asked);
            scope.spawn(move || ask(server, number, stop, asked));
        }
        let _stopping = Stopping(&stop);
        let begin = Instant::now();
        let (mut changes, mut reloads, mut effects) = (0, 0, Vec::new());
        while begin.elapsed() < time {
            let version = 1 + changes % 2;
            effects.push(effect(&server, &api, version));
            changes += 1;
            if changes % 5 == 0 {
                api.call("POST", "/v2/repository/models/ridge/load", b"{}");
                reloads += 1;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        (changes, reloads, effects)
    });
    effects.sort_unstable();
    let at = |share: f64| effects[((effects.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{} requests over {CONNECTIONS} connections in {time:?}, {changes} routing changes, {reloads} reloads, none failed; \
         effect of a change after {:.1} ms (median), {:.1} ms (95 %), {:.1} ms (longest)",
        asked.load(Ordering::SeqCst),
        at(0.5),
        at(0.95),
        at(1.0)
    );
    assert!(asked.load(Ordering::SeqCst) > CONNECTIONS as u64, "nothing was asked");
    let mut client = Client::connect(&server.url).unwrap();
    let metrics = client.send("GET", "/metrics", "text/plain", b"").unwrap().body;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(
        metrics.lines().any(|line| line.contains("crashing")),
        "the shadow was shown requests: {metrics}"
    );
    server.stop();
}

/// Stops the connections, also where a change fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// All requests to one version, and a share of them shown to the model that crashes.
fn route(api: &Api, version: u64) -> String {
    let spec = json!({"arms": [
        {"name": "only", "model": "ridge", "version": version.to_string(), "weight": 100},
        {"name": "idea", "model": "crashing", "weight": 5, "shadow": true},
    ]});
    let answer = api.call("PUT", "/api/v1/endpoints/prices", &serde_json::to_vec(&spec).unwrap());
    answer["data"]["revision"].to_string()
}

/// How long after it was asked for a change is seen by a request.
fn effect(server: &Server, api: &Api, version: u64) -> Duration {
    let mut client = Client::connect(&server.url).unwrap();
    let begin = Instant::now();
    route(api, version);
    let wanted = format!("\"model_version\":\"{version}\"");
    loop {
        let answer = client.send("POST", "/v2/models/prices/infer", "application/json", &row()).unwrap();
        if String::from_utf8_lossy(&answer.body).contains(&wanted) {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "a change has no effect");
    }
}

/// One connection that asks until it is told to stop. Every request is answered.
fn ask(server: &Server, number: usize, stop: &AtomicBool, asked: &AtomicU64) {
    let mut client = Client::connect(&server.url).unwrap();
    let body = row();
    let mut value = None;
    while !stop.load(Ordering::SeqCst) {
        let answer = client.send("POST", "/v2/models/prices/infer", "application/json", &body).unwrap();
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "connection {number}: {said}");
        let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
        let first = answer["outputs"][0]["data"][0].clone();
        assert_eq!(*value.get_or_insert_with(|| first.clone()), first, "both versions are the same model");
        asked.fetch_add(1, Ordering::SeqCst);
    }
}
