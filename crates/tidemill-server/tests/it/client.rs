//! A server over an empty database, and the smallest HTTP client that shows everything that was sent.

use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tidemill_core::{FixedClock, Timestamp};
use tidemill_db::Db;
use tidemill_registry::Registry;
use tidemill_server::{App, Config, Running};
use tidemill_store::{Store, StoreOptions};
use tidemill_testkit::AnyDatabase;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A server that stops when the value is dropped.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) db: Db,
    pub(crate) clock: Arc<FixedClock>,
    _database: AnyDatabase,
    _dir: TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(crate) async fn start_with(set: impl FnOnce(&mut Config)) -> Self {
        Self::start_app(|registry, mut config| {
            set(&mut config);
            App::new(registry, config)
        })
        .await
    }

    pub(crate) async fn start_app(make: impl FnOnce(Registry, Config) -> App) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let database = AnyDatabase::at(&dir.path().join("t.db"));
        let db = Db::open(&database.url, clock.clone()).await.unwrap();
        let store = Store::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        let mut config = Config::new(dir.path().to_owned());
        config.user = String::from("grace");
        let app = make(Registry::new(db.clone(), store, clock.clone()), config);
        Self { running: Running::start(app).unwrap(), db, clock, _database: database, _dir: dir }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "").await
    }

    /// Opens a connection and sends a whole request.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TcpStream {
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text += "host: localhost\r\n";
        }
        if !body.is_empty() {
            text += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.running.address()).await.unwrap();
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
        stream
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = self.send(method, path, headers, body).await;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        Reply::of(&String::from_utf8_lossy(&bytes))
    }
}

impl Reply {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks the status and that the body contains these texts.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, texts: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        for text in texts {
            assert!(self.body.contains(text), "`{text}` is not in {self:?}");
        }
    }
}
