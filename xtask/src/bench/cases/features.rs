//! A feature step in SQL over the example's flights, with two joins, against the same text in DuckDB.

use anyhow::{Context as _, Result};

use crate::bench::inputs;
use crate::bench::report::Row;
use crate::bench::session::{Phase, Scenario, Session};
use crate::process;

const FEATURES: &str = "features";
const TOOLS: [&str; 2] = ["tidemill", "duckdb"];
/// Both engines understand this text.
const SQL: &str = "xtask/bench/features.sql";

/// Measures the row: whole processes, from start to a written Parquet file.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let ours = session.scratch.join("tidemill-features");
    let data = session.root.join("examples/flights/data");
    let prepare = |folder: &std::path::Path| -> Result<()> {
        let mut copy = std::process::Command::new("cp");
        process::run(copy.arg("-r").arg(&data).arg(folder.join("data")))?;
        fs_err::copy(session.root.join(SQL), folder.join("features.sql"))?;
        Ok(())
    };
    let duckdb = session.scratch.join("duckdb-features");
    let mut scenarios = vec![Scenario {
        tool: "tidemill",
        phases: vec![Phase::new(FEATURES, || session.tidemill(&ours, &["run", "--quiet"])).prepare(|| {
            prepare(&session.project("tidemill-features", PIPELINE)?)?;
            Ok(())
        })],
    }];
    if let Some(peers) = &session.peers {
        scenarios.push(Scenario {
            tool: "duckdb",
            phases: vec![
                Phase::new(FEATURES, || {
                    let mut command = peers.script("features.py");
                    command.current_dir(&duckdb);
                    command
                })
                .prepare(|| prepare(&session.folder("duckdb-features")?)),
            ],
        });
    }
    let measured = session.alternate(&scenarios)?;
    if let Some(peers) = &session.peers {
        let mut compare = peers.script("same_rows.py");
        compare.arg(ours.join("features.parquet")).arg(duckdb.join("features.parquet"));
        process::output(&mut compare).context("both engines must give the same rows")?;
    } else {
        anyhow::ensure!(inputs::stored_bytes(&ours)? > 0, "the step wrote nothing");
    }
    let row = measured.row(FEATURES, "two joins over the flights of the example", &TOOLS, |_| String::new());
    Ok(vec![row.at_most(1.5, "duckdb")])
}

const PIPELINE: &str = "\
data:
  flights: {path: data/flights/*.parquet}
  weather: {path: data/weather.parquet}
  planes: {path: data/planes.parquet}
pipeline:
  features:
    sql: features.sql
    inputs: [flights, weather, planes]
    outs: [features.parquet]
";
