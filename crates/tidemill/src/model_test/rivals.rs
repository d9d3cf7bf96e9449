//! The registered versions that a model is compared with.

use std::time::Duration;

use tidemill_core::Digest;
use tidemill_db::models::ModelVersion;
use tidemill_project::ModelTest;
use tidemill_registry::CHAMPION;

use crate::app::App;

/// Versions that a test of staleness looks at where it names no number.
pub(crate) const VERSIONS: u32 = 5;

/// A stretch of time in days.
pub(super) fn days(time: Duration) -> f64 {
    time.as_secs_f64() / 86_400.0
}

/// A registered version.
#[derive(Clone, Debug)]
pub(crate) struct Rival {
    pub(super) model: String,
    pub(super) version: u64,
    pub(super) content: Option<Digest>,
    /// How old it is.
    pub(super) days: f64,
}

impl Rival {
    /// `model@version`.
    pub(super) fn name(&self) -> String {
        format!("{}@{}", self.model, self.version)
    }

    /// What it is, to the byte.
    fn identity(&self) -> String {
        let content = self.content.map(|content| content.to_string()).unwrap_or_default();
        format!("{} {content}", self.name())
    }
}

/// The versions that the declared tests ask for; or why there are none.
pub(crate) struct Rivals {
    champion: Option<Result<Rival, String>>,
    versions: Option<Result<Vec<Rival>, String>>,
    /// The ages up to which versions are judged, in days.
    limits: Vec<f64>,
}

impl Rivals {
    pub(super) fn champion(&self) -> Result<&Rival, String> {
        match &self.champion {
            Some(Ok(champion)) => Ok(champion),
            Some(Err(why)) => Err(why.clone()),
            None => Err("there is no champion".to_owned()),
        }
    }

    /// The number of the champion, where there is one.
    pub(crate) fn champion_version(&self) -> Option<u64> {
        self.champion().ok().map(|champion| champion.version)
    }

    pub(super) fn is_champion(&self, other: &Rival) -> bool {
        self.champion().is_ok_and(|champion| champion.version == other.version)
    }

    /// The newest versions, the newest first.
    pub(super) fn versions(&self) -> Result<&[Rival], String> {
        match &self.versions {
            Some(Ok(versions)) => Ok(versions),
            Some(Err(why)) => Err(why.clone()),
            None => Err("there are no versions".to_owned()),
        }
    }

    /// What the champion is, as part of the identity of results.
    pub(super) fn champion_name(&self) -> Option<String> {
        let found = self.champion.as_ref()?;
        Some(found.as_ref().map_or_else(Clone::clone, Rival::identity))
    }

    /// What the versions are, and which of them are judged: results change when one becomes too old.
    pub(super) fn version_names(&self) -> Option<Vec<String>> {
        let judged = |rival: &Rival| self.limits.iter().filter(|limit| rival.days <= **limit).count();
        Some(match self.versions.as_ref()? {
            Ok(versions) => versions.iter().map(|v| format!("{} {}", v.identity(), judged(v))).collect(),
            Err(why) => vec![why.clone()],
        })
    }
}

/// Looks up what the declared tests compare with.
pub(crate) fn rivals(app: &App<'_>) -> anyhow::Result<Rivals> {
    let mut found = Rivals { champion: None, versions: None, limits: Vec::new() };
    let (mut wants_champion, mut most) = (false, 0);
    for test in &app.project.tests {
        match test {
            ModelTest::Cost(_) | ModelTest::Champion(_) | ModelTest::Flips(_) => wants_champion = true,
            ModelTest::Staleness(test) => {
                most = most.max(test.versions.unwrap_or(VERSIONS));
                found.limits.push(days(test.max_age.0));
            }
            _ => {}
        }
    }
    if !wants_champion && most == 0 {
        return Ok(found);
    }
    let Some(release) = &app.project.release else {
        let why = "the project has no `release`, which names the registered model".to_owned();
        found.champion = wants_champion.then(|| Err(why.clone()));
        found.versions = (most > 0).then_some(Err(why));
        return Ok(found);
    };
    let (model, now) = (release.model.to_string(), app.clock.now());
    let rival = |version: ModelVersion| Rival {
        model: model.clone(),
        version: version.version,
        content: version.content,
        days: days(now.since(version.created_at)),
    };
    if wants_champion {
        let champion = app.block(app.db()?.aliased_version(&model, CHAMPION))?;
        let none = || format!("model `{model}` has no alias `{CHAMPION}` yet");
        found.champion = Some(champion.map(rival).ok_or_else(none));
    }
    if most > 0 {
        // The model that is tested may be one of them, and takes nobody's place.
        let versions = app.block(app.db()?.model_versions_before(&model, None, most as usize + 1))?;
        found.versions = Some(if versions.is_empty() {
            Err(format!("model `{model}` has no versions yet"))
        } else {
            Ok(versions.into_iter().map(rival).collect())
        });
    }
    Ok(found)
}
