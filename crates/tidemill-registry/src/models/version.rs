//! Versions of registered models.

use serde_json::{Value, json};
use tidemill_core::{Actor, Digest, EventKind, Facts, NewEvent};
use tidemill_db::logged_models::LoggedModel;
use tidemill_db::models::{ModelVersion, NewVersion, VersionStage};
use tidemill_db::tracking::{KeyValue, Stage};

use super::registered::{is_prompt, read_stage};
use super::source::{self, Owner, Source, Which};
use super::{PROMPT_TAG, names, no_model, no_version};
use crate::artifacts::Place;
use crate::webhooks::Notice;
use crate::{Error, Registry, Result};

/// What the source of a prompt version is: it has no files.
const PROMPT_SOURCES: [&str; 2] = ["prompt-template", "dummy-source"];
/// The tag of a logged model that lists its versions.
const VERSIONS_TAG: &str = "mlflow.modelVersions";

/// What is asked for when a version is made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VersionRequest {
    /// The registered model.
    pub model: String,
    /// Where its files are: a path or a URI.
    pub source: String,
    /// The run that made it; `Some("")` says that there is none.
    pub run: Option<String>,
    /// The logged model that it is a version of; `Some("")` says that there is none.
    pub logged_model: Option<String>,
    /// Where the run can be looked at.
    pub run_link: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Tags.
    pub tags: Vec<KeyValue>,
    /// The event that led to it.
    pub cause: Option<u64>,
    /// How it was made.
    pub facts: Option<Box<Facts>>,
}

/// A source after its owner was found.
struct Resolved {
    source: String,
    storage_location: String,
    run: Option<String>,
    logged_model: Option<LoggedModel>,
}

impl Registry {
    /// Makes a version of a registered model.
    pub async fn create_version(&self, actor: &Actor, request: VersionRequest) -> Result<ModelVersion> {
        let prompt = is_prompt(&request.tags);
        if prompt && !PROMPT_SOURCES.contains(&request.source.as_str()) {
            return Err(Error::invalid(format!(
                "Invalid prompt source: '{}'. Prompt sources must use an MLflow placeholder.",
                request.source
            )));
        }
        names::model(&request.model)?;
        request.tags.iter().try_for_each(names::version_tag)?;
        let resolved = if prompt {
            Resolved {
                source: request.source.clone(),
                storage_location: request.source.clone(),
                run: given(request.run),
                logged_model: None,
            }
        } else {
            self.resolve(&request.source, request.run, request.logged_model).await?
        };
        let name = &request.model;
        let content = if prompt { None } else { self.content_of(&resolved.storage_location).await };
        let logged_model = resolved.logged_model.as_ref().map(|model| model.id.clone());
        let new = NewVersion {
            model: name.clone(),
            number: None,
            description: request.description,
            user: None,
            source: resolved.source,
            storage_location: Some(resolved.storage_location),
            run: resolved.run,
            run_link: given(request.run_link),
            logged_model,
            content,
            created_at: self.clock.now(),
            tags: request.tags,
        };
        let mut tx = self.db.begin().await?;
        let number = tx.put_model_version(&new).await?.ok_or_else(|| no_model(name))?;
        if let Some(model) = &new.logged_model {
            // Read again: the tag may have changed since.
            let model = tx.logged_model(model).await?.ok_or_else(|| crate::logged_models::missing(model))?;
            let tag =
                KeyValue { key: VERSIONS_TAG.to_owned(), value: with_version(&model.tags, name, number) };
            tx.put_logged_model_tags(&model.id, &[tag]).await?;
        }
        let version = tx.model_version(name, number).await?.ok_or_else(|| no_version(name, number))?;
        self.notify(&mut tx, &Notice::version_created(&version, prompt)).await?;
        let kind = EventKind::VersionCreated {
            model: name.clone(),
            version: number,
            source: new.source,
            run: new.run.as_deref().and_then(|run| run.parse().ok()),
            content: new.content,
            facts: request.facts,
        };
        let event = NewEvent { cause: request.cause, ..self.event(actor, kind) };
        self.finish(tx, vec![event]).await?;
        Ok(version)
    }

    /// A version.
    pub async fn version(&self, model: &str, version: &str) -> Result<ModelVersion> {
        names::model(model)?;
        let number = names::version(version)?.ok_or_else(|| no_version(model, version))?;
        self.db.model_version(model, number).await?.ok_or_else(|| no_version(model, version))
    }

    /// Where the files of a version are: a URI.
    pub async fn version_location(&self, model: &str, version: &str) -> Result<String> {
        let version = self.version(model, version).await?;
        Ok(version.storage_location.unwrap_or(version.source))
    }

    /// Describes a version anew.
    pub async fn describe_version(
        &self,
        actor: &Actor,
        model: &str,
        version: &str,
        description: Option<&str>,
    ) -> Result<ModelVersion> {
        let number = numbered(model, version)?;
        let mut tx = self.db.begin().await?;
        if !tx.describe_model_version(model, number, description, self.clock.now()).await? {
            return Err(no_version(model, version));
        }
        let changed = tx.model_version(model, number).await?.ok_or_else(|| no_version(model, version))?;
        let kind = EventKind::ModelDescribed { model: model.to_owned(), version: Some(number) };
        self.finish(tx, vec![self.event(actor, kind)]).await?;
        Ok(changed)
    }

    /// Moves a version to a stage; with `archive` what was there goes to the archive.
    pub async fn stage_version(
        &self,
        actor: &Actor,
        model: &str,
        version: &str,
        stage: &str,
        archive: bool,
    ) -> Result<ModelVersion> {
        let to = read_stage(stage)?;
        if archive && !matches!(to, VersionStage::Staging | VersionStage::Production) {
            return Err(Error::invalid(format!(
                "Model version transition cannot archive existing model versions because '{stage}' is not an Active \
                 stage. Valid stages are ['Staging', 'Production']"
            )));
        }
        let number = numbered(model, version)?;
        let mut tx = self.db.begin().await?;
        let moved = tx
            .stage_model_version(model, number, to, archive, self.clock.now())
            .await?
            .ok_or_else(|| no_version(model, version))?;
        let changed = tx.model_version(model, number).await?.ok_or_else(|| no_version(model, version))?;
        let events = moved
            .into_iter()
            .map(|moved| {
                let kind = EventKind::VersionStaged {
                    model: model.to_owned(),
                    version: moved.version,
                    from: moved.from.word().to_owned(),
                    to: moved.to.word().to_owned(),
                };
                self.event(actor, kind)
            })
            .collect();
        self.finish(tx, events).await?;
        Ok(changed)
    }

    /// Deletes a version. Its number is never used again.
    pub async fn delete_version(&self, actor: &Actor, model: &str, version: &str) -> Result<()> {
        let number = numbered(model, version)?;
        let mut tx = self.db.begin().await?;
        let aliases = tx
            .delete_model_version(model, number, self.clock.now())
            .await?
            .ok_or_else(|| no_version(model, version))?;
        let mut events: Vec<_> = aliases
            .into_iter()
            .map(|alias| {
                let kind =
                    EventKind::AliasMoved { model: model.to_owned(), alias, from: Some(number), to: None };
                self.event(actor, kind)
            })
            .collect();
        let kind = EventKind::VersionDeleted { model: model.to_owned(), version: number };
        events.push(self.event(actor, kind));
        self.finish(tx, events).await
    }

    /// Sets a tag of a version.
    pub async fn tag_version(&self, actor: &Actor, model: &str, version: &str, tag: &KeyValue) -> Result<()> {
        let number = numbered(model, version)?;
        names::version_tag(tag)?;
        let mut tx = self.db.begin().await?;
        let changed = tx.tag_model_version(model, number, &tag.key, &tag.value).await?;
        if !changed.ok_or_else(|| no_version(model, version))? {
            return Ok(());
        }
        let prompt = self.is_prompt(&mut tx, model).await?;
        self.notify(&mut tx, &Notice::tag_set(model, Some(number), tag, prompt)).await?;
        let kind = EventKind::ModelTagged {
            model: model.to_owned(),
            version: Some(number),
            key: tag.key.clone(),
            value: Some(tag.value.clone()),
        };
        self.finish(tx, vec![self.event(actor, kind)]).await
    }

    /// Removes a tag of a version, if it has it.
    pub async fn untag_version(&self, actor: &Actor, model: &str, version: &str, key: &str) -> Result<()> {
        let number = numbered(model, version)?;
        names::tag_key(key)?;
        let mut tx = self.db.begin().await?;
        let changed = tx.untag_model_version(model, number, key).await?;
        if !changed.ok_or_else(|| no_version(model, version))? {
            return Ok(());
        }
        let prompt = self.is_prompt(&mut tx, model).await?;
        self.notify(&mut tx, &Notice::tag_deleted(model, Some(number), key, prompt)).await?;
        let kind = EventKind::ModelTagged {
            model: model.to_owned(),
            version: Some(number),
            key: key.to_owned(),
            value: None,
        };
        self.finish(tx, vec![self.event(actor, kind)]).await
    }

    /// Finds what a source stands for, and refuses it where it does not belong to what it is said to belong to.
    async fn resolve(&self, text: &str, run: Option<String>, model: Option<String>) -> Result<Resolved> {
        let parsed = source::parse(text)?;
        if let Source::Registered { name, which } = parsed {
            return self.resolve_registered(text, &name, which, run, model).await;
        }
        let (run, model) = (given(run), given(model));
        let owner = if model.is_some() { Owner::Model } else { Owner::Run };
        let logged_model = match (&parsed, &model) {
            (Source::LoggedModel(id), model) if model.as_ref() != Some(id) => {
                return Err(source::not_inside(text, Owner::Model));
            }
            (Source::Run { .. }, Some(_)) => return Err(source::not_inside(text, Owner::Model)),
            (Source::Local { .. } | Source::Served, Some(id)) => {
                Some(self.living_model(id).await?.ok_or_else(|| source::not_inside(text, Owner::Model))?)
            }
            (_, Some(id)) => {
                Some(self.living_model(id).await?.ok_or_else(|| crate::logged_models::missing(id))?)
            }
            (_, None) => None,
        };
        let storage_location = match &parsed {
            Source::Run { run: of, path } if run.as_ref() == Some(of) => {
                self.run_location(text, of, path).await?
            }
            Source::Run { .. } => return Err(source::not_inside(text, Owner::Run)),
            Source::LoggedModel(_) => {
                logged_model.as_ref().map_or_else(|| text.to_owned(), |model| model.artifact_uri.clone())
            }
            Source::Local { .. } | Source::Served => {
                let root = match (&logged_model, &run) {
                    (Some(model), _) => Some(model.artifact_uri.clone()),
                    (None, Some(run)) => {
                        let root = self.db.run_artifact_uri(run).await?;
                        Some(root.ok_or_else(|| source::not_inside(text, Owner::Run))?)
                    }
                    (None, None) => None,
                };
                if !root.is_some_and(|root| source::is_within(text, &root)) {
                    let local = matches!(parsed, Source::Local { .. });
                    return Err(if local { source::not_inside_local } else { source::not_inside }(
                        text, owner,
                    ));
                }
                text.to_owned()
            }
            Source::Elsewhere | Source::Registered { .. } => text.to_owned(),
        };
        let run = run.or_else(|| logged_model.as_ref().and_then(|model| model.source_run.clone()));
        Ok(Resolved { source: text.to_owned(), storage_location, run, logged_model })
    }

    /// A version that is a copy of another one.
    async fn resolve_registered(
        &self,
        text: &str,
        name: &str,
        which: Which,
        run: Option<String>,
        model: Option<String>,
    ) -> Result<Resolved> {
        let owner = self.model(name).await?;
        let refused = |why: &str| Error::invalid(format!("Invalid model version source: '{text}'. {why}"));
        if owner.tags.iter().any(|tag| tag.key == PROMPT_TAG && tag.value.eq_ignore_ascii_case("true")) {
            return Err(refused("Prompt versions cannot be used as model version sources."));
        }
        let latest = |stage: Option<VersionStage>| {
            let versions =
                owner.latest.iter().filter(|version| stage.is_none_or(|stage| version.stage == stage));
            versions.max_by_key(|version| version.version).cloned()
        };
        let from = match which {
            Which::Version(version) => self.version(name, &version).await?,
            Which::Alias(alias) => self.version_by_alias(name, &alias).await?,
            Which::Latest => latest(None)
                .ok_or_else(|| Error::missing(format!("No versions of model with name '{name}' found")))?,
            Which::Stage(stage) => latest(Some(read_stage(&stage)?)).ok_or_else(|| {
                Error::missing(format!("No versions of model with name '{name}' and stage '{stage}' found"))
            })?,
        };
        let differs = |said: &Option<String>, is: &Option<String>| {
            said.as_deref().is_some_and(|said| said != is.as_deref().unwrap_or_default())
        };
        // A client that does not know logged models of versions says that there is none.
        let model = model.filter(|model| !model.is_empty());
        if differs(&run, &from.run) || differs(&model, &from.logged_model) {
            return Err(refused(
                "The run_id and model_id request parameters must match the referenced model version.",
            ));
        }
        // The copy stays what it is when the logged model goes.
        let logged_model = match &from.logged_model {
            Some(id) => self.living_model(id).await?,
            None => None,
        };
        Ok(Resolved {
            source: format!("models:/{name}/{}", from.version),
            storage_location: from.storage_location.unwrap_or(from.source),
            run: from.run,
            logged_model,
        })
    }

    /// Where a path of a run is. Models that a run logged lie in folders of their own, but go by the run's path too.
    async fn run_location(&self, text: &str, run: &str, path: &str) -> Result<String> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let below = |root: &str, path: &str| {
            if path.is_empty() { root.to_owned() } else { format!("{}/{path}", root.trim_end_matches('/')) }
        };
        if let Some(root) = self.db.logged_model_root(run, first).await? {
            return Ok(below(&root, rest));
        }
        match self.db.run_artifact_uri(run).await? {
            Some(root) => Ok(below(&root, path)),
            // The run may be in another tracking server; the client knows where.
            None => Ok(text.to_owned()),
        }
    }

    /// The digest of the files of a version, where this server has them. A version is registered without it rather than
    /// not at all.
    async fn content_of(&self, location: &str) -> Option<Digest> {
        let folder = match self.artifact_place(location).await {
            Ok(Place::Proxy(folder)) => folder,
            Ok(Place::Local(_) | Place::Elsewhere(_)) | Err(_) => return None,
        };
        match self.artifact_tree(&folder).await {
            Ok(content) => content,
            Err(error) => {
                tracing::warn!(error.cause = ?error.source, "the files of a version cannot be listed: {error}");
                None
            }
        }
    }

    async fn living_model(&self, id: &str) -> Result<Option<LoggedModel>> {
        Ok(self.db.logged_model(id).await?.filter(|model| model.stage == Stage::Active))
    }
}

/// Unset and empty are the same on MLflow's wire.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn numbered(model: &str, version: &str) -> Result<u64> {
    names::model(model)?;
    names::version(version)?.ok_or_else(|| no_version(model, version))
}

/// The list of versions of a logged model, with one more.
fn with_version(tags: &[KeyValue], name: &str, number: u64) -> String {
    let before = tags.iter().find(|tag| tag.key == VERSIONS_TAG);
    let before = before.and_then(|tag| serde_json::from_str(&tag.value).ok());
    let mut versions: Vec<Value> = before.unwrap_or_default();
    let version = json!({"name": name, "version": number});
    if !versions.contains(&version) {
        versions.push(version);
    }
    Value::Array(versions).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_logged_model_are_listed_once() {
        let tag = |value: &str| vec![KeyValue { key: VERSIONS_TAG.to_owned(), value: value.to_owned() }];
        assert_eq!(with_version(&[], "m", 1), r#"[{"name":"m","version":1}]"#);
        let two = with_version(&tag(r#"[{"name": "m", "version": 1}]"#), "n", 2);
        assert_eq!(two, r#"[{"name":"m","version":1},{"name":"n","version":2}]"#);
        assert_eq!(with_version(&tag(&two), "n", 2), two);
        assert_eq!(with_version(&tag("not JSON"), "m", 1), r#"[{"name":"m","version":1}]"#);
    }
}
