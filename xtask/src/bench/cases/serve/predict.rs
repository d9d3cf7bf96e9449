//! Batch scoring of Parquet: `tidemill predict` against a loop over batches in Python, whole processes.

use anyhow::{Context as _, Result, ensure};

use super::{FEATURES, Input, python};
use crate::bench::inputs;
use crate::bench::report::{Row, number};
use crate::bench::session::{Phase, Scenario, Session};
use crate::process;

const PREDICT: &str = "serve-predict";
const PEER: &str = "onnxruntime and pyarrow";
const TOOLS: [&str; 2] = ["tidemill", PEER];

/// Measures the row.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let count = session.size(10_000_000, 200_000);
    let input = Input::make(session)?;
    let folder = session.folder("serve-predict")?;
    let (rows, ours, theirs) =
        (folder.join("rows.parquet"), folder.join("ours.parquet"), folder.join("theirs.parquet"));
    process::output(python(session).arg("xtask/bench/serve_rows.py").arg(count.to_string()).arg(&rows))?;
    let model = input.file("model.onnx");
    let columns = (0..FEATURES).map(|index| format!("x{index:02}")).collect::<Vec<_>>().join(",");
    let predict = Phase::new(PREDICT, || {
        let mut command = session.tidemill(&folder, &["predict", "--quiet", "--columns", &columns]);
        command.arg("--model").arg(&model).arg("--input").arg(&rows).arg("--output").arg(&ours);
        command
    });
    let ready = || inputs::warm(&rows);
    let mut scenarios = vec![Scenario { tool: "tidemill", phases: vec![predict.prepare(ready)] }];
    if let Some(peers) = &session.peers {
        let score = Phase::new(PREDICT, || {
            let mut command = peers.serve("python");
            command.arg(peers.scripts().join("serve_predict.py")).arg(&model).arg(&rows).arg(&theirs);
            command
        });
        scenarios.push(Scenario { tool: PEER, phases: vec![score.prepare(ready)] });
    }
    let measured = session.alternate(&scenarios)?;
    if session.peers.is_some() {
        let mut compare = python(session);
        compare.arg("xtask/bench/same_scores.py").arg(&ours).arg(&theirs);
        process::output(&mut compare).context("both must give the same scores")?;
    } else {
        ensure!(inputs::stored_bytes(&folder)? > 0, "nothing was written");
    }
    let title = format!("batch scoring of {count} rows of {FEATURES} columns of Parquet, 100 trees");
    let mut row = measured.row(PREDICT, &title, &TOOLS, |_| String::new());
    for line in &mut row.lines {
        line.note = format!("{} rows/s", number(count as f64 / line.wall()));
    }
    Ok(vec![row.at_most(0.5, PEER)])
}
