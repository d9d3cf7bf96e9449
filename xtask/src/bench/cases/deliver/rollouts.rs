//! What the engine costs with a thousand rollouts in flight: CPU of the server with them, without requests and with requests to
//! all of their endpoints, beside the same endpoints and requests without a rollout.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{MODEL, Place, question, until};
use crate::bench::report::{Row, Table, number};
use crate::bench::server::{Client, Connection, Pace, Server};
use crate::bench::session::Session;

/// Requests a second, over all endpoints.
const RATE: f64 = 100.0;
/// The part of a core below which a server with a thousand endpoints has nothing left to do.
const RESTS: f64 = 0.08;

/// Measures the row.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let count = session.size(1_000, 4);
    let place = Place::new(session, "deliver-rollouts", &project(count))?;
    for _ in 0..2 {
        place.register(session, "healthy")?;
    }
    release_all(session, &place, count, 1)?;
    all_in(&place, count, "complete")?;
    let mut used = [[0.0; 2]; 2];
    for (flying, used) in used.iter_mut().enumerate() {
        if flying == 1 {
            release_all(session, &place, count, 2)?;
            all_in(&place, count, "canary")?;
        }
        settle(session, &place.server, count)?;
        *used = [idle(session, &place.server)?, asked(session, &place.server, count)?];
    }
    let [[idle_without, asked_without], [idle_with, asked_with]] = used;
    let percent = |share: f64| format!("{} %", number(share * 100.0));
    let line = |name: &str, without: f64, with: f64| {
        vec![name.to_owned(), percent(without), percent(with), percent(with - without)]
    };
    let columns = ["requests", "CPU without rollouts", "with them", "the rollouts'"].map(str::to_owned);
    let rows = vec![
        line("none", idle_without, idle_with),
        line(&format!("{RATE} a second"), asked_without, asked_with),
    ];
    let row = Row {
        name: "deliver-rollouts".to_owned(),
        title: format!(
            "{count} rollouts in flight, each of an endpoint of its own; CPU of the server, of one core"
        ),
        lines: Vec::new(),
        table: Some(Table { columns: columns.to_vec(), rows }),
        bars: Vec::new(),
    };
    Ok(vec![if session.smoke {
        row
    } else {
        row.below("without requests", (idle_with - idle_without) * 100.0, 5.0, "%").below(
            "with requests",
            (asked_with - asked_without) * 100.0,
            5.0,
            "%",
        )
    }])
}

/// So many environments, each of which has an endpoint of its own.
fn project(count: u64) -> String {
    let mut text = format!("release:\n  model: {MODEL}\n  environments:\n");
    for at in 0..count {
        let _ = writeln!(
            text,
            "    e{at}: {{rollout: {{stages: [{{canary: {{share: 20%, samples: 1000000000}}}}, {{full: {{}}}}], \
             judge: {{error_budget: 0.05, metrics: [errors, latency]}}}}}}"
        );
    }
    text
}

fn release_all(session: &Session, place: &Place, count: u64, version: u64) -> Result<()> {
    for at in 0..count {
        place.json(session, &["release", &format!("{MODEL}@{version}"), "--to", &format!("e{at}")])?;
    }
    Ok(())
}

/// Waits until the newest rollouts are all in a phase.
fn all_in(place: &Place, count: u64, phase: &str) -> Result<()> {
    until(&format!("the phase {phase} of all rollouts"), || {
        let page =
            Client::new(place.server.url()).json("GET", &format!("/api/v1/rollouts?limit={count}"), "")?;
        let newest = page["data"].as_array().context("no list of rollouts")?;
        Ok(newest.iter().all(|rollout| rollout["phase"] == phase).then_some(()))
    })
}

/// Asks every endpoint once, so that its model and its log are open, and waits until what a thousand releases left to be done is over.
fn settle(session: &Session, server: &Server, count: u64) -> Result<()> {
    let mut client = Client::new(server.url());
    for number in 0..count {
        client.send(&question(&endpoint(number, count), "1"))?;
    }
    for _ in 0..session.size(20, 1) {
        if usage(server, Duration::from_millis(session.size(15_000, 100)))? < RESTS {
            break;
        }
    }
    Ok(())
}

/// The endpoint of a request.
fn endpoint(number: u64, count: u64) -> String {
    // The last environment has the name itself.
    match number % count {
        at if at == count - 1 => MODEL.to_owned(),
        at => format!("{MODEL}.e{at}"),
    }
}

/// The part of a core that the server uses without a request.
fn idle(session: &Session, server: &Server) -> Result<f64> {
    usage(server, Duration::from_millis(session.size(30_000, 1_000)))
}

fn usage(server: &Server, time: Duration) -> Result<f64> {
    let before = server.tree().cpu()?;
    std::thread::sleep(time);
    Ok((server.tree().cpu()? - before) / time.as_secs_f64())
}

/// The part of a core that the server uses with requests to all endpoints in turn.
fn asked(session: &Session, server: &Server, count: u64) -> Result<f64> {
    let pace = Pace {
        rate: RATE,
        clients: 4,
        connect: &|server| Connection::Http(Client::new(server.url())),
        warm: Duration::from_millis(session.size(12_000, 300)),
        time: Duration::from_millis(session.size(30_000, 1_000)),
        request: &|number| question(&endpoint(number, count), &(number % 10).to_string()),
    };
    let taken = pace.measure(server)?;
    // Seconds of CPU for a second of requests.
    Ok(taken.sample(RATE).cpu)
}
