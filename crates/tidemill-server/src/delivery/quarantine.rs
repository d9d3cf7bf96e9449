//! Whether a release must not run in an environment, because it did harm there, or one that answers the same did. And how it may again.
//!
//! A model that is trained again on the same data is another version and another release, and as harmful as before.

use std::time::Duration;

use tidemill_core::{Actor, Clock, Digest, EventKind, Facts, NewEvent, Timestamp};
use tidemill_db::Db;
use tidemill_db::delivery::{Quarantine, QuarantineWord};
use tidemill_deliver::release::Release;
use tidemill_deliver::rollout::is_of_decisions;
use tidemill_registry::{Code, Error};

use super::command::person;
use super::fence::facts_of;
use super::step::release_of;

/// Why a release must not run in an environment, with what can be done about it; nothing where it may.
pub(super) async fn quarantined(
    db: &Db,
    release: &Release,
    environment: &str,
) -> Result<Option<String>, Error> {
    let (digest, mut own) = (release.digest(), None);
    for quarantine in db.quarantines().await? {
        if quarantine.environment != environment {
            continue;
        }
        let because = format!("is in quarantine in `{environment}`: {}", quarantine.reason);
        // Another threshold makes other decisions of the same scores. It makes no errors fewer, and nothing faster.
        let is_of_decisions = is_of_decisions(&quarantine.reason);
        let next = next(is_of_decisions);
        if quarantine.release == digest {
            return Ok(Some(format!("release {} {because}; {next}", digest.short())));
        }
        let Some(kept) = db.release(quarantine.release).await? else { continue };
        let other = release_of(&kept)?;
        let is_set_like =
            if is_of_decisions { release.is_set_like(&other) } else { release.runtime == other.runtime };
        if !is_set_like {
            continue;
        }
        let is_same = release.content == other.content || {
            let own = match own {
                Some(own) => own,
                None => *own.insert(written(db, release).await?),
            };
            own.is_some() && own == written(db, &other).await?
        };
        if is_same {
            let name = |release: &Release| format!("{}@{}", release.model, release.version);
            return Ok(Some(format!(
                "{} is the same model{} as {}, whose release {} {because}; {next}",
                name(release),
                if is_of_decisions { " with the same threshold" } else { "" },
                name(&other),
                quarantine.release.short()
            )));
        }
    }
    Ok(None)
}

/// What somebody can do who meets a quarantine.
fn next(is_of_decisions: bool) -> String {
    format!(
        "release a model that was trained otherwise{}; where the verdict was wrong, two people end the quarantine with `tidemill \
         quarantine lift`",
        if is_of_decisions { ", or with another `--threshold`" } else { "" }
    )
}

/// How long one person's word waits for another's.
const WORD_HOLDS: Duration = Duration::from_hours(72);

/// A quarantine that somebody would end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    /// The release.
    pub release: Digest,
    /// The environment.
    pub environment: String,
    /// Why.
    pub reason: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// Who said so, in order.
    pub by: Vec<String>,
    /// Until when another person may say so, too; nothing where the quarantine has ended.
    pub waits_until: Option<Timestamp>,
}

/// When a word for a release to leave its quarantine stops to count.
pub fn word_ends(word: &QuarantineWord) -> Timestamp {
    word.at.plus(WORD_HOLDS)
}

/// Releases in quarantine, newest first, each with the words for its end that count now.
///
/// # Errors
///
/// Where they cannot be read.
pub async fn quarantines(db: &Db, now: Timestamp) -> Result<Vec<(Quarantine, Vec<QuarantineWord>)>, Error> {
    let (entries, mut words) = (db.quarantines().await?, db.quarantine_words().await?);
    words.retain(|word| now < word_ends(word));
    let with_words = entries.into_iter().map(|entry| {
        let is_of_it =
            |word: &&QuarantineWord| (word.release, &word.environment) == (entry.release, &entry.environment);
        let own = words.iter().filter(is_of_it).cloned().collect();
        (entry, own)
    });
    Ok(with_words.collect())
}

/// Says that a release may leave its quarantine. It does once two people have said so within three days, the second one by the same
/// function: harm was proven by a judge or seen by a person, so one person's word is not enough against it.
///
/// # Errors
///
/// Where it is in none, no reason is given, the word is not a person's, or it is of one who has given theirs.
pub async fn lift_quarantine(
    db: &Db,
    clock: &dyn Clock,
    actor: &Actor,
    wanted: &Lift,
) -> Result<Lifted, Error> {
    let (at, Lift { release, environment, reason }) = (clock.now(), wanted);
    if reason.trim().is_empty() {
        return Err(Error::invalid("a reason is missing: it stands in the log"));
    }
    person(actor)?;
    let mut tx = db.begin().await?;
    let mut words = tx.quarantine_words(*release, environment).await?.ok_or_else(|| {
        Error::missing(format!("release {} is not in quarantine in `{environment}`", release.short()))
    })?;
    words.retain(|word| at < word_ends(word));
    if let Some(own) = words.iter().find(|word| word.by == actor.name) {
        let message = format!(
            "{} has said so already; another person has to say so, too, until {}",
            own.by,
            word_ends(own)
        );
        return Err(Error::new(Code::InvalidState, message));
    }
    let event = |kind| NewEvent { at, actor: actor.clone(), kind, cause: None };
    if let Some(first) = words.first() {
        let by = vec![first.by.clone(), actor.name.clone()];
        tx.lift_quarantine(*release, environment).await?;
        let kind = EventKind::QuarantineLifted {
            release: *release,
            environment: environment.clone(),
            by: by.clone(),
            reason: format!("{}: {}; {}: {}", first.by, first.reason, actor.name, reason.trim()),
        };
        tx.commit(vec![event(kind)]).await?;
        return Ok(Lifted { by, waits_until: None });
    }
    let word = QuarantineWord {
        release: *release,
        environment: environment.clone(),
        by: actor.name.clone(),
        reason: reason.trim().to_owned(),
        at,
    };
    tx.add_quarantine_word(&word).await?;
    let kind = EventKind::QuarantineLiftAsked {
        release: *release,
        environment: environment.clone(),
        reason: word.reason.clone(),
    };
    tx.commit(vec![event(kind)]).await?;
    Ok(Lifted { waits_until: Some(word_ends(&word)), by: vec![word.by] })
}

/// What the step wrote whose model a release is, where the log says so. Files of a version also say by which run they were made.
async fn written(db: &Db, release: &Release) -> Result<Option<Digest>, Error> {
    let facts = facts_of(db, &release.model, release.version).await?;
    Ok(facts.and_then(|facts: Facts| facts.content))
}
