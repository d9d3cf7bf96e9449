//! What was there before a rollout: what has the endpoint's requests, what was asked of those who released to it, and who set it off.

use tidemill_core::{Actor, ActorKind, Digest, EventKind, NewEvent, Timestamp};
use tidemill_db::delivery::{self as stored, GateResult, RolloutFilter};
use tidemill_db::{Db, Tx};
use tidemill_deliver::approval::Rule;
use tidemill_deliver::release::Release;
use tidemill_deliver::rollout::{Asked, Effect, Phase, Plan, State};
use tidemill_registry::{CHAMPION, Error};
use tidemill_serve::gateway::led::drawn;
use tidemill_serve::gateway::route::Arm;
use tidemill_serve::gateway::source::Which;

use super::step::{plan_of, state_of, write};
use crate::serving::read_endpoint;
use crate::shell::NOBODY;

/// The longest chain of causes that is followed.
const CHAIN: usize = 64;
/// So much of what protects less is said in words.
const SHOWN: usize = 20;
/// The name of the gate that says that less is asked for than before.
const POLICY: &str = "policy";
/// The role in which people agree to a change of what is asked for.
const REVIEWER: &str = "reviewer";
/// So many of them, as for the end of a quarantine: one hurried person must not outweigh what all had agreed on.
const REVIEWERS: u32 = 2;

/// People without whose doing a rollout would not be: who asked for it and, where a trigger did, who is behind what it acted on.
pub(super) async fn starters(db: &Db, actor: &Actor, cause: Option<u64>) -> Result<Vec<String>, Error> {
    let mut people: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if !name.is_empty() && name != NOBODY && !people.iter().any(|known| known == name) {
            people.push(name.to_owned());
        }
    };
    if actor.kind == ActorKind::User {
        add(&actor.name);
    }
    for event in db.causes(cause, CHAIN).await? {
        if event.actor.kind == ActorKind::User {
            add(&event.actor.name);
        }
        if let EventKind::SourceChanged { details, .. } = &event.kind {
            add(details.get("pusher").map_or("", String::as_str));
        }
    }
    Ok(people)
}

/// What a rollout brought to its environment where that is still to be written down: its phase says first that it is through.
pub(super) fn brought_by(state: &State) -> Option<Digest> {
    state.due.iter().rev().find_map(|due| match due.effect {
        Effect::Record { release } => Some(release),
        _ => None,
    })
}

/// What has the requests of an endpoint, with the events of a release that was made for it: the release of its environment, else of another
/// environment by whose name it went before, else what somebody declared by hand.
pub(super) async fn incumbent(
    db: &Db,
    tx: &mut Tx,
    (endpoint, environment): (&str, &str),
    candidates: &[Digest],
    (actor, cause, at): (&Actor, Option<u64>, Timestamp),
) -> Result<(Option<Digest>, Vec<NewEvent>), Error> {
    let declared = tx.endpoint(endpoint).await?;
    let mut runs = tx.environment_release(environment, endpoint).await?;
    if runs.is_none() {
        let others = db.environments().await?.into_iter().filter(|one| one.endpoint == endpoint);
        runs = others.max_by_key(|one| one.updated_at).map(|one| one.release);
    }
    if let Some(release) = runs {
        // Where the endpoint is gone nothing runs, and what did may come again.
        let is_gone = declared.is_none() && candidates.contains(&release);
        return Ok((Some(release).filter(|_| !is_gone), Vec::new()));
    }
    let Some(declared) = declared else { return Ok((None, Vec::new())) };
    let spec = read_endpoint(&declared)?;
    let shares = spec.shares();
    let share = |arm: &&Arm| shares.get(arm.name.as_str()).copied().unwrap_or_default();
    let Some(arm) = drawn(&spec.arms).filter(|arm| share(arm) > 0).max_by_key(share) else {
        return Ok((None, Vec::new()));
    };
    let Some(release) = by_hand(db, tx, arm).await? else { return Ok((None, Vec::new())) };
    let digest = release.digest();
    for candidate in candidates {
        // The same version is nothing to be compared with.
        let known = tx.release(*candidate).await?;
        if known.is_some_and(|one| (one.model.as_str(), one.version) == (&release.model, release.version)) {
            return Ok((None, Vec::new()));
        }
    }
    let kept = stored::Release {
        digest,
        model: release.model.clone(),
        version: release.version,
        body: write(&release)?,
        created_at: at,
        author: actor.clone(),
    };
    let mut events = Vec::new();
    if tx.add_release(&kept).await? {
        let kind = EventKind::ReleaseCreated { release: digest, model: kept.model, version: kept.version };
        events.push(NewEvent { at, actor: actor.clone(), kind, cause });
    }
    Ok((Some(digest), events))
}

/// The release that an arm would be; nothing where its model is not registered or its files are not in the store, so that it cannot be
/// named by what it is.
async fn by_hand(db: &Db, tx: &mut Tx, arm: &Arm) -> Result<Option<Release>, Error> {
    let Some(model) = db.registered_model(&arm.model).await? else { return Ok(None) };
    let of_alias =
        |alias: &str| model.aliases.iter().find(|known| known.alias == alias).map(|known| known.version);
    let version = match Which::parse(arm.version.as_deref()) {
        Which::Version(version) => version.parse().ok(),
        Which::Alias(alias) => of_alias(&alias),
        Which::Default => {
            of_alias(CHAMPION).or_else(|| model.latest.iter().map(|version| version.version).max())
        }
    };
    let Some(version) = version else { return Ok(None) };
    let found = tx.model_version(&arm.model, version).await?;
    Ok(found.and_then(|found| found.content).map(|content| Release {
        model: arm.model.clone(),
        version,
        content,
        threshold: None,
        signature: None,
        runtime: "not known".to_owned(),
        commit: None,
        evidence: Vec::new(),
    }))
}

/// Holds a plan to the agreements that the rollout before it asked for, and to what protected then, whatever the file says that it came from:
/// the file is that of whoever sends it. With `change`, a reason, two people agree to asking for less in place of those who would have been
/// asked.
pub(super) async fn hold(
    tx: &mut Tx,
    plan: &mut Plan,
    change: Option<&str>,
    at: Timestamp,
) -> Result<Option<GateResult>, Error> {
    let filter = RolloutFilter { endpoint: Some(plan.endpoint.clone()), ..RolloutFilter::default() };
    let Some(before) = tx.rollouts(&filter, 1).await?.pop() else { return Ok(None) };
    let (last, phase) = (plan_of(&before)?, state_of(&before)?.phase);
    let asked = last.asks(phase == Phase::Complete);
    // Whoever had to prove who they are does so for this as well.
    let authenticated = asked.iter().any(|asked| asked.rule.authenticated);
    let reviewers =
        |count| Rule { role: REVIEWER.to_owned(), people: Vec::new(), count, expires: None, authenticated };
    let lacking = plan.hold_to(&asked, change.map(|_| reviewers(REVIEWERS)));
    let weaker = plan.guard_as(&last.guards(&phase), reviewers(1));
    if lacking.is_empty() && weaker.is_empty() {
        return Ok(None);
    }
    let mut less: Vec<String> = Vec::new();
    if !lacking.is_empty() {
        let lacks = lacking.iter().map(Asked::words).collect::<Vec<_>>().join("; ");
        let then = match change {
            Some(_) => format!("{REVIEWERS} people agree to that instead"),
            None => "they are asked once more, and when it is complete the file counts".to_owned(),
        };
        less.push(format!("{lacks}; {then}"));
    }
    if !weaker.is_empty() {
        let more = weaker.len().saturating_sub(SHOWN);
        let mut words = weaker.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
        if more > 0 {
            words.push_str(&format!("; and {more} more"));
        }
        less.push(format!("{words}; somebody other than its author agrees to that before the first request"));
    }
    let why = change.map(|why| format!(" ({why})")).unwrap_or_default();
    let detail = format!(
        "the project file asks for less than rollout {} of the endpoint did: {}{why}",
        before.id,
        less.join("; ")
    );
    Ok(Some(GateResult { gate: POLICY.to_owned(), passed: false, detail, evidence: None, at }))
}
