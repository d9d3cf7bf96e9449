//! Aliases: names of versions that move. Every move stays in the log.

use tidemill_core::{Actor, EventKind, NewEvent, Timestamp};
use tidemill_db::Tx;
use tidemill_db::models::{AliasMove, ModelVersion};

use super::{names, no_model, no_version};
use crate::webhooks::Notice;
use crate::{Error, Registry, Result};

/// The alias of the version that is in production: what others are compared with, and what is meant where no version is named.
pub const CHAMPION: &str = "champion";

/// A moment in the life of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// At this time, with what happened in that millisecond.
    Time(Timestamp),
    /// After the event of this number in the log.
    Event(u64),
}

impl Registry {
    /// Points an alias at a version.
    pub async fn set_alias(&self, actor: &Actor, model: &str, alias: &str, version: &str) -> Result<()> {
        let number = names::version(version)?.ok_or_else(|| no_version(model, version))?;
        let mut tx = self.db.begin().await?;
        match self.move_alias(&mut tx, actor, (model, alias), number, None).await? {
            Some(event) => self.finish(tx, vec![event]).await,
            None => Ok(()),
        }
    }

    /// Points an alias of a model at a version in a transaction of the caller, as a consequence of the event `cause`; gives the event
    /// that is to be committed by [`Self::finish`], or nothing where the alias points there already.
    pub async fn move_alias(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        (model, alias): (&str, &str),
        version: u64,
        cause: Option<u64>,
    ) -> Result<Option<NewEvent>> {
        names::model(model)?;
        names::alias(alias)?;
        names::free_alias(alias)?;
        let change = tx.set_alias(model, alias, version).await?;
        let change = change.ok_or_else(|| no_version(model, version.to_string()))?;
        if change.from == change.to {
            return Ok(None);
        }
        let prompt = self.is_prompt(tx, model).await?;
        self.notify(tx, &Notice::alias_created(model, alias, version, prompt)).await?;
        let kind = EventKind::AliasMoved {
            model: model.to_owned(),
            alias: alias.to_owned(),
            from: change.from,
            to: change.to,
        };
        Ok(Some(NewEvent { cause, ..self.event(actor, kind) }))
    }

    /// Removes an alias, if there is one.
    pub async fn remove_alias(&self, actor: &Actor, model: &str, alias: &str) -> Result<()> {
        names::model(model)?;
        names::alias(alias)?;
        let mut tx = self.db.begin().await?;
        let change = tx.remove_alias(model, alias).await?.ok_or_else(|| no_model(model))?;
        if change.from.is_none() {
            return Ok(());
        }
        let prompt = self.is_prompt(&mut tx, model).await?;
        self.notify(&mut tx, &Notice::alias_deleted(model, alias, prompt)).await?;
        let kind = EventKind::AliasMoved {
            model: model.to_owned(),
            alias: alias.to_owned(),
            from: change.from,
            to: None,
        };
        self.finish(tx, vec![self.event(actor, kind)]).await
    }

    /// The version that an alias points at. `latest` is the greatest one.
    pub async fn version_by_alias(&self, model: &str, alias: &str) -> Result<ModelVersion> {
        names::model(model)?;
        names::alias(alias)?;
        if names::is_latest(alias) {
            let latest = self.model(model).await?.latest;
            return latest
                .into_iter()
                .max_by_key(|version| version.version)
                .ok_or_else(|| Error::missing(format!("Latest version not found for model {model}.")));
        }
        if let Some(version) = self.db.aliased_version(model, alias).await? {
            return Ok(version);
        }
        self.model(model).await?;
        Err(Error::invalid(format!("Registered model alias {alias} not found.")))
    }

    /// Every move of an alias, as it happened; also of models that were deleted since.
    pub async fn alias_history(&self, model: &str, alias: &str) -> Result<Vec<AliasMove>> {
        Ok(self.db.alias_history(model, alias).await?)
    }

    /// The number of the version that an alias pointed at at that moment.
    pub async fn alias_at(&self, model: &str, alias: &str, moment: Moment) -> Result<Option<u64>> {
        Ok(match moment {
            Moment::Time(at) => self.db.alias_at_time(model, alias, at).await?,
            Moment::Event(seq) => self.db.alias_at_seq(model, alias, seq).await?,
        })
    }
}
