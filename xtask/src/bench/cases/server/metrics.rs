//! One metric in a request, from one, eight and 64 clients.

use anyhow::{Result, ensure};

use super::{PEER, Turns, both, disk, run_of};
use crate::bench::report::Row;
use crate::bench::server::{Backend, Databases, request};
use crate::bench::session::Session;

/// Measures a row for each number of clients.
pub(in super::super) fn measure(session: &Session, backend: Backend) -> Result<Vec<Row>> {
    let databases = Databases::new(backend);
    let servers = both(session, &databases, "metrics")?;
    let mut rows = Vec::new();
    for clients in [1, 8, 64] {
        // Each client has a run of its own, as trainings have.
        let mut runs = Vec::new();
        for server in &servers {
            runs.push((0..clients).map(|_| run_of(server)).collect::<Result<Vec<_>>>()?);
        }
        let one_metric = |server: usize, client: usize, number: u64| {
            let run = &runs[server][client];
            let body = format!(
                r#"{{"run_id":"{run}","key":"loss","value":0.{number},"timestamp":{},"step":{number}}}"#,
                1_700_000_000_000 + number
            );
            request("POST", "/api/2.0/mlflow/runs/log-metric", &body)
        };
        let turns = Turns {
            session,
            backend,
            name: format!("metrics-{clients}"),
            title: format!("one metric in a request, clients: {clients}; times for 1,000 requests"),
            clients,
            per: 1000.0,
            things: (1.0, "requests"),
        };
        let (mut row, _) = turns.measure(&servers, &one_metric, &|answer| {
            ensure!(answer.trim_ascii() == b"{}", "an answer that is not `{{}}`");
            Ok(())
        })?;
        row.lines.push(disk::limit(session, clients)?);
        let row = if clients > 1 { row.at_most(1.0 / 200.0, PEER) } else { row };
        rows.push(row.cpu_at_most(1.0 / 100.0, PEER));
    }
    Ok(rows)
}
