//! Web pages in a browser with an empty cache: the table of an experiment with 10,000 runs, and the curves of a run with 100
//! metrics of 10,000 points each, beside MLflow's own pages on the same data.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{Lines, PEER, both, run_of, runs};
use crate::bench::measure::Sample;
use crate::bench::report::{Row, median, number};
use crate::bench::server::{Backend, Bulk, Client, Databases, Server, request};
use crate::bench::session::Session;
use crate::process;

/// Milliseconds that our server may take for a page.
const SERVER: f64 = 200.0;
/// Kilobytes that may come over the network, compressed, for one of our pages.
const WEIGHT: f64 = 200.0;
/// Points of one request.
const BATCH: u64 = 1_000;

/// A visit, as `pages.py` says it. Times in milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Visit {
    shown: f64,
    painted: f64,
    server: f64,
    requests: f64,
    bytes: f64,
}

/// One of the two pages: what tables call it, where it is for each tool, and when it shows what it is for.
struct View<'a> {
    name: &'static str,
    title: String,
    ours: String,
    peer: String,
    shown: [&'a str; 2],
}

/// Measures the two rows.
pub(in super::super) fn measure(session: &Session, backend: Backend) -> Result<Vec<Row>> {
    let databases = Databases::new(backend);
    let servers = both(session, &databases, "pages")?;
    let (many, metrics, points) =
        (session.size(10_000, 200), session.size(100, 5), session.size(10_000, 100));
    let mut ids = Vec::new();
    for server in &servers {
        // The run with the curves comes first, so that the newest ones are those of the table.
        ids.push(if server.tool() == PEER {
            let run = server.fill(session, &["curves", &metrics.to_string(), &points.to_string()])?;
            server.fill(session, &["runs", &many.to_string()])?;
            run
        } else {
            let run = curves(server, metrics, points)?;
            runs::load(server, 0..many)?;
            run
        });
    }
    let newest = format!("document.body.innerText.includes('run {}')", many - 1);
    let id = |at: usize| ids.get(at).cloned().unwrap_or_default();
    let views = [
        View {
            name: "page-runs",
            title: format!("the table of an experiment with {many} runs"),
            ours: "/experiments/0".to_owned(),
            peer: "/#/experiments/0/runs".to_owned(),
            shown: [&newest, &newest],
        },
        View {
            name: "page-curves",
            title: format!("the curves of a run with {metrics} metrics of {points} points"),
            ours: format!("/runs/{}?tab=metrics", id(0)),
            peer: format!("/#/experiments/0/runs/{}/model-metrics", id(1)),
            shown: [
                "document.querySelector('figure svg path, figure svg polyline')",
                "document.querySelector('.js-plotly-plot .scatterlayer path')",
            ],
        },
    ];
    views.iter().map(|view| row(session, backend, &servers, view)).collect()
}

fn row(session: &Session, backend: Backend, servers: &[Server], view: &View<'_>) -> Result<Row> {
    let name = backend.row(view.name);
    let mut lines = Lines::default();
    let mut ours: Vec<Visit> = Vec::new();
    for turn in 1..=session.repeat {
        for (server, shown) in servers.iter().zip(view.shown) {
            let is_peer = server.tool() == PEER;
            let path = if is_peer { &view.peer } else { &view.ours };
            let count = session.size(if is_peer { 2 } else { 5 }, 1);
            let watch = server.tree().watch()?;
            let visits = visit(session, &format!("{}{path}", server.url()), shown, count)?;
            let (cpu, peak) = watch.end()?;
            let of = |what: fn(&Visit) -> f64| median(visits.iter().map(what));
            let note = format!(
                "first paint {} ms, document {} ms, {} requests, {} KB",
                number(of(|visit| visit.painted)),
                number(of(|visit| visit.server)),
                number(of(|visit| visit.requests)),
                number(of(|visit| visit.bytes) / 1e3),
            );
            let sample = Sample { wall: of(|visit| visit.shown) / 1e3, cpu: cpu / count as f64, peak };
            lines.add(&name, turn, server.tool(), sample, &note);
            if !is_peer {
                ours.extend(visits);
            }
        }
    }
    let title = format!("{}; times until it is shown, {}", view.title, backend.shown());
    let row = lines.row(session, name, title).at_most(1.0, PEER);
    if session.smoke {
        return Ok(row);
    }
    let of = |what: fn(&Visit) -> f64| median(ours.iter().map(what));
    Ok(row.below("server", of(|visit| visit.server), SERVER, "ms").below(
        "weight",
        of(|visit| visit.bytes) / 1e3,
        WEIGHT,
        "KB",
    ))
}

/// What a browser says of `count` visits.
fn visit(session: &Session, address: &str, shown: &str, count: u64) -> Result<Vec<Visit>> {
    let mut command = match &session.peers {
        Some(peers) => peers.mlflow("python"),
        None => Command::new("python3"),
    };
    command.arg(session.root.join("xtask/bench/pages.py")).args([address, shown, &count.to_string()]);
    let said = process::output(command.current_dir(&session.scratch))?;
    let visits: Vec<Visit> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(visits.len() as u64 == count, "{} visits of {count}", visits.len());
    Ok(visits)
}

/// A loss that falls and scatters, as losses of batches do.
fn noisy(step: u64) -> f64 {
    1000.0 / (100.0 + step as f64) + (step * 2_654_435_761 % 1000) as f64 / 1000.0
}

/// A run with that many metrics of that many points.
fn curves(server: &Server, metrics: u64, points: u64) -> Result<String> {
    let run = run_of(server)?;
    let per_metric = points.div_ceil(BATCH);
    let work = |client: &mut Client, number: u64| -> Result<()> {
        let (metric, part) = (number / per_metric, number % per_metric);
        let values: Vec<String> = (part * BATCH..((part + 1) * BATCH).min(points))
            .map(|step| {
                let (value, time) = (noisy(step), 1_700_000_000_000 + step);
                format!(r#"{{"key":"c{metric}","value":{value},"timestamp":{time},"step":{step}}}"#)
            })
            .collect();
        let body = format!(r#"{{"run_id":"{run}","metrics":[{}]}}"#, values.join(","));
        let answer = client.send(&request("POST", "/api/2.0/mlflow/runs/log-batch", &body))?;
        answer.starts_with(b"{").then_some(()).context("an answer that is no object")
    };
    Bulk { clients: 8, numbers: 0..metrics * per_metric, work: &work }.measure(server)?;
    Ok(run)
}
