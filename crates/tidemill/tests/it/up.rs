//! `tidemill up`: what it says, whom it refuses, how it stops.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::{Project, wait_for};

/// A server that is killed when the value is dropped.
struct Server {
    child: Child,
    line: String,
    address: String,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Some(at) = line.find("http://") else {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("no address in `{line}`: {said}");
        };
        let end = line[at + 7..].find(|c: char| !c.is_ascii_digit() && !".:".contains(c)).unwrap();
        let address = line[at + 7..at + 7 + end].to_owned();
        Self { child, line, address }
    }

    fn open(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn get(&self, path: &str, headers: &str) -> String {
        rest(
            self.open(&format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
            )),
        )
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; gives the exit code and what was said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A server on a free port with these options.
fn up(project: &Project, args: &[&str]) -> Server {
    let mut all = vec!["up", "--listen", "127.0.0.1:0"];
    all.extend(args);
    Server::start(project.command(&all))
}

#[test]
fn it_says_where_it_is_and_stops_when_it_is_told_to() {
    let project = Project::new("project: tides\n");
    let server = up(&project, &[]);
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    assert_eq!(
        server.line.replace(&port, "PORT"),
        "listening on http://127.0.0.1:PORT, for clients: export MLFLOW_TRACKING_URI=http://127.0.0.1:PORT\n"
    );
    assert!(server.get("/health", "").ends_with("\r\n\r\nOK"));
    assert!(project.has(".tidemill/tidemill.db") && project.has(".tidemill/store"));
    server.signal(Signal::TERM);
    assert_eq!(server.end(), (Some(0), String::new()));
    assert!(fs_err::read_dir(project.path(".tidemill/tmp")).unwrap().next().is_none(), "no scratch is left");
}

#[test]
fn for_programs_it_says_so_in_json() {
    let project = Project::empty();
    let home = project.path("home");
    let server = up(&project, &["--json", "--home", home.to_str().unwrap()]);
    let said: serde_json::Value = serde_json::from_str(&server.line).unwrap();
    assert_eq!(said["url"], format!("http://{}", server.address));
    assert_eq!(said["pid"], server.child.id());
    assert_eq!(said["home"], home.to_str().unwrap());
    assert!(project.has("home/tidemill.db") && !project.has(".tidemill"));
    server.signal(Signal::INT);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn without_a_project_it_keeps_everything_here() {
    let project = Project::empty();
    let server = up(&project, &[]);
    assert!(project.has(".tidemill/tidemill.db"));
    server.signal(Signal::TERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    assert!(said.contains("there is no project here; keeping everything in "), "{said}");
    project.run(&["up", "-C", "."]).fails(2, &["there is no `tidemill.yaml`"]);
}

#[test]
fn one_server_works_on_one_database() {
    let project = Project::new("project: tides\n");
    let first = up(&project, &[]);
    let said = format!("process {} on http://{}", first.child.id(), first.address);
    let refused = project.run(&["up", "--listen", "127.0.0.1:0"]);
    refused.fails(
        1,
        &["a server already works on the database", &said, "hint: use that one, or give this one a home"],
    );
    // A killed one holds nothing.
    first.signal(Signal::KILL);
    assert_eq!(first.end().0, None);
    let second = up(&project, &[]);
    assert!(second.get("/health", "").ends_with("OK"));
    let left: Vec<_> = fs_err::read_dir(project.path(".tidemill/tmp")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "the scratch of the killed one is gone: {left:?}");
}

#[test]
fn addresses_that_cannot_be_listened_on() {
    let project = Project::new("project: tides\n");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    project.run(&["up", "--listen", &address]).fails(
        1,
        &[
            &format!("cannot listen on {address}: address already in use"),
            "hint: another program listens there",
        ],
    );
    project
        .run(&["up", "--listen", "nonsense"])
        .fails(2, &["cannot listen on `nonsense`", "as in `127.0.0.1:5000`"]);
    project
        .run(&["up", "--listen", "0.0.0.0:0"])
        .fails(2, &["refusing to listen on 0.0.0.0:0 without a token", "--auth-token-file FILE"]);
    project.run(&["up", "--drain", "soon"]).fails(2, &["`soon` is not a length of time"]);
}

#[test]
fn the_token_is_read_and_asked_for() {
    let project = Project::new("project: tides\n");
    for (text, error) in
        [("", "holds no token"), (" \n", "holds no token"), ("a\nb\n", "holds more than one line")]
    {
        project.write("token", text);
        project
            .run(&["up", "--auth-token-file", "token"])
            .fails(2, &[error, "hint: for example `openssl rand"]);
    }
    project
        .run(&["up", "--auth-token-file", "none"])
        .fails(2, &["cannot read the token in `none`", "no such file"]);

    project.write("token", "correct-horse-battery-staple\n");
    fs_err::set_permissions(project.path("token"), PermissionsExt::from_mode(0o644)).unwrap();
    let server =
        Server::start(project.command(&["up", "--listen", "0.0.0.0:0", "--auth-token-file", "token"]));
    assert!(server.get("/health", "").starts_with("HTTP/1.1 200"));
    assert!(server.get("/api/v1/info", "").starts_with("HTTP/1.1 401"));
    let known = server.get("/api/v1/info", "authorization: Bearer correct-horse-battery-staple\r\n");
    assert!(known.starts_with("HTTP/1.1 200"), "{known}");
    server.signal(Signal::TERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    assert!(said.contains("warning: other users can read the token in `token`"), "{said}");
    assert!(!said.contains("correct-horse"), "{said}");
}

#[test]
fn users_need_an_administrator_whose_password_nobody_knows() {
    let project = Project::new("project: tides\n");
    let up = ["up", "--listen", "127.0.0.1:0", "--users"];
    project.run(&up).fails(2, &["cannot make the administrator `admin`", "--admin-password-file FILE"]);
    for (text, error) in [
        ("short", "at least 12 characters"),
        ("password1234", "everybody knows it"),
        ("", "the file `password` holds no password"),
    ] {
        project.write("password", text);
        let with_password = [&up[..], &["--admin-password-file", "password"]].concat();
        project.run(&with_password).fails(2, &[error]);
    }
    let grpc = [&up[..], &["--grpc", "127.0.0.1:0"]].concat();
    project.run(&grpc).fails(2, &["--grpc lets everybody in", "--auth-token-file FILE"]);
    project.run(&["up", "--admin-password-file", "password"]).fails(2, &["--users"]);

    project.write("password", "a-long-password\n");
    fs_err::set_permissions(project.path("password"), PermissionsExt::from_mode(0o600)).unwrap();
    let open =
        ["up", "--listen", "0.0.0.0:0", "--users", "--admin", "root", "--admin-password-file", "password"];
    let server = Server::start(project.command(&open));
    assert!(server.get("/health", "").starts_with("HTTP/1.1 200"));
    let path = "/api/2.0/mlflow/users/current";
    assert!(server.get(path, "").starts_with("HTTP/1.1 401"));
    // `root:a-long-password`
    let known = server.get(path, "authorization: Basic cm9vdDphLWxvbmctcGFzc3dvcmQ=\r\n");
    assert!(known.starts_with("HTTP/1.1 200") && known.contains("\"username\":\"root\""), "{known}");
    server.signal(Signal::TERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    assert!(!said.contains("a-long-password"), "{said}");
    // The administrator is there now, so the next start needs no password.
    let again =
        Server::start(project.command(&["up", "--listen", "0.0.0.0:0", "--users", "--admin", "root"]));
    let known = again.get(path, "authorization: Basic cm9vdDphLWxvbmctcGFzc3dvcmQ=\r\n");
    assert!(known.starts_with("HTTP/1.1 200"), "{known}");
    again.signal(Signal::TERM);
    assert_eq!(again.end().0, Some(0));
}

/// A request whose body is still on its way.
const BEGUN: &str = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 30\r\n\r\n";

#[test]
fn what_has_begun_is_finished_after_sigterm() {
    let project = Project::new("project: tides\n");
    let server = up(&project, &[]);
    let mut slow = server.open(BEGUN);
    // It is being worked on as soon as the server counts it.
    wait_for("the request", || server.get("/metrics", "").contains("tidemill_http_in_flight 2"));
    server.signal(Signal::TERM);
    wait_for("the end of listening", || TcpStream::connect(&server.address).is_err());
    slow.write_all(b"{\"query\": \"{ __typename }\"   }").unwrap();
    let answer = rest(slow);
    assert!(answer.contains("{\"data\":{\"__typename\":\"Query\"},\"errors\":null}"), "{answer}");
    assert_eq!(server.end(), (Some(0), String::new()));
}

#[test]
fn what_does_not_end_is_cut_off() {
    let project = Project::new("project: tides\n");
    let server = up(&project, &["--drain", "200ms"]);
    let _slow = server.open(BEGUN);
    wait_for("the request", || server.get("/metrics", "").contains("tidemill_http_in_flight 2"));
    server.signal(Signal::TERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    assert!(said.contains("some requests did not end within 200ms and were cut off"), "{said}");

    // Who sends two signals does not want to wait.
    let server = up(&project, &[]);
    let _slow = server.open(BEGUN);
    wait_for("the request", || server.get("/metrics", "").contains("tidemill_http_in_flight 2"));
    server.signal(Signal::TERM);
    wait_for("the end of listening", || TcpStream::connect(&server.address).is_err());
    let begun = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(130));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn requests_are_logged_for_who_asks_and_never_what_they_hold() {
    let project = Project::new("project: tides\n");
    let mut command = project.command(&["up", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    command.env("TIDEMILL_LOG", "info");
    let server = Server::start(command);
    server.get(
        "/api/v1/datasets/hush?secret=mine",
        "authorization: Bearer hidden\r\nx-request-id: trace-1\r\n",
    );
    server.signal(Signal::TERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    let line = said.lines().find(|line| line.contains("trace-1")).unwrap_or_else(|| panic!("{said}"));
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    for (field, value) in [
        ("target", serde_json::json!("tidemill::request")),
        ("http.route", serde_json::json!("/api/v1/datasets/{name}")),
        ("http.method", serde_json::json!("GET")),
        ("http.status", serde_json::json!(404)),
        ("request.id", serde_json::json!("trace-1")),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert!(line["duration_ms"].is_f64() && line["bytes"].as_u64() > Some(0), "{line}");
    for secret in ["hush", "mine", "hidden"] {
        assert!(!said.contains(secret), "{said}");
    }
}
