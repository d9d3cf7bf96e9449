//! The servers under measurement. Ours and MLflow's, with its default number of workers, each get a folder of their own, and
//! a database of their own on one PostgreSQL with the durability of its defaults; any other program is started as it is told.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidemill_testkit::{Database, Postgres};

use crate::bench::server::{Client, Tree, request};
use crate::bench::session::Session;
use crate::process;

/// Where a server keeps its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A file in its folder.
    Sqlite,
    /// A database of its own on a PostgreSQL on loopback.
    Postgres,
}

impl Backend {
    /// As in `server-metrics` and `postgres-metrics`.
    pub(crate) fn row(self, name: &str) -> String {
        match self {
            Self::Sqlite => format!("server-{name}"),
            Self::Postgres => format!("postgres-{name}"),
        }
    }

    /// For titles.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// Makes databases; holds the PostgreSQL server that they are on.
pub(crate) struct Databases {
    server: Option<Postgres>,
}

impl Databases {
    /// For servers of this kind.
    pub(crate) fn new(backend: Backend) -> Self {
        Self { server: (backend == Backend::Postgres).then(Postgres::durable) }
    }

    fn make(&self) -> Option<Database> {
        self.server.as_ref().map(Postgres::database)
    }
}

/// A running server; stopped when dropped.
pub(crate) struct Server {
    child: Child,
    url: String,
    tool: &'static str,
    /// Seconds from its start to its first good answer of `/health`.
    pub(crate) ready: f64,
    /// How the peer is told where its database is.
    store: String,
    database: Option<Database>,
    /// Where it answers over gRPC, where it does.
    grpc: Option<String>,
    /// The request that it answers well when it is ready.
    probe: Vec<u8>,
}

/// How it becomes known where a server listens.
pub(crate) enum Listens {
    /// Its first line is a JSON object with `url` and maybe `grpc`.
    Says,
    /// At these ports of loopback: HTTP, and maybe gRPC.
    At(u16, Option<u16>),
}

/// Our name in tables.
pub(crate) const OURS: &str = "tidemill";
/// The peer's.
pub(crate) const PEER: &str = "mlflow server";

impl Server {
    /// Starts `tidemill up` in a new folder.
    pub(crate) fn ours(session: &Session, databases: &Databases, folder: &str) -> Result<Self> {
        let home = session.folder(folder)?;
        let database = databases.make();
        let mut command = Self::up(session, &home);
        if let Some(database) = &database {
            command.args(["--database", database.url()]);
        }
        let mut server = Self::start(OURS, &mut command, &home, Listens::Says, health())?;
        server.database = database;
        Ok(server)
    }

    /// `tidemill up` with a home, which may be one that was there before.
    pub(crate) fn up(session: &Session, home: &Path) -> Command {
        let mut command = Command::new(&session.ours);
        command.args(["up", "--json", "--listen", "127.0.0.1:0", "--home"]).arg(home).current_dir(home);
        command
    }

    /// Starts `mlflow server` in a new folder; `None` in a session without peers.
    pub(crate) fn peer(session: &Session, databases: &Databases, folder: &str) -> Result<Option<Self>> {
        let Some(peers) = &session.peers else { return Ok(None) };
        let home = session.folder(folder)?;
        let database = databases.make();
        let store = match &database {
            Some(database) => database.url().replace("postgres://", "postgresql+psycopg2://"),
            None => format!("sqlite:///{}", home.join("mlflow.db").display()),
        };
        let port = free_port()?;
        let mut command = peers.mlflow("mlflow");
        command.args(["server", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--backend-store-uri", &store, "--artifacts-destination"]).arg(home.join("artifacts"));
        command.current_dir(&home).env("MLFLOW_DISABLE_TELEMETRY", "true");
        let mut server = Self::start(PEER, &mut command, &home, Listens::At(port, None), health())?;
        (server.store, server.database) = (store, database);
        Ok(Some(server))
    }

    /// Starts a program whose log goes into `home`, and waits until it answers `probe` well.
    pub(crate) fn start(
        tool: &'static str,
        command: &mut Command,
        home: &Path,
        listens: Listens,
        probe: Vec<u8>,
    ) -> Result<Self> {
        command.stdout(if matches!(listens, Listens::Says) { Stdio::piped() } else { Stdio::null() });
        let begin = Instant::now();
        let child = spawn(command, home)?;
        let (url, grpc) = (String::new(), None);
        let (store, database) = (String::new(), None);
        let mut server = Self { child, url, tool, ready: 0.0, store, database, grpc, probe };
        match listens {
            Listens::Says => server.listen(home)?,
            Listens::At(http, grpc) => {
                server.url = format!("http://127.0.0.1:{http}");
                server.grpc = grpc.map(|port| format!("127.0.0.1:{port}"));
            }
        }
        server.wait(begin)?;
        Ok(server)
    }

    /// Reads where it listens from its first line.
    fn listen(&mut self, home: &Path) -> Result<()> {
        let mut line = String::new();
        let output = self.child.stdout.take().context("no output of the server")?;
        BufReader::new(output).read_line(&mut line)?;
        let said: serde_json::Value = serde_json::from_str(&line)
            .with_context(|| format!("the server did not say where it listens; see `{}`", home.display()))?;
        said["url"].as_str().context("the server did not say where it listens")?.clone_into(&mut self.url);
        self.grpc = said["grpc"].as_str().map(str::to_owned);
        Ok(())
    }

    /// Waits for the first good answer.
    fn wait(&mut self, begin: Instant) -> Result<()> {
        while Client::new(&self.url).send(&self.probe).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended while it started: {status}", self.tool);
            }
            if begin.elapsed() > Duration::from_mins(3) {
                bail!("{} does not answer after three minutes", self.tool);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.ready = begin.elapsed().as_secs_f64();
        Ok(())
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn crash(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Where it answers over gRPC: HOST:PORT.
    pub(crate) fn grpc(&self) -> Option<&str> {
        self.grpc.as_deref()
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its name in tables.
    pub(crate) fn tool(&self) -> &'static str {
        self.tool
    }

    /// Its processes.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.child.id())
    }

    /// Fills a peer's database with MLflow's own classes, because through HTTP it would take hours. Returns what the
    /// script printed.
    pub(crate) fn fill(&self, session: &Session, arguments: &[&str]) -> Result<String> {
        let peers = session.peers.as_ref().context("no peers in this session")?;
        let mut command = peers.mlflow("python");
        command.arg(session.root.join("xtask/bench/mlflow_fill.py")).arg(&self.store).args(arguments);
        command.env("MLFLOW_DISABLE_TELEMETRY", "true").env("GIT_PYTHON_REFRESH", "quiet");
        process::output(&mut command).map(|text| text.trim().to_owned())
    }
}

fn health() -> Vec<u8> {
    request("GET", "/health", "")
}

/// A port of loopback that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr())?.port())
}

/// Starts a server whose log goes to a file in its folder.
fn spawn(command: &mut Command, home: &Path) -> Result<Child> {
    let log = fs_err::File::create(home.join("server.log"))?.into_parts().0;
    command.stdin(Stdio::null()).stderr(log).process_group(0);
    command.spawn().with_context(|| format!("cannot start `{}`", process::shown(command)))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Workers that outlive their parent would disturb what is measured next.
        let members = self.tree().members();
        let send = |process: u32, signal| {
            let _ = kill(Pid::from_raw(process.cast_signed()), signal);
        };
        send(self.child.id(), Signal::SIGTERM);
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        for process in members.into_iter().filter(|process| *process != self.child.id()) {
            send(process, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.database.take());
    }
}
