//! Registered models of an import.

use tidemill_core::{EventKind, NewEvent, Timestamp};
use tidemill_db::models::{NewVersion, VersionStage};
use tidemill_db::tracking::KeyValue;

use super::source::{SourceModel, SourceVersion};
use super::tracked::run_id;
use super::{FROM, Imported, Importer};
use crate::Result;
use crate::artifacts::ArtifactPath;

impl Importer<'_> {
    /// Imports a registered model: itself if it is not there, and the versions that it never had; one that was deleted here
    /// stays so. An alias is set where there never was one of its name: one that was removed here stays so too.
    pub(super) async fn model(&self, theirs: &SourceModel) -> Result<Imported> {
        let registry = self.registry;
        let mut done = Imported::default();
        let there = registry.db.registered_model(&theirs.name).await?;
        if there.is_none() {
            let mut tags = theirs.tags.clone();
            tags.push(KeyValue { key: FROM.to_owned(), value: self.place.clone() });
            let mut tx = registry.db.begin().await?;
            let at = Timestamp::from_millis(theirs.created_at);
            tx.create_model(&theirs.name, some(&theirs.description), &tags, at).await?;
            tx.commit(vec![self.event(EventKind::ModelRegistered { model: theirs.name.clone() })]).await?;
            done.models = 1;
        }
        let known = registry.db.version_numbers(&theirs.name).await?;
        for version in &theirs.versions {
            if !known.contains(&version.number) {
                self.version(&theirs.name, version).await?;
                done.versions += 1;
            }
        }
        let known = there.map(|model| model.aliases).unwrap_or_default();
        for (alias, version) in &theirs.aliases {
            let there = known.iter().any(|known| known.alias == *alias);
            if there
                || registry.db.model_version(&theirs.name, *version).await?.is_none()
                || !registry.db.alias_history(&theirs.name, alias).await?.is_empty()
            {
                continue;
            }
            let mut tx = registry.db.begin().await?;
            let Some(change) = tx.set_alias(&theirs.name, alias, *version).await? else { continue };
            let (model, alias) = (theirs.name.clone(), alias.clone());
            let kind = EventKind::AliasMoved { model, alias, from: change.from, to: change.to };
            tx.commit(vec![self.event(kind)]).await?;
        }
        Ok(done)
    }

    async fn version(&self, model: &str, theirs: &SourceVersion) -> Result<()> {
        let db = &self.registry.db;
        let logged = theirs.source.strip_prefix("models:/").filter(|id| id.starts_with("m-"));
        let logged = match logged {
            Some(id) => db.logged_model(id).await?,
            None => None,
        };
        let run = theirs.run.as_deref().map(run_id);
        let storage = match (&logged, run) {
            (Some(logged), _) => Some(logged.artifact_uri.clone()),
            (None, Some(run)) => self.below_run(run, theirs).await?,
            (None, None) => theirs.storage.clone(),
        };
        let content = match storage.as_deref().and_then(|uri| uri.strip_prefix("mlflow-artifacts:/")) {
            Some(path) => self.registry.artifact_tree(&ArtifactPath::parse(path)?).await?,
            None => None,
        };
        let mut tags = theirs.tags.clone();
        tags.push(KeyValue { key: FROM.to_owned(), value: self.place.clone() });
        let source = match (&logged, &storage) {
            (None, Some(storage)) => storage.clone(),
            _ => theirs.source.clone(),
        };
        let at = Timestamp::from_millis(theirs.created_at);
        let new = NewVersion {
            model: model.to_owned(),
            number: Some(theirs.number),
            description: some(&theirs.description).map(str::to_owned),
            user: None,
            source: source.clone(),
            storage_location: storage,
            run: run.map(|run| run.to_string()),
            run_link: None,
            logged_model: logged.map(|model| model.id),
            content,
            created_at: at,
            tags,
        };
        let mut tx = db.begin().await?;
        tx.put_model_version(&new).await?;
        let created = EventKind::VersionCreated {
            model: model.to_owned(),
            version: theirs.number,
            source,
            run,
            content,
            facts: None,
        };
        let mut events = vec![self.event(created)];
        let stage = VersionStage::from_word(&theirs.stage).unwrap_or_default();
        if stage != VersionStage::None {
            tx.stage_model_version(model, theirs.number, stage, false, at).await?;
            events.push(self.event(EventKind::VersionStaged {
                model: model.to_owned(),
                version: theirs.number,
                from: VersionStage::None.word().to_owned(),
                to: stage.word().to_owned(),
            }));
        }
        tx.commit(events).await?;
        Ok(())
    }

    /// Where the files of a version are now that its run's artifacts are here: the same place below the run.
    async fn below_run(&self, run: tidemill_core::RunId, theirs: &SourceVersion) -> Result<Option<String>> {
        let place = theirs.storage.as_deref().unwrap_or(&theirs.source);
        let Some(info) = self.registry.db.tracked_run_info(run).await? else {
            return Ok(Some(place.to_owned()));
        };
        let named = theirs.run.as_deref().unwrap_or_default();
        let mark = format!("{named}/artifacts");
        let below = match place.strip_prefix(&format!("runs:/{named}/")) {
            Some(below) => Some(below),
            None => place.find(&mark).map(|at| place[at + mark.len()..].trim_start_matches('/')),
        };
        Ok(Some(match below {
            Some("") => info.artifact_uri,
            Some(below) => format!("{}/{below}", info.artifact_uri),
            None => place.to_owned(),
        }))
    }

    fn event(&self, kind: EventKind) -> NewEvent {
        self.registry.event(self.actor, kind)
    }
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
