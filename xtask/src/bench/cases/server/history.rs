//! The whole history of one metric, of 10,000 and of a million points.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Lines, PEER, both, run_of};
use crate::bench::measure::Sample;
use crate::bench::report::{Row, median};
use crate::bench::server::{Backend, Bulk, Client, Databases, Server, request};
use crate::bench::session::Session;

const BATCH: u64 = 1000;

/// Measures the two rows.
pub(in super::super) fn measure(session: &Session, backend: Backend) -> Result<Vec<Row>> {
    let databases = Databases::new(backend);
    let servers = both(session, &databases, "history")?;
    let mut rows = Vec::new();
    for points in [session.size(10_000, 1_000), session.size(1_000_000, 5_000)] {
        let mut runs = Vec::new();
        for server in &servers {
            runs.push(if server.tool() == PEER {
                server.fill(session, &["history", &points.to_string()])?
            } else {
                written(server, points)?
            });
        }
        let name = backend.row(&format!("history-{points}"));
        let mut lines = Lines::default();
        for turn in 1..=session.repeat {
            for (server, run) in servers.iter().zip(&runs) {
                let long = points > 10_000;
                // The peer needs minutes for the long one, and one time tells enough.
                if long && server.tool() == PEER && turn > 1 {
                    continue;
                }
                let count = match (long, server.tool() == PEER) {
                    (true, _) => 1,
                    (false, true) => session.size(3, 1),
                    (false, false) => session.size(20, 1),
                };
                let sample = read(server, run, points, count)?;
                lines.add(
                    &name,
                    turn,
                    server.tool(),
                    sample,
                    &format!("{:.0} points/s", points as f64 / sample.wall),
                );
            }
        }
        let title = format!("history of {points} points; times for a request, {}", backend.shown());
        rows.push(lines.row(session, name, title).at_most(1.0 / 50.0, PEER));
    }
    Ok(rows)
}

/// A run with that many points.
fn written(server: &Server, points: u64) -> Result<String> {
    let run = run_of(server)?;
    let work = |client: &mut Client, number: u64| -> Result<()> {
        let metrics: Vec<String> = (number * BATCH..(number + 1) * BATCH)
            .map(|step| {
                let time = 1_700_000_000_000 + step;
                format!(r#"{{"key":"loss","value":{},"timestamp":{time},"step":{step}}}"#, step as f64 / 7.0)
            })
            .collect();
        let body = format!(r#"{{"run_id":"{run}","metrics":[{}]}}"#, metrics.join(","));
        client.send(&request("POST", "/api/2.0/mlflow/runs/log-batch", &body))?;
        Ok(())
    };
    Bulk { clients: 8, numbers: 0..points / BATCH, work: &work }.measure(server)?;
    Ok(run)
}

/// Reads everything `count` times; the median.
fn read(server: &Server, run: &str, points: u64, count: u64) -> Result<Sample> {
    let mut client = Client::new(server.url());
    let request =
        request("GET", &format!("/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=loss"), "");
    let watch = server.tree().watch()?;
    let mut latencies = Vec::new();
    for turn in 0..count {
        let begin = Instant::now();
        let answer = client.send(&request)?;
        latencies.push(begin.elapsed().as_secs_f64());
        // The first answer is looked at as a whole, of the others the number of points is enough.
        if turn == 0 && points <= 10_000 {
            ordered(answer, points)?;
        }
        let there = answer.windows(6).filter(|part| part == b"\"step\"").count() as u64;
        ensure!(there == points, "{there} points where there are {points}");
    }
    let (cpu, peak) = watch.end()?;
    Ok(Sample { wall: median(latencies.into_iter()), cpu: cpu / count as f64, peak })
}

fn ordered(answer: &[u8], points: u64) -> Result<()> {
    let answer: Value = serde_json::from_slice(answer)?;
    let metrics = answer["metrics"].as_array().context("no metrics in the answer")?;
    for (step, metric) in (0..points).zip(metrics) {
        let value = metric["value"].as_f64().context("a point without a value")?;
        let expected = step as f64 / 7.0;
        let fits = (value - expected).abs() <= expected * 1e-12 && metric["step"] == step;
        ensure!(fits, "point {step} is {metric}");
    }
    Ok(())
}
