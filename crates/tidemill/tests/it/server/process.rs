//! A running `tidemill up` and the Python scripts that talk to it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tidemill_testkit::{Database, Postgres, mlflow_python};

use crate::fixture::{repository, tidemill};

/// Where servers keep what they are told: a folder, and a PostgreSQL database or none.
pub(super) struct Place {
    dir: TempDir,
    database: Option<Database>,
}

impl Place {
    /// Everything in a folder.
    pub(super) fn sqlite() -> Self {
        Self { dir: tempfile::Builder::new().prefix("tidemill-server-").tempdir().unwrap(), database: None }
    }

    /// Metadata in a database of the shared PostgreSQL server, artifacts in a folder.
    pub(super) fn postgres() -> Self {
        Self { database: Some(Postgres::shared().database()), ..Self::sqlite() }
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The binary, told where metadata and artifacts are; its project has nothing in it.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let project = self.root().join("tidemill.yaml");
        if !project.exists() {
            fs_err::write(project, "project: served\n").unwrap();
        }
        let mut command = tidemill();
        command.current_dir(self.root()).args(arguments);
        if let Some(database) = &self.database {
            command.args(["--database", database.url()]);
        }
        command
    }

    /// Starts a server and waits until it says where it listens.
    pub(super) fn serve(&self) -> Server {
        Server::start(self, &[])
    }

    /// Starts a server with these variables in its environment.
    pub(super) fn serve_in(&self, environment: &[(&str, &str)]) -> Server {
        Server::begin_in(self, "up", &[], environment)
    }

    /// Starts the gateway alone.
    pub(super) fn serve_alone(&self, more: &[&str]) -> Server {
        Server::begin(self, "serve", more)
    }

    /// The same, with further arguments.
    pub(super) fn serve_with(&self, more: &[&str]) -> Server {
        Server::start(self, more)
    }
}

/// A running server; killed when dropped.
pub(super) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(super) url: String,
    /// Where it answers gRPC.
    pub(super) grpc: Option<String>,
    log: PathBuf,
}

impl Server {
    fn start(place: &Place, more: &[&str]) -> Self {
        Self::begin(place, "up", more)
    }

    fn begin(place: &Place, command: &str, more: &[&str]) -> Self {
        Self::begin_in(place, command, more, &[])
    }

    fn begin_in(place: &Place, command: &str, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let log =
            tempfile::Builder::new().prefix("server-").suffix(".log").tempfile_in(place.root()).unwrap();
        let (file, log) = log.keep().unwrap();
        let mut command = place.command(&[command, "--json", "--listen", "127.0.0.1:0", "--drain", "20s"]);
        command.envs(environment.iter().copied());
        let mut child = command.args(more).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            let ended = child.wait();
            panic!("the server said `{line}` ({error}) and ended ({ended:?}):\n{}", read(&log))
        });
        let url = said["url"].as_str().unwrap().to_owned();
        let grpc = said["grpc"].as_str().map(str::to_owned);
        Self { child, url, grpc, log }
    }

    /// kill -9.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.never_panicked();
    }

    /// SIGTERM; the server ends by itself and well.
    pub(super) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "the server does not stop:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{status}:\n{}", self.said());
        self.never_panicked();
    }

    fn never_panicked(&self) {
        assert!(!self.said().contains("panicked"), "{}", self.said());
    }

    /// What it wrote to standard error.
    pub(super) fn said(&self) -> String {
        read(&self.log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    fs_err::read_to_string(path).unwrap()
}

/// A program of the environment with the MLflow client, in a folder where it may write what it likes.
pub(super) fn python(place: &Place, program: &str) -> Command {
    interpreter(place, &mlflow_python().with_file_name(program))
}

fn interpreter(place: &Place, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(place.root()).stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", place.root()).env("USER", "tester").env("LC_ALL", "C.UTF-8");
    command
}

/// One of the scripts in `tests/python` with its arguments.
pub(super) fn script(place: &Place, name: &str, arguments: &[&str]) -> Command {
    let mut command = python(place, "python");
    command.arg(repository().join("crates/tidemill/tests/python").join(name)).args(arguments);
    command
}

/// The same with an interpreter of another environment.
pub(super) fn script_of(place: &Place, python: PathBuf, name: &str, arguments: &[&str]) -> Command {
    let mut command = interpreter(place, &python);
    command.arg(repository().join("crates/tidemill/tests/python").join(name)).args(arguments);
    command
}

/// Runs a command of the client; when it fails, shows everything that it and the servers said.
#[track_caller]
pub(super) fn succeeds(mut command: Command, servers: &[&Server]) {
    let output = command.output().unwrap();
    if !output.status.success() {
        let said: Vec<String> = servers.iter().map(|server| server.said()).collect();
        panic!(
            "{command:?}: {}\n{}{}\n--- servers said\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            said.join("\n---\n")
        );
    }
}
