//! What a request does to what is known: it is refused, or its rows go into the plan.
//!
//! Nothing here reads or writes the database. A refused request leaves state and plan as they were.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_core::{NewEvent, RunId};

use super::state::{KnownRun, State};
use super::work::{Answer, Work};
use crate::tracking::{
    Batch, InputDataset, KeyValue, Metric, NewTrackedRun, ParamChange, RunInfo, Stage, artifacts_below,
};
use crate::{Error, Result, StepResult, StepRun};

/// What a group writes. Of several writes to one place the last one stands.
#[derive(Default)]
pub(super) struct Plan<'a> {
    /// Runs to insert; what they are stands in the state.
    pub(super) new_runs: Vec<RunId>,
    /// Runs to update.
    pub(super) changed_runs: BTreeSet<RunId>,
    pub(super) params: Vec<(RunId, &'a KeyValue)>,
    /// No value removes the tag.
    pub(super) tags: BTreeMap<(RunId, &'a str), Option<&'a str>>,
    pub(super) metrics: Vec<(RunId, &'a Metric)>,
    pub(super) datasets: Vec<(RunId, &'a InputDataset)>,
    pub(super) model_inputs: BTreeSet<(RunId, &'a str)>,
    /// With the step.
    pub(super) model_outputs: BTreeMap<(RunId, &'a str), i64>,
    pub(super) steps: BTreeMap<(RunId, &'a str, u32), &'a StepRun>,
    pub(super) results: BTreeMap<String, &'a StepResult>,
    pub(super) events: Vec<NewEvent>,
}

impl Plan<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.new_runs.is_empty()
            && self.changed_runs.is_empty()
            && self.params.is_empty()
            && self.tags.is_empty()
            && self.metrics.is_empty()
            && self.datasets.is_empty()
            && self.model_inputs.is_empty()
            && self.model_outputs.is_empty()
            && self.steps.is_empty()
            && self.results.is_empty()
            && self.events.is_empty()
    }
}

/// Decides one request.
pub(super) fn decide<'a>(state: &mut State, plan: &mut Plan<'a>, work: &'a Work) -> Result<Answer> {
    match work {
        Work::Create { run, batch, event } => create(state, plan, run, batch, event),
        Work::Write { run, batch, event } => write(state, plan, *run, batch, event.as_ref()),
        Work::Events(events) => append(state, plan, events),
        Work::Step { step, result, event } => {
            if !state.pipeline_runs.contains(&step.run) {
                return Err(Error::no_run(step.run));
            }
            let answer = append(state, plan, std::slice::from_ref(event))?;
            plan.steps.insert((step.run, &step.step, step.attempt), step);
            plan.results.extend(result.iter().map(|result| (result.key.to_string(), result)));
            Ok(answer)
        }
    }
}

/// The events of one request stand together; the cause of each must be before it in the log.
fn append(state: &State, plan: &mut Plan<'_>, events: &[NewEvent]) -> Result<Answer> {
    let next = state.log_size + plan.events.len() as u64 + 1;
    let mut seqs = Vec::with_capacity(events.len());
    for (event, seq) in events.iter().zip(next..) {
        if let Some(cause) = event.cause.filter(|cause| *cause == 0 || *cause >= seq) {
            return Err(Error::NotFound { what: "earlier event", name: cause.to_string() });
        }
        seqs.push(seq);
    }
    plan.events.extend(events.iter().cloned());
    Ok(Answer::Seqs(seqs))
}

fn create<'a>(
    state: &mut State,
    plan: &mut Plan<'a>,
    run: &NewTrackedRun,
    batch: &'a Batch,
    event: &NewEvent,
) -> Result<Answer> {
    let name = || run.experiment.to_string();
    let Some(experiment) = state.experiments.get(&run.experiment) else {
        return Err(Error::NotFound { what: "experiment", name: name() });
    };
    if experiment.stage == Stage::Deleted {
        return Err(Error::Deleted { what: "experiment", name: name() });
    }
    if state.runs.contains_key(&run.id) {
        return Err(Error::Exists { what: "tracked run", name: run.id.to_string() });
    }
    let artifact_uri = match &run.artifact_uri {
        Some(uri) => uri.clone(),
        None => artifacts_below(&experiment.artifact_location, run.id),
    };
    check(state, run.id, batch)?;
    append(state, plan, std::slice::from_ref(event))?;
    let info = RunInfo {
        id: run.id,
        experiment: run.experiment,
        name: run.name.clone(),
        user: run.user.clone(),
        status: run.status,
        stage: Stage::Active,
        artifact_uri,
        started_at: run.started_at,
        ended_at: run.ended_at,
    };
    state.runs.insert(run.id, KnownRun { row: None, info: info.clone() });
    plan.new_runs.push(run.id);
    apply(state, plan, run.id, batch);
    Ok(Answer::Info(Box::new(info)))
}

fn write<'a>(
    state: &mut State,
    plan: &mut Plan<'a>,
    run: RunId,
    batch: &'a Batch,
    event: Option<&NewEvent>,
) -> Result<Answer> {
    let known = state.runs.get(&run).map(|known| &known.info);
    writable(run, known.map(|info| info.stage))?;
    let moves = known.is_some_and(|info| batch.status.is_some_and(|status| status != info.status));
    check(state, run, batch)?;
    if let Some(event) = event.filter(|_| moves) {
        append(state, plan, std::slice::from_ref(event))?;
    }
    if let Some(known) = state.runs.get_mut(&run)
        && (batch.status.is_some() || batch.ended_at.is_some() || batch.name.is_some())
    {
        let info = &mut known.info;
        info.status = batch.status.unwrap_or(info.status);
        info.ended_at = batch.ended_at.or(info.ended_at);
        if let Some(name) = &batch.name {
            info.name.clone_from(name);
        }
        plan.changed_runs.insert(run);
    }
    apply(state, plan, run, batch);
    match state.runs.get(&run).filter(|_| event.is_some()) {
        Some(known) => Ok(Answer::Info(Box::new(known.info.clone()))),
        None => Ok(Answer::Done),
    }
}

/// Whether something may be written to a run of this stage, if it is there.
pub(super) fn writable(run: RunId, stage: Option<Stage>) -> Result<()> {
    match stage {
        Some(Stage::Active) => Ok(()),
        Some(Stage::Deleted) => Err(Error::Deleted { what: "tracked run", name: run.to_string() }),
        None => Err(Error::no_tracked_run(run)),
    }
}

/// Whether all of a batch may be written.
fn check(state: &State, run: RunId, batch: &Batch) -> Result<()> {
    let changes = changed_params(state, run, &batch.params);
    if !changes.is_empty() {
        return Err(Error::ParamsChanged { run, changes });
    }
    for key in &batch.removed_tags {
        if state.tags.get(&run).and_then(|tags| tags.get(key)) != Some(&true) {
            return Err(Error::NotFound { what: "tag", name: key.clone() });
        }
    }
    for model in batch.metrics.iter().filter_map(|metric| metric.model_id.as_ref()) {
        if !state.models.contains_key(model) {
            return Err(Error::NotFound { what: "logged model", name: model.clone() });
        }
    }
    Ok(())
}

/// Parameters whose values differ from those that are there, or from each other.
fn changed_params(state: &State, run: RunId, params: &[KeyValue]) -> Vec<ParamChange> {
    let stored = state.params.get(&run);
    let mut given: BTreeMap<&str, &str> = BTreeMap::new();
    let mut changes = Vec::new();
    for KeyValue { key, value } in params {
        let old = stored.and_then(|stored| stored.get(key)).map(String::as_str);
        let old = old.or_else(|| given.get(key.as_str()).copied());
        match old {
            Some(old) if old != value => {
                changes.push(ParamChange { key: key.clone(), old: old.to_owned(), new: value.clone() });
            }
            Some(_) => {}
            None => drop(given.insert(key, value)),
        }
    }
    changes
}

/// Takes a batch that was checked into the plan.
fn apply<'a>(state: &mut State, plan: &mut Plan<'a>, run: RunId, batch: &'a Batch) {
    if !batch.params.is_empty() {
        let known = state.params.entry(run).or_default();
        for param in &batch.params {
            if !known.contains_key(&param.key) {
                known.insert(param.key.clone(), param.value.clone());
                plan.params.push((run, param));
            }
        }
    }
    let mut removable = state.tags.get_mut(&run);
    for tag in &batch.tags {
        plan.tags.insert((run, &tag.key), Some(&tag.value));
        if let Some(there) = removable.as_mut().and_then(|tags| tags.get_mut(&tag.key)) {
            *there = true;
        }
    }
    for key in &batch.removed_tags {
        plan.tags.insert((run, key), None);
        if let Some(there) = removable.as_mut().and_then(|tags| tags.get_mut(key)) {
            *there = false;
        }
    }
    plan.metrics.extend(batch.metrics.iter().map(|metric| (run, metric)));
    plan.datasets.extend(batch.datasets.iter().map(|dataset| (run, dataset)));
    plan.model_inputs.extend(batch.model_inputs.iter().map(|model| (run, model.as_str())));
    for output in &batch.model_outputs {
        plan.model_outputs.insert((run, &output.model_id), output.step);
    }
}
