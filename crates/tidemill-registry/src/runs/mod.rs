//! Tracked runs: making and reading them, what is logged inside of them, their histories.

mod history;
mod log;
mod run_name;

use tidemill_core::{Actor, EventKind, RunId, Timestamp};
use tidemill_db::tracking::{Batch, KeyValue, NewTrackedRun, Run, RunInfo, RunStatus, Stage};

pub use self::history::MetricPage;
use crate::fresh::random_bytes;
use crate::{Error, Registry, Result, validate};

/// The tag that repeats a run's name.
pub const RUN_NAME: &str = "mlflow.runName";

/// What a client says of a run that begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRun {
    /// The number of its experiment; empty for the one called `Default`.
    pub experiment: String,
    /// Who makes it; may be empty.
    pub user: String,
    /// Its name; empty for the one in its tags, or a random one.
    pub name: String,
    /// When it began; now, unless said.
    pub started_at: Option<Timestamp>,
    /// Its tags.
    pub tags: Vec<KeyValue>,
}

/// What changes of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunChange {
    /// The new status.
    pub status: Option<RunStatus>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The new name; an empty one changes nothing.
    pub name: Option<String>,
}

impl Registry {
    /// Begins a run.
    pub async fn create_run(&self, actor: &Actor, new: NewRun) -> Result<Run> {
        let NewRun { experiment, user, name, started_at, mut tags } = new;
        let experiment = validate::experiment_id(&experiment)?;
        for (i, tag) in tags.iter_mut().enumerate() {
            validate::length(&format!("tags[{i}].key"), validate::KEY, &tag.key)?;
            validate::cut(validate::TAG_VALUE, &mut tag.value);
        }
        // Of several tags of one key the last one stands.
        let mut seen = std::collections::HashSet::new();
        tags.reverse();
        tags.retain(|tag| seen.insert(tag.key.clone()));
        let name = agreed_name(name, &mut tags)?;
        tags.sort_unstable();
        let id = RunId::from_entropy(random_bytes()?);
        let run = NewTrackedRun {
            id,
            experiment,
            name,
            user,
            status: RunStatus::Running,
            started_at: Some(started_at.unwrap_or_else(|| self.clock.now())),
            ended_at: None,
            artifact_uri: None,
        };
        let kind = EventKind::TrackingRunCreated { run: id, experiment, name: run.name.clone() };
        let event = self.event(actor, kind);
        let batch = Batch { tags: tags.clone(), ..Batch::default() };
        let ingest = self.db.ingest();
        let info = match ingest.create_run(run.clone(), batch.clone(), event.clone()).await {
            Err(tidemill_db::Error::NotFound { what: "experiment", .. }) if experiment == 0 => {
                self.prepare().await?;
                ingest.create_run(run, batch, event).await?
            }
            made => made?,
        };
        Ok(Run {
            info,
            metrics: Vec::new(),
            params: Vec::new(),
            tags,
            datasets: Vec::new(),
            model_inputs: Vec::new(),
            model_outputs: Vec::new(),
        })
    }

    /// A run with everything but the histories of its metrics, whether deleted or not.
    pub async fn run(&self, id: &str) -> Result<Run> {
        let found = self.db.tracked_run(validate::run_id(id)?).await?;
        found.ok_or_else(|| validate::no_run(id))
    }

    /// What lists show of a run, whether deleted or not.
    pub async fn run_info(&self, id: &str) -> Result<RunInfo> {
        let found = self.db.tracked_run_info(validate::run_id(id)?).await?;
        found.ok_or_else(|| validate::no_run(id))
    }

    /// Changes status, end or name of an active run; what is not said stays.
    pub async fn update_run(&self, actor: &Actor, id: &str, change: RunChange) -> Result<RunInfo> {
        let run = validate::run_id(id)?;
        let RunChange { status, ended_at, name } = change;
        let name = name.filter(|name| !name.is_empty());
        let tags = name.iter().map(|name| run_name_tag(name.clone())).collect();
        // Without a status the event is not used.
        let status_word = status.unwrap_or(RunStatus::Running).word().to_owned();
        let event = self.event(actor, EventKind::TrackingRunMoved { run, status: status_word });
        let batch = Batch { status, ended_at, name, tags, ..Batch::default() };
        Ok(self.db.ingest().update_run(run, batch, event).await?)
    }

    /// Marks a run as deleted; one that is deleted stays so.
    pub async fn delete_run(&self, actor: &Actor, id: &str) -> Result<()> {
        let run = validate::run_id(id)?;
        self.move_run(actor, run, Stage::Deleted, EventKind::TrackingRunDeleted { run }).await
    }

    /// Takes a deleted run back; one that is active stays so.
    pub async fn restore_run(&self, actor: &Actor, id: &str) -> Result<()> {
        let run = validate::run_id(id)?;
        self.move_run(actor, run, Stage::Active, EventKind::TrackingRunRestored { run }).await
    }

    async fn move_run(&self, actor: &Actor, run: RunId, to: Stage, kind: EventKind) -> Result<()> {
        let mut tx = self.db.begin().await?;
        if tx.move_tracked_run(run, to, self.clock.now()).await? {
            tx.commit(vec![self.event(actor, kind)]).await?;
        }
        Ok(())
    }
}

/// Name and tag say the same; a run that has neither gets a random name.
fn agreed_name(name: String, tags: &mut Vec<KeyValue>) -> Result<String> {
    let tagged = tags.iter().find(|tag| tag.key == RUN_NAME).map(|tag| tag.value.clone());
    let tagged = tagged.unwrap_or_default();
    if !name.is_empty() && !tagged.is_empty() && name != tagged {
        return Err(Error::invalid(format!(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values \
             (run_name='{name}', mlflow.runName='{tagged}')."
        )));
    }
    let agreed = match (name, tagged) {
        (name, _) if !name.is_empty() => name,
        (_, tagged) if !tagged.is_empty() => return Ok(tagged),
        _ => random_name()?,
    };
    tags.retain(|tag| tag.key != RUN_NAME);
    tags.push(run_name_tag(agreed.clone()));
    Ok(agreed)
}

/// The tag for a name; as any other value it is cut.
fn run_name_tag(mut name: String) -> KeyValue {
    validate::cut(validate::TAG_VALUE, &mut name);
    KeyValue { key: RUN_NAME.to_owned(), value: name }
}

/// A name for something that was given none.
pub(crate) fn random_name() -> Result<String> {
    Ok(run_name::random(random_bytes()?))
}
