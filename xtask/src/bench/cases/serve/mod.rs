//! Serving of models beside other servers: a gradient-boosted classifier of 100 trees on 30 features, a row in a request.
//!
//! What each server answers is compared with ONNX Runtime's answers in Python before anything is timed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::bench::report::{Bar, Row, number};
use crate::bench::server::{Client, Server, request};
use crate::bench::session::Session;
use crate::process;

mod form;
mod servers;

pub(super) mod change;
pub(super) mod evaluator;
pub(super) mod latency;
pub(super) mod predict;
pub(super) mod records;
pub(super) mod shadow;
pub(super) mod start;

use form::Form;

/// Features of the model.
const FEATURES: usize = 30;
/// What requests ask for: our endpoint, the peers' model.
const ASKED: &str = "bench";
/// How far an answer may be from ONNX Runtime's: MLflow's server computes in double precision.
const TOLERANCE: f64 = 2e-6;

/// The models and rows, and what the models say of them.
pub(super) struct Input {
    folder: PathBuf,
    rows: Vec<Vec<f32>>,
    /// Probabilities by `model.onnx`.
    model: Vec<f64>,
    /// Probabilities by `other.onnx`.
    other: Vec<f64>,
}

#[derive(Deserialize)]
struct Written {
    rows: Vec<Vec<f32>>,
    model: Vec<f64>,
    other: Vec<f64>,
}

impl Input {
    /// Made once in a session, in the environment of the tests.
    fn make(session: &Session) -> Result<Self> {
        let folder = session.scratch.join("serve-input");
        let list = folder.join("rows.json");
        if !list.is_file() {
            fs_err::create_dir_all(&folder)?;
            process::output(python(session).arg("xtask/bench/serve_model.py").arg(&folder))?;
        }
        let Written { rows, model, other } = serde_json::from_slice(&fs_err::read(&list)?)?;
        ensure!(rows.iter().all(|row| row.len() == FEATURES), "a row without {FEATURES} features");
        Ok(Self { folder, rows, model, other })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The requests for all rows in a form.
    fn requests(&self, form: Form) -> Vec<Vec<u8>> {
        self.rows.iter().map(|row| form.request(row)).collect()
    }

    /// Asks a server for rows, one after another, and compares its answers.
    fn verify(&self, server: &Server, form: Form, expected: &[f64]) -> Result<()> {
        let mut connection = form.connect(server);
        for (number, (row, expected)) in self.rows.iter().zip(expected).take(256).enumerate() {
            let answer = connection.send(&form.request(row))?;
            let score = form.score(answer).with_context(|| {
                format!("{}: {}", server.tool(), String::from_utf8_lossy(&answer[..answer.len().min(500)]))
            })?;
            let tool = server.tool();
            ensure!(
                (score - expected).abs() <= TOLERANCE,
                "{tool} answers {score} to row {number}, ONNX Runtime {expected}"
            );
        }
        Ok(())
    }
}

/// The tests' Python, at the root of the repository.
fn python(session: &Session) -> Command {
    let mut command = Command::new(session.root.join(".venv/bin/python"));
    command.current_dir(&session.root).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Registers an ONNX file of the input as the next version of a model.
fn register(server: &Server, input: &Input, model: &str, file: &str) -> Result<()> {
    upload(server, model, MLMODEL, &input.file(file), &input.folder)
}

/// Registers an ONNX file as the next version of a model, its folder as `mlflow.onnx.log_model` writes it.
pub(super) fn upload(
    server: &Server,
    model: &str,
    described: &str,
    file: &Path,
    scratch: &Path,
) -> Result<()> {
    let mut client = Client::new(server.url());
    let body = json!({"experiment_id": "0"}).to_string();
    let made = client.json("POST", "/api/2.0/mlflow/runs/create", &body)?;
    let run = made["run"]["info"]["run_id"].as_str().context("no id in the answer")?.to_owned();
    let listed = client.json("GET", &format!("/api/2.0/mlflow/artifacts/list?run_id={run}"), "")?;
    let uri = listed["root_uri"].as_str().context("no address of the artifacts")?;
    let root = uri.strip_prefix("mlflow-artifacts:/").context("artifacts do not go through the proxy")?;
    let root = format!("/api/2.0/mlflow-artifacts/artifacts/{}/model", root.trim_start_matches('/'));
    let description = scratch.join("MLmodel");
    fs_err::write(&description, described)?;
    client.upload(&format!("{root}/MLmodel"), &description)?;
    client.upload(&format!("{root}/model.onnx"), file)?;
    let name = json!({"name": model}).to_string();
    if client.json("POST", "/api/2.0/mlflow/registered-models/create", &name).is_err() {
        // It is there already: this becomes its next version.
        client = Client::new(server.url());
    }
    let version = json!({"name": model, "source": format!("runs:/{run}/model"), "run_id": run}).to_string();
    client.json("POST", "/api/2.0/mlflow/model-versions/create", &version)?;
    Ok(())
}

/// Declares our endpoint with these arms.
fn declare(server: &Server, arms: &serde_json::Value) -> Result<()> {
    let body = json!({ "arms": arms }).to_string();
    Client::new(server.url()).send(&request("PUT", &format!("/api/v1/endpoints/{ASKED}"), &body))?;
    Ok(())
}

/// Two arms of the same model, as while a candidate is tried.
fn split() -> serde_json::Value {
    json!([
        {"name": "champion", "model": "model", "version": "1", "weight": 90},
        {"name": "challenger", "model": "model", "version": "1", "weight": 10},
    ])
}

/// Demands that there were none of something.
pub(super) fn none(mut row: Row, what: &str, count: u64) -> Row {
    row.bars.push(Bar { demand: format!("{what}: none"), reached: number(count as f64), pass: count == 0 });
    row
}

const MLMODEL: &str = r#"flavors:
  onnx: {data: model.onnx, onnx_version: 1.23.2, providers: [CPUExecutionProvider]}
  python_function: {data: model.onnx, loader_module: mlflow.onnx}
signature:
  inputs: '[{"name": "X", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 30]}}]'
"#;
