//! What the inference log costs, and what it keeps when the server is killed.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::form::Form;
use super::{ASKED, Input, declare, none, register, servers, split};
use crate::bench::cases::server::Lines;
use crate::bench::measure::Sample;
use crate::bench::report::{Row, number};
use crate::bench::server::{Client, OURS, Server, Window, request};
use crate::bench::session::Session;
use crate::process;

const ON: &str = "log on";
const OFF: &str = "log off";
/// What the server declares: records reach the disk at the latest this long after they were taken.
const FLUSH: Duration = Duration::from_secs(1);

/// Measures the two kinds of rows.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let input = Input::make(session)?;
    let mut rows = throughput(session, &input)?;
    rows.push(kill(session, &input)?);
    Ok(rows)
}

/// The gateway alone with the log and without it.
fn throughput(session: &Session, input: &Input) -> Result<Vec<Row>> {
    let example = servers::example(session)?;
    let on = servers::bench_server(session, ON, &example, input, &["gateway", "records"])?;
    let off = servers::bench_server(session, OFF, &example, input, &["gateway"])?;
    let requests = input.requests(Form::Json);
    let seconds = |full: u64| Duration::from_millis(session.size(full * 1000, 500));
    let mut rows = Vec::new();
    for server in [&on, &off] {
        input.verify(server, Form::Json, &input.model)?;
    }
    for clients in [8, 64] {
        let name = format!("serve-records-{clients}");
        let mut lines = Lines::default();
        let numbers = AtomicU64::new(0);
        for turn in 1..=session.repeat {
            for server in [&on, &off] {
                let window = Window {
                    clients,
                    connect: &|server| Form::Json.connect(server),
                    warm: seconds(2),
                    time: seconds(8),
                    request: &|_, number| requests[number as usize % requests.len()].clone(),
                    check: &|_| Ok(()),
                };
                let taken = window.measure(server, &numbers)?;
                lines.add(&name, turn, server.tool(), taken.sample(1000.0), &taken.note(1.0, "requests"));
            }
        }
        let title = format!(
            "the gateway with and without the inference log, HTTP, JSON, connections: {clients}; times for 1000 requests"
        );
        rows.push(lines.plain(name, title).at_most(1.0 / 0.9, OFF));
    }
    Ok(rows)
}

/// Requests that were answered, with the moment of the answer.
type Acknowledged = Vec<(String, Instant)>;

/// Kills the server under load, again and again, and looks for what it had acknowledged.
fn kill(session: &Session, input: &Input) -> Result<Row> {
    const NAME: &str = "serve-records-kill";
    let project = session.project("serve-kill", "")?;
    let home = project.join(".tidemill");
    fs_err::create_dir_all(&home)?;
    let mut server = servers::restarted(session, &home)?;
    register(&server, input, "model", "model.onnx")?;
    declare(&server, &split())?;
    input.verify(&server, Form::Json, &input.model)?;
    let (mut lines, mut acknowledged, mut late, mut lost, mut early) = (Lines::default(), 0, 0, 0, 0);
    for turn in 1..=session.repeat {
        let begin = Instant::now();
        let (answered, killed) = under_load(session, input, server, turn)?;
        let wall = begin.elapsed().as_secs_f64();
        server = servers::restarted(session, &home)?;
        let found = recorded(session, &project)?;
        acknowledged += answered.len();
        for (id, at) in &answered {
            let young = killed.saturating_duration_since(*at) < FLUSH;
            late += u64::from(young);
            if !found.contains(id) {
                *(if young { &mut early } else { &mut lost }) += 1;
            }
        }
        let note = format!(
            "{acknowledged} answered, {late} of them in the last second before a kill, of which {early} are not in the log"
        );
        lines.add(NAME, turn, OURS, Sample { wall, cpu: 0.0, peak: 0 }, &note);
    }
    let title = format!("kill -9 under 8 connections; flushed every {} s", number(FLUSH.as_secs_f64()));
    let row = lines.plain(NAME.to_owned(), title);
    Ok(none(row, "lost of what was answered before the last second", lost))
}

/// Sends requests with names of their own until the server is gone.
fn under_load(
    session: &Session,
    input: &Input,
    server: Server,
    turn: usize,
) -> Result<(Acknowledged, Instant)> {
    let (all, ended, next) = (Mutex::new(Acknowledged::new()), AtomicBool::new(false), AtomicU64::new(0));
    let url = server.url().to_owned();
    let one_client = || {
        let mut client = Client::new(&url);
        let mut answered = Acknowledged::new();
        while !ended.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let (id, row) = (format!("{turn}-{number}"), &input.rows[number as usize % input.rows.len()]);
            let body = serde_json::json!({
                "id": id, "inputs": [{"name": "X", "shape": [1, row.len()], "datatype": "FP32", "data": row}],
            });
            let request = request("POST", &format!("/v2/models/{ASKED}/infer"), &body.to_string());
            // The one that the kill cut off was not acknowledged.
            if client.send(&request).is_err() {
                break;
            }
            answered.push((id, Instant::now()));
        }
        all.lock().unwrap_or_else(PoisonError::into_inner).extend(answered);
    };
    let killed = std::thread::scope(|scope| -> Result<Instant> {
        for _ in 0..8 {
            scope.spawn(one_client);
        }
        std::thread::sleep(Duration::from_millis(session.size(4_300, 1_700)));
        let killed = Instant::now();
        let done = server.crash();
        ended.store(true, Ordering::Relaxed);
        done.map(|()| killed)
    })?;
    let answered = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(!answered.is_empty(), "no request was answered before the kill");
    Ok((answered, killed))
}

/// Names of the requests in the inference log.
fn recorded(session: &Session, project: &std::path::Path) -> Result<BTreeSet<String>> {
    let text = process::output(
        &mut session.tidemill(project, &["records", ASKED, "--json", "--columns", "request_id"]),
    )?;
    let name = |line: &str| -> Result<String> {
        let row: Value = serde_json::from_str(line)?;
        Ok(row["request_id"].as_str().context("a record without its request")?.to_owned())
    };
    text.lines().map(name).collect()
}
