//! Branches: asked now and then which commit they are at, or told by a push webhook.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemill_core::declare::When;
use tidemill_core::{Actor, SourceKind, Timestamp};
use tidemill_db::Result;
use tidemill_trigger::Details;
use tokio_util::sync::CancellationToken;

use super::{Triggers, system};

const SOURCE: &str = "git";
/// How often it is looked which branch is due.
const TICK: Duration = Duration::from_millis(250);

pub(super) async fn run(triggers: Triggers, stop: CancellationToken) {
    let mut looked: BTreeMap<String, Timestamp> = BTreeMap::new();
    loop {
        for rule in &triggers.rules().rules {
            let When::Git { branch, remote, poll } = &rule.trigger.when else { continue };
            let (name, now) = (&rule.trigger.name, triggers.now());
            let is_due = looked.get(name).is_none_or(|last| now.since(*last) >= *poll || now < *last);
            if poll.is_zero() || !is_due {
                continue;
            }
            looked.insert(name.clone(), now);
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                asked = triggers.host().branch(branch, remote.as_deref()) => asked,
            };
            match asked {
                Ok(Some(commit)) => {
                    let noted = note(&triggers, name, branch, &commit, Details::new(), system(), None).await;
                    if let Err(error) = noted {
                        tracing::warn!(trigger.name = name, "a commit cannot be recorded: {error}");
                    }
                }
                Ok(None) => tracing::debug!(trigger.name = name, branch, "there is no such branch"),
                Err(why) => {
                    tracing::warn!(trigger.name = name, branch, "the branch cannot be looked at: {why}");
                }
            }
        }
        if !super::sleep(TICK, &stop).await {
            return;
        }
    }
}

/// Records that a branch is at a commit, where that is new; gives the event. The first commit that is seen by looking is
/// where things stand, and not a change; one that was pushed, by a delivery of this key, is.
pub(super) async fn note(
    t: &Triggers,
    trigger: &str,
    branch: &str,
    commit: &str,
    mut details: Details,
    actor: Actor,
    pushed: Option<&str>,
) -> Result<Option<u64>> {
    let (db, project) = (t.db(), t.project());
    // A trigger that is told to watch another branch begins anew.
    let part = format!("{trigger} {branch}");
    let known = db.source_offset(project, SOURCE, &part).await?;
    let commit = t.host().without_records(commit).await;
    if known.as_deref() == Some(commit.as_str()) {
        return Ok(None);
    }
    if known.is_none() && pushed.is_none() {
        db.begin_source(project, SOURCE, &part, &commit, t.now()).await?;
        return Ok(None);
    }
    details.insert("commit".to_owned(), commit.clone());
    details.insert("branch".to_owned(), branch.to_owned());
    details.insert("trigger".to_owned(), trigger.to_owned());
    let mut tx = db.begin().await?;
    if tx.source_offset(project, SOURCE, &part).await?.as_deref() == Some(commit.as_str()) {
        return Ok(None);
    }
    // A delivery that comes again must not set the branch back to where it was.
    if let Some(key) = pushed.filter(|key| !key.is_empty())
        && !tx.add_delivery(project, &format!("push:{trigger}"), key, t.now()).await?
    {
        return Ok(None);
    }
    tx.move_source(project, SOURCE, &part, &commit, t.now()).await?;
    let seq = tx.next_seq();
    tx.commit(vec![t.changed(actor, SourceKind::Git, branch, details)]).await?;
    Ok(Some(seq))
}
