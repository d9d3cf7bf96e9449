//! A folder of many small files into an empty store, and out of it again.

use anyhow::Result;

use crate::bench::inputs;
use crate::bench::report::Row;
use crate::bench::session::{Phase, Scenario, Session, megabytes};
use crate::process;

const ADD: &str = "add-small";
const CHECKOUT: &str = "checkout-small";
const TOOLS: [&str; 3] = ["tidemill", "dvc", "oxen"];

/// Measures the two rows.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let count = session.size(20_000, 200);
    let source = session.folder("small")?;
    inputs::small_files(&source, count, 10_000, 4)?;
    let copy_into = |folder: &std::path::Path| {
        let mut copy = std::process::Command::new("cp");
        process::run(copy.arg("-r").arg(&source).arg(folder.join("small")))
    };

    let ours = session.scratch.join("tidemill-small");
    let dvc = session.scratch.join("dvc-small");
    let oxen = session.scratch.join("oxen-small");
    let mut scenarios = vec![Scenario {
        tool: "tidemill",
        phases: vec![
            Phase::new(ADD, || session.tidemill(&ours, &["data", "add", "small", "small"]))
                .prepare(|| copy_into(&session.project("tidemill-small", "")?))
                .value(|| Ok(inputs::stored_bytes(&ours.join(".tidemill"))? as f64)),
            Phase::new(CHECKOUT, || session.tidemill(&ours, &["data", "get", "small", "--out", "again"])),
        ],
    }];
    if let Some(peers) = &session.peers {
        scenarios.push(Scenario {
            tool: "dvc",
            phases: vec![
                Phase::new(ADD, || peers.dvc(&dvc, &["add", "--quiet", "small"]))
                    .prepare(|| {
                        peers.dvc_init(&session.folder("dvc-small")?)?;
                        copy_into(&dvc)
                    })
                    .value(|| Ok(inputs::stored_bytes(&dvc.join(".dvc/cache"))? as f64)),
                Phase::new(CHECKOUT, || peers.dvc(&dvc, &["checkout", "--quiet"]))
                    .prepare(|| inputs::remove(&dvc.join("small"))),
            ],
        });
        scenarios.push(Scenario {
            tool: "oxen",
            phases: vec![
                Phase::new(ADD, || {
                    let mut add = peers.script("oxen_add.py");
                    add.current_dir(&oxen).arg("small");
                    add
                })
                .prepare(|| {
                    let folder = session.folder("oxen-small")?;
                    process::output(peers.script("oxen_add.py").current_dir(&folder).arg("--init"))?;
                    copy_into(&folder)
                })
                .value(|| Ok(inputs::stored_bytes(&oxen.join(".oxen"))? as f64)),
            ],
        });
    }
    let measured = session.alternate(&scenarios)?;
    Ok(vec![
        measured
            .row(ADD, &format!("`data add` of {count} files of 10 KB"), &TOOLS, megabytes("stored"))
            .at_most(1.0 / 8.0, "dvc"),
        measured
            .row(CHECKOUT, &format!("check-out of {count} files of 10 KB"), &TOOLS, megabytes(""))
            .at_most(1.0 / 5.0, "dvc"),
    ])
}
