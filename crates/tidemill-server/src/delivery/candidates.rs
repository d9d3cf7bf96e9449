//! The candidates of a new rollout: each is made a release of, and each must be one that may run. One or several go the same way.

use std::fmt;

use tidemill_core::{Actor, Digest, EventKind, NewEvent, Timestamp};
use tidemill_db::delivery as stored;
use tidemill_db::{Db, Tx};
use tidemill_deliver::release::Release;
use tidemill_deliver::rollout::{Contender, Contest, MOST_CANDIDATES, Plan};
use tidemill_registry::{Code, Error};

use super::command::Wanted;
use super::quarantine::quarantined;
use super::step::write;
use super::tested::{Origin, origin};

/// A version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.model, self.version)
    }
}

/// Releases that were made, in order; at least one.
pub(super) struct Made {
    pub(super) contenders: Vec<Contender>,
    pub(super) events: Vec<NewEvent>,
    /// Who wrote the code of a commit that one of them comes from.
    pub(super) authors: Vec<String>,
    /// Why one of them must not run, where that is so.
    pub(super) quarantine: Option<String>,
}

impl Made {
    pub(super) fn releases(&self) -> Vec<Digest> {
        self.contenders.iter().map(|one| one.release).collect()
    }

    /// What makes a rollout one of several candidates; nothing where there is one.
    pub(super) fn contest(&self, wanted: &Wanted) -> Result<Option<Contest>, Error> {
        if self.contenders.len() < 2 {
            return Ok(None);
        }
        let decisive = || wanted.judge.as_ref()?.decisive().map(|metric| metric.name.clone());
        let Some(winner) = wanted.winner.clone().or_else(decisive) else {
            let why = format!(
                "nothing in `{}` tells several candidates apart: its rollout needs a judge",
                wanted.environment
            );
            return Err(Error::invalid(why));
        };
        Ok(Some(Contest { candidates: self.contenders.clone(), winner }))
    }
}

/// Makes the releases that are wanted.
pub(super) async fn make(
    db: &Db,
    tx: &mut Tx,
    wanted: &Wanted,
    (actor, cause, at): (&Actor, Option<u64>, Timestamp),
) -> Result<Made, Error> {
    let first = Version { model: wanted.model.clone(), version: wanted.version };
    let all: Vec<Version> = std::iter::once(first).chain(wanted.rivals.iter().cloned()).collect();
    if all.len() > MOST_CANDIDATES {
        let why = format!("a rollout takes {MOST_CANDIDATES} candidates at most, not {}", all.len());
        return Err(Error::invalid(why));
    }
    let (contenders, events, authors) = (Vec::new(), Vec::new(), Vec::new());
    let mut made = Made { contenders, events, authors, quarantine: None };
    for version in &all {
        let (release, authors) = settle(db, tx, wanted, version).await?;
        made.authors.extend(authors);
        let digest = release.digest();
        if made.contenders.iter().any(|known| known.release == digest) {
            return Err(Error::invalid(format!("{version} is named twice")));
        }
        let kept = stored::Release {
            digest,
            model: release.model.clone(),
            version: release.version,
            body: write(&release)?,
            created_at: at,
            author: actor.clone(),
        };
        if tx.add_release(&kept).await? {
            let (model, version) = (release.model.clone(), release.version);
            let kind = EventKind::ReleaseCreated { release: digest, model, version };
            made.events.push(NewEvent { at, actor: actor.clone(), kind, cause });
        }
        // Whoever made the release first is its author, also where somebody else releases it again.
        let author = tx.release(digest).await?.map_or_else(|| actor.name.clone(), |kept| kept.author.name);
        if made.quarantine.is_none() {
            let found = quarantined(db, &release, &wanted.environment).await?;
            made.quarantine = found.map(|why| if all.len() > 1 { format!("{version}: {why}") } else { why });
        }
        made.contenders.push(Contender { release: digest, name: version.to_string(), author });
    }
    Ok(made)
}

/// The release of a version, and who wrote the code of the commit that it comes from.
async fn settle(
    db: &Db,
    tx: &mut Tx,
    wanted: &Wanted,
    of: &Version,
) -> Result<(Release, Vec<String>), Error> {
    let Version { model, version } = of;
    let found = tx
        .model_version(model, *version)
        .await?
        .ok_or_else(|| Error::missing(format!("model `{model}` has no version {version}")))?;
    let content = found.content.ok_or_else(|| {
        let why = format!("the files of {of} are not in the store, so nothing can be released by digest");
        Error::new(Code::InvalidState, why)
    })?;
    let Origin { commit, evidence, authors, .. } = origin(db, &found, &wanted.required).await?;
    let described = wanted.described.iter().find(|(known, _)| known == of).map(|(_, described)| described);
    let release = Release {
        model: model.clone(),
        version: *version,
        content,
        threshold: wanted.threshold,
        signature: described.and_then(|described| described.signature),
        runtime: described.map_or("not known", |described| described.runtime).to_owned(),
        commit: wanted.commit.clone().or(commit),
        evidence,
    };
    Ok((release, authors))
}

/// The candidate of a rollout that somebody names. Where there is only one, it is that one: what can be done to it is said elsewhere.
pub(super) fn candidate_of(plan: &Plan, name: &str) -> Result<Digest, Error> {
    let Some(contest) = &plan.contest else { return Ok(plan.candidate) };
    let is_named = |one: &&Contender| one.name == name || one.release.to_string() == name;
    contest.candidates.iter().find(is_named).map(|one| one.release).ok_or_else(|| {
        let names: Vec<&str> = contest.candidates.iter().map(|one| one.name.as_str()).collect();
        Error::invalid(format!("`{name}` is no candidate of the rollout; they are {}", names.join(", ")))
    })
}
