//! A pipeline run as tracked runs: a parent of the same identifier, and a child for each step whose body runs.
//!
//! Built-in trainings log what their report says. A command finds the address of a tracking server, its experiment and
//! its own run in its environment, so that a script with `mlflow.autolog()` lands there without any configuration.

mod environment;
mod gpu;
mod model;
mod queue;
mod sampler;
mod system;
mod training;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tidemill_core::declare::{Action, Step};
use tidemill_core::{Actor, Clock, EventKind, NewEvent, RunId, RunState, StepState};
use tidemill_db::tracking::{Batch, InputDataset, KeyValue, Metric, ModelOutput, NewTrackedRun, RunStatus};
use tidemill_pipeline::{Content, StepEnd, StepFailure, Tracker};
use tidemill_registry::Registry;
use tidemill_store::Store;
use tokio::runtime::Handle;

pub(crate) use self::environment::Server;
pub(crate) use self::model::{Made, log as log_model};
use self::queue::{Queue, Write};
use self::sampler::Sampler;
pub(crate) use self::training::{metrics, params, signature};

/// The longest value of a parameter and of a tag, as the tracking interface allows.
const LONGEST: usize = 6000;

/// What tracking is made of.
pub(crate) struct Parts {
    pub(crate) db: tidemill_db::Db,
    pub(crate) store: Store,
    pub(crate) runtime: Handle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) actor: Actor,
    pub(crate) root: PathBuf,
    /// The pipeline run, whose identifier the parent has.
    pub(crate) run: RunId,
    /// The experiment, which is there.
    pub(crate) experiment: i64,
    /// Tags of the parent and of every child: user, source, commit.
    pub(crate) tags: Vec<KeyValue>,
    /// Where commands find a tracking server.
    pub(crate) server: Server,
}

/// The tracker of one pipeline run.
pub(crate) struct Tracking {
    parts: Parts,
    queue: Queue,
    sampler: Sampler,
    /// Runs of the steps that are at work.
    steps: Mutex<HashMap<String, RunId>>,
}

impl Tracking {
    /// Begins the parent run with the parameters of the project.
    pub(crate) fn begin(parts: Parts, params: &serde_json::Value) -> Self {
        let queue = Queue::new(parts.db.ingest(), parts.runtime.clone());
        let sampler = Sampler::new(queue.clone(), Arc::clone(&parts.clock));
        let tracking = Self { parts, queue, sampler, steps: Mutex::default() };
        let run = tracking.parts.run;
        let mut batch =
            Batch { params: leaves(params), tags: tracking.parts.tags.clone(), ..Batch::default() };
        batch.tags.push(tag("tidemill.run", &run.to_string()));
        tracking.create(run, &format!("run {}", run.short()), batch);
        tracking.parts.server.gate(tracking.queue.pending());
        tracking
    }

    /// Ends the parent run; returns the first thing that could not be recorded.
    pub(crate) fn end(&self, state: RunState) -> Result<(), tidemill_db::Error> {
        let status = match state {
            RunState::Running => return Ok(()),
            RunState::Succeeded => RunStatus::Finished,
            RunState::Failed => RunStatus::Failed,
            RunState::Cancelled | RunState::Interrupted => RunStatus::Killed,
        };
        // Clients that are still talking are heard before the end is written.
        self.parts.server.stop();
        self.update(self.parts.run, Batch::default(), status);
        self.queue.flush()
    }

    fn create(&self, run: RunId, name: &str, mut batch: Batch) {
        let at = self.parts.clock.now();
        let user = self.parts.actor.name.clone();
        batch.tags.push(tag("mlflow.runName", name));
        let new = NewTrackedRun {
            id: run,
            experiment: self.parts.experiment,
            name: name.to_owned(),
            user,
            status: RunStatus::Running,
            started_at: Some(at),
            ended_at: None,
            artifact_uri: None,
        };
        let kind =
            EventKind::TrackingRunCreated { run, experiment: self.parts.experiment, name: name.to_owned() };
        self.queue.write(Write::Create(Box::new(new), Box::new(batch), self.event(kind)));
    }

    fn update(&self, run: RunId, batch: Batch, status: RunStatus) {
        let batch = Batch { status: Some(status), ended_at: Some(self.parts.clock.now()), ..batch };
        let kind = EventKind::TrackingRunMoved { run, status: status.word().to_owned() };
        self.queue.write(Write::Update(run, Box::new(batch), self.event(kind)));
    }

    fn event(&self, kind: EventKind) -> NewEvent {
        NewEvent { at: self.parts.clock.now(), actor: self.parts.actor.clone(), kind, cause: None }
    }
}

impl Tracker for Tracking {
    fn step_started(&self, step: &Step) -> Result<BTreeMap<String, OsString>, StepFailure> {
        let run = crate::command::run::entropy()
            .map(RunId::from_entropy)
            .map_err(|error| StepFailure::new(error.to_string()))?;
        let parent = self.parts.run.to_string();
        let mut tags = self.parts.tags.clone();
        tags.extend([
            tag("mlflow.parentRunId", &parent),
            tag("tidemill.run", &parent),
            tag("tidemill.step", &step.name),
            tag("tidemill.kind", kind(step)),
        ]);
        let params = leaves(&serde_json::json!(step.params));
        self.create(run, &step.name, Batch { params, tags, ..Batch::default() });
        lock(&self.steps).insert(step.name.clone(), run);
        let inside = !matches!(step.action, Action::Run { .. });
        self.sampler.begin(run, &parent, &step.name, inside);
        if inside {
            return Ok(BTreeMap::new());
        }
        let server = &self.parts.server;
        server.variables(self.parts.experiment, self.parts.run, run, &step.name).map_err(|error| {
            StepFailure::new(format!("the tracking server of this run cannot be started: {error}"))
                .with_hint("name one that runs: set `MLFLOW_TRACKING_URI` under the step's `env:`")
        })
    }

    fn step_ended(&self, step: &Step, end: &StepEnd<'_>) -> Result<(), StepFailure> {
        let Some(run) = lock(&self.steps).remove(&step.name) else { return Ok(()) };
        self.sampler.end(run);
        let mut batch = Batch::default();
        if let Some(failure) = end.failure {
            batch.tags.push(tag("tidemill.failure", failure));
        }
        let status = match end.state {
            StepState::Failed => RunStatus::Failed,
            StepState::Cancelled | StepState::Skipped => RunStatus::Killed,
            StepState::Ran | StepState::Restored | StepState::Unchanged => RunStatus::Finished,
        };
        if status == RunStatus::Finished {
            self.results(step, run, end, &mut batch)?;
        }
        self.update(run, batch, status);
        Ok(())
    }
}

impl Tracking {
    /// What a step's outputs say in numbers.
    fn results(
        &self,
        step: &Step,
        run: RunId,
        end: &StepEnd<'_>,
        batch: &mut Batch,
    ) -> Result<(), StepFailure> {
        let at = self.parts.clock.now();
        let metric = |key: String, step: i64, value: f64| Metric {
            key,
            value,
            at,
            step,
            dataset_name: None,
            dataset_digest: None,
            model_id: None,
            run_id: None,
        };
        if matches!(step.action, Action::Train(_)) {
            let Some(out) = step.outs.first() else { return Ok(()) };
            let read = training::read(&self.parts.root.join(&out.path));
            let (report, curves) = read.map_err(|error| {
                StepFailure::new(format!("the report of step `{}` cannot be read: {error}", step.name))
            })?;
            let known: Vec<String> =
                leaves(&serde_json::json!(step.params)).into_iter().map(|p| p.key).collect();
            batch.params.extend(training::params(&report).into_iter().filter(|p| !known.contains(&p.key)));
            let values = training::metrics(&report, &curves).into_iter();
            batch.metrics.extend(values.map(|value| metric(value.key, value.step, value.value)));
            batch.datasets.extend(end.deps.iter().map(|(path, content)| dataset(path, content)));
            if let Some(content) = end.outs.get(&out.path) {
                batch.model_outputs.push(self.model(step, run, content, &batch.params)?);
            }
        }
        for (_, key, value) in
            crate::command::run::metric_values(&self.parts.root, std::slice::from_ref(step))
        {
            batch.metrics.push(metric(key, 0, value));
        }
        for (path, content) in end.outs {
            batch.tags.push(tag(&format!("tidemill.out.{}", allowed(path)), &content.digest.to_string()));
        }
        Ok(())
    }
}

impl Tracking {
    /// The trained model as a logged model of the run.
    fn model(
        &self,
        step: &Step,
        run: RunId,
        content: &Content,
        params: &[KeyValue],
    ) -> Result<ModelOutput, StepFailure> {
        let failed = |error: &dyn std::fmt::Display| {
            StepFailure::new(format!("the model of step `{}` cannot be recorded: {error}", step.name))
        };
        let out = step.outs.first().map(|out| self.parts.root.join(&out.path)).unwrap_or_default();
        let signature = training::signature(&out).map_err(|error| failed(&error))?;
        let Parts { db, store, clock, actor, experiment, .. } = &self.parts;
        let registry = Registry::new(db.clone(), store.clone(), Arc::clone(clock));
        let pending = self.queue.pending();
        let logged = self.parts.runtime.block_on(async {
            // The model names its run, which must be there.
            pending.settled().await;
            let made = Made {
                experiment: *experiment,
                run: Some(run),
                step: &step.name,
                files: store.files(&content.into())?,
                signature: Some(&signature),
                params,
            };
            log_model(&registry, actor, made).await
        });
        Ok(ModelOutput { model_id: logged.map_err(|error| failed(&error))?, step: 0 })
    }
}

/// A table that a training read.
fn dataset(path: &str, content: &Content) -> InputDataset {
    let digest = content.digest.to_string();
    let hex = digest.rsplit(':').next().unwrap_or_default();
    InputDataset {
        name: path.to_owned(),
        // The interface has room for half of it, which is still as unlikely to be met twice as a run's identifier.
        digest: hex.chars().take(32).collect(),
        source_type: "tidemill".to_owned(),
        source: serde_json::json!({"path": path, "digest": digest, "bytes": content.bytes}).to_string(),
        schema: None,
        profile: None,
        tags: vec![tag("mlflow.data.context", "training")],
    }
}

fn kind(step: &Step) -> &'static str {
    match step.action {
        Action::Run { .. } => "run",
        Action::Sql { .. } => "sql",
        Action::Train(_) => "train",
    }
}

/// Every leaf of a JSON value with its dotted name, as parameters.
pub(crate) fn leaves(value: &serde_json::Value) -> Vec<KeyValue> {
    use serde_json::Value;

    fn walk(value: &Value, path: &str, found: &mut Vec<KeyValue>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(value, &path, found);
                }
            }
            Value::Null => {}
            Value::String(text) => found.push(tag(&allowed(path), text)),
            other => found.push(tag(&allowed(path), &other.to_string())),
        }
    }
    let mut found = Vec::new();
    if value.is_object() {
        walk(value, "", &mut found);
    }
    found.sort();
    found.dedup_by(|a, b| a.key == b.key);
    found
}

/// A name with the characters that tracking does not allow replaced, and cut to 250.
fn allowed(name: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || "_-. :/".contains(c);
    name.trim_matches('/').chars().take(250).map(|c| if allowed(c) { c } else { '_' }).collect()
}

fn tag(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.chars().take(LONGEST).collect() }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_the_leaves() {
        let params = leaves(&serde_json::json!({
            "train": {"rate": 0.5, "columns": ["a", "b"], "none": null}, "from": "2013-01-01", "a$b": true,
        }));
        let shown: Vec<String> = params.iter().map(|p| format!("{}={}", p.key, p.value)).collect();
        assert_eq!(shown, ["a_b=true", "from=2013-01-01", "train.columns=[\"a\",\"b\"]", "train.rate=0.5"]);
        assert_eq!(leaves(&serde_json::json!(null)), []);
    }
}
