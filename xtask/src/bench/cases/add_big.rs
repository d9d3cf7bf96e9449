//! One big file into an empty store, then two changed versions of it.

use std::process::Command;

use anyhow::Result;

use crate::bench::inputs;
use crate::bench::report::Row;
use crate::bench::session::{Phase, Scenario, Session, megabytes};
use crate::process;

const FIRST: &str = "add-big";
const APPENDED: &str = "add-appended";
const INSERTED: &str = "add-inserted";
const TOOLS: [&str; 4] = ["tidemill", "dvc", "oxen", "cp and fsync"];

/// Measures the three rows.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let bytes = session.size(2_000_000_000, 20_000_000);
    let versions = session.folder("versions")?;
    let (first, appended, inserted) = (versions.join("1"), versions.join("2"), versions.join("3"));
    inputs::random_file(&first, bytes, 1)?;
    inputs::with_insertion(&first, &appended, bytes, bytes / 100, 2)?;
    inputs::with_insertion(&first, &inserted, bytes / 2, 4_096, 3)?;
    for version in [&first, &appended, &inserted] {
        inputs::warm(version)?;
    }

    // Each tool has a folder with the file `data.bin` in it and a store beside the file.
    let phases = [(FIRST, first.clone()), (APPENDED, appended), (INSERTED, inserted)];
    let scenario = |tool: &'static str,
                    store: &'static str,
                    start: Box<dyn Fn() -> Result<()>>,
                    add: Box<dyn Fn() -> Command>| {
        let folder = session.scratch.join(tool);
        let start = std::rc::Rc::new(start);
        let add = std::rc::Rc::new(add);
        let before = std::rc::Rc::new(std::cell::Cell::new(0));
        let phases = phases.iter().map(|(row, version)| {
            let (version, target, store) = (version.clone(), folder.join("data.bin"), folder.join(store));
            let (start, add, before) = (start.clone(), add.clone(), before.clone());
            let (store_then, before_then) = (store.clone(), before.clone());
            Phase::new(row, move || add())
                .prepare(move || {
                    if *row == FIRST {
                        start()?;
                    }
                    fs_err::copy(&version, &target)?;
                    before_then.set(inputs::stored_bytes(&store_then)?);
                    Ok(())
                })
                .value(move || Ok(inputs::stored_bytes(&store)?.saturating_sub(before.get()) as f64))
        });
        Scenario { tool, phases: phases.collect() }
    };

    let mut scenarios = vec![scenario(
        "tidemill",
        ".tidemill/store",
        Box::new(|| session.project("tidemill", "").map(drop)),
        Box::new(|| session.tidemill(&session.scratch.join("tidemill"), &["data", "add", "big", "data.bin"])),
    )];
    if let Some(peers) = &session.peers {
        scenarios.push(scenario(
            "dvc",
            ".dvc/cache",
            Box::new(|| peers.dvc_init(&session.folder("dvc")?)),
            Box::new(|| peers.dvc(&session.scratch.join("dvc"), &["add", "--quiet", "data.bin"])),
        ));
        scenarios.push(scenario(
            "oxen",
            ".oxen",
            Box::new(|| {
                let mut init = peers.script("oxen_add.py");
                process::output(init.current_dir(session.folder("oxen")?).arg("--init")).map(drop)
            }),
            Box::new(|| {
                let mut add = peers.script("oxen_add.py");
                add.current_dir(session.scratch.join("oxen")).arg("data.bin");
                add
            }),
        ));
    }
    scenarios.push(Scenario {
        tool: "cp and fsync",
        phases: vec![
            Phase::new(FIRST, || {
                let mut copy = Command::new("sh");
                copy.args(["-c", "cp --reflink=never versions/1 cp/data.bin && sync cp/data.bin"]);
                copy.current_dir(&session.scratch);
                copy
            })
            .prepare(|| session.folder("cp").map(drop)),
        ],
    });

    let measured = session.alternate(&scenarios)?;
    let new = |row, limit| (measured.value(row, "tidemill").unwrap_or(f64::NAN) / 1e6, limit);
    let title = |what: &str| format!("`data add` of {what} {} MB", bytes / 1_000_000);
    let mut rows = vec![
        measured
            .row(FIRST, &title("one random file of"), &TOOLS, megabytes("stored"))
            .at_most(1.0 / 5.0, "dvc"),
        measured.row(APPENDED, &title("1 % appended to"), &TOOLS, megabytes("new")).at_most(1.0 / 7.0, "dvc"),
        measured
            .row(INSERTED, &title("4 KB inserted into the middle of"), &TOOLS, megabytes("new"))
            .at_most(1.0 / 7.0, "dvc"),
    ];
    if !session.smoke {
        for (row, (value, limit)) in [(1, new(APPENDED, 22.0)), (2, new(INSERTED, 0.5))] {
            let judged = rows.remove(row).below("new storage", value, limit, "MB");
            rows.insert(row, judged);
        }
    }
    Ok(rows)
}
