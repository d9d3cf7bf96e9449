//! From a cold start to the first answer of the one model there is, and what each further model costs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::form::Form;
use super::servers::{self, MLSERVER};
use super::{Input, register};
use crate::bench::cases::server::Lines;
use crate::bench::measure::Sample;
use crate::bench::report::{Row, number};
use crate::bench::server::{Client, Listens, OURS, Server, request};
use crate::bench::session::Session;

/// How long a server is left alone before its memory is looked at.
const QUIET: Duration = Duration::from_secs(2);

/// Measures the two rows.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let input = Input::make(session)?;
    let copies = session.size(20, 3) as usize;
    let home = session.scratch.join("serve-start");
    let server = servers::tidemill(session, &input, "serve-start")?;
    input.verify(&server, Form::Json, &input.model)?;
    for copy in 1..=copies {
        register(&server, &input, &format!("model-{copy}"), "model.onnx")?;
    }
    drop(server);
    let (mut starts, mut models) = (Lines::default(), Lines::default());
    for turn in 1..=session.repeat {
        let mut up = Server::up(session, &home);
        let asked = Form::Json.request(&input.rows[0]);
        let ours = Server::start(OURS, &mut up, &home, Listens::Says, asked)?;
        let alone = rest(&ours)?;
        starts.add("serve-start", turn, OURS, alone, "");
        let begin = Instant::now();
        let mut client = Client::new(ours.url());
        for copy in 1..=copies {
            let body = json!({"inputs": [{"name": "X", "shape": [1, 30], "datatype": "FP32", "data": input.rows[0]}]});
            client.send(&request("POST", &format!("/v2/models/model-{copy}/infer"), &body.to_string()))?;
        }
        let took = begin.elapsed().as_secs_f64();
        add(&mut models, turn, &ours, alone, took, copies)?;
        drop(ours);
        if session.peers.is_some() {
            let peer = servers::mlserver(session, &input, 1)?;
            input.verify(&peer, Form::Json, &input.model)?;
            let alone = rest(&peer)?;
            starts.add("serve-start", turn, MLSERVER, alone, "");
            let first = peer.ready;
            drop(peer);
            let many = servers::mlserver(session, &input, copies + 1)?;
            add(&mut models, turn, &many, alone, (many.ready - first).max(0.0), copies)?;
        }
    }
    let start = starts.plain(
        "serve-start".to_owned(),
        "cold start to the first answer of a model, process and all; memory when idle".to_owned(),
    );
    let title = format!("each further model in memory, mean of {copies}; times to load one");
    let each = models.plain("serve-memory".to_owned(), title).peak_at_most(0.1, MLSERVER);
    let millis = start.lines.first().map_or(f64::NAN, |line| line.wall() * 1e3);
    let start = start.at_most(1.0, MLSERVER);
    Ok(vec![if session.smoke { start } else { start.below("start", millis, 200.0, "ms") }, each])
}

/// What a server used until its first answer, and its memory when it has nothing to do.
fn rest(server: &Server) -> Result<Sample> {
    let cpu = server.tree().cpu()?;
    std::thread::sleep(QUIET);
    Ok(Sample { wall: server.ready, cpu, peak: server.tree().memory() })
}

/// What models cost, each, beyond what the server used before they were there.
fn add(
    lines: &mut Lines,
    turn: usize,
    server: &Server,
    alone: Sample,
    took: f64,
    copies: usize,
) -> Result<()> {
    let used = rest(server)?;
    let more = used.peak.checked_sub(alone.peak).context("a server with more models has less memory")?;
    let (each, copies) = (more / copies as u64, copies as f64);
    let sample = Sample { wall: took / copies, cpu: (used.cpu - alone.cpu).max(0.0) / copies, peak: each };
    let note = format!("{} KiB each", number(each as f64 / 1024.0));
    lines.add("serve-memory", turn, server.tool(), sample, &note);
    Ok(())
}
