//! Changes while 64 connections ask: of the shares of an endpoint, of the version behind an alias, and of that with the
//! load of the model asked for. Both versions answer differently, so every answer tells which of them gave it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::form::Form;
use super::{Input, TOLERANCE, declare, none, register, servers};
use crate::bench::cases::server::Lines;
use crate::bench::measure::Sample;
use crate::bench::report::{Row, number};
use crate::bench::server::{Client, OURS, Server, request};
use crate::bench::session::Session;

const CLIENTS: usize = 64;
/// How long a change may take before it counts as one that does nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is changed.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// All requests go to the other arm.
    Route,
    /// The alias names the other version; the server finds that out by itself.
    Alias,
    /// The same, and the load of the model is asked for.
    Reload,
}

/// Measures a row for each kind of change.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let input = Input::make(session)?;
    let server = servers::tidemill(session, &input, "serve-change")?;
    register(&server, &input, "model", "other.onnx")?;
    let mut rows = Vec::new();
    for (change, name, title) in [
        (Change::Route, "serve-change-route", "all requests to the other arm of an endpoint"),
        (Change::Alias, "serve-change-alias", "the alias behind an endpoint names the other version"),
        (Change::Reload, "serve-change-reload", "the same, and the model's load is asked for"),
    ] {
        rows.push(turns(session, &server, &input, change, name, title)?);
    }
    Ok(rows)
}

fn turns(
    session: &Session,
    server: &Server,
    input: &Input,
    change: Change,
    name: &str,
    title: &str,
) -> Result<Row> {
    change.make(server, 1)?;
    if !matches!(change, Change::Route) {
        declare(
            server,
            &json!([{"name": "champion", "model": "model", "version": "@champion", "weight": 100}]),
        )?;
    }
    // The alias is followed by itself, which takes a moment.
    let begin = Instant::now();
    while input.verify(server, Form::Json, &input.model).is_err() {
        ensure!(begin.elapsed() < PATIENCE, "the first version does not come back");
    }
    let (mut lines, mut failed, mut longest) = (Lines::default(), 0, 0.0_f64);
    for turn in 1..=session.repeat * 2 {
        let version = if turn % 2 == 1 { 2 } else { 1 };
        let seen = under_load(session, server, input, change, version)?;
        failed += seen.failed;
        longest = longest.max(seen.effect);
        let note = format!(
            "{} requests answered; the change itself took {} ms",
            seen.answered,
            number(seen.change * 1e3)
        );
        let sample = Sample { wall: seen.effect, cpu: 0.0, peak: server.tree().memory() };
        lines.add(name, turn, OURS, sample, &note);
    }
    let title = format!("{title}, connections: {CLIENTS}; time to effect");
    let row = none(lines.plain(name.to_owned(), title), "failed requests", failed);
    Ok(if session.smoke { row } else { row.below("the slowest effect", longest * 1e3, 50.0, "ms") })
}

impl Change {
    /// Lets the version answer.
    fn make(self, server: &Server, version: u8) -> Result<()> {
        let mut client = Client::new(server.url());
        match self {
            Self::Route => {
                let weight = |own| if own == version { 100 } else { 0 };
                declare(
                    server,
                    &json!([
                        {"name": "champion", "model": "model", "version": "1", "weight": weight(1)},
                        {"name": "challenger", "model": "model", "version": "2", "weight": weight(2)},
                    ]),
                )?;
            }
            Self::Alias | Self::Reload => {
                let body = json!({"name": "model", "alias": "champion", "version": version.to_string()});
                let path = "/api/2.0/mlflow/registered-models/alias";
                client.send(&request("POST", path, &body.to_string()))?;
            }
        }
        if matches!(self, Self::Reload) {
            client.send(&request("POST", "/v2/repository/models/model/load", "{}"))?;
        }
        Ok(())
    }
}

/// What was seen around a change.
struct Seen {
    answered: usize,
    failed: u64,
    /// Seconds from the begin of the change until the last request was sent that the version before it answered.
    effect: f64,
    /// Seconds that the change itself took.
    change: f64,
}

/// An answer: when its request was sent, and whether the other version gave it.
type Answer = (Instant, bool);

fn under_load(
    session: &Session,
    server: &Server,
    input: &Input,
    change: Change,
    version: u8,
) -> Result<Seen> {
    let requests = input.requests(Form::Json);
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let (ended, changed) = (AtomicBool::new(false), AtomicBool::new(false));
    let wanted = version == 2;
    let one_client = || -> Result<Vec<Answer>> {
        let mut connection = Form::Json.connect(server);
        let mut answers = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed) as usize % requests.len();
            let sent = Instant::now();
            let Ok(answer) = connection.send(&requests[number]) else {
                failed.fetch_add(1, Ordering::Relaxed);
                connection = Form::Json.connect(server);
                continue;
            };
            let score = Form::Json.score(answer)?;
            let [first, second] =
                [input.model[number], input.other[number]].map(|known| (score - known).abs());
            ensure!(first.min(second) < TOLERANCE, "an answer of neither version: {score}");
            answers.push((sent, second < first));
            if (second < first) == wanted {
                changed.store(true, Ordering::Relaxed);
            }
        }
        Ok(answers)
    };
    let pause = Duration::from_millis(session.size(1_500, 400));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one_client)).collect();
        std::thread::sleep(pause);
        let begin = Instant::now();
        let made = change.make(server, version);
        let took = begin.elapsed().as_secs_f64();
        while !changed.load(Ordering::Relaxed) && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(pause);
        ended.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        for client in clients {
            answers.extend(client.join().ok().context("a client panicked")??);
        }
        made?;
        ensure!(answers.iter().any(|(_, other)| *other == wanted), "the change has no effect");
        let last = answers.iter().filter(|(_, other)| *other != wanted).map(|(sent, _)| *sent).max();
        let effect = last.map_or(0.0, |last| last.saturating_duration_since(begin).as_secs_f64());
        Ok(Seen { answered: answers.len(), failed: failed.load(Ordering::Relaxed), effect, change: took })
    })
}
