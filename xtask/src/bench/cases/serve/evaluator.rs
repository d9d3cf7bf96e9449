//! The evaluator alone, a row and 64 rows in a call, against ONNX Runtime in a Python process, both on one thread.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Input, python};
use crate::bench::cases::server::Lines;
use crate::bench::measure::Sample;
use crate::bench::report::{Bar, Row, number};
use crate::bench::server::OURS;
use crate::bench::session::Session;
use crate::{process, workspace};

const PEER: &str = "onnxruntime in Python";
const THROUGH: &str = "tidemill through ONNX Runtime";
const BATCHES: [usize; 2] = [1, 64];
/// The models of `serve_suite.py`, in words, and whether they are networks.
const MODELS: [(&str, &str, bool); 5] = [
    ("boosting", "gradient boosting, 100 trees on 30 features", false),
    ("forest", "random forest, 100 trees on 30 features", false),
    ("linear", "scaler, principal components, logistic regression", false),
    ("cnn", "small convolutional network", true),
    ("transformer", "transformer block", true),
];

/// Measures a row for each model and batch.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let input = Input::make(session)?;
    let folder = session.folder("serve-suite")?;
    let mut make = python(session);
    make.arg("xtask/bench/serve_suite.py").arg(input.file("model.onnx")).arg(&folder);
    process::output(&mut make)?;
    let program = workspace::example_of_all(&session.root, "latency", !session.smoke)?;
    let mut lines: Vec<[Lines; 2]> = MODELS.iter().map(|_| <[Lines; 2]>::default()).collect();
    for turn in 1..=session.repeat {
        let printed = process::output(&mut latency(session, &program, &folder)?)?;
        for ((model, _, _), lines) in MODELS.iter().zip(&mut lines) {
            let times =
                times(&printed, model).with_context(|| format!("no times of `{model}` in: {printed}"))?;
            for ((batch, lines), times) in BATCHES.iter().zip(lines).zip(times) {
                for (tool, micros) in times {
                    let sample = Sample { wall: micros, cpu: micros, peak: 0 };
                    lines.add(
                        &name(model, *batch),
                        turn,
                        tool,
                        sample,
                        &format!("{} µs a call", number(micros)),
                    );
                }
            }
        }
    }
    let mut rows = Vec::new();
    for ((model, words, network), lines) in MODELS.into_iter().zip(lines) {
        for (batch, lines) in BATCHES.into_iter().zip(lines) {
            let title = format!("{words}, rows in a call: {batch}; times for 1,000,000 calls");
            let row = lines.plain(name(model, batch), title);
            rows.push(if network { near(row) } else { row.at_most(1.0, PEER) });
        }
    }
    Ok(rows)
}

fn name(model: &str, batch: usize) -> String {
    format!("serve-evaluator-{model}-{batch}")
}

/// The program; it runs the peer too, in a session with peers.
fn latency(session: &Session, program: &Path, folder: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.arg(folder);
    if session.peers.is_some() {
        command.arg(session.root.join(".venv/bin/python")).arg(library(session)?);
    }
    Ok(command)
}

/// The shared library in the Python package.
fn library(session: &Session) -> Result<PathBuf> {
    for version in fs_err::read_dir(session.root.join(".venv/lib"))? {
        let folder = version?.path().join("site-packages/onnxruntime/capi");
        for file in fs_err::read_dir(folder).into_iter().flatten() {
            let path = file?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so")) {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("the tests' environment has no ONNX Runtime; run `cargo xtask setup`")
}

/// Microseconds of a model for each batch: by us, by us through ONNX Runtime, and by the peer, of what was measured.
fn times(printed: &str, model: &str) -> Option<[Vec<(&'static str, f64)>; 2]> {
    let line = printed.lines().find(|line| line.starts_with(&format!("| bench/{model} |")))?;
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let mut found = <[Vec<_>; 2]>::default();
    for (tool, cell) in [OURS, THROUGH, PEER].into_iter().zip(cells.get(2..5)?) {
        if let Some((one, many)) = cell.split_once(" / ") {
            found[0].push((tool, one.parse().ok()?));
            found[1].push((tool, many.parse().ok()?));
        }
    }
    found.iter().all(|times| times.first().is_some_and(|(tool, _)| *tool == OURS)).then_some(found)
}

/// Networks may take three times as long, or be given to ONNX Runtime without a loss.
fn near(mut row: Row) -> Row {
    let Some(peer) = row.line(PEER).map(crate::bench::report::Line::wall) else { return row };
    let ratio = |tool| row.line(tool).map_or(f64::INFINITY, |line| line.wall() / peer);
    let (own, through) = (ratio(OURS), ratio(THROUGH));
    row.bars.push(Bar {
        demand: format!("wall ≤ 3× of {PEER}, or ≤ 1.05× through ONNX Runtime"),
        reached: format!("{}×, through ONNX Runtime {}×", number(own), number(through)),
        pass: own <= 3.0 || through <= 1.05,
    });
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_table_is_read() {
        let text = "| model | runtime | built in 1 / 64 | ort 1 / 64 | Python 1 / 64 |\n\
                    | bench/cnn | network | 123.00 / 9900.50 | – | 22.10 / 1200.00 |\n";
        let [one, many] = times(text, "cnn").unwrap();
        assert_eq!(one, [(OURS, 123.0), (PEER, 22.1)]);
        assert_eq!(many, [(OURS, 9900.5), (PEER, 1200.0)]);
        assert!(times(text, "linear").is_none());
    }
}
