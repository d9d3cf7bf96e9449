//! Writes to Git what environments run, after each change: a rollout that is complete, or that went back.
//!
//! It reads the log and has a place in it for each environment, and notes what came of a change together with the next place. Whether a
//! commit is there already is told by the commit itself, so that a server which is killed in between makes no second one. Rollouts never
//! wait for it: what cannot be written now is tried again, and said.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidemill_core::{Actor, Digest, Event, EventKind, NewEvent, Timestamp};
use tidemill_db::{Db, EventFilter, Order};
use tidemill_deliver::record::EnvironmentRecord;
use tidemill_deliver::release::Release;
use tidemill_registry::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::step::{plan_of, release_of, state_of};
use crate::App;

/// How often the log is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is waited after the first failure, and at most after many.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// Events that are read at once.
const PAGE: usize = 200;
/// The most reasons of failure that are noted of one change.
const REASONS: usize = 10;
/// The longest chain of causes that is followed.
const CHAIN: usize = 64;
/// The source under which the places in the log are kept.
const SOURCE: &str = "ledger";

/// Where the record of an environment is written, as the project file says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerPlace {
    /// The environment.
    pub environment: String,
    /// The endpoint, by the name under which requests find it.
    pub endpoint: String,
    /// The file, from the folder of the project.
    pub path: String,
    /// The branch that says what environments run.
    pub branch: String,
    /// The remote to which it is pushed; nothing where the branch is one of the repository itself.
    pub remote: Option<String>,
    /// Whether each change gets a branch of its own, which a person merges.
    pub pull_request: bool,
}

/// A record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// What the remote said, such as the address at which a pull request is opened.
    pub said: Option<String>,
}

/// The repository of a project. Implemented by the binary.
#[async_trait]
pub trait Ledger: fmt::Debug + Send + Sync {
    /// The project's name.
    fn project(&self) -> &str;

    /// The environments whose records are written. Takes its time.
    async fn places(&self) -> Vec<LedgerPlace>;

    /// Writes a record; to be asked for again where it fails with a reason. One that is there already is found, and not written again.
    /// Takes its time.
    async fn write(&self, place: &LedgerPlace, record: &EnvironmentRecord) -> Result<Written, String>;
}

/// Writes records until `stop`.
pub(crate) async fn run(app: App, ledger: Arc<dyn Ledger>, stop: CancellationToken) {
    let mut keeper = Keeper { app, ledger, seen: BTreeMap::new(), failed: BTreeMap::new() };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = keeper.round() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// An environment and an endpoint, as one part of the source.
type Part = String;

struct Keeper {
    app: App,
    ledger: Arc<dyn Ledger>,
    /// Up to where in the log there is nothing to write.
    seen: BTreeMap<Part, u64>,
    failed: BTreeMap<Part, Failed>,
}

/// A change that could not be written.
struct Failed {
    place: LedgerPlace,
    tries: u32,
    again: Instant,
}

/// An event after which the record of an environment is another one.
struct Change {
    seq: u64,
    rollout: u64,
    /// The release that went back, and why.
    rolled_back: Option<String>,
    at: Timestamp,
}

impl Keeper {
    async fn round(&mut self) {
        let places = self.ledger.places().await;
        if places.is_empty() {
            return;
        }
        let head = match self.app.registry().db().log_head().await {
            Ok(head) => head.size,
            Err(error) => return tracing::error!(%error, "the log cannot be read for records in Git"),
        };
        for place in places {
            let part = format!("{} {}", place.environment, place.endpoint);
            let is_early = |failed: &Failed| failed.place == place && Instant::now() < failed.again;
            if self.failed.get(&part).is_some_and(is_early) {
                continue;
            }
            if let Err(error) = self.catch_up(&place, &part, head).await {
                let environment = &place.environment;
                tracing::error!(environment, %error, "what an environment runs cannot be read");
            }
        }
    }

    /// Writes what is not written yet of an environment, oldest first; `head` is a length that the log had.
    async fn catch_up(&mut self, place: &LedgerPlace, part: &str, head: u64) -> Result<(), Error> {
        let db = self.app.registry().db().clone();
        if self.seen.get(part).is_some_and(|seen| *seen >= head) {
            return Ok(());
        }
        loop {
            let project = self.ledger.project();
            let Some(offset) = db.source_offset(project, SOURCE, part).await? else {
                // Whoever declares a record wants to see what runs now, not all that ever did.
                let before = newest(&db, place).await?.map_or(0, |moved| moved - 1);
                let now = self.app.registry().clock().now();
                db.begin_source(project, SOURCE, part, &before.to_string(), now).await?;
                continue;
            };
            let seen = self.seen.get(part).copied().unwrap_or(0);
            let from = offset.parse::<u64>().unwrap_or(0).max(seen);
            let Some(change) = next(&db, place, from).await? else {
                self.seen.insert(part.to_owned(), head);
                return Ok(());
            };
            let record = record(&db, place, &change).await?;
            match self.ledger.write(place, &record).await {
                Ok(written) => {
                    self.failed.remove(part);
                    self.note(place, part, &offset, &change, written).await?;
                }
                Err(why) => {
                    self.fail(place, part, &change, &why).await?;
                    return Ok(());
                }
            }
        }
    }

    /// Notes that a change is written, unless another server has.
    async fn note(
        &self,
        place: &LedgerPlace,
        part: &str,
        known: &str,
        change: &Change,
        written: Written,
    ) -> Result<(), Error> {
        let (project, now) = (self.ledger.project(), self.app.registry().clock().now());
        let mut tx = self.app.registry().db().begin().await?;
        if tx.source_offset(project, SOURCE, part).await?.as_deref() != Some(known) {
            return Ok(());
        }
        tx.move_source(project, SOURCE, part, &change.seq.to_string(), now).await?;
        let Written { branch, commit, said } = written;
        tracing::info!(environment = place.environment, branch, commit, "what it runs is written to Git");
        let kind = EventKind::EnvironmentRecorded {
            rollout: change.rollout,
            environment: place.environment.clone(),
            remote: place.remote.clone(),
            branch,
            commit,
            said,
        };
        tx.commit(vec![NewEvent { at: now, actor: actor(), kind, cause: Some(change.seq) }]).await?;
        Ok(())
    }

    /// Says why a change cannot be written, where that is new, and tries again later.
    async fn fail(
        &mut self,
        place: &LedgerPlace,
        part: &str,
        change: &Change,
        why: &str,
    ) -> Result<(), Error> {
        let tries = self.failed.get(part).filter(|failed| failed.place == *place).map_or(0, |f| f.tries);
        let pause = FIRST.saturating_mul(1 << tries.min(16)).min(LONGEST);
        let again = Instant::now() + pause;
        self.failed.insert(part.to_owned(), Failed { place: place.clone(), tries: tries + 1, again });
        let environment = &place.environment;
        tracing::warn!(environment, "what it runs cannot be written to Git, tried again in {pause:?}: {why}");
        let db = self.app.registry().db();
        let known = db.events(&about(change.rollout, "environment.unrecorded")).await?;
        let is_known = known.last().is_some_and(
            |event| matches!(&event.kind, EventKind::EnvironmentUnrecorded { reason, .. } if reason == why),
        );
        if is_known || known.len() >= REASONS {
            return Ok(());
        }
        let kind = EventKind::EnvironmentUnrecorded {
            rollout: change.rollout,
            environment: place.environment.clone(),
            remote: place.remote.clone(),
            branch: place.branch.clone(),
            reason: why.to_owned(),
        };
        let at = self.app.registry().clock().now();
        let event = NewEvent { at, actor: actor(), kind, cause: Some(change.seq) };
        db.begin().await?.commit(vec![event]).await?;
        Ok(())
    }
}

/// What is said of the record of a rollout's end: the newest event about it; nothing where none is written or was tried.
///
/// # Errors
///
/// Where the log cannot be read.
pub async fn recorded(db: &Db, rollout: u64) -> Result<Option<Event>, Error> {
    let mut newest: Option<Event> = None;
    for kind in ["environment.recorded", "environment.unrecorded"] {
        let last = db.events(&about(rollout, kind)).await?.pop();
        newest = [newest, last].into_iter().flatten().max_by_key(|event| event.seq);
    }
    Ok(newest)
}

/// What an event about a record says, in words; nothing where it is about something else.
pub fn record_in_words(kind: &EventKind) -> Option<String> {
    let place = |remote: Option<&String>, branch: &str| {
        remote.map_or_else(|| format!("`{branch}`"), |remote| format!("`{branch}` of `{remote}`"))
    };
    match kind {
        EventKind::EnvironmentRecorded { remote, branch, commit, said, .. } => {
            let commit = &commit[..commit.len().min(10)];
            let said = said.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
            Some(format!("commit {commit} on {}{said}", place(remote.as_ref(), branch)))
        }
        EventKind::EnvironmentUnrecorded { remote, branch, reason, .. } => {
            Some(format!("not written to {} yet, tried again: {reason}", place(remote.as_ref(), branch)))
        }
        _ => None,
    }
}

fn about(rollout: u64, kind: &str) -> EventFilter {
    EventFilter {
        subject: Some(format!("rollout:{rollout}")),
        kind: Some(kind.to_owned()),
        ..EventFilter::default()
    }
}

fn actor() -> Actor {
    Actor::system("ledger")
}

/// The release that an event brought to this place, where it is such an event.
fn moved_to(event: &Event, place: &LedgerPlace) -> Option<Digest> {
    match &event.kind {
        EventKind::EnvironmentMoved { environment, endpoint, to, .. }
            if *environment == place.environment && *endpoint == place.endpoint =>
        {
            Some(*to)
        }
        _ => None,
    }
}

/// Events that brought releases to an environment.
fn moves(place: &LedgerPlace) -> EventFilter {
    EventFilter {
        subject: Some(format!("environment:{}", place.environment)),
        kind: Some("environment.moved".to_owned()),
        ..EventFilter::default()
    }
}

/// The newest event that brought a release to a place.
async fn newest(db: &Db, place: &LedgerPlace) -> Result<Option<u64>, Error> {
    let filter = EventFilter { order: Order::NewestFirst, ..moves(place) };
    let all = db.events(&filter).await?;
    Ok(all.iter().find(|event| moved_to(event, place).is_some()).map(|event| event.seq))
}

/// The first change of a place after an event.
async fn next(db: &Db, place: &LedgerPlace, after: u64) -> Result<Option<Change>, Error> {
    let filter = EventFilter { after: Some(after), ..moves(place) };
    let moved = db.events(&filter).await?.into_iter().find(|event| moved_to(event, place).is_some());
    let until = moved.as_ref().map(|event| event.seq);
    let mut filter = EventFilter {
        kind: Some("rollout.moved".to_owned()),
        after: Some(after),
        before: until,
        limit: Some(PAGE),
        ..EventFilter::default()
    };
    loop {
        let page = db.events(&filter).await?;
        let is_last = page.len() < PAGE;
        filter.after = page.last().map(|event| event.seq);
        for event in page {
            let EventKind::RolloutMoved { rollout, to, .. } = &event.kind else { continue };
            if to != "rolled-back" {
                continue;
            }
            let Some(found) = db.rollout(*rollout).await? else { continue };
            if found.made.environment == place.environment && found.made.endpoint == place.endpoint {
                let why = reason(db, *rollout).await?;
                return Ok(Some(Change {
                    seq: event.seq,
                    rollout: *rollout,
                    rolled_back: Some(why),
                    at: event.at,
                }));
            }
        }
        if is_last {
            break;
        }
    }
    Ok(moved.and_then(|event| match event.kind {
        EventKind::EnvironmentMoved { rollout, .. } => {
            Some(Change { seq: event.seq, rollout, rolled_back: None, at: event.at })
        }
        _ => None,
    }))
}

/// Why a rollout went back: what it said when it turned round, not when it had arrived.
async fn reason(db: &Db, rollout: u64) -> Result<String, Error> {
    let phases = db.rollout_transitions(rollout).await?;
    let turned = phases.iter().find(|phase| ["rolling-back", "rolled-back"].contains(&phase.to.as_str()));
    Ok(turned.map(|phase| phase.why.clone()).unwrap_or_default())
}

/// What a place runs after a change.
async fn record(db: &Db, place: &LedgerPlace, change: &Change) -> Result<EnvironmentRecord, Error> {
    let missing = || Error::missing(format!("there is no rollout {}", change.rollout));
    let rollout = db.rollout(change.rollout).await?.ok_or_else(missing)?;
    let before = EventFilter { before: Some(change.seq + 1), order: Order::NewestFirst, ..moves(place) };
    let all = db.events(&before).await?;
    let running = all.iter().find_map(|event| moved_to(event, place));
    let (plan, state) = (plan_of(&rollout)?, state_of(&rollout)?);
    // What was complete and is taken back runs no more, though the environment is said to have moved only after that.
    let is_taken_back = |digest: &Digest| change.rolled_back.is_some() && plan.candidates().contains(digest);
    let running = if running.as_ref().is_some_and(is_taken_back) { plan.incumbent } else { running };
    let runs = match running {
        Some(digest) => Some(release(db, digest).await?),
        None => None,
    };
    // Of several candidates the one that did harm last, or the one that was chosen.
    let (of, rolled_back) = match &change.rolled_back {
        Some(why) => {
            let harmful = state.harmful(&plan);
            (harmful, Some((release(db, harmful).await?, why.clone())))
        }
        None => (state.lead(&plan), None),
    };
    let started = EventFilter { limit: Some(1), ..about(change.rollout, "rollout.started") };
    let started = db.events(&started).await?.pop();
    let causes = db.causes(started.and_then(|event| event.cause), CHAIN).await?;
    Ok(EnvironmentRecord {
        environment: place.environment.clone(),
        endpoint: place.endpoint.clone(),
        runs,
        rolled_back,
        rollout: change.rollout,
        at: change.at,
        by: plan.author_of(of).to_owned(),
        cause: causes.last().map(|event| format!("event {}: {}", event.seq, cause(&event.kind))),
    })
}

/// A cause in short.
fn cause(kind: &EventKind) -> String {
    match kind {
        EventKind::SourceChanged { source, name, .. } => format!("{} `{name}`", source.name()),
        kind => format!("{} of {}", kind.name(), kind.subject()),
    }
}

async fn release(db: &Db, digest: Digest) -> Result<Release, Error> {
    let missing = || Error::missing(format!("there is no release {}", digest.short()));
    release_of(&db.release(digest).await?.ok_or_else(missing)?)
}
