//! One worker: the process, its socket, and what it printed last.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::frame;
use super::session::PythonSettings;

/// The script that runs in the worker.
const SCRIPT: &str = include_str!("worker.py");

/// A worker that has loaded its model.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    stream: UnixStream,
    said: Arc<Said>,
}

/// What went wrong with a worker.
#[derive(Debug)]
pub(super) enum WorkerError {
    /// The model refused or failed; the worker can go on.
    Model(String),
    /// The worker is of no more use.
    Broken(String),
}

impl Worker {
    /// Starts a worker and waits until it has loaded the model; gives what the model takes and gives, as JSON.
    pub(super) fn start(model: &Path, settings: &PythonSettings) -> Result<(Self, Vec<u8>), WorkerError> {
        let broken = |what: &str, error: std::io::Error| WorkerError::Broken(format!("{what}: {error}"));
        let (ours, theirs) = UnixStream::pair().map_err(|error| broken("no socket", error))?;
        let mut command = Command::new(&settings.interpreter);
        command
            // Isolated from what lies in the current folder and from variables that change what Python imports.
            .args(["-s", "-c", SCRIPT])
            .arg(model)
            .arg(std::process::id().to_string())
            .arg(settings.memory_bytes.unwrap_or(0).to_string())
            .arg(settings.cpu_seconds.unwrap_or(0).to_string())
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .env("PYTHONUNBUFFERED", "1")
            .env_remove("MLFLOW_TRACKING_URI")
            .envs(settings.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| broken(&format!("cannot start `{}`", settings.interpreter.display()), error))?;
        // The command holds their end of the socket, which must not outlive the child.
        drop(command);
        let said = Arc::new(Said::default());
        if let Some(stderr) = child.stderr.take() {
            let said = said.clone();
            let name = model.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let reader = std::thread::Builder::new().name("python-stderr".to_owned());
            let spawned = reader.spawn(move || said.follow(stderr, &name));
            if let Err(error) = spawned {
                let _ = child.kill();
                let _ = child.wait();
                return Err(broken("no thread", error));
            }
        }
        let mut worker = Self { child, stream: ours, said };
        match frame::receive(&mut worker.stream, Instant::now() + settings.start_timeout) {
            Ok((frame::HELLO, hello)) => Ok((worker, hello)),
            Ok((frame::FAILED, failure)) => Err(WorkerError::Model(message(&failure))),
            Ok((kind, _)) => Err(worker.end(&format!("it said `{}`", kind as char))),
            Err(error) => Err(worker.end(&told(&error, settings.start_timeout))),
        }
    }

    /// Sends a call and waits for its answer.
    pub(super) fn call(&mut self, request: &[u8], timeout: Duration) -> Result<Vec<u8>, WorkerError> {
        let until = Instant::now() + timeout;
        let answer = frame::send(&mut self.stream, frame::CALL, request, until)
            .and_then(|()| frame::receive(&mut self.stream, until));
        match answer {
            Ok((frame::ANSWER, answer)) => Ok(answer),
            Ok((frame::FAILED, failure)) => Err(WorkerError::Model(message(&failure))),
            Ok((kind, _)) => Err(self.end(&format!("it said `{}`", kind as char))),
            Err(error) => Err(self.end(&told(&error, timeout))),
        }
    }

    /// The process's number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process and says how it was.
    fn end(&mut self, why: &str) -> WorkerError {
        // One that is ending by itself is given the moment to tell its reason.
        let mut status = None;
        for _ in 0..20 {
            status = self.child.try_wait().ok().flatten();
            if status.is_some() || why.contains("seconds") {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let ended = match status {
            Some(status) => format!("the worker ended ({status})"),
            None => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                format!("the worker was ended: {why}")
            }
        };
        // What it printed last may still be on its way.
        std::thread::sleep(Duration::from_millis(20));
        match self.said.last() {
            Some(line) => WorkerError::Broken(format!("{ended}; it last printed `{line}`")),
            None => WorkerError::Broken(ended),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // At a closed socket it ends by itself; one that does not within a moment is in the middle of something.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        for _ in 0..50 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn told(error: &std::io::Error, timeout: Duration) -> String {
    match error.kind() {
        std::io::ErrorKind::TimedOut => format!("no answer within {} seconds", timeout.as_secs_f64()),
        std::io::ErrorKind::UnexpectedEof
        | std::io::ErrorKind::BrokenPipe
        | std::io::ErrorKind::ConnectionReset => "it closed the socket".to_owned(),
        _ => error.to_string(),
    }
}

/// `ValueError: message (model.py:12)`.
fn message(failure: &[u8]) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(failure) else {
        return "the model failed".to_owned();
    };
    let field = |name: &str| fields.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let place = field("where");
    let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
    format!("{}: {}{place}", field("kind"), field("message"))
}

/// What a worker printed: passed on to the log, line by line, and the last kept for messages.
#[derive(Debug, Default)]
struct Said {
    lines: Mutex<VecDeque<String>>,
}

/// Bytes of a line that are kept; lines that are kept; lines a second that are passed on.
const LINE: u64 = 2048;
const LINES: usize = 50;
const RATE: u32 = 100;

impl Said {
    fn follow(&self, stderr: ChildStderr, model: &str) {
        let mut reader = BufReader::new(stderr);
        let (mut second, mut passed) = (Instant::now(), 0_u32);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                return;
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if text.is_empty() {
                continue;
            }
            if second.elapsed() > Duration::from_secs(1) {
                if passed > RATE {
                    tracing::info!(
                        model,
                        lines = passed - RATE,
                        "a worker printed more lines than are logged"
                    );
                }
                (second, passed) = (Instant::now(), 0);
            }
            passed += 1;
            if passed <= RATE {
                tracing::info!(model, "{text}");
            }
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(text);
        }
    }

    fn last(&self) -> Option<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }
}
