//! The server under load, beside `mlflow server` with its default number of workers, on the same disk.
//!
//! Times are those of the clients, CPU is that of the server's processes (a PostgreSQL server's own is not in it, for
//! either side), memory is theirs too. Both servers run while a case is measured, and only one of them has anything to do.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::bench::measure::Sample;
use crate::bench::report::{Line, Row};
use crate::bench::server::{Backend, Client, Connection, Databases, Server, Taken, Window};
use crate::bench::session::Session;
use crate::process;

pub(super) mod artifacts;
pub(super) mod batch;
mod disk;
pub(super) mod history;
pub(super) mod metrics;
pub(super) mod pages;
pub(super) mod runs;
pub(super) mod search;
pub(super) mod start;

/// The peer's name in tables.
const PEER: &str = crate::bench::server::PEER;
/// What our server may use under any of the loads.
const MEMORY: f64 = 100.0;

/// Both servers, started and empty. `databases` must live as long as they do.
fn both(session: &Session, databases: &Databases, name: &str) -> Result<Vec<Server>> {
    let mut servers = vec![Server::ours(session, databases, &format!("{name}-ours"))?];
    servers.extend(Server::peer(session, databases, &format!("{name}-peer"))?);
    Ok(servers)
}

/// A new run.
fn run_of(server: &Server) -> Result<String> {
    let body = json!({"experiment_id": "0"}).to_string();
    let made = Client::new(server.url()).json("POST", "/api/2.0/mlflow/runs/create", &body)?;
    Ok(made["run"]["info"]["run_id"].as_str().context("no id in the answer")?.to_owned())
}

/// The lines of a row while it is being measured: one for each tool.
#[derive(Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
}

impl Lines {
    /// Adds what a tool used in a turn.
    pub(super) fn add(&mut self, row: &str, turn: usize, tool: &str, sample: Sample, note: &str) {
        process::note(format!(
            "bench: {row} {turn} {tool}: {:.4} s, {:.4} s CPU {note}",
            sample.wall, sample.cpu
        ));
        let known = self.lines.iter().position(|line| line.tool == tool);
        let line = match known {
            Some(index) => &mut self.lines[index],
            None => {
                let line = Line { tool: tool.to_owned(), samples: Vec::new(), note: String::new() };
                self.lines.push(line);
                let last = self.lines.len() - 1;
                &mut self.lines[last]
            }
        };
        line.samples.push(sample);
        note.clone_into(&mut line.note);
    }

    /// The row without any bar.
    pub(super) fn plain(self, name: String, title: String) -> Row {
        Row { name, title, lines: self.lines, table: None, bars: Vec::new() }
    }

    /// The row, with the bar for our memory.
    fn row(self, session: &Session, name: String, title: String) -> Row {
        let row = self.plain(name, title);
        let peak = row.lines.first().map_or(0, Line::peak) as f64 / f64::from(1 << 20);
        if session.smoke { row } else { row.below("memory", peak, MEMORY, "MiB") }
    }
}

/// A load of one kind on every server, in turns.
struct Turns<'a> {
    session: &'a Session,
    backend: Backend,
    /// The row's name without its backend.
    name: String,
    title: String,
    clients: usize,
    /// How many requests the times of the row are for.
    per: f64,
    /// How many things one request holds, and what they are called.
    things: (f64, &'static str),
}

impl Turns<'_> {
    /// Measures; `request` makes a request for the server of that index. The second value is the median rate of ours.
    fn measure(
        &self,
        servers: &[Server],
        request: &(dyn Fn(usize, usize, u64) -> Vec<u8> + Sync),
        check: &(dyn Fn(&[u8]) -> Result<()> + Sync),
    ) -> Result<(Row, f64)> {
        let name = self.backend.row(&self.name);
        let numbers = AtomicU64::new(0);
        let mut lines = Lines::default();
        let mut rates = Vec::new();
        for turn in 1..=self.session.repeat {
            for (index, server) in servers.iter().enumerate() {
                let taken = self.window(index, request, check).measure_on(server, &numbers)?;
                if index == 0 {
                    rates.push(taken.rate(self.things.0));
                }
                let note = taken.note(self.things.0, self.things.1);
                lines.add(&name, turn, server.tool(), taken.sample(self.per), &note);
            }
        }
        let title = format!("{}, {}", self.title, self.backend.shown());
        Ok((lines.row(self.session, name, title), crate::bench::report::median(rates.into_iter())))
    }

    fn window<'a>(
        &self,
        index: usize,
        request: &'a (dyn Fn(usize, usize, u64) -> Vec<u8> + Sync),
        check: &'a (dyn Fn(&[u8]) -> Result<()> + Sync),
    ) -> Timed<'a> {
        let seconds = |full: u64| Duration::from_millis(self.session.size(full * 1000, 1000));
        Timed { index, request, check, clients: self.clients, warm: seconds(2), time: seconds(8) }
    }
}

/// A window whose requests know which server they are for.
struct Timed<'a> {
    index: usize,
    request: &'a (dyn Fn(usize, usize, u64) -> Vec<u8> + Sync),
    check: &'a (dyn Fn(&[u8]) -> Result<()> + Sync),
    clients: usize,
    warm: Duration,
    time: Duration,
}

impl Timed<'_> {
    fn measure_on(&self, server: &Server, numbers: &AtomicU64) -> Result<Taken> {
        let request = |client, number| (self.request)(self.index, client, number);
        let window = Window {
            clients: self.clients,
            connect: &|server| Connection::Http(Client::new(server.url())),
            warm: self.warm,
            time: self.time,
            request: &request,
            check: self.check,
        };
        window.measure(server, numbers)
    }
}
