//! Many small files to an S3-compatible server on loopback and back into an empty cache.

use std::process::Command;

use anyhow::Result;

use crate::bench::inputs;
use crate::bench::report::Row;
use crate::bench::session::{Phase, Scenario, Session};
use crate::process;

const PUSH: &str = "push-small";
const PULL: &str = "pull-small";
const TOOLS: [&str; 2] = ["tidemill", "dvc"];

/// Measures the two rows; without peers the remote is a folder, since the server comes with them.
pub(super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let count = session.size(20_000, 200);
    let source = session.folder("remote-small")?;
    inputs::small_files(&source, count, 10_000, 5)?;
    let server = session.peers.as_ref().map(|peers| peers.s3(&session.scratch)).transpose()?;
    let remote = |name: &str| match &server {
        Some(_) => format!("s3://bench/{name}"),
        None => format!("{}", session.scratch.join(name).display()),
    };
    let pointed = |mut command: Command| {
        if let Some(server) = &server {
            server.point(&mut command);
        }
        command
    };

    // Each turn has a prefix of its own, so that nothing is there yet.
    let turn = std::cell::Cell::new(0);
    let ours = session.scratch.join("tidemill-remote");
    let ours_remote = || remote(&format!("tidemill-{}", turn.get()));
    let dvc = session.scratch.join("dvc-remote");
    let mut scenarios = vec![Scenario {
        tool: "tidemill",
        phases: vec![
            Phase::new(PUSH, || {
                pointed(session.tidemill(&ours, &["data", "push", "small", "--remote", &ours_remote()]))
            })
            .prepare(|| {
                turn.set(turn.get() + 1);
                session.project("tidemill-remote", "")?;
                let path = source.to_string_lossy();
                process::output(Command::new("cp").arg("-r").arg(&source).arg(ours.join("small")))?;
                process::output(&mut session.tidemill(&ours, &["data", "add", "small", "small"]))
                    .map(drop)
                    .map_err(|error| error.context(format!("adding `{path}`")))
            }),
            Phase::new(PULL, || {
                pointed(session.tidemill(&ours, &["data", "pull", "small", "--remote", &ours_remote()]))
            })
            .prepare(|| inputs::remove(&ours.join(".tidemill/store"))),
        ],
    }];
    if let (Some(peers), Some(server)) = (&session.peers, &server) {
        scenarios.push(Scenario {
            tool: "dvc",
            phases: vec![
                Phase::new(PUSH, || pointed(peers.dvc(&dvc, &["push", "--quiet"]))).prepare(|| {
                    peers.dvc_init(&session.folder("dvc-remote")?)?;
                    let url = remote(&format!("dvc-{}", turn.get()));
                    process::output(&mut peers.dvc(&dvc, &["remote", "add", "--default", "s3", &url]))?;
                    process::output(
                        &mut peers.dvc(&dvc, &["remote", "modify", "s3", "endpointurl", &server.endpoint]),
                    )?;
                    process::output(Command::new("cp").arg("-r").arg(&source).arg(dvc.join("small")))?;
                    process::output(&mut peers.dvc(&dvc, &["add", "--quiet", "small"])).map(drop)
                }),
                Phase::new(PULL, || pointed(peers.dvc(&dvc, &["fetch", "--quiet"])))
                    .prepare(|| inputs::remove(&dvc.join(".dvc/cache"))),
            ],
        });
    }
    let measured = session.alternate(&scenarios)?;
    let to = if server.is_some() { "an S3 server on loopback" } else { "a folder" };
    let no_note = |_: &[f64]| String::new();
    Ok(vec![
        measured
            .row(PUSH, &format!("push of {count} files of 10 KB to {to}"), &TOOLS, no_note)
            .at_most(1.0 / 8.0, "dvc"),
        measured
            .row(PULL, &format!("fetch of {count} files of 10 KB from {to}"), &TOOLS, no_note)
            .at_most(1.0 / 8.0, "dvc"),
    ])
}
