//! The gate of the envelope: a release that a trigger has made waits for a person where it is outside of what was declared.
//!
//! How a version was made is read from the log, where it was recorded with it; tags and artifacts, which clients may change, count for
//! nothing here.

use tidemill_core::{Actor, Digest, EventKind, Facts, NewEvent, Timestamp};
use tidemill_db::delivery::GateResult;
use tidemill_db::{Db, EventFilter, Order, Tx};
use tidemill_deliver::approval::Rule;
use tidemill_deliver::envelope::Version;
use tidemill_deliver::rollout::{Plan, Stage};
use tidemill_registry::Error;

/// The name of the gate.
const GATE: &str = "envelope";
/// The role in which somebody agrees to what is outside.
const ROLE: &str = "reviewer";
/// Events that are read at once.
const PAGE: usize = 100;

/// Looks whether the candidates of a plan are inside of its envelope; where one is not, the plan begins with a gate. A plan that begins
/// with one anyway gets no second: whoever agrees there sees what this one says. The rollout keeps it with [`keep`].
pub(super) async fn fence(
    db: &Db,
    tx: &mut Tx,
    plan: &mut Plan,
    at: Timestamp,
) -> Result<Option<GateResult>, Error> {
    let Some(envelope) = plan.envelope.clone() else { return Ok(None) };
    let running = match plan.incumbent {
        Some(incumbent) => Some(version(db, tx, incumbent).await?),
        None => None,
    };
    let mut why = Vec::new();
    for release in plan.candidates() {
        let candidate = version(db, tx, release).await?;
        let outside = envelope.outside(&candidate, running.as_ref(), at).into_iter();
        let name = plan.prefix(release);
        why.extend(outside.map(|one| format!("{name}{one}")));
    }
    let passed = why.is_empty();
    if !passed && !matches!(plan.stages.first(), Some(Stage::Gate { .. })) {
        let authenticated = plan.gates().any(|rule| rule.authenticated);
        let (role, people) = (ROLE.to_owned(), Vec::new());
        let approve = Rule { role, people, count: 1, expires: None, authenticated };
        plan.stages.insert(0, Stage::Gate { approve });
    }
    let detail = if passed {
        "inside the envelope".to_owned()
    } else {
        format!("outside the envelope: {}", why.join("; "))
    };
    Ok(Some(GateResult { gate: GATE.to_owned(), passed, detail, evidence: None, at }))
}

/// Keeps what the gate said with its rollout; gives the event.
pub(super) async fn keep(
    tx: &mut Tx,
    rollout: u64,
    said: GateResult,
    actor: &Actor,
    cause: Option<u64>,
) -> Result<NewEvent, Error> {
    tx.add_gate_result(rollout, &said).await?;
    let GateResult { gate, passed, detail, at, .. } = said;
    let kind = EventKind::RolloutGated { rollout, gate, passed, detail };
    Ok(NewEvent { at, actor: actor.clone(), kind, cause })
}

/// The version of a release, with what the log knows of how it was made.
async fn version(db: &Db, tx: &mut Tx, release: Digest) -> Result<Version, Error> {
    let kept = tx
        .release(release)
        .await?
        .ok_or_else(|| Error::missing(format!("there is no release {}", release.short())))?;
    let facts = facts_of(db, &kept.model, kept.version).await?;
    Ok(Version { model: kept.model, version: kept.version, facts })
}

/// What the log knows of how a version was made; nothing where no run has registered it.
pub(super) async fn facts_of(db: &Db, model: &str, number: u64) -> Result<Option<Facts>, Error> {
    Ok(recorded(db, model, number).await?.1)
}

/// The event that recorded a version, by number, and what it knows of how the version was made.
pub(super) async fn recorded(
    db: &Db,
    model: &str,
    number: u64,
) -> Result<(Option<u64>, Option<Facts>), Error> {
    let mut before = None;
    loop {
        let filter = EventFilter {
            subject: Some(format!("model:{model}")),
            kind: Some("version.created".to_owned()),
            before,
            limit: Some(PAGE),
            order: Order::NewestFirst,
            ..EventFilter::default()
        };
        let page = db.events(&filter).await?;
        let is_last = page.len() < PAGE;
        before = page.last().map(|event| event.seq);
        let found = page.into_iter().find_map(|event| match event.kind {
            EventKind::VersionCreated { version, facts, .. } if version == number => Some((event.seq, facts)),
            _ => None,
        });
        if let Some((seq, facts)) = found {
            return Ok((Some(seq), facts.map(|facts| *facts)));
        }
        if is_last {
            return Ok((None, None));
        }
    }
}
