//! Whether a release must not run in an environment, because it did harm there, or one that answers the same did.
//!
//! A model that is trained again on the same data is another version and another release, and as harmful as before.

use tidemill_core::{Digest, Facts};
use tidemill_db::Db;
use tidemill_deliver::release::Release;
use tidemill_registry::Error;

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
        if quarantine.release == digest {
            return Ok(Some(format!("release {} {because}; {NEXT}", digest.short())));
        }
        let Some(kept) = db.release(quarantine.release).await? else { continue };
        let other = release_of(&kept)?;
        if !release.is_set_like(&other) {
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
                "{} is the same model with the same threshold as {}, whose release {} {because}; {NEXT}",
                name(release),
                name(&other),
                quarantine.release.short()
            )));
        }
    }
    Ok(None)
}

/// What somebody can do who meets a quarantine.
const NEXT: &str = "release a model that was trained otherwise, or with another `--threshold`";

/// What the step wrote whose model a release is, where the log says so. Files of a version also say by which run they were made.
async fn written(db: &Db, release: &Release) -> Result<Option<Digest>, Error> {
    let facts = facts_of(db, &release.model, release.version).await?;
    Ok(facts.and_then(|facts: Facts| facts.content))
}
