//! What a caller notices of a shadow that is shown every request.
//!
//! The load is an open loop at a quarter of what the server reaches, on a machine that both share: a shadow doubles the
//! work, and what the machine cannot do shows in any latency. Windows without and with the shadow take turns, and the
//! figure is the median of their 99th percentiles.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::form::Form;
use super::{ASKED, Input, declare, servers};
use crate::bench::cases::server::Lines;
use crate::bench::measure::Sample;
use crate::bench::report::{Row, number};
use crate::bench::server::{Client, Pace, Server, Window, request};
use crate::bench::session::Session;

const NAME: &str = "serve-shadow";
const ON: &str = "shadow of every request";
const OFF: &str = "no shadow";
/// Windows of each kind in a repetition.
const WINDOWS: u64 = 4;
/// Connections of the open loop.
const CLIENTS: usize = 16;

/// Measures the row.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let input = Input::make(session)?;
    let server = servers::tidemill(session, &input, "serve-shadow")?;
    let requests = input.requests(Form::Json);
    let rate = saturated(session, &server, &requests)? / 4.0;
    let seconds = |full: u64| Duration::from_millis(session.size(full * 1000, 300));
    let pace = Pace {
        rate,
        clients: CLIENTS,
        connect: &|server| Form::Json.connect(server),
        warm: seconds(1),
        time: seconds(5),
        request: &|number| requests[number as usize % requests.len()].clone(),
    };
    let mut lines = Lines::default();
    for turn in 1..=session.repeat * session.size(WINDOWS, 1) as usize {
        for (tool, arms) in [(ON, arms(true)), (OFF, arms(false))] {
            declare(&server, &arms)?;
            input.verify(&server, Form::Json, &input.model)?;
            let before = shown(&server)?;
            let taken = pace.measure(&server)?;
            let sample = Sample { wall: taken.percentile(0.99), ..taken.sample(1000.0) };
            lines.add(NAME, turn, tool, sample, &taken.note(1.0, "requests"));
            if tool == ON {
                let share = (shown(&server)? - before) / (rate * (pace.warm + pace.time).as_secs_f64());
                // Its queue may still hold some.
                ensure!(share > 0.95, "the shadow answered {share:.2} of the requests");
            }
        }
    }
    let title = format!(
        "99th percentile of a caller at {} requests/s in an open loop, HTTP, JSON; CPU for 1000 requests",
        number(rate)
    );
    Ok(vec![lines.plain(NAME.to_owned(), title).at_most(1.05, OFF)])
}

/// Requests a second in a closed loop.
fn saturated(session: &Session, server: &Server, requests: &[Vec<u8>]) -> Result<f64> {
    let window = Window {
        clients: 8,
        connect: &|server| Form::Json.connect(server),
        warm: Duration::from_millis(session.size(2_000, 300)),
        time: Duration::from_millis(session.size(4_000, 300)),
        request: &|_, number| requests[number as usize % requests.len()].clone(),
        check: &|_| Ok(()),
    };
    Ok(window.measure(server, &AtomicU64::new(0))?.rate(1.0))
}

fn arms(shadow: bool) -> Value {
    let mut arms = vec![json!({"name": "champion", "model": "model", "version": "1", "weight": 100})];
    if shadow {
        arms.push(
            json!({"name": "candidate", "model": "model", "version": "1", "weight": 100, "shadow": true}),
        );
    }
    Value::from(arms)
}

/// Requests that the shadow has answered, by the server's own count.
fn shown(server: &Server) -> Result<f64> {
    let mut client = Client::new(server.url());
    let text = String::from_utf8_lossy(client.send(&request("GET", "/metrics", ""))?).into_owned();
    let labels = [format!("endpoint=\"{ASKED}\""), "arm=\"candidate\"".to_owned()];
    let fits = |line: &&str| {
        line.starts_with("tidemill_inference_requests_total")
            && labels.iter().all(|label| line.contains(label))
    };
    let count = |line: &str| line.rsplit_once(' ').and_then(|(_, count)| count.parse::<f64>().ok());
    text.lines().filter(fits).map(count).sum::<Option<f64>>().context("a count that is no number")
}
