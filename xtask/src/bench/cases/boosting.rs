//! Gradient boosting on many rows against scikit-learn and LightGBM: a whole training, from Parquet file to scores.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bench::report::{Bar, Row, median, number};
use crate::bench::session::{Phase, Scenario, Session};
use crate::{process, workspace};

const BOOSTING: &str = "boosting";
const FIT: &str = "boosting-fit";
const TOOLS: [&str; 3] = ["tidemill", "lightgbm", "scikit-learn"];
/// How far below the better peer's ROC AUC ours may be.
const NOISE: f64 = 0.002;
/// Fewest tables on which quality is compared. A table's product of two columns has hardly an effect of either alone: in which
/// round trees find it, and with it their ROC AUC, differs by 0.001 to 0.002 between equally good learners of one table.
const DRAWS: usize = 5;

/// Measures a whole step, and fitting alone.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let train_rows = session.size(1_000_000, 4_000);
    let rows = session.scratch.join("rows.parquet");
    let draws = if session.smoke { 1 } else { session.repeat.max(DRAWS) };
    let drawn = Cell::new(0);

    let ours = session.scratch.join("tidemill-boosting");
    let mut scenarios = vec![Scenario {
        tool: "tidemill",
        phases: vec![
            Phase::new(BOOSTING, || session.tidemill(&ours, &["run", "--quiet"]))
                .prepare(|| {
                    // Each turn has rows of its own, the same for all tools.
                    drawn.set(drawn.get() + 1);
                    make_rows(session, train_rows * 5 / 4, drawn.get(), &rows)?;
                    let project = session.project("tidemill-boosting", PIPELINE)?;
                    fs_err::copy(&rows, project.join("rows.parquet"))?;
                    Ok(())
                })
                .value(|| auc(&ours.join("model/report.json"))),
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
    let measured = session.take_turns(draws, &scenarios)?;
    let title = format!(
        "gradient boosting, {train_rows} × 30 training rows, 100 rounds, on {draws} tables with the same test rows for all"
    );
    let mut row = measured.row(BOOSTING, &title, &TOOLS, of_tables).at_most(1.5, "lightgbm");
    let of_all = |tool| mean(measured.values(BOOSTING, tool));
    let better_peer = TOOLS[1..].iter().copied().map(of_all).filter(|auc| !auc.is_nan()).reduce(f64::max);
    if let Some(peer) = better_peer {
        let ours = of_all("tidemill");
        row.bars.push(Bar {
            demand: format!("mean ROC AUC ≥ {peer:.5} − {}", number(NOISE)),
            reached: format!("{ours:.5}"),
            pass: ours >= peer - NOISE,
        });
    }
    if session.smoke {
        return Ok(vec![row]);
    }
    Ok(vec![row, fitting(session)?])
}

/// The mean; NaN for none. Of so few tables it is a better guess than the median, and no table is an outlier.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// What a tool reached on all tables: the mean, and the range where there are several.
fn of_tables(aucs: &[f64]) -> String {
    let (low, high) = aucs
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &auc| (low.min(auc), high.max(auc)));
    let middle = mean(aucs);
    if aucs.len() > 1 {
        format!("ROC AUC {middle:.5} ({low:.5}–{high:.5})")
    } else {
        format!("ROC AUC {middle:.5}")
    }
}

/// The peers' environment writes the rows; a smoke run without peers uses the tests' environment.
fn make_rows(session: &Session, count: u64, draw: u64, path: &Path) -> Result<()> {
    let mut command = if let Some(peers) = &session.peers {
        peers.script("make_boosting.py")
    } else {
        let mut command = Command::new(session.root.join(".venv/bin/python"));
        command.arg(session.root.join("xtask/bench/make_boosting.py"));
        command
    };
    process::output(command.arg(count.to_string()).arg(path).arg(draw.to_string())).map(drop)
}

/// ROC AUC on the held-out rows: of a peer's scores, or of our report.
fn auc(path: &Path) -> Result<f64> {
    let scores: serde_json::Value = serde_json::from_slice(&fs_err::read(path)?)?;
    let ours = scores.get("test").and_then(serde_json::Value::as_array).and_then(|metrics| {
        metrics.iter().find(|metric| metric["metric"] == "roc_auc").map(|metric| &metric["value"])
    });
    let found = ours.or_else(|| scores.get("roc_auc")).and_then(serde_json::Value::as_f64);
    found.with_context(|| format!("no `roc_auc` in `{}`", path.display()))
}

/// Fitting alone, on rows that each program makes itself: the seconds that it prints.
fn fitting(session: &Session) -> Result<Row> {
    const ROWS: &str = "1000000";
    let ours = workspace::example(&session.root, "tidemill-train", "gbdt_bench")?;
    let log = session.scratch.join("measured.log");
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).to_string();
    let fit = Phase::new(FIT, || {
        let mut command = Command::new(&ours);
        command.args([ROWS, "binary", &threads]);
        command
    });
    let mut scenarios = vec![Scenario { tool: "tidemill", phases: vec![fit.value(|| printed(&log))] }];
    if let Some(peers) = &session.peers {
        for tool in ["lightgbm", "scikit-learn"] {
            let log = log.clone();
            let fit = Phase::new(FIT, move || {
                let mut command = peers.script("boosting_fit.py");
                command.args([tool, ROWS]);
                command
            });
            scenarios.push(Scenario { tool, phases: vec![fit.value(move || printed(&log))] });
        }
    }
    let measured = session.alternate(&scenarios)?;
    let title = format!("fitting alone, {ROWS} × 30 rows, 100 rounds");
    let middle = |seconds: &[f64]| median(seconds.iter().copied());
    let row = measured.row(FIT, &title, &TOOLS, |seconds| format!("fitting {:.2} s", middle(seconds)));
    let ratio = middle(measured.values(FIT, "tidemill")) / middle(measured.values(FIT, "lightgbm"));
    Ok(if ratio.is_nan() { row } else { row.below("fitting time against LightGBM's", ratio, 1.5, "times") })
}

/// The seconds of fitting in what the measured program printed.
fn printed(log: &Path) -> Result<f64> {
    let text = fs_err::read_to_string(log)?;
    let number = text.split_once("train ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    number.with_context(|| format!("no seconds of fitting in what was printed: {text}"))
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
      split: {by: time, column: at, test: 0.2}
      gbdt: {rounds: 100, learning_rate: 0.1, max_leaves: 31}
      seed: 7
    outs: [model]
";
