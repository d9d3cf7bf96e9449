//! Schedules: which times have come since the last one that was acted on.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemill_core::declare::Missed;
use tidemill_core::{SourceKind, Timestamp};
use tidemill_db::Result;
use tidemill_trigger::{Rule, Schedule};
use tokio_util::sync::CancellationToken;

use super::{Triggers, system};

const SOURCE: &str = "schedule";
/// However far away the next time is, the clock may be set and the project file may change.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) async fn run(triggers: Triggers, stop: CancellationToken) {
    let mut generation = triggers.inner.generation.subscribe();
    // Where each schedule is, by trigger; so that the database is asked only when a time has come.
    let mut places: BTreeMap<String, Timestamp> = BTreeMap::new();
    loop {
        let rules = triggers.rules();
        let now = triggers.now();
        let mut wait = LONGEST;
        for rule in &rules.rules {
            let Some((schedule, missed)) = &rule.schedule else { continue };
            let place = places.get(&rule.trigger.name).copied();
            match look(&triggers, rule, schedule, *missed, place).await {
                Ok(last) => {
                    let next = schedule.next_fire(last.max(now));
                    wait = wait.min(next.map_or(LONGEST, |next| next.since(triggers.now())));
                    places.insert(rule.trigger.name.clone(), last);
                }
                Err(error) => {
                    tracing::warn!(trigger.name = rule.trigger.name, "a schedule cannot be kept: {error}");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = generation.changed() => {
                if changed.is_err() {
                    return;
                }
                places.clear();
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Records the times of a schedule that have come; gives up to where it has been kept.
async fn look(
    t: &Triggers,
    rule: &Rule,
    schedule: &Schedule,
    missed: Missed,
    place: Option<Timestamp>,
) -> Result<Timestamp> {
    let now = t.now();
    let name = rule.trigger.name.as_str();
    let declared = declared(rule);
    let last = match place {
        Some(place) => place,
        None => {
            let stored = t.db().source_offset(t.project(), SOURCE, name).await?;
            let known = stored.as_deref().and_then(|text| parse(text, &declared));
            match known {
                Some(last) => last,
                // A schedule that is new, or another one than before, has missed nothing.
                None => {
                    let position = written(now, &declared);
                    let (db, project) = (t.db(), t.project());
                    match stored {
                        Some(seen) => {
                            db.begin_source_anew(project, SOURCE, name, &seen, &position, now).await?;
                        }
                        None => db.begin_source(project, SOURCE, name, &position, now).await?,
                    }
                    return Ok(now);
                }
            }
        }
    };
    let times = schedule.due(last, now, missed);
    let Some(latest) = times.last().copied() else { return Ok(last) };
    let mut tx = t.db().begin().await?;
    // Another server on the same database may have been quicker.
    let stored = tx.source_offset(t.project(), SOURCE, name).await?.and_then(|text| parse(&text, &declared));
    if let Some(stored) = stored.filter(|stored| *stored >= latest) {
        return Ok(stored);
    }
    tx.move_source(t.project(), SOURCE, name, &written(latest, &declared), now).await?;
    let events = times.iter().filter(|time| stored.is_none_or(|stored| **time > stored));
    let events = events
        .map(|time| {
            let details = [("time".to_owned(), time.to_string())].into();
            t.changed(system(), SourceKind::Schedule, name, details)
        })
        .collect();
    tx.commit(events).await?;
    Ok(latest)
}

/// The schedule in words: a place belongs to it, and not to what replaced it.
fn declared(rule: &Rule) -> String {
    match &rule.trigger.when {
        tidemill_core::declare::When::Schedule { cron, timezone, .. } => format!("{cron} {timezone}"),
        _ => String::new(),
    }
}

fn written(at: Timestamp, declared: &str) -> String {
    format!("{} {declared}", at.millis())
}

fn parse(text: &str, declared: &str) -> Option<Timestamp> {
    let (at, of) = text.split_once(' ')?;
    (of == declared).then(|| at.parse().ok().map(Timestamp::from_millis)).flatten()
}
