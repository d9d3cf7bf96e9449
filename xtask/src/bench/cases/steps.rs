//! Fifty trivial steps in a chain: run fresh, run again with nothing to do, restored from the cache.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::bench::inputs;
use crate::bench::report::Row;
use crate::bench::session::{Phase, Scenario, Session};
use crate::process;

const FRESH: &str = "steps-fresh";
const NOTHING: &str = "steps-nothing";
const RESTORED: &str = "steps-restored";
const TOOLS: [&str; 4] = ["tidemill", "dvc", "metaflow", "shell loop"];

/// Measures the three rows.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let count = session.size(50, 5);
    let ours = session.scratch.join("tidemill-steps");
    let run = || session.tidemill(&ours, &["run", "--jobs", "1", "--quiet"]);
    let dvc = session.scratch.join("dvc-steps");
    let loop_folder = session.scratch.join("loop-steps");
    let flow = session.scratch.join("metaflow-steps");
    let mut scenarios = vec![Scenario {
        tool: "tidemill",
        phases: vec![
            Phase::new(FRESH, run).prepare(|| {
                session.project("tidemill-steps", &tidemill_pipeline(count))?;
                Ok(fs_err::write(ours.join("s0.txt"), "0\n")?)
            }),
            Phase::new(NOTHING, run),
            Phase::new(RESTORED, run).prepare(|| {
                remove_outputs(&ours, count)?;
                inputs::remove(&ours.join("tidemill.lock"))
            }),
        ],
    }];
    if let Some(peers) = &session.peers {
        let repro = || peers.dvc(&dvc, &["repro", "--quiet"]);
        scenarios.push(Scenario {
            tool: "dvc",
            phases: vec![
                Phase::new(FRESH, repro).prepare(|| {
                    peers.dvc_init(&session.folder("dvc-steps")?)?;
                    fs_err::write(dvc.join("dvc.yaml"), dvc_pipeline(count))?;
                    Ok(fs_err::write(dvc.join("s0.txt"), "0\n")?)
                }),
                Phase::new(NOTHING, repro),
                Phase::new(RESTORED, repro).prepare(|| {
                    remove_outputs(&dvc, count)?;
                    inputs::remove(&dvc.join("dvc.lock"))
                }),
            ],
        });
        scenarios.push(Scenario {
            tool: "metaflow",
            phases: vec![
                Phase::new(FRESH, || {
                    let mut command = peers.program("python");
                    command.args(["flow.py", "--quiet", "run"]).current_dir(&flow);
                    command.env("METAFLOW_USER", "bench").env("METAFLOW_DATASTORE_SYSROOT_LOCAL", &flow);
                    command
                })
                .prepare(|| {
                    let folder = session.folder("metaflow-steps")?;
                    Ok(fs_err::write(folder.join("flow.py"), metaflow_flow(count))?)
                }),
            ],
        });
    }
    scenarios.push(Scenario {
        tool: "shell loop",
        phases: vec![
            Phase::new(FRESH, || {
                let mut command = Command::new("sh");
                command.arg("loop.sh").current_dir(&loop_folder);
                command
            })
            .prepare(|| {
                let folder = session.folder("loop-steps")?;
                fs_err::write(folder.join("s0.txt"), "0\n")?;
                Ok(fs_err::write(folder.join("loop.sh"), shell_loop(count))?)
            }),
        ],
    });

    let measured = session.alternate(&scenarios)?;
    for folder in [&ours, &loop_folder] {
        same_result(folder, count)?;
    }
    let title = |what: &str| format!("{count} trivial steps, {what}");
    let no_note = |_: &[f64]| String::new();
    let mut fresh =
        measured.row(FRESH, &title("fresh, one at a time"), &TOOLS, no_note).at_most(1.0 / 15.0, "dvc");
    if !session.smoke {
        fresh = fresh.at_most(2.0, "shell loop");
    }
    Ok(vec![
        fresh,
        measured.row(NOTHING, &title("nothing to do"), &TOOLS, no_note).at_most(1.0 / 40.0, "dvc"),
        measured.row(RESTORED, &title("restored from the cache"), &TOOLS, no_note).at_most(1.0 / 25.0, "dvc"),
    ])
}

/// What step `n` does: it counts its input's line up.
fn command(n: u64) -> String {
    format!("read x < s{}.txt; echo $((x + 1)) > s{n}.txt", n - 1)
}

fn tidemill_pipeline(count: u64) -> String {
    chain("pipeline", "run", count)
}

fn dvc_pipeline(count: u64) -> String {
    chain("stages", "cmd", count)
}

/// The steps below `section`, with their command under `key`: otherwise the two files are alike.
fn chain(section: &str, key: &str, count: u64) -> String {
    let step = |n| {
        let (command, input) = (command(n), n - 1);
        format!("  s{n}:\n    {key}: \"{command}\"\n    deps: [s{input}.txt]\n    outs: [s{n}.txt]\n")
    };
    format!("{section}:\n{}", (1..=count).map(step).collect::<Vec<_>>().concat())
}

fn metaflow_flow(count: u64) -> String {
    let name = |n: u64| match n {
        1 => "start".to_owned(),
        n if n == count => "end".to_owned(),
        n => format!("s{n}"),
    };
    let step = |n: u64| {
        let work = if n == 1 { "self.x = 1" } else { "self.x += 1" };
        let next =
            if n < count { format!("        self.next(self.{})\n", name(n + 1)) } else { String::new() };
        format!("    @step\n    def {}(self):\n        {work}\n{next}\n", name(n))
    };
    let steps = (1..=count).map(step).collect::<Vec<_>>().concat();
    format!(
        "from metaflow import FlowSpec, step\n\n\nclass Chain(FlowSpec):\n{steps}\nif __name__ == \"__main__\":\n    Chain()\n"
    )
}

fn shell_loop(count: u64) -> String {
    (1..=count).map(|n| format!("sh -c '{}'\n", command(n))).collect::<Vec<_>>().concat()
}

fn remove_outputs(folder: &Path, count: u64) -> Result<()> {
    (1..=count).try_for_each(|n| inputs::remove(&folder.join(format!("s{n}.txt"))))
}

/// A tool which skipped a step would be fast for the wrong reason.
fn same_result(folder: &Path, count: u64) -> Result<()> {
    let last = fs_err::read_to_string(folder.join(format!("s{count}.txt")))?;
    anyhow::ensure!(
        last.trim() == count.to_string(),
        "the last step wrote `{}`",
        process::last_lines(&last, 1)
    );
    Ok(())
}
