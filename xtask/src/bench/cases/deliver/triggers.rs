//! How long it takes from an event to the start of the run that it sets off, by what brings the event.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tidemill_testkit::{Broker, BrokerKind};

use super::{Place, now, until};
use crate::bench::cases::server::Lines;
use crate::bench::measure::Sample;
use crate::bench::report::{Row, median};
use crate::bench::server::{Client, OURS, request};
use crate::bench::session::Session;
use crate::process;

const STEP: &str = "pipeline: {copy: {run: cat in.txt > out.txt, deps: [in.txt], outs: [out.txt]}}\n";
/// What a source that pushes may take, in milliseconds.
const MOST: f64 = 250.0;
/// What one that is looked at may take: the time between two looks.
const POLL: f64 = 1_000.0;

/// What brings an event.
struct Source {
    name: &'static str,
    /// The project after its name.
    text: String,
    /// What it may take in the middle, in milliseconds.
    most: f64,
    /// Brings the event of a number.
    bring: Box<dyn Fn(&Place, u64) -> Result<()>>,
}

/// Measures a row for each source.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    sources().into_iter().map(|source| turns(session, &source)).collect()
}

fn sources() -> Vec<Source> {
    let webhook = Source {
        name: "webhook",
        text: format!("{STEP}triggers: [{{name: go, when: {{webhook: go}}, actions: [run]}}]\n"),
        most: MOST,
        bring: Box::new(|place, _| {
            Client::new(place.server.url()).send(&request("POST", "/hooks/go", ""))?;
            Ok(())
        }),
    };
    let brokers = [
        ("nats", "nats", BrokerKind::Nats, "data.ready"),
        ("rabbitmq", "amqp", BrokerKind::Rabbitmq, "data.ready"),
        ("mqtt", "mqtt", BrokerKind::Mosquitto, "data/ready"),
        ("kafka", "kafka", BrokerKind::Kafka, "data.ready"),
    ];
    let messages = brokers.map(|(name, scheme, kind, address)| {
        let broker = Arc::new(Broker::start(kind));
        broker.keep(address);
        let at = format!("{scheme}://{}", broker.at());
        let when = format!("{{message: {{{name}: {{address: {address}, server: '{at}'}}}}}}");
        Source {
            name,
            text: format!("{STEP}triggers: [{{name: go, when: {when}, actions: [run]}}]\n"),
            most: MOST,
            bring: Box::new(move |_, number| {
                broker.send(address, &format!("{{\"number\": {number}}}"), None);
                Ok(())
            }),
        }
    });
    let files = Source {
        name: "files",
        text: "data: {rows: {path: data/*.csv}}\n\
               pipeline: {count: {run: cat data/*.csv > all.txt, deps: [data], outs: [all.txt]}}\n\
               triggers: [{name: go, when: {data: rows}, actions: [run]}]\n"
            .to_owned(),
        most: MOST,
        bring: Box::new(|place, number| {
            fs_err::create_dir_all(place.home.join("data"))?;
            fs_err::write(place.home.join("data/b.csv"), format!("x\n{}\n", "7\n".repeat(number as usize)))?;
            Ok(())
        }),
    };
    let branch = Source {
        name: "git-polled",
        text: format!(
            "{STEP}triggers: [{{name: go, when: {{git: {{branch: main, poll: 1s}}}}, actions: [run]}}]\n"
        ),
        most: POLL,
        bring: Box::new(|place, _| {
            if !place.home.join(".git").exists() {
                git(&place.home, &["init", "--quiet", "--initial-branch=main"])?;
            }
            git(&place.home, &["commit", "--quiet", "--allow-empty", "--message", "a change"])
        }),
    };
    std::iter::once(webhook).chain(messages).chain([files, branch]).collect()
}

fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=bench", "-c", "user.email=bench@localhost"]);
    process::output(command.args(arguments)).map(drop)
}

fn turns(session: &Session, source: &Source) -> Result<Row> {
    let name = format!("deliver-trigger-{}", source.name);
    let place = Place::new(session, &name, &source.text)?;
    fs_err::create_dir_all(place.home.join("data"))?;
    let mut lines = Lines::default();
    // Where things stand at first is no event, and a broker is listened to after a moment: events before that are not measured.
    let mut started = until("the first run", || {
        (source.bring)(&place, 1)?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        let runs = settled(session, &place)?;
        Ok((runs > 0).then_some(runs))
    })?;
    let mut waits = Vec::new();
    for turn in 1..=session.repeat * session.size(10, 1) as usize {
        // Each run has something to do.
        fs_err::write(place.home.join("in.txt"), format!("{turn}\n"))?;
        let begin = now()?;
        (source.bring)(&place, turn as u64 + 1)?;
        let at = until("a run", || {
            let runs = place.events(session, "run_started")?;
            runs.get(started).map(time).transpose()
        })?;
        started = settled(session, &place)?;
        let wait = (at - begin) / 1e3;
        waits.push(wait);
        lines.add(&name, turn, OURS, Sample { wall: wait, cpu: 0.0, peak: 0 }, "");
    }
    let typical = median(waits.into_iter()) * 1e3;
    let title = format!("event to run started, by {}", source.name);
    let row = lines.plain(name, title);
    Ok(if session.smoke { row } else { row.below("median", typical, source.most, "ms") })
}

/// Waits until nothing is being done, and gives the number of runs so far.
fn settled(session: &Session, place: &Place) -> Result<usize> {
    until("the end of the jobs", || {
        let fired = place.events(session, "trigger_fired")?.len();
        let ended = place.events(session, "job_finished")?.len();
        let runs = place.events(session, "run_started")?.len();
        Ok((fired == ended).then_some(runs))
    })
}

/// When an event was written, in milliseconds since 1970.
fn time(event: &Value) -> Result<f64> {
    event["at"].as_f64().with_context(|| format!("no time in {event}"))
}
