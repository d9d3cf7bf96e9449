//! Models of a server, registered as MLflow's client does it, without the client.

use serde_json::{Value, json};

use super::client::Client;
use super::process::Server;
use crate::fixture::repository;

/// The files of a model: an ONNX file of our own trainer, with its signature.
pub(super) const MODEL: &str = "own-ridge.onnx";

const SIGNATURE: &str = r#"[{"type": "double", "name": "a"}, {"type": "double", "name": "b"},
    {"type": "long", "name": "n"}, {"type": "string", "name": "colour"}, {"type": "boolean", "name": "flag"}]"#;

/// A request of one row that such a model takes.
pub(super) fn row() -> Vec<u8> {
    let input = |name: &str, kind: &str, value: Value| json!({"name": name, "datatype": kind, "shape": [1, 1], "data": [value]});
    let inputs = [
        input("a", "FP64", json!(0.5)),
        input("b", "FP64", json!(-1.25)),
        input("n", "INT64", json!(3)),
        input("colour", "BYTES", json!("red")),
        input("flag", "BOOL", json!(true)),
    ];
    serde_json::to_vec(&json!({ "inputs": inputs })).unwrap()
}

/// A server's API.
pub(super) struct Api {
    url: String,
    token: Option<String>,
}

impl Api {
    pub(super) fn of(server: &Server, token: Option<&str>) -> Self {
        Self { url: server.url.clone(), token: token.map(str::to_owned) }
    }

    /// One request that must succeed.
    #[track_caller]
    pub(super) fn call(&self, method: &str, path: &str, body: &[u8]) -> Value {
        let mut kind = "application/json".to_owned();
        if let Some(token) = &self.token {
            kind.push_str(&format!("\r\nAuthorization: Bearer {token}"));
        }
        let answer = Client::connect(&self.url).unwrap().send(method, path, &kind, body).unwrap();
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {said}", answer.status);
        serde_json::from_str(&said).unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn mlflow(&self, what: &str, body: Value) -> Value {
        self.call("POST", &format!("/api/2.0/mlflow/{what}"), &serde_json::to_vec(&body).unwrap())
    }

    /// Makes a version of a model, and the model where it is not there; gives the version.
    #[track_caller]
    pub(super) fn register(&self, name: &str, fixture: &str) -> String {
        let file = repository().join("crates/tidemill-runtime/tests/fixtures").join(fixture);
        let signature = Value::from(SIGNATURE).to_string();
        let manifest = format!(
            "flavors:\n  onnx:\n    data: model.onnx\n  python_function:\n    loader_module: mlflow.onnx\nsignature:\n  \
             inputs: {signature}\n"
        );
        let files = [("MLmodel", manifest.into_bytes()), ("model.onnx", fs_err::read(file).unwrap())];
        self.register_files(name, &files)
    }

    /// The same for a model of these files.
    #[track_caller]
    pub(super) fn register_files(&self, name: &str, files: &[(&str, Vec<u8>)]) -> String {
        let run = self.mlflow("runs/create", json!({"experiment_id": "0"}));
        let id = run["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        let root = run["run"]["info"]["artifact_uri"].as_str().unwrap().to_owned();
        let below = root.trim_start_matches("mlflow-artifacts:/").trim_matches('/').to_owned();
        for (path, bytes) in files {
            self.call("PUT", &format!("/api/2.0/mlflow-artifacts/artifacts/{below}/model/{path}"), bytes);
        }
        let listed = self.call("GET", "/api/v1/models?limit=1000", b"");
        let known = listed["data"].as_array().unwrap().iter().any(|model| model["name"] == name);
        if !known {
            self.mlflow("registered-models/create", json!({ "name": name }));
        }
        let source = json!({"name": name, "source": format!("{root}/model"), "run_id": id});
        let version = self.mlflow("model-versions/create", source);
        version["model_version"]["version"].as_str().unwrap().to_owned()
    }
}
