//! A server and a client that sees every byte.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidemill_core::{Actor, EventKind, NewEvent, RunId, SystemClock, Timestamp};
use tidemill_db::Db;
use tidemill_db::logged_models::NewLoggedModel;
use tidemill_db::tracking::{Batch, Experiment, NewTrackedRun, RunStatus, Stage};
use tidemill_registry::Registry;
use tidemill_server::{App, Config, Running};
use tidemill_store::{Store, StoreOptions};
use tidemill_testkit::AnyDatabase;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const PROXY: &str = "/api/2.0/mlflow-artifacts/artifacts";

/// A server with an experiment's worth of configuration of its own.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) registry: Registry,
    pub(crate) address: String,
    server: Running,
    _database: AnyDatabase,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config, &TempDir)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let database = AnyDatabase::at(&dir.path().join("db"));
        let db = Db::open(&database.url, clock.clone()).await.unwrap();
        let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        let registry = Registry::new(db, store, clock);
        let mut config = Config::new(dir.path().join("scratch"));
        change(&mut config, &dir);
        let server = Running::start(App::new(registry.clone(), config)).unwrap();
        let address = server.address().to_string();
        Self { dir, registry, address, server, _database: database }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    pub(crate) async fn send(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        Answer::read(&mut stream).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, "", b"").await
    }

    pub(crate) async fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.send("PUT", &format!("{PROXY}/{path}"), "", body).await
    }

    pub(crate) async fn fetch(&self, path: &str) -> Answer {
        self.get(&format!("{PROXY}/{path}")).await
    }

    pub(crate) async fn post(&self, target: &str, body: &serde_json::Value) -> Answer {
        let headers = "Content-Type: application/json\r\n";
        self.send("POST", target, headers, body.to_string().as_bytes()).await
    }

    /// Stops the server as a signal would; nothing is cut off.
    pub(crate) async fn stop(self) {
        assert!(tokio::time::timeout(Duration::from_secs(20), self.server.stop()).await.unwrap());
    }

    /// An experiment whose artifacts are at `location`, with a run and a logged model.
    pub(crate) async fn owner(&self, id: i64, location: &str) -> Owner {
        let (now, run) = (Timestamp::from_millis(1), RunId::from_entropy([id as u8; 16]));
        let event = |kind| NewEvent { at: now, actor: Actor::user("ana"), kind, cause: None };
        let name = format!("experiment {id}");
        let experiment = Experiment {
            id,
            name: name.clone(),
            artifact_location: location.to_owned(),
            stage: Stage::Active,
            created_at: now,
            updated_at: now,
            tags: Vec::new(),
        };
        let db = self.registry.db();
        let mut tx = db.begin().await.unwrap();
        tx.create_experiment(&experiment).await.unwrap();
        tx.commit(vec![event(EventKind::ExperimentCreated { experiment: id, name: name.clone() })])
            .await
            .unwrap();
        let new = NewTrackedRun {
            id: run,
            experiment: id,
            name: name.clone(),
            user: String::new(),
            status: RunStatus::Running,
            started_at: Some(now),
            ended_at: None,
            artifact_uri: None,
        };
        let created = event(EventKind::TrackingRunCreated { run, experiment: id, name: name.clone() });
        let info = db.ingest().create_run(new, Batch::default(), created).await.unwrap();
        let model = format!("m-{run}");
        let mut tx = db.begin().await.unwrap();
        tx.create_logged_model(&NewLoggedModel {
            id: model.clone(),
            experiment: id,
            name,
            model_type: String::new(),
            source_run: Some(run.to_string()),
            artifact_uri: format!("{location}/models/{model}/artifacts"),
            params: Vec::new(),
            tags: Vec::new(),
            created_at: now,
        })
        .await
        .unwrap();
        let kind = EventKind::LoggedModelCreated { model: model.clone(), experiment: id, run: Some(run) };
        tx.commit(vec![event(kind)]).await.unwrap();
        Owner { run: run.to_string(), model, uri: info.artifact_uri }
    }
}

/// Who artifacts belong to.
pub(crate) struct Owner {
    pub(crate) run: String,
    pub(crate) model: String,
    /// Of the run's artifacts.
    pub(crate) uri: String,
}

impl Answer {
    pub(crate) async fn read(stream: &mut TcpStream) -> Self {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let mut body = all.split_off(end + 4);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Self { status, head, body: Vec::new() };
        if answer.header("transfer-encoding") == Some("chunked") {
            body = unchunk(&body);
        }
        Self { body, ..answer }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        format!("{}\n{}", self.head, String::from_utf8_lossy(&self.body))
    }

    /// The error's name and message, with the status.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        (self.status, text("error_code"), text("message"))
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return out;
        }
        out.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

/// Bytes that do not compress and differ for each seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
