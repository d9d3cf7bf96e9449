//! Registered models: names under which versions are found.

use tidemill_core::{Actor, EventKind};
use tidemill_db::Tx;
use tidemill_db::models::{ModelVersion, RegisteredModel, VersionStage};
use tidemill_db::tracking::KeyValue;

use super::{PROMPT_TAG, names, no_model};
use crate::access::{self, Person, Resource};
use crate::webhooks::Notice;
use crate::{Error, Registry, Result};

impl Registry {
    /// Makes a registered model.
    pub async fn create_model(
        &self,
        actor: &Actor,
        name: &str,
        tags: &[KeyValue],
        description: Option<&str>,
    ) -> Result<RegisteredModel> {
        self.create_model_of(actor, name, tags, description, None).await
    }

    /// As [`Self::create_model`]; whoever made it may manage it.
    pub async fn create_model_of(
        &self,
        actor: &Actor,
        name: &str,
        tags: &[KeyValue],
        description: Option<&str>,
        maker: Option<&Person>,
    ) -> Result<RegisteredModel> {
        names::model(name)?;
        tags.iter().try_for_each(names::model_tag)?;
        let prompt = is_prompt(tags);
        let mut tx = self.db.begin().await?;
        if !tx.create_model(name, description, tags, self.clock.now()).await? {
            let taken_by = tx.model_tag(name, PROMPT_TAG).await?.is_some();
            return Err(taken(name, taken_by, has_prompt_tag(tags)));
        }
        let model = tx.registered_model(name).await?.ok_or_else(|| no_model(name))?;
        self.notify(&mut tx, &Notice::model_created(name, tags, description.unwrap_or_default(), prompt))
            .await?;
        let mut events = vec![self.event(actor, EventKind::ModelRegistered { model: name.to_owned() })];
        if let Some(maker) = maker {
            let kind = Resource::of_model(prompt);
            events.push(self.event(actor, access::give_to_maker(&mut tx, maker, kind, name).await?));
        }
        self.finish(tx, events).await?;
        Ok(model)
    }

    /// A registered model.
    pub async fn model(&self, name: &str) -> Result<RegisteredModel> {
        names::model(name)?;
        self.db.registered_model(name).await?.ok_or_else(|| no_model(name))
    }

    /// Gives a registered model, and so its versions, another name.
    pub async fn rename_model(&self, actor: &Actor, name: &str, to: &str) -> Result<RegisteredModel> {
        names::new_name(to)?;
        names::model(name)?;
        let mut tx = self.db.begin().await?;
        match tx.rename_model(name, to, self.clock.now()).await {
            Ok(true) => {}
            Ok(false) => return Err(no_model(name)),
            Err(tidemill_db::Error::Exists { .. }) => {
                return Err(Error::exists(format!("Registered Model (name={to}) already exists.")));
            }
            Err(error) => return Err(error.into()),
        }
        access::rename_model(&mut tx, name, to).await?;
        let model = tx.registered_model(to).await?.ok_or_else(|| no_model(to))?;
        let renamed = EventKind::ModelRenamed { model: name.to_owned(), to: to.to_owned() };
        self.finish(tx, vec![self.event(actor, renamed)]).await?;
        Ok(model)
    }

    /// Describes a registered model anew.
    pub async fn describe_model(
        &self,
        actor: &Actor,
        name: &str,
        description: Option<&str>,
    ) -> Result<RegisteredModel> {
        names::model(name)?;
        let mut tx = self.db.begin().await?;
        if !tx.describe_model(name, description, self.clock.now()).await? {
            return Err(no_model(name));
        }
        let model = tx.registered_model(name).await?.ok_or_else(|| no_model(name))?;
        let described = EventKind::ModelDescribed { model: name.to_owned(), version: None };
        self.finish(tx, vec![self.event(actor, described)]).await?;
        Ok(model)
    }

    /// Deletes a registered model with its versions.
    pub async fn delete_model(&self, actor: &Actor, name: &str) -> Result<()> {
        names::model(name)?;
        let mut tx = self.db.begin().await?;
        let aliases = tx.delete_model(name).await?.ok_or_else(|| no_model(name))?;
        access::forget_model(&mut tx, name).await?;
        let mut events: Vec<_> = aliases
            .into_iter()
            .map(|alias| {
                let from = Some(alias.version);
                let kind =
                    EventKind::AliasMoved { model: name.to_owned(), alias: alias.alias, from, to: None };
                self.event(actor, kind)
            })
            .collect();
        events.push(self.event(actor, EventKind::ModelDeleted { model: name.to_owned() }));
        self.finish(tx, events).await
    }

    /// Sets a tag of a registered model.
    pub async fn tag_model(&self, actor: &Actor, name: &str, tag: &KeyValue) -> Result<()> {
        names::model(name)?;
        names::model_tag(tag)?;
        let mut tx = self.db.begin().await?;
        if !tx.tag_model(name, &tag.key, &tag.value).await?.ok_or_else(|| no_model(name))? {
            return Ok(());
        }
        let prompt = self.is_prompt(&mut tx, name).await?;
        self.notify(&mut tx, &Notice::tag_set(name, None, tag, prompt)).await?;
        let kind = EventKind::ModelTagged {
            model: name.to_owned(),
            version: None,
            key: tag.key.clone(),
            value: Some(tag.value.clone()),
        };
        self.finish(tx, vec![self.event(actor, kind)]).await
    }

    /// Removes a tag of a registered model, if it has it.
    pub async fn untag_model(&self, actor: &Actor, name: &str, key: &str) -> Result<()> {
        names::model(name)?;
        names::tag_key(key)?;
        let mut tx = self.db.begin().await?;
        let prompt = self.is_prompt(&mut tx, name).await?;
        if !tx.untag_model(name, key).await?.ok_or_else(|| no_model(name))? {
            return Ok(());
        }
        self.notify(&mut tx, &Notice::tag_deleted(name, None, key, prompt)).await?;
        let kind = EventKind::ModelTagged {
            model: name.to_owned(),
            version: None,
            key: key.to_owned(),
            value: None,
        };
        self.finish(tx, vec![self.event(actor, kind)]).await
    }

    /// The greatest version of each of these stages; of every stage if none is named.
    pub async fn latest_versions(&self, name: &str, stages: &[String]) -> Result<Vec<ModelVersion>> {
        let model = self.model(name).await?;
        if stages.is_empty() {
            return Ok(model.latest);
        }
        let stages = stages.iter().map(|stage| read_stage(stage)).collect::<Result<Vec<_>>>()?;
        Ok(model.latest.into_iter().filter(|version| stages.contains(&version.stage)).collect())
    }

    pub(super) async fn is_prompt(&self, tx: &mut Tx, name: &str) -> Result<bool> {
        let value = tx.model_tag(name, PROMPT_TAG).await?;
        Ok(value.is_some_and(|value| value.eq_ignore_ascii_case("true")))
    }
}

/// Whether these tags mark a prompt. Of two tags with one key the later counts.
pub fn is_prompt(tags: &[KeyValue]) -> bool {
    let last = tags.iter().rev().find(|tag| tag.key == PROMPT_TAG);
    last.is_some_and(|tag| tag.value.eq_ignore_ascii_case("true"))
}

fn has_prompt_tag(tags: &[KeyValue]) -> bool {
    tags.iter().any(|tag| tag.key == PROMPT_TAG)
}

pub(super) fn read_stage(stage: &str) -> Result<VersionStage> {
    VersionStage::from_word(stage).ok_or_else(|| {
        let all = VersionStage::ALL.map(VersionStage::word).join(", ");
        Error::invalid(format!("Invalid Model Version stage: {stage}. Value must be one of {all}."))
    })
}

fn taken(name: &str, by_prompt: bool, wanted_prompt: bool) -> Error {
    let kind = |prompt: bool| if prompt { "Prompt" } else { "Registered Model" };
    let (old, new) = (kind(by_prompt), kind(wanted_prompt));
    if old == new {
        return Error::exists(format!("{new} (name={name}) already exists."));
    }
    Error::exists(format!(
        "Tried to create a {} with name '{name}', but the name is already taken by a {}. MLflow does not allow \
         creating a model and a prompt with the same name.",
        new.to_lowercase(),
        old.to_lowercase()
    ))
}
