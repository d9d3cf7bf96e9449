//! How long a bad release goes on answering after it was decided that it goes back, while 64 connections ask.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{MODEL, Place, now, question};
use crate::bench::cases::serve::none;
use crate::bench::cases::server::Lines;
use crate::bench::measure::Sample;
use crate::bench::report::Row;
use crate::bench::server::{Client, OURS};
use crate::bench::session::Session;

const CLIENTS: usize = 64;

/// Half of the requests go to the candidate until it goes back.
const PROJECT: &str = "\
release:
  model: late
  environments:
    prod:
      rollout:
        stages: [{canary: {share: 50%, samples: 1000000000}}, {full: {}}]
        judge: {error_budget: 0.05, metrics: [errors]}
";

/// Who decides.
#[derive(Clone, Copy)]
enum Decider {
    /// The judge: one of sixteen requests fails in the candidate.
    Judge,
    /// A person, of a candidate that does no harm.
    Person,
}

/// Measures a row for each.
pub(in super::super) fn measure(session: &Session) -> Result<Vec<Row>> {
    let kinds = [
        (Decider::Judge, "deliver-rollback-judge", "decided by the judge"),
        (Decider::Person, "deliver-rollback-person", "decided by a person"),
    ];
    kinds.into_iter().map(|(decider, name, title)| turns(session, decider, name, title)).collect()
}

fn turns(session: &Session, decider: Decider, name: &str, title: &str) -> Result<Row> {
    let (mut lines, mut failed, mut longest) = (Lines::default(), 0, 0.0_f64);
    for turn in 1..=session.repeat {
        let place = Place::new(session, name, PROJECT)?;
        for kind in ["healthy", if matches!(decider, Decider::Judge) { "harmful" } else { "healthy" }] {
            place.register(session, kind)?;
        }
        place.json(session, &["release", "late@1", "--to", "prod"])?;
        place.rollout(session, 1, |status| status["phase"] == "complete")?;
        let seen = under_load(session, &place, decider)?;
        failed += seen.failed;
        longest = longest.max(seen.effect);
        let note = format!("{} requests answered, {} by the candidate", seen.answered, seen.candidate);
        let sample = Sample { wall: seen.effect, cpu: 0.0, peak: place.server.tree().memory() };
        lines.add(name, turn, OURS, sample, &note);
    }
    let title = format!(
        "a release goes back, {title}, connections: {CLIENTS}; from the decision to its last request"
    );
    let row = none(lines.plain(name.to_owned(), title), "failed requests after the decision", failed);
    Ok(if session.smoke { row } else { row.below("the slowest", longest * 1e3, 1000.0, "ms") })
}

/// What was seen of a rollback.
struct Seen {
    answered: usize,
    candidate: usize,
    /// Failed requests that were sent after the effect.
    failed: u64,
    /// Seconds from the decision, as the log has it, to the sending of the last request that the candidate answered.
    effect: f64,
}

/// When a request was sent, and what came of it.
struct Asked {
    sent: f64,
    /// The candidate answered, or nobody did.
    candidate: bool,
    failed: bool,
}

fn under_load(session: &Session, place: &Place, decider: Decider) -> Result<Seen> {
    let (next, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let harmful = matches!(decider, Decider::Judge);
    let one_client = || -> Result<Vec<Asked>> {
        let mut connection = Client::new(place.server.url());
        let mut asked = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let text = if harmful && number % 16 == 0 { "n/a".to_owned() } else { (number % 10).to_string() };
            let sent = now()?;
            match connection.send(&question(MODEL, &text)) {
                Ok(answer) => {
                    let answer: Value = serde_json::from_slice(answer)?;
                    let candidate = answer["model_version"] == "2";
                    asked.push(Asked { sent, candidate, failed: false });
                }
                Err(_) => {
                    asked.push(Asked { sent, candidate: true, failed: true });
                    connection = Client::new(place.server.url());
                }
            }
        }
        Ok(asked)
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one_client)).collect();
        let gone = gone_back(session, place, decider);
        // What would still go to the candidate is seen by then.
        std::thread::sleep(Duration::from_millis(session.size(2_000, 200)));
        ended.store(true, Ordering::Relaxed);
        let mut asked = Vec::new();
        for client in clients {
            asked.extend(client.join().ok().context("a client panicked")??);
        }
        gone?;
        let decided = decided_at(session, place)?;
        let last = asked.iter().filter(|one| one.candidate).map(|one| one.sent).fold(f64::MIN, f64::max);
        let candidate = asked.iter().filter(|one| one.candidate).count();
        ensure!(candidate > 0, "the candidate had no request");
        // The harm of the candidate is what it goes back for; nothing else may fail.
        let fails = |one: &&Asked| one.failed && (!harmful || one.sent > decided + 1_000.0);
        let failed = asked.iter().filter(fails).count() as u64;
        Ok(Seen { answered: asked.len(), candidate, failed, effect: (last - decided).max(0.0) / 1e3 })
    })
}

/// Releases the candidate, and waits until it has gone back.
fn gone_back(session: &Session, place: &Place, decider: Decider) -> Result<()> {
    place.json(session, &["release", "late@2", "--to", "prod"])?;
    if matches!(decider, Decider::Person) {
        place.rollout(session, 2, |status| status["requests"].as_u64() > Some(0))?;
        place.json(session, &["rollout", "rollback", "2", "--reason", "measured"])?;
    }
    let status = place.rollout(session, 2, |status| status["over"] == true)?;
    ensure!(status["phase"] == "rolled-back", "it did not go back: {status}");
    Ok(())
}

/// When it was decided, in milliseconds since 1970.
fn decided_at(session: &Session, place: &Place) -> Result<f64> {
    let moved = place.events(session, "rollout_moved")?;
    let decision = moved.iter().find(|event| event["to"] == "rolling-back").context("no decision")?;
    decision["at"].as_f64().with_context(|| format!("no time in {decision}"))
}
