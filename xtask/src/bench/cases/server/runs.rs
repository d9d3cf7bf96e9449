//! Making runs: empty ones, and whole ones with parameters, metrics and tags. Also what a run for measurements holds.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

use super::{Lines, PEER, Turns, both, disk};
use crate::bench::measure::Sample;
use crate::bench::report::Row;
use crate::bench::server::{Backend, Bulk, Client, Databases, Server, request};
use crate::bench::session::Session;

const CLIENTS: usize = 8;
const PARAMS: u64 = 10;
const METRICS: u64 = 10;
const TAGS: u64 = 5;

/// Measures the two rows.
pub(in super::super) fn measure(session: &Session, backend: Backend) -> Result<Vec<Row>> {
    let databases = Databases::new(backend);
    let servers = both(session, &databases, "runs")?;
    let empty_run = |_: usize, client: usize, number: u64| {
        let body =
            format!(r#"{{"experiment_id":"0","run_name":"run {client} {number}","start_time":{number}}}"#);
        request("POST", "/api/2.0/mlflow/runs/create", &body)
    };
    let turns = Turns {
        session,
        backend,
        name: "runs".to_owned(),
        title: format!("`runs/create`, clients: {CLIENTS}; times for 1,000 runs"),
        clients: CLIENTS,
        per: 1000.0,
        things: (1.0, "runs"),
    };
    let (mut row, _) = turns.measure(&servers, &empty_run, &|answer| {
        ensure!(answer.starts_with(b"{"), "an answer without a run");
        Ok(())
    })?;
    row.lines.push(disk::limit(session, CLIENTS)?);
    Ok(vec![row.at_most(1.0 / 100.0, PEER), bulk(session, backend, &servers)?])
}

/// Whole runs, once: 20,000 for us and as many as one can wait for for the peer.
fn bulk(session: &Session, backend: Backend, servers: &[Server]) -> Result<Row> {
    let name = backend.row("runs-bulk");
    let mut lines = Lines::default();
    for (server, count) in servers.iter().zip([session.size(20_000, 50), session.size(300, 5)]) {
        let took = load(server, 0..count)?;
        let share = 1000.0 / count as f64;
        let sample = Sample { wall: took.wall * share, cpu: took.cpu * share, peak: took.peak };
        let note = format!("{count} runs in {:.1} s", took.wall);
        lines.add(&name, 1, server.tool(), sample, &note);
    }
    let title = format!(
        "whole runs ({PARAMS} params, {METRICS} metrics, {TAGS} tags), clients: {CLIENTS}; times for 1,000 runs, {}",
        backend.shown()
    );
    Ok(lines.row(session, name, title).at_most(1.0 / 100.0, PEER))
}

/// Makes whole runs of these numbers, each with two requests.
pub(super) fn load(server: &Server, numbers: std::ops::Range<u64>) -> Result<Sample> {
    let bulk = Bulk { clients: CLIENTS, numbers, work: &whole_run };
    bulk.measure(server)
}

fn whole_run(client: &mut Client, number: u64) -> Result<()> {
    let tags = list(TAGS, |index| format!(r#"{{"key":"t{index}","value":"{}"}}"#, number % (index + 2)));
    let body = format!(
        r#"{{"experiment_id":"0","run_name":"run {number}","start_time":{},"tags":[{tags}]}}"#,
        1_700_000_000_000 + number
    );
    let made = client.json("POST", "/api/2.0/mlflow/runs/create", &body)?;
    let run = made["run"]["info"]["run_id"].as_str().context("no id in the answer")?;
    let params = list(PARAMS, |index| format!(r#"{{"key":"p{index}","value":"{}"}}"#, param(number, index)));
    let metrics = list(METRICS, |index| {
        let value = metric(number, index);
        format!(r#"{{"key":"m{index}","value":{value},"timestamp":{number},"step":0}}"#)
    });
    let body = format!(r#"{{"run_id":"{run}","params":[{params}],"metrics":[{metrics}]}}"#);
    client.send(&request("POST", "/api/2.0/mlflow/runs/log-batch", &body))?;
    Ok(())
}

/// Items with commas between them.
fn list(count: u64, item: impl Fn(u64) -> String) -> String {
    let mut text = String::new();
    for index in 0..count {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{}", item(index));
    }
    text
}

/// Parameter `p{index}` of a run; `mlflow_fill.py` computes the same.
pub(super) fn param(number: u64, index: u64) -> u64 {
    (number + index) % 4
}

/// Metric `m{index}` of a run; `mlflow_fill.py` computes the same.
pub(super) fn metric(number: u64, index: u64) -> f64 {
    (number * (7 + index) % 1000) as f64 / 1000.0
}
