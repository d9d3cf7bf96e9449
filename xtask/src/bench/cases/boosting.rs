//! Gradient boosting on many rows against scikit-learn and LightGBM: a whole training, from Parquet file to scores.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bench::report::{Row, number};
use crate::bench::session::{Phase, Scenario, Session};
use crate::process;

const BOOSTING: &str = "boosting";
const TOOLS: [&str; 3] = ["tidemill", "lightgbm", "scikit-learn"];
/// How far below the best peer's ROC AUC ours may be; the standard error on 200,000 test rows is about 0.001.
const NOISE: f64 = 0.002;

/// Measures the row.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let train_rows = session.size(1_000_000, 4_000);
    let rows = session.scratch.join("rows.parquet");
    make_rows(session, train_rows * 5 / 4, &rows)?;

    let ours = session.scratch.join("tidemill-boosting");
    let mut scenarios = vec![Scenario {
        tool: "tidemill",
        phases: vec![
            Phase::new(BOOSTING, || session.tidemill(&ours, &["run", "--quiet"]))
                .prepare(|| {
                    let project = session.project("tidemill-boosting", PIPELINE)?;
                    fs_err::copy(&rows, project.join("rows.parquet"))?;
                    Ok(())
                })
                .value(|| auc(&ours.join("model/metrics.json"))),
        ],
    }];
    if let Some(peers) = &session.peers {
        for tool in ["lightgbm", "scikit-learn"] {
            let scores = session.scratch.join(format!("{tool}.json"));
            let (rows, written) = (rows.clone(), scores.clone());
            scenarios.push(Scenario {
                tool,
                phases: vec![
                    Phase::new(BOOSTING, move || {
                        let mut command = peers.script("boosting.py");
                        command.arg(tool).arg(&rows).arg(&written);
                        command
                    })
                    .value(move || auc(&scores)),
                ],
            });
        }
    }
    let measured = session.alternate(&scenarios)?;
    let title = format!("gradient boosting, {train_rows} × 30 training rows, 100 rounds");
    let note = |auc: f64| format!("ROC AUC {auc:.5}");
    let mut row = measured.row(BOOSTING, &title, &TOOLS, note).at_most(1.5, "lightgbm");
    let best_peer = TOOLS[1..].iter().filter_map(|tool| measured.value(BOOSTING, tool)).reduce(f64::max);
    if let (Some(ours), Some(peer)) = (measured.value(BOOSTING, "tidemill"), best_peer) {
        row.bars.push(crate::bench::report::Bar {
            demand: format!("ROC AUC ≥ {peer:.5} − {}", number(NOISE)),
            reached: format!("{ours:.5}"),
            pass: ours >= peer - NOISE,
        });
    }
    Ok(vec![row])
}

/// The peers' environment writes the rows; a smoke run without peers uses the tests' environment.
fn make_rows(session: &Session, count: u64, path: &std::path::Path) -> Result<()> {
    let mut command = if let Some(peers) = &session.peers {
        peers.script("make_boosting.py")
    } else {
        let mut command = Command::new(session.root.join(".venv/bin/python"));
        command.arg(session.root.join("xtask/bench/make_boosting.py"));
        command
    };
    process::output(command.arg(count.to_string()).arg(path)).map(drop)
}

fn auc(path: &std::path::Path) -> Result<f64> {
    let scores: serde_json::Value = serde_json::from_slice(&fs_err::read(path)?)?;
    find_number(&scores, "roc_auc").with_context(|| format!("no `roc_auc` in `{}`", path.display()))
}

/// The first number under this key, at any depth.
fn find_number(value: &serde_json::Value, key: &str) -> Option<f64> {
    match value {
        serde_json::Value::Object(map) => map
            .get(key)
            .and_then(serde_json::Value::as_f64)
            .or_else(|| map.values().find_map(|inner| find_number(inner, key))),
        serde_json::Value::Array(items) => items.iter().find_map(|inner| find_number(inner, key)),
        _ => None,
    }
}

const PIPELINE: &str = "\
objective:
  decision: none, this is a benchmark
  task: {kind: classification, target: y, positive: 1}
data:
  rows: {path: rows.parquet}
pipeline:
  train:
    train:
      algorithm: gbdt
      features: rows.parquet
      split: {by: random, test: 0.2}
      gbdt: {rounds: 100, learning_rate: 0.1, max_leaves: 31}
      seed: 7
    outs: [model]
";
