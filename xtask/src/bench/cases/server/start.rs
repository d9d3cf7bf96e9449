//! From a cold start to the first answer, and the memory of a server that has nothing to do.

use std::time::Duration;

use anyhow::Result;

use super::{Lines, PEER};
use crate::bench::measure::Sample;
use crate::bench::report::{Line, Row};
use crate::bench::server::{Backend, Databases, Server};
use crate::bench::session::Session;

/// How long a server is left alone before its memory is looked at.
const QUIET: Duration = Duration::from_secs(2);

/// Measures the row.
pub(in super::super) fn measure(session: &Session, backend: Backend) -> Result<Vec<Row>> {
    let databases = Databases::new(backend);
    let name = backend.row("start");
    let mut lines = Lines::default();
    for turn in 1..=session.repeat {
        let ours = Server::ours(session, &databases, "start-ours")?;
        lines.add(&name, turn, ours.tool(), used(&ours)?, "");
        drop(ours);
        if let Some(peer) = Server::peer(session, &databases, "start-peer")? {
            lines.add(&name, turn, peer.tool(), used(&peer)?, "");
        }
    }
    let row = Row {
        name,
        title: format!("cold start to `/health`, empty, {}; memory when idle", backend.shown()),
        lines: lines.lines,
        table: None,
        bars: Vec::new(),
    };
    if session.smoke {
        return Ok(vec![row]);
    }
    let (start, idle) = row.lines.first().map_or((f64::NAN, 0), |line| (line.wall() * 1e3, Line::peak(line)));
    let row =
        row.below("start", start, 150.0, "ms").below("idle", idle as f64 / f64::from(1 << 20), 40.0, "MiB");
    Ok(vec![row.at_most(1.0, PEER)])
}

fn used(server: &Server) -> Result<Sample> {
    let cpu = server.tree().cpu()?;
    std::thread::sleep(QUIET);
    Ok(Sample { wall: server.ready, cpu, peak: server.tree().memory() })
}
