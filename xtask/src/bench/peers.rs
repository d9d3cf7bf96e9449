//! The tools we are compared with, in environments of their own, set up in their favour: no telemetry, no update
//! checks, no Git work, caches in the scratch folder.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::setup::Pins;
use crate::{process, setup};

const TOOLS: &str = ".venv-bench";
const MLFLOW: &str = ".venv-mlflow";
const SERVE: &str = ".venv-bench-serve";
const MLSERVER: &str = ".venv-bench-mlserver";
const TABLES: &str = ".venv-bench-tables";
const WHYLOGS: &str = ".venv-bench-whylogs";

/// A Python environment with peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Environment {
    /// Tools for data, pipelines and training.
    Tools,
    /// Those, and what tests and watches tables: Great Expectations, Evidently, whylogs.
    Tables,
    /// MLflow's server, where the tests have its client.
    Mlflow,
    /// Servers of models: MLflow's, MLServer, BentoML, FastAPI.
    Servers,
    /// Nowhere: the rules that it is compared with are played by the case itself, which needs no binary of ours either.
    Rules,
}

/// The Python environments with the peers.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    python: PathBuf,
    mlflow: PathBuf,
    serve: PathBuf,
    mlserver: PathBuf,
    tables: PathBuf,
    whylogs: PathBuf,
    scripts: PathBuf,
}

impl Peers {
    /// Makes those of the environments that are wanted, if needed.
    pub(crate) fn prepare(root: &Path, wanted: &[Environment]) -> Result<Self> {
        let tables = wanted.contains(&Environment::Tables);
        if tables {
            setup::environment(root, TABLES, Path::new("xtask/bench/tables.txt"), Pins::Direct)?;
            setup::environment(root, WHYLOGS, Path::new("xtask/bench/whylogs.txt"), Pins::Direct)?;
        }
        if tables || wanted.contains(&Environment::Tools) {
            setup::environment(root, TOOLS, Path::new("xtask/bench/requirements.txt"), Pins::Direct)?;
        }
        let servers = wanted.contains(&Environment::Servers);
        if servers {
            setup::environment(root, SERVE, Path::new("xtask/bench/serve.txt"), Pins::Direct)?;
            setup::environment(root, MLSERVER, Path::new("xtask/bench/mlserver.txt"), Pins::Direct)?;
        }
        if servers || wanted.contains(&Environment::Mlflow) {
            setup::environment(root, MLFLOW, Path::new("xtask/python/mlflow.txt"), Pins::Complete)?;
        }
        let python = |folder: &str| root.join(folder).join("bin/python");
        Ok(Self {
            python: python(TOOLS),
            mlflow: python(MLFLOW),
            serve: python(SERVE),
            mlserver: python(MLSERVER),
            tables: python(TABLES),
            whylogs: python(WHYLOGS),
            scripts: root.join("xtask/bench"),
        })
    }

    /// A program of the environment with MLflow.
    pub(crate) fn mlflow(&self, name: &str) -> Command {
        Command::new(self.mlflow.with_file_name(name))
    }

    /// A program of the environment with BentoML and FastAPI.
    pub(crate) fn serve(&self, name: &str) -> Command {
        serving(&self.serve, name)
    }

    /// A program of the environment with MLServer.
    pub(crate) fn mlserver(&self, name: &str) -> Command {
        serving(&self.mlserver, name)
    }

    /// The folder `xtask/bench`.
    pub(crate) fn scripts(&self) -> &Path {
        &self.scripts
    }

    /// One of the scripts in `xtask/bench`.
    pub(crate) fn script(&self, name: &str) -> Command {
        self.script_with(&self.python, name)
    }

    /// A script that needs Great Expectations or Evidently.
    pub(crate) fn tables(&self, name: &str) -> Command {
        self.script_with(&self.tables, name)
    }

    /// A script that needs whylogs.
    pub(crate) fn whylogs(&self, name: &str) -> Command {
        self.script_with(&self.whylogs, name)
    }

    fn script_with(&self, python: &Path, name: &str) -> Command {
        let mut command = Command::new(python);
        command.arg(self.scripts.join(name));
        command
    }

    /// A program that a package of the environment installed.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.python.with_file_name(name))
    }

    /// `dvc` with these arguments in a repository.
    pub(crate) fn dvc(&self, repository: &Path, arguments: &[&str]) -> Command {
        let mut command = self.program("dvc");
        command.current_dir(repository).args(arguments).env("DVC_NO_ANALYTICS", "1");
        command
    }

    /// Makes an empty folder a DVC repository without Git, its databases inside of it.
    pub(crate) fn dvc_init(&self, repository: &Path) -> Result<()> {
        let site = repository.join(".dvc/site");
        process::output(&mut self.dvc(repository, &["init", "--no-scm", "--quiet"]))?;
        for (key, value) in [
            ("core.analytics", "false"),
            ("core.check_update", "false"),
            ("core.site_cache_dir", &*site.to_string_lossy()),
        ] {
            process::output(&mut self.dvc(repository, &["config", key, value]))?;
        }
        Ok(())
    }

    /// Versions of the peers, one line.
    pub(crate) fn versions(&self) -> String {
        let tools: &[&str] =
            &["dvc", "dvc-s3", "oxenai", "metaflow", "duckdb", "scikit-learn", "lightgbm", "moto"];
        let mut found: Vec<String> = Vec::new();
        for (python, shown) in [
            (&self.python, tools),
            (&self.mlflow, &["mlflow"]),
            (&self.serve, &["bentoml", "fastapi", "uvicorn", "onnxruntime"]),
            (&self.mlserver, &["mlserver"]),
            (&self.tables, &["evidently", "great_expectations"]),
            (&self.whylogs, &["whylogs"]),
        ] {
            let mut freeze = Command::new(python);
            let listed = process::output(freeze.args(["-m", "pip", "freeze", "--disable-pip-version-check"]));
            for line in listed.unwrap_or_default().lines() {
                if let Some((name, version)) = line.split_once("==")
                    && shown.contains(&name)
                {
                    found.push(format!("{name} {version}"));
                }
            }
        }
        found.join(", ")
    }

    /// Starts an S3-compatible server on a free loopback port, with an empty bucket `bench`.
    pub(crate) fn s3(&self, scratch: &Path) -> Result<S3> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr())?.port();
        let log = fs_err::File::create(scratch.join("s3.log"))?.into_parts().0;
        let child = self
            .program("moto_server")
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the S3 server")?;
        let server = S3 { child, endpoint: format!("http://127.0.0.1:{port}") };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            if Instant::now() > deadline {
                bail!("the S3 server did not answer within a minute; see s3.log");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut make = self.script("make_bucket.py");
        server.point(&mut make);
        process::output(make.arg("bench"))?;
        Ok(server)
    }
}

/// A program beside an interpreter, which leaves nothing behind in the scripts' folder.
fn serving(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python.with_file_name(name));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A running S3 server; stops when dropped.
#[derive(Debug)]
pub(crate) struct S3 {
    child: Child,
    /// Its address.
    pub(crate) endpoint: String,
}

impl S3 {
    /// Sets what S3 clients read from the environment.
    pub(crate) fn point(&self, command: &mut Command) {
        command
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_EC2_METADATA_DISABLED", "true");
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may have ended on its own; then there is nothing to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
