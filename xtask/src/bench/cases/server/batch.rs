//! `log-batch` with a thousand metrics, from eight clients.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use super::{PEER, Turns, both, run_of};
use crate::bench::report::Row;
use crate::bench::server::{Backend, Databases, request};
use crate::bench::session::Session;

const CLIENTS: usize = 8;
const METRICS: u64 = 1000;

/// Measures the row.
pub(in super::super) fn measure(session: &Session, backend: Backend) -> Result<Vec<Row>> {
    let databases = Databases::new(backend);
    let servers = both(session, &databases, "batch")?;
    let mut runs = Vec::new();
    for server in &servers {
        runs.push((0..CLIENTS).map(|_| run_of(server)).collect::<Result<Vec<_>>>()?);
    }
    // Ten metrics at a hundred steps, as a training sends them.
    let batch = |server: usize, client: usize, number: u64| {
        let mut body = format!(r#"{{"run_id":"{}","metrics":["#, runs[server][client]);
        for index in 0..METRICS {
            let (key, step) = (index % 10, number * 100 + index / 10);
            let comma = if index == 0 { "" } else { "," };
            let time = 1_700_000_000_000 + step;
            // Writing to a string cannot fail.
            let _ = write!(
                body,
                r#"{comma}{{"key":"m{key}","value":{index}.5,"timestamp":{time},"step":{step}}}"#
            );
        }
        body.push_str("]}");
        request("POST", "/api/2.0/mlflow/runs/log-batch", &body)
    };
    let turns = Turns {
        session,
        backend,
        name: "batch".to_owned(),
        title: format!("`log-batch` of {METRICS} metrics, clients: {CLIENTS}; times for 100 requests"),
        clients: CLIENTS,
        per: 100.0,
        things: (METRICS as f64, "metrics"),
    };
    let (row, rate) = turns.measure(&servers, &batch, &|answer| {
        ensure!(answer.trim_ascii() == b"{}", "an answer that is not `{{}}`");
        Ok(())
    })?;
    let row = row.at_most(1.0 / 40.0, PEER);
    Ok(vec![if session.smoke { row } else { row.above("ours", rate, 100_000.0, "metrics/s") }])
}
