//! `tidemill serve`: the gateway alone, in the real binary; and gRPC behind the token.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemill_testkit::triton_python;

use super::client::Client;
use super::process::{Place, Server, script_of, succeeds};
use super::registered::{Api, MODEL, row};
use crate::fixture::repository;

const TOKEN: &str = "a-secret-of-some-length";

/// Waits until something is so; says what it was last.
#[track_caller]
fn becomes<T: std::fmt::Debug>(look: impl Fn() -> T, is_so: impl Fn(&T) -> bool) {
    let begin = Instant::now();
    loop {
        let seen = look();
        if is_so(&seen) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it stays {seen:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn answer(server: &Server, name: &str) -> (u16, Value) {
    let mut client = Client::connect(&server.url).unwrap();
    let path = format!("/v2/models/{name}/infer");
    let answer = client.send("POST", &path, "application/json", &row()).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn get(server: &Server, path: &str) -> (u16, String) {
    let answer = Client::connect(&server.url).unwrap().send("GET", path, "text/plain", b"").unwrap();
    (answer.status, String::from_utf8(answer.body).unwrap())
}

/// The number that the model answers for [`row`], in whatever output it is.
fn number(answer: &Value) -> f64 {
    answer["outputs"][0]["data"][0].as_f64().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn models_of_a_folder_answer_at_once_and_are_recorded() {
    let place = Place::sqlite();
    let models = place.root().join("models");
    let fixture = repository().join("crates/tidemill-runtime/tests/fixtures/own-ridge.onnx");
    for version in ["1", "2"] {
        let folder = models.join("versions").join(version);
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::copy(&fixture, folder.join("model.onnx")).unwrap();
    }
    fs_err::copy(&fixture, models.join("ridge.onnx")).unwrap();
    let begin = Instant::now();
    let server = place.serve_alone(&["--models", "models"]);
    println!("from start to ready with two models: {} ms", begin.elapsed().as_millis());

    assert_eq!(get(&server, "/v2/health/ready").0, 200);
    let known: Value = serde_json::from_str(&get(&server, "/api/v1/serving/models").1).unwrap();
    let states: Vec<&str> =
        known["data"].as_array().unwrap().iter().map(|model| model["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["ready", "ready"], "{known}");
    let (status, first) = answer(&server, "ridge");
    assert_eq!(status, 200, "{first}");
    let (status, second) = answer(&server, "versions/versions/1");
    assert_eq!((status, number(&second)), (200, number(&first)), "{second}");
    assert_eq!(answer(&server, "nobody").0, 404);
    assert_eq!(get(&server, "/health"), (200, "OK".to_owned()));
    let metrics = get(&server, "/metrics").1;
    assert!(metrics.lines().any(|line| line.contains("ridge") && line.ends_with(" 1")), "{metrics}");
    // The registry and MLflow's protocol are another server's business.
    for path in ["/api/2.0/mlflow/experiments/search", "/api/v1/models", "/api/v1/endpoints"] {
        assert_eq!(get(&server, path).0, 404, "{path}");
    }
    server.stop();

    let home = place.root().join(".tidemill/serve");
    let shown =
        place.command(&["records", "ridge", "--json", "--home", home.to_str().unwrap()]).output().unwrap();
    let lines = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}{}", String::from_utf8_lossy(&shown.stderr));
    // Beside what it should have been asked.
    let table = |name: &str, a: f64| {
        let text = format!("colour,a,b,n,flag\nblue,1,1,1,false\nred,{a},-1.25,3,true\n");
        fs_err::write(place.root().join(name), text).unwrap();
        let arguments =
            ["records", "ridge", "--against", name, "--key", "colour", "--home", home.to_str().unwrap()];
        place.command(&arguments).output().unwrap()
    };
    let same = table("same.csv", 0.5);
    let said = String::from_utf8(same.stdout).unwrap();
    assert!(same.status.success() && said.contains("1 of 1 requests are in same.csv"), "{said}");
    let other = table("other.csv", 0.7);
    let said = String::from_utf8(other.stdout).unwrap();
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(said.contains("red: 0.5 was asked, 0.7 is in the table") && said.contains("100.0 %"), "{said}");
    let listed = place.command(&["serve", "--models", "nothing"]).output().unwrap();
    assert_eq!(listed.status.code(), Some(2), "{listed:?}");
}

#[test]
fn a_gateway_follows_a_server_and_outlives_it() {
    let place = Place::sqlite();
    fs_err::write(place.root().join("token"), TOKEN).unwrap();
    let token = place.root().join("token");
    let token = token.to_str().unwrap();
    let server = place.serve_with(&["--auth-token-file", token]);
    let api = Api::of(&server, Some(TOKEN));
    api.register("ridge", MODEL);
    api.register("ridge", MODEL);
    let endpoint = |arms: &[&str]| {
        let mut command = place.command(&["endpoint", "set", "prices"]);
        command.args(arms.iter().flat_map(|arm| ["--arm", *arm]));
        succeeds(command, &[&server]);
    };
    endpoint(&["only=ridge@1"]);

    let edge = Place::sqlite();
    let url = server.url.clone();
    let follow = ["--server", url.as_str(), "--server-token-file", token];
    let gateway = edge.serve_alone(&follow);
    let (status, first) = answer(&gateway, "prices");
    assert_eq!((status, &first["model_version"]), (200, &json!("1")), "{first}");
    assert_eq!(answer(&gateway, "ridge").0, 200, "models are asked directly too");
    endpoint(&["only=ridge@2"]);
    let version = || answer(&gateway, "prices").1["model_version"].clone();
    becomes(version, |version| version == "2");

    server.stop();
    assert_eq!(answer(&gateway, "prices").0, 200, "the server is away");
    gateway.stop();
    let again = edge.serve_alone(&follow);
    let (status, last) = answer(&again, "prices");
    assert_eq!((status, number(&last)), (200, number(&first)), "{last}");
    again.stop();
    let alone = Place::sqlite();
    let refused =
        alone.command(&["serve", "--server", follow[1], "--listen", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("does not answer"), "{said}");
}

#[test]
fn grpc_asks_for_the_token() {
    let place = Place::sqlite();
    fs_err::write(place.root().join("token"), TOKEN).unwrap();
    let token = place.root().join("token");
    let server = place.serve_with(&["--grpc", "127.0.0.1:0", "--auth-token-file", token.to_str().unwrap()]);
    Api::of(&server, Some(TOKEN)).register("ridge", MODEL);
    let address = server.grpc.clone().unwrap();
    succeeds(script_of(&place, triton_python(), "grpc_token.py", &[address.as_str(), TOKEN]), &[&server]);
    server.stop();
    let refused = place.command(&["up", "--listen", "127.0.0.1:0", "--grpc", "0.0.0.0:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("--auth-token-file"), "{said}");
}
