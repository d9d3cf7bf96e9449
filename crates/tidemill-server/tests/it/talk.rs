//! A conversation with a server, written down: each request with what came back, for snapshots.

use serde_json::Value;

use crate::client::Server;

/// Sends requests one after another and writes down what came back. Identifiers that are made by chance are replaced.
pub(crate) struct Talk {
    pub(crate) server: Server,
    /// What was said so far.
    pub(crate) text: String,
    known: Vec<(String, &'static str)>,
}

impl Talk {
    pub(crate) async fn new() -> Self {
        Self { server: Server::start().await, text: String::new(), known: Vec::new() }
    }

    /// One request below `/api/2.0/mlflow/`; the answer's JSON.
    pub(crate) async fn say(&mut self, method: &str, path: &str, body: &str) -> Value {
        let reply = self.server.ask(method, &format!("/api/2.0/mlflow/{path}"), &[], body).await;
        let value = reply.json();
        let mut line = format!("{method} {path} {body}\n  {} {value}\n", reply.status);
        for (id, name) in &self.known {
            line = line.replace(id, name);
        }
        self.text += &line;
        value
    }

    /// Several requests.
    pub(crate) async fn say_all(&mut self, requests: &[(&str, &str, &str)]) {
        for (method, path, body) in requests {
            self.say(method, path, body).await;
        }
    }

    /// Shows this text as `name` from now on.
    pub(crate) fn call(&mut self, id: &Value, name: &'static str) -> String {
        let id = id.as_str().unwrap().to_owned();
        self.text = self.text.replace(&id, name);
        self.known.push((id.clone(), name));
        id
    }
}
