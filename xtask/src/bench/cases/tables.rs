//! Tables of 2,000,000 rows and 30 columns: their profile against DuckDB's SUMMARIZE, and ten expectations against the same in
//! one query of DuckDB.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::bench::report::Row;
use crate::bench::session::{Phase, Scenario, Session};
use crate::process;

const TOOLS: [&str; 2] = ["tidemill", "duckdb"];

/// Measures the profile, from the start of the process to all figures printed.
pub(super) fn profile(session: &Session) -> Result<Vec<Row>> {
    measure(session, "profile", "2M × 30 from Parquet", "", "summarize.py", |table| {
        vec!["data".to_owned(), "profile".to_owned(), table.to_owned(), "--json".to_owned()]
    })
}

/// Measures ten expectations, from the start of the process to the verdict.
pub(super) fn expectations(session: &Session) -> Result<Vec<Row>> {
    measure(session, "expectations", "10 on 2M rows", EXPECTATIONS, "expectations.py", |_| {
        vec!["check".to_owned(), "--quiet".to_owned()]
    })
}

fn measure(
    session: &Session,
    name: &'static str,
    what: &'static str,
    project: &str,
    peer: &'static str,
    arguments: fn(&str) -> Vec<String>,
) -> Result<Vec<Row>> {
    // The table comes from a peer's engine, so there is nothing to measure without it.
    let Some(peers) = &session.peers else { return Ok(Vec::new()) };
    let folder = session.folder("tables")?;
    let table: PathBuf = folder.join("table.parquet");
    let mut make = peers.script("wide_table.py");
    let rows = session.size(2_000_000, 20_000);
    process::run(make.arg(&table).arg(rows.to_string())).context("cannot make the table")?;
    let path = table.to_string_lossy().into_owned();
    let ours = session.scratch.join(format!("tidemill-{name}"));
    let scenarios = [
        Scenario {
            tool: "tidemill",
            phases: vec![
                Phase::new(name, || {
                    let given = arguments(&path);
                    session.tidemill(&ours, &given.iter().map(String::as_str).collect::<Vec<_>>())
                })
                .prepare(|| {
                    let folder = session.project(&format!("tidemill-{name}"), project)?;
                    link(&table, &folder.join("table.parquet"))
                }),
            ],
        },
        Scenario {
            tool: "duckdb",
            phases: vec![Phase::new(name, || {
                let mut command = peers.script(peer);
                command.arg(&table);
                command
            })],
        },
    ];
    let measured = session.alternate(&scenarios)?;
    let row = measured.row(name, what, &TOOLS, |_| String::new());
    Ok(vec![if name == "profile" { row.cpu_at_most(1.0, "duckdb") } else { row.cpu_at_most(1.5, "duckdb") }])
}

fn link(table: &Path, to: &Path) -> Result<()> {
    fs_err::hard_link(table, to).context("cannot link the table")
}

const EXPECTATIONS: &str = "\
data:
  table:
    path: table.parquet
    expect:
      - row_count: {min: 1000}
      - not_null: [id]
      - unique: [id]
      - between: {column: few_0, min: 0, max: 49}
      - between: {column: real_1, min: 0, max: 2.1}
      - regex: {column: kind_0, pattern: '^kind [0-9]+$'}
      - regex: {column: name_0, pattern: '^[0-9A-F]+$'}
      - mean_between: {column: real_2, min: 1, max: 2}
      - quantile_between: {column: many_0, quantile: 0.5, min: 400000000, max: 600000000}
      - length: {column: name_1, max: 16}
";
