//! Experiments: groups of runs with a unique name and a place for artifacts.

use tidemill_core::{Actor, EventKind};
use tidemill_db::tracking::{Experiment, KeyValue, Stage};

use crate::access::{self, Person, Resource};
use crate::{Code, Error, Registry, Result, validate};

/// What clients use that name no experiment.
const DEFAULT: (i64, &str) = (0, "Default");

impl Registry {
    /// Makes the experiment called `Default`, number 0, if it is not there. Servers do so when they start.
    pub async fn prepare(&self) -> Result<()> {
        let (id, name) = DEFAULT;
        if self.db.experiment(id).await?.is_some() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        if tx.experiment(id).await?.is_some() {
            return Ok(());
        }
        let new = self.new_experiment(id, name, None, Vec::new());
        tx.create_experiment(&new).await?;
        let kind = EventKind::ExperimentCreated { experiment: id, name: new.name };
        tx.commit(vec![self.event(&Actor::system("tidemill"), kind)]).await?;
        Ok(())
    }

    /// The experiment of a number, whether deleted or not.
    pub async fn experiment(&self, id: &str) -> Result<Experiment> {
        let id = validate::experiment_id(id)?;
        if let Some(found) = self.db.experiment(id).await? {
            return Ok(found);
        }
        if id == DEFAULT.0 {
            self.prepare().await?;
        }
        self.db.experiment(id).await?.ok_or_else(|| missing(id))
    }

    /// The experiment of a name, whether deleted or not.
    pub async fn experiment_by_name(&self, name: &str) -> Result<Experiment> {
        if name == DEFAULT.1 {
            self.prepare().await?;
        }
        let found = self.db.experiment_by_name(name).await?;
        found.ok_or_else(|| Error::missing(format!("Could not find experiment with name '{name}'")))
    }

    /// Makes an experiment; gives its number. Without a location its artifacts go to the server.
    pub async fn create_experiment(
        &self,
        actor: &Actor,
        name: &str,
        artifact_location: Option<&str>,
        tags: Vec<KeyValue>,
    ) -> Result<i64> {
        self.create_experiment_of(actor, name, artifact_location, tags, None).await
    }

    /// As [`Self::create_experiment`]; whoever made it may manage it.
    pub async fn create_experiment_of(
        &self,
        actor: &Actor,
        name: &str,
        artifact_location: Option<&str>,
        tags: Vec<KeyValue>,
        maker: Option<&Person>,
    ) -> Result<i64> {
        validate::experiment_name(name)?;
        let location = artifact_location.filter(|location| !location.is_empty());
        let location = location.map(validate::artifact_location).transpose()?;
        tags.iter().try_for_each(validate::experiment_tag)?;
        if name == DEFAULT.1 {
            self.prepare().await?;
        }
        let mut tx = self.db.begin().await?;
        let id = tx.next_experiment().await?;
        let new = self.new_experiment(id, name, location, tags);
        tx.create_experiment(&new).await?;
        let kind = EventKind::ExperimentCreated { experiment: id, name: new.name };
        let mut events = vec![self.event(actor, kind)];
        if let Some(maker) = maker {
            let given = access::give_to_maker(&mut tx, maker, Resource::Experiment, &id.to_string()).await?;
            events.push(self.event(actor, given));
        }
        tx.commit(events).await?;
        Ok(id)
    }

    fn new_experiment(
        &self,
        id: i64,
        name: &str,
        location: Option<String>,
        tags: Vec<KeyValue>,
    ) -> Experiment {
        let now = self.clock.now();
        Experiment {
            id,
            name: name.to_owned(),
            artifact_location: location.unwrap_or_else(|| format!("mlflow-artifacts:/{id}")),
            stage: Stage::Active,
            created_at: now,
            updated_at: now,
            tags,
        }
    }

    /// Gives an active experiment another name.
    pub async fn rename_experiment(&self, actor: &Actor, id: &str, name: &str) -> Result<()> {
        validate::experiment_name(name)?;
        let id = validate::experiment_id(id)?;
        let mut tx = self.db.begin().await?;
        let experiment = tx.experiment(id).await?.ok_or_else(|| missing(id))?;
        if experiment.stage != Stage::Active {
            return Err(Error::new(Code::InvalidState, "Cannot rename a non-active experiment."));
        }
        tx.rename_experiment(id, name, self.clock.now()).await?;
        let kind = EventKind::ExperimentRenamed { experiment: id, name: name.to_owned() };
        tx.commit(vec![self.event(actor, kind)]).await?;
        Ok(())
    }

    /// Marks an active experiment and all its runs as deleted.
    pub async fn delete_experiment(&self, actor: &Actor, id: &str) -> Result<()> {
        let id = validate::experiment_id(id)?;
        let mut tx = self.db.begin().await?;
        tx.move_experiment(id, Stage::Deleted, self.clock.now()).await?;
        tx.commit(vec![self.event(actor, EventKind::ExperimentDeleted { experiment: id })]).await?;
        Ok(())
    }

    /// Takes a deleted experiment back, and all its runs, also those that were deleted before it.
    pub async fn restore_experiment(&self, actor: &Actor, id: &str) -> Result<()> {
        let id = validate::experiment_id(id)?;
        let mut tx = self.db.begin().await?;
        tx.move_experiment(id, Stage::Active, self.clock.now()).await?;
        tx.commit(vec![self.event(actor, EventKind::ExperimentRestored { experiment: id })]).await?;
        Ok(())
    }

    /// Sets a tag of an active experiment.
    pub async fn set_experiment_tag(&self, actor: &Actor, id: &str, tag: KeyValue) -> Result<()> {
        validate::experiment_tag(&tag)?;
        let mut tx = self.db.begin().await?;
        let id = active(&mut tx, id).await?;
        tx.set_experiment_tag(id, &tag).await?;
        let kind = EventKind::ExperimentTagged { experiment: id, key: tag.key, value: Some(tag.value) };
        tx.commit(vec![self.event(actor, kind)]).await?;
        Ok(())
    }

    /// Removes a tag of an active experiment.
    pub async fn delete_experiment_tag(&self, actor: &Actor, id: &str, key: &str) -> Result<()> {
        let mut tx = self.db.begin().await?;
        let id = active(&mut tx, id).await?;
        if !tx.remove_experiment_tag(id, key).await? {
            return Err(Error::missing(format!("No tag with name: {key} in experiment with id {id}")));
        }
        let kind = EventKind::ExperimentTagged { experiment: id, key: key.to_owned(), value: None };
        tx.commit(vec![self.event(actor, kind)]).await?;
        Ok(())
    }
}

/// The number of an experiment that is there and not deleted.
async fn active(tx: &mut tidemill_db::Tx, id: &str) -> Result<i64> {
    let id = validate::experiment_id(id)?;
    let experiment = tx.experiment(id).await?.ok_or_else(|| missing(id))?;
    if experiment.stage != Stage::Active {
        return Err(tidemill_db::Error::Deleted { what: "experiment", name: id.to_string() }.into());
    }
    Ok(id)
}

fn missing(id: impl std::fmt::Display) -> Error {
    Error::missing(format!("No Experiment with id={id} exists"))
}
