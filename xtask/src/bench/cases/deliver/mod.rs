//! Continuous delivery: how fast a bad release is gone, what a thousand rollouts cost, how soon an event starts a run.
//!
//! The models are those of the tests: they take a text, and the harmful one fails where it is no number. No peer is asked, since
//! none has a rollout of models that decides by itself.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::serve::upload;
use crate::bench::server::{Listens, OURS, Server, request};
use crate::bench::session::Session;
use crate::process;

pub(super) mod demo;
pub(super) mod rollback;
pub(super) mod rollouts;
pub(super) mod triggers;

/// The released model, and the endpoint of its last environment.
const MODEL: &str = "late";
/// How long anything may take that is waited for before something is measured.
const PATIENCE: Duration = Duration::from_mins(4);

const MLMODEL: &str = r#"flavors:
  onnx: {data: model.onnx, providers: [CPUExecutionProvider]}
  python_function: {data: model.onnx, loader_module: mlflow.onnx}
signature:
  inputs: '[{"name": "x", "type": "string", "required": true}]'
"#;

/// A project and the server of it.
struct Place {
    home: PathBuf,
    server: Server,
}

impl Place {
    /// A new project with this text after its name, and a server of it.
    fn new(session: &Session, folder: &str, text: &str) -> Result<Self> {
        let home = session.project(folder, text)?;
        fs_err::write(home.join("in.txt"), "0\n")?;
        let mut command = session.tidemill(&home, &["up", "--json", "--listen", "127.0.0.1:0"]);
        let health = request("GET", "/health", "");
        let server = Server::start(OURS, &mut command, &home, Listens::Says, health)?;
        Ok(Self { home, server })
    }

    /// What a command prints with `--json`.
    fn json(&self, session: &Session, arguments: &[&str]) -> Result<Value> {
        let text = process::output(session.tidemill(&self.home, arguments).arg("--json"))?;
        serde_json::from_str(&text).with_context(|| format!("`{arguments:?}` printed no JSON: {text}"))
    }

    /// Registers a model of the tests as the next version.
    fn register(&self, session: &Session, kind: &str) -> Result<()> {
        let file = format!("crates/tidemill/tests/fixtures/rollout-{kind}.onnx");
        upload(&self.server, MODEL, MLMODEL, &session.root.join(file), &self.home)
    }

    /// The events of a kind, oldest first.
    fn events(&self, session: &Session, kind: &str) -> Result<Vec<Value>> {
        let text = process::output(&mut session.tidemill(&self.home, &["log", "export"]))?;
        let events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(events.into_iter().filter(|event| event["kind"] == kind).collect())
    }

    /// Waits until the status of a rollout is as wanted.
    fn rollout(&self, session: &Session, id: u64, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        until(&format!("rollout {id}"), || {
            let status = self.json(session, &["rollout", "status", &id.to_string()])?;
            Ok(is_so(&status).then_some(status))
        })
    }
}

/// Asks until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        ensure!(begin.elapsed() < PATIENCE, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A request for a prediction that every version answers; `x` is the text.
fn question(endpoint: &str, x: &str) -> Vec<u8> {
    let body = json!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": [x]}]});
    request("POST", &format!("/v2/models/{endpoint}/infer"), &body.to_string())
}

/// Milliseconds since 1970, on the clock that the server has too.
#[expect(clippy::disallowed_methods, reason = "what is measured is compared with times in the server's log")]
fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3)
}
