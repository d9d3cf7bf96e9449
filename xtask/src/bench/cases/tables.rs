//! Tables of 2,000,000 rows and 30 columns: their profile against DuckDB's SUMMARIZE and whylogs, and ten expectations against
//! the same in one query of DuckDB and in Great Expectations; drift between two tables of 1,000,000 rows and 20 columns
//! against Evidently.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bench::measure::Sample;
use crate::bench::peers::Peers;
use crate::bench::report::{Line, Row};
use crate::bench::session::{Phase, Scenario, Session};
use crate::{process, workspace};

/// Measures the profile, from the start of the process to all figures printed.
pub(super) fn profile(session: &Session) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, what, file) in [
        ("profile", "2M × 30 from Parquet", "table.parquet"),
        ("profile-csv", "2M × 30 from CSV", "table.csv"),
    ] {
        let Some((peers, table)) = wide(session, file)? else { return Ok(Vec::new()) };
        let ours = session.project(&format!("tidemill-{name}"), "")?;
        let path = table.to_string_lossy().into_owned();
        let row = turns(
            session,
            name,
            what,
            &[
                ("tidemill", &|| session.tidemill(&ours, &["data", "profile", &path, "--json"])),
                ("duckdb", &|| script(peers.script("summarize.py"), &[&table])),
                ("whylogs", &|| script(peers.whylogs("profile_whylogs.py"), &[&table])),
            ],
        )?;
        let peak = row.line("tidemill").map_or(f64::INFINITY, |line| line.peak() as f64 / 1e6);
        let row = row.cpu_at_most(1.0, "duckdb").cpu_at_most(1.0 / 15.0, "whylogs");
        rows.push(row.below("peak", peak, 200.0, "MB"));
    }
    Ok(rows)
}

/// Measures ten expectations, from the start of the process to the verdict.
pub(super) fn expectations(session: &Session) -> Result<Vec<Row>> {
    let Some((peers, table)) = wide(session, "table.parquet")? else { return Ok(Vec::new()) };
    let ours = session.project("tidemill-expectations", EXPECTATIONS)?;
    fs_err::hard_link(&table, ours.join("table.parquet")).context("cannot link the table")?;
    let row = turns(
        session,
        "expectations",
        "10 on 2M rows",
        &[
            ("tidemill", &|| session.tidemill(&ours, &["check", "--quiet"])),
            ("duckdb", &|| script(peers.script("expectations.py"), &[&table])),
            ("great expectations", &|| script(peers.tables("expectations_gx.py"), &[&table])),
        ],
    )?;
    Ok(vec![row.cpu_at_most(1.5, "duckdb").cpu_at_most(1.0 / 5.0, "great expectations")])
}

/// Measures the drift between two tables from their rows.
pub(super) fn drift(session: &Session) -> Result<Vec<Row>> {
    let Some(peers) = &session.peers else { return Ok(Vec::new()) };
    let (ours, tables) = drifted(session, peers)?;
    let evidently = || script(peers.tables("drift_evidently.py"), &[&tables[0], &tables[1]]);
    let samples = turns(
        session,
        "drift",
        "1M against 1M rows × 20, from rows",
        &[
            ("tidemill", &|| session.tidemill(&ours, &["data", "drift", "reference", "current", "--json"])),
            ("evidently", &evidently),
        ],
    )?;
    Ok(vec![samples.cpu_at_most(1.0 / 15.0, "evidently")])
}

/// Measures the drift between two tables from their stored profiles, which no peer has.
pub(super) fn drift_of_profiles(session: &Session) -> Result<Vec<Row>> {
    let Some(peers) = &session.peers else { return Ok(Vec::new()) };
    let (ours, _) = drifted(session, peers)?;
    let profiles = turns(
        session,
        "drift-profiles",
        "1M against 1M rows × 20, from stored profiles",
        &[("tidemill", &|| {
            session.tidemill(&ours, &["data", "drift", "reference", "current", "--profiles", "--json"])
        })],
    )?;
    let wall = profiles.line("tidemill").map_or(f64::INFINITY, |line| line.wall() * 1e3);
    Ok(vec![profiles.below("wall", wall, 50.0, "ms")])
}

/// A project with two tables whose profiles are stored, and the tables.
fn drifted(session: &Session, peers: &Peers) -> Result<(PathBuf, Vec<PathBuf>)> {
    let folder = session.folder("tables")?;
    let rows = session.size(1_000_000, 20_000);
    let mut tables = Vec::new();
    for (name, seed) in [("reference", "1"), ("current", "2")] {
        let path = folder.join(format!("{name}.parquet"));
        let mut make = peers.script("drift_table.py");
        process::run(make.arg(&path).arg(rows.to_string()).arg(seed)).context("cannot make the table")?;
        tables.push(path);
    }
    let ours = session.project("tidemill-drift", "")?;
    for (name, path) in ["reference", "current"].iter().zip(&tables) {
        // Makes the profile that is stored with a version.
        process::output(session.tidemill(&ours, &["data", "add", name]).arg(path))?;
        process::output(&mut session.tidemill(&ours, &["data", "profile", name, "--json"]))?;
    }
    Ok((ours, tables))
}

/// Measures merging the profiles of a thousand hours in one process, and reading them from what is stored before it.
pub(super) fn merge(session: &Session) -> Result<Vec<Row>> {
    #[derive(serde::Deserialize)]
    struct Round {
        tool: String,
        wall: f64,
        cpu: f64,
    }
    let program = workspace::example_of_all(&session.root, "profile_bench", !session.smoke)?;
    let said = process::output(Command::new(program).arg("merge"))?;
    let line = |tool: &str| Line { tool: tool.to_owned(), samples: Vec::new(), note: String::new() };
    let mut lines = [line("merged"), line("read and merged")];
    for round in said.lines().map(serde_json::from_str::<Round>) {
        let Round { tool, wall, cpu } =
            round.context("the example printed something else than its rounds")?;
        let line = lines.iter_mut().find(|line| line.tool == tool);
        line.context("an unknown round")?.samples.push(Sample { wall, cpu, peak: 0 });
    }
    let wall = lines[0].wall() * 1e3;
    let row = Row {
        name: "profile-merge".to_owned(),
        title: "1,000 hourly profiles of 30 columns".to_owned(),
        lines: lines.into(),
        table: None,
        bars: Vec::new(),
    };
    Ok(vec![if session.smoke { row } else { row.below("wall", wall, 200.0, "ms") }])
}

type Run<'a> = (&'static str, &'a dyn Fn() -> Command);

/// All tools in turns, each with one command.
fn turns(session: &Session, name: &'static str, what: &'static str, tools: &[Run<'_>]) -> Result<Row> {
    let scenarios: Vec<Scenario<'_>> = tools
        .iter()
        .map(|&(tool, command)| Scenario { tool, phases: vec![Phase::new(name, command)] })
        .collect();
    let names: Vec<&'static str> = tools.iter().map(|(tool, _)| *tool).collect();
    Ok(session.alternate(&scenarios)?.row(name, what, &names, |_| String::new()))
}

fn script(mut command: Command, paths: &[&PathBuf]) -> Command {
    command.args(paths);
    command
}

/// The table of 30 columns; it comes from a peer's engine, so there is nothing to measure without one.
fn wide<'a>(session: &'a Session, file: &str) -> Result<Option<(&'a Peers, PathBuf)>> {
    let Some(peers) = &session.peers else { return Ok(None) };
    let table = session.folder(&format!("tables-{file}"))?.join(file);
    let mut make = peers.script("wide_table.py");
    let rows = session.size(2_000_000, 20_000);
    process::run(make.arg(&table).arg(rows.to_string())).context("cannot make the table")?;
    Ok(Some((peers, table)))
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
