//! A page of a hundred runs under a filter on a metric and a parameter, in the order of another metric: the first page and
//! the last, among 2,000, 20,000 and 200,000 runs.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Lines, PEER, both, runs};
use crate::bench::measure::Sample;
use crate::bench::report::{Row, median, number};
use crate::bench::server::{Backend, Client, Databases, Server, request};
use crate::bench::session::Session;

const SEARCH: &str = "/api/2.0/mlflow/runs/search";
const PAGE: usize = 100;
const FILTER: &str = "metrics.m3 > 0.1 AND params.p1 = '1'";

/// Measures two rows for each size.
pub(in super::super) fn measure(session: &Session, backend: Backend) -> Result<Vec<Row>> {
    let databases = Databases::new(backend);
    let mut servers = both(session, &databases, "search")?;
    let sizes = [session.size(2_000, 900), session.size(20_000, 1_300), session.size(200_000, 1_700)];
    let mut rows = Vec::new();
    let mut loaded = 0;
    for (index, size) in sizes.into_iter().enumerate() {
        runs::load(&servers[0], loaded..size)?;
        loaded = size;
        if index == 0 && servers.len() > 1 {
            servers[1].fill(session, &["runs", &size.to_string()])?;
        }
        // More runs than this would keep the peer busy for hours.
        servers.truncate(if index == 0 { 2 } else { 1 });
        rows.extend(pages(session, backend, &servers, size)?);
    }
    Ok(rows)
}

/// The first and the last page among `size` runs.
fn pages(session: &Session, backend: Backend, servers: &[Server], size: u64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut bodies = Vec::new();
    for server in servers {
        bodies.push(tokens(server, size)?);
    }
    for (which, suffix) in ["first", "last"].into_iter().zip(["", "-last"]) {
        let name = backend.row(&format!("search-{size}{suffix}"));
        let mut lines = Lines::default();
        for turn in 1..=session.repeat {
            for (server, (first, last, rest)) in servers.iter().zip(&bodies) {
                let (body, expected) = if which == "first" { (first, PAGE) } else { (last, *rest) };
                let count = if server.tool() == PEER { session.size(6, 2) } else { session.size(60, 2) };
                let (sample, note) = repeated(server, body, count, expected)?;
                lines.add(&name, turn, server.tool(), sample, &note);
            }
        }
        let title = format!(
            "the {which} page of {PAGE} among {size} runs, by metric and param, ordered; times for a request, {}",
            backend.shown()
        );
        let row = lines.row(session, name, title).at_most(1.0 / 50.0, PEER);
        let ours = row.lines.first().map_or(f64::NAN, |line| line.wall() * 1e3);
        rows.push(if session.smoke || size < 200_000 { row } else { row.below("p50", ours, 20.0, "ms") });
    }
    Ok(rows)
}

/// The bodies of the requests for the first and the last page, and how many runs the last one holds. Goes through all
/// pages, and checks that they hold what the filter means.
fn tokens(server: &Server, size: u64) -> Result<(String, String, usize)> {
    let fits = |number: &u64| runs::metric(*number, 3) > 0.1 && runs::param(*number, 1) == 1;
    let expected = (0..size).filter(fits).count();
    let mut client = Client::new(server.url());
    let first = body("");
    let (mut current, mut found, mut before) = (first.clone(), 0, f64::INFINITY);
    loop {
        let page = client.json("POST", SEARCH, &current)?;
        let runs = page["runs"].as_array().context("a page without runs")?;
        for run in runs {
            let metrics = run["data"]["metrics"].as_array().context("a run without metrics")?;
            let value = metrics.iter().find(|metric| metric["key"] == "m5").and_then(|m| m["value"].as_f64());
            let value = value.context("a run without its metric")?;
            ensure!(value <= before, "{} does not keep the order", server.tool());
            before = value;
        }
        found += runs.len();
        match page["next_page_token"].as_str().filter(|token| !token.is_empty()) {
            Some(token) => current = body(token),
            None => {
                let tool = server.tool();
                ensure!(found == expected, "{tool} found {found} runs where there are {expected}");
                return Ok((first, current, runs.len()));
            }
        }
    }
}

fn body(token: &str) -> String {
    let mut body = json!({
        "experiment_ids": ["0"], "filter": FILTER, "order_by": ["metrics.m5 DESC"], "max_results": PAGE,
    });
    if !token.is_empty() {
        body["page_token"] = Value::from(token);
    }
    body.to_string()
}

/// The same request again and again from one client.
fn repeated(server: &Server, body: &str, count: u64, expected: usize) -> Result<(Sample, String)> {
    let mut client = Client::new(server.url());
    let request = request("POST", SEARCH, body);
    client.send(&request)?;
    let watch = server.tree().watch()?;
    let mut latencies = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        let answer = client.send(&request)?;
        latencies.push(begin.elapsed().as_secs_f64());
        let page: Value = serde_json::from_slice(answer)?;
        let there = page["runs"].as_array().map_or(0, Vec::len);
        ensure!(there == expected, "a page of {there} runs where {expected} belong");
    }
    let (cpu, peak) = watch.end()?;
    latencies.sort_by(f64::total_cmp);
    let p95 = latencies[(latencies.len() * 95).div_ceil(100).max(1) - 1];
    let wall = median(latencies.into_iter());
    let note = format!("p50 {} ms, p95 {} ms", number(wall * 1e3), number(p95 * 1e3));
    Ok((Sample { wall, cpu: cpu / count as f64, peak }, note))
}
