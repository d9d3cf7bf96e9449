//! Starts the servers of the model: ours, and those it is compared with, each set up in its favour.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{ASKED, Input, declare, register, split};
use crate::bench::server::{Listens, OURS, Server, free_port, request};
use crate::bench::session::Session;
use crate::{process, workspace};

pub(super) const BARE: &str = "bare axum handler";
pub(super) const MLSERVER: &str = "mlserver";
pub(super) const FASTAPI: &str = "fastapi";
pub(super) const BENTO: &str = "bentoml";
pub(super) const MLFLOW: &str = "mlflow models serve";

/// `tidemill up` over gRPC as well, with `model.onnx` behind an endpoint of two arms.
pub(super) fn tidemill(session: &Session, input: &Input, folder: &str) -> Result<Server> {
    let home = session.folder(folder)?;
    let server = restarted(session, &home)?;
    register(&server, input, "model", "model.onnx")?;
    declare(&server, &split())?;
    Ok(server)
}

/// The same over a home that was there before.
pub(super) fn restarted(session: &Session, home: &Path) -> Result<Server> {
    let mut command = Server::up(session, home);
    command.args(["--grpc", "127.0.0.1:0"]);
    Server::start(OURS, &mut command, home, Listens::Says, request("GET", "/health", ""))
}

/// Builds the example program with the servers of ours that are no products.
pub(super) fn example(session: &Session) -> Result<PathBuf> {
    workspace::example_of_all(&session.root, "bench_server", !session.smoke)
}

/// A mode of the example program.
pub(super) fn bench_server(
    session: &Session,
    tool: &'static str,
    program: &Path,
    input: &Input,
    arguments: &[&str],
) -> Result<Server> {
    let home = session.folder(&format!("serve-{}", tool.replace(' ', "-")))?;
    let mut command = Command::new(program);
    command.arg(input.file("model.onnx")).args(arguments).current_dir(&home);
    Server::start(tool, &mut command, &home, Listens::Says, request("GET", "/health", ""))
}

/// MLServer with so many copies of the model, without worker processes, which only cost it time here.
pub(super) fn mlserver(session: &Session, input: &Input, copies: usize) -> Result<Server> {
    let peers = session.peers.as_ref().context("no peers in this session")?;
    let home = session.folder("serve-mlserver")?;
    let (http, grpc, metrics) = (free_port()?, free_port()?, free_port()?);
    let settings = json!({
        "debug": false, "parallel_workers": 0, "host": "127.0.0.1",
        "http_port": http, "grpc_port": grpc, "metrics_port": metrics,
    });
    fs_err::write(home.join("settings.json"), settings.to_string())?;
    for copy in 0..copies {
        let name = if copy == 0 { ASKED.to_owned() } else { format!("{ASKED}-{copy}") };
        let folder = home.join(&name);
        fs_err::create_dir_all(&folder)?;
        fs_err::copy(input.file("model.onnx"), folder.join("model.onnx"))?;
        let model = json!({
            "name": name, "implementation": "serve_mlserver.Onnx", "parameters": {"uri": "./model.onnx"},
        });
        fs_err::write(folder.join("model-settings.json"), model.to_string())?;
    }
    let mut command = peers.mlserver("mlserver");
    command.args(["start", "."]).current_dir(&home).env("PYTHONPATH", peers.scripts());
    let ready = request("GET", &format!("/v2/models/{ASKED}/ready"), "");
    Server::start(MLSERVER, &mut command, &home, Listens::At(http, Some(grpc)), ready)
}

/// The hand-written server, one worker.
pub(super) fn fastapi(session: &Session, input: &Input) -> Result<Server> {
    let peers = session.peers.as_ref().context("no peers in this session")?;
    let (home, port) = (session.folder("serve-fastapi")?, free_port()?);
    let mut command = peers.serve("uvicorn");
    command.args([
        "serve_fastapi:app",
        "--no-access-log",
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
    ]);
    command.current_dir(peers.scripts()).env("MODEL", input.file("model.onnx"));
    Server::start(FASTAPI, &mut command, &home, Listens::At(port, None), request("GET", "/health", ""))
}

/// BentoML, one worker.
pub(super) fn bento(session: &Session, input: &Input) -> Result<Server> {
    let peers = session.peers.as_ref().context("no peers in this session")?;
    let (home, port) = (session.folder("serve-bentoml")?, free_port()?);
    let mut command = peers.serve("bentoml");
    command.args(["serve", "serve_bento:Classifier", "--host", "127.0.0.1", "--port", &port.to_string()]);
    command.current_dir(peers.scripts()).env("MODEL", input.file("model.onnx"));
    command.env("BENTOML_DO_NOT_TRACK", "True").env("BENTOML_HOME", home.join("bento"));
    Server::start(BENTO, &mut command, &home, Listens::At(port, None), request("GET", "/readyz", ""))
}

/// `mlflow models serve` of the model as LightGBM's own, with its default number of workers.
pub(super) fn mlflow(session: &Session, input: &Input) -> Result<Server> {
    let peers = session.peers.as_ref().context("no peers in this session")?;
    let (home, port) = (session.folder("serve-mlflow")?, free_port()?);
    let mut save = peers.mlflow("python");
    save.arg(peers.scripts().join("serve_mlflow.py")).arg(input.file("model.txt")).arg(home.join("model"));
    save.env("MLFLOW_DISABLE_TELEMETRY", "true").env("PYTHONDONTWRITEBYTECODE", "1");
    process::output(save.current_dir(&home))?;
    let mut command = peers.mlflow("mlflow");
    command.args(["models", "serve", "--model-uri", "model", "--env-manager", "local"]);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    // It starts `uvicorn` by its name, as an activated environment has it.
    let programs = Path::new(command.get_program()).parent().map(Path::to_path_buf).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path)))?;
    command.current_dir(&home).env("PATH", path).env("MLFLOW_DISABLE_TELEMETRY", "true");
    Server::start(MLFLOW, &mut command, &home, Listens::At(port, None), request("GET", "/ping", ""))
}
