//! How often drift is found where there is none, and where there is some, beside Evidently's default rules on the same pairs.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::bench::report::{Row, Table, number};
use crate::bench::session::Session;
use crate::process;

/// Part of healthy tables of which drift may be said.
const LEVEL: f64 = 0.05;

/// What was found in pairs of one kind and size.
#[derive(Debug, Deserialize)]
struct Found {
    kind: String,
    rows: u64,
    of: f64,
    tidemill: f64,
    evidently: f64,
    any_column: f64,
}

/// Measures the table: 200 pairs of each kind and size.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let Some(peers) = &session.peers else { return Ok(Vec::new()) };
    let project = session.project("drift-level", "")?;
    let repeat = session.size(200, 2).to_string();
    let mut command = peers.tables("drift_level.py");
    command.arg(&session.ours).arg(&repeat).current_dir(project);
    let sizes: &[&str] = if session.smoke { &["200"] } else { &["200", "1000", "10000", "100000"] };
    let said = process::output(command.args(sizes))?;
    let found: Vec<Found> = said
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("the script printed something else than its figures")?;
    let percent = |count: f64, of: f64| format!("{} %", number(count / of * 100.0));
    let rows = found.iter().map(|row| {
        let cells = [row.tidemill, row.evidently, row.any_column].map(|count| percent(count, row.of));
        [row.kind.clone(), row.rows.to_string(), row.of.to_string()].into_iter().chain(cells).collect()
    });
    let columns = ["shift", "rows", "pairs", "tidemill", "evidently, the table", "evidently, any column"];
    let table = Table { columns: columns.map(str::to_owned).to_vec(), rows: rows.collect() };
    let title = "pairs of tables of 10 columns in which drift is found; `level` has none".to_owned();
    let row = Row {
        name: "drift-level".to_owned(),
        title,
        lines: Vec::new(),
        table: Some(table),
        bars: Vec::new(),
    };
    if session.smoke {
        return Ok(vec![row]);
    }
    let false_alarms = found.iter().filter(|row| row.kind == "level").map(|row| row.tidemill / row.of);
    let worst = false_alarms.fold(0.0, f64::max) * 100.0;
    let missed = worst_missed(&found) * 100.0;
    Ok(vec![row.below("false alarms at every size", worst, LEVEL * 100.0, "%").below(
        "more found by a rule of the peer's that keeps the level",
        missed,
        0.0,
        "%",
    )])
}

/// By how much a rule of the peer's finds more of a shift than we do, at most, among those that keep the level at that size.
fn worst_missed(found: &[Found]) -> f64 {
    let rules: [fn(&Found) -> f64; 2] = [|row| row.evidently / row.of, |row| row.any_column / row.of];
    let keeps = |rule: fn(&Found) -> f64, rows: u64| {
        found.iter().any(|row| row.kind == "level" && row.rows == rows && rule(row) <= LEVEL)
    };
    let mut worst: f64 = 0.0;
    for row in found.iter().filter(|row| row.kind != "level") {
        for rule in rules.into_iter().filter(|rule| keeps(*rule, row.rows)) {
            worst = worst.max(rule(row) - row.tidemill / row.of);
        }
    }
    worst
}
