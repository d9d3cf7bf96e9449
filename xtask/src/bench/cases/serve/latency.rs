//! One row in a request, from one, eight and 64 connections, over HTTP in JSON and with binary tensors, and over gRPC.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Input;
use super::form::Form;
use super::servers::{self, BARE, BENTO, FASTAPI, MLFLOW, MLSERVER};
use crate::bench::cases::server::Lines;
use crate::bench::report::{Row, number};
use crate::bench::server::{Server, Window};
use crate::bench::session::Session;

/// Requests that the times of a row are for.
const PER: f64 = 1000.0;

/// Measures a row for each protocol and number of connections.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let input = Input::make(session)?;
    let example = servers::example(session)?;
    let ours = servers::tidemill(session, &input, "serve-ours")?;
    let bare = servers::bench_server(session, BARE, &example, &input, &["bare"])?;
    let mut peers = Vec::new();
    if session.peers.is_some() {
        peers.push((servers::mlserver(session, &input, 1)?, Form::Json));
        peers.push((servers::mlflow(session, &input)?, Form::Mlflow));
        peers.push((servers::bento(session, &input)?, Form::Bento));
        peers.push((servers::fastapi(session, &input)?, Form::Own));
    }
    let mut rows = Vec::new();
    for (name, title, form) in [
        ("json", "HTTP, JSON", Form::Json),
        ("binary", "HTTP, binary tensors (MLServer: JSON)", Form::Binary),
        ("grpc", "gRPC", Form::Grpc),
    ] {
        let mut contenders: Vec<(&Server, Form)> = vec![(&ours, form)];
        match form {
            Form::Json => {
                contenders.push((&bare, Form::Json));
                contenders.extend(peers.iter().map(|(server, form)| (server, *form)));
            }
            // No peer reads binary tensors over HTTP.
            Form::Binary => contenders.extend(peers.iter().take(1).map(|(server, form)| (server, *form))),
            // MLServer alone has gRPC.
            _ => contenders.extend(peers.iter().take(1).map(|(server, _)| (server, form))),
        }
        for (server, form) in &contenders {
            input.verify(server, *form, &input.model)?;
        }
        for clients in [1, 8, 64] {
            let title = format!(
                "classifier, a row in a request, {title}, connections: {clients}; times for {PER:.0} requests"
            );
            let row = turns(
                session,
                &input,
                &contenders,
                clients,
                format!("serve-latency-{name}-{clients}"),
                title,
            )?;
            rows.push(if form == Form::Json { row.at_most(1.0 / 0.8, BARE) } else { row });
        }
    }
    Ok(rows)
}

/// Lets the servers take turns.
fn turns(
    session: &Session,
    input: &Input,
    contenders: &[(&Server, Form)],
    clients: usize,
    name: String,
    title: String,
) -> Result<Row> {
    let seconds = |full: u64| Duration::from_millis(session.size(full * 1000, 500));
    let requests: Vec<_> = contenders.iter().map(|(_, form)| input.requests(*form)).collect();
    let numbers = AtomicU64::new(0);
    let mut lines = Lines::default();
    for turn in 1..=session.repeat {
        for ((server, form), requests) in contenders.iter().zip(&requests) {
            let window = Window {
                clients,
                connect: &|server| form.connect(server),
                warm: seconds(2),
                time: seconds(8),
                request: &|_, number| requests[number as usize % requests.len()].clone(),
                check: &|answer| {
                    ensure!(answer.len() > 8, "an answer without values");
                    Ok(())
                },
            };
            let taken = window.measure(server, &numbers)?;
            let note = format!(
                "{}; {} µs CPU each, the load's own {} µs",
                taken.note(1.0, "requests"),
                number(taken.sample(1.0).cpu * 1e6),
                number(taken.load_micros()),
            );
            lines.add(&name, turn, server.tool(), taken.sample(PER), &note);
        }
    }
    let row = lines.plain(name, title);
    Ok(row
        .cpu_at_most(1.0 / 20.0, MLSERVER)
        .cpu_at_most(1.0 / 50.0, MLFLOW)
        .cpu_at_most(1.0 / 10.0, FASTAPI)
        .cpu_at_most(1.0, BENTO))
}
