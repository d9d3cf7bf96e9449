//! Experiments and the runs in them.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_core::RunId;
use tidemill_db::tracking::{Experiment as Stored, KeyValue, Stage};
use utoipa::{IntoParams, ToSchema};

use super::envelope::{Limit, One, OneAnswer, Page, PageAnswer, Path, Position, Query, Text, Time, one};
use super::runs::Run;
use super::{Failures, Problem};
use crate::App;

/// A group of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Experiment {
    /// Its number; 0 is the one called `Default`.
    id: i64,
    /// Its name.
    name: String,
    /// Whether it is marked as deleted.
    deleted: bool,
    /// Where artifacts of its runs go.
    artifact_location: String,
    /// When it was made.
    created_at: Time,
    /// When it was last changed.
    updated_at: Time,
    tags: BTreeMap<String, String>,
}

impl From<Stored> for Experiment {
    fn from(experiment: Stored) -> Self {
        Self {
            id: experiment.id,
            name: experiment.name,
            deleted: experiment.stage == Stage::Deleted,
            artifact_location: experiment.artifact_location,
            created_at: Time(experiment.created_at),
            updated_at: Time(experiment.updated_at),
            tags: map(experiment.tags),
        }
    }
}

/// Pairs as an object.
pub(super) fn map(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Those that are marked as deleted, instead of those that are not
    #[serde(default)]
    #[param(required = false)]
    deleted: bool,
    /// `next` of the page before, with the other parameters unchanged
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    cursor: Option<Position>,
    /// How many
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    limit: Limit,
}

/// Experiments, newest first
#[utoipa::path(get, path = "/api/v1/experiments", operation_id = "listExperiments", tag = "tracking", params(Wanted),
    responses((status = 200, description = "A page of experiments", body = Page<Experiment>), Failures))]
pub(super) async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> PageAnswer<Experiment> {
    let db = app.registry().db();
    let before = wanted.cursor.map(|cursor| cursor.0 as i64);
    let found = db.experiments_before(stage(wanted.deleted), before, wanted.limit.and_one()).await?;
    Ok(Page::of(found, wanted.limit, |experiment| experiment.id.to_string(), Experiment::from))
}

/// One experiment
#[utoipa::path(get, path = "/api/v1/experiments/{id}", operation_id = "getExperiment", tag = "tracking",
    params(("id" = i64, Path, description = "The experiment", minimum = 0, maximum = 9_007_199_254_740_991_u64)),
    responses((status = 200, description = "The experiment", body = One<Experiment>), Failures))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<i64>) -> OneAnswer<Experiment> {
    one(find(&app, id).await?.into())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedRuns {
    /// Those that are marked as deleted, instead of those that are not
    #[serde(default)]
    #[param(required = false)]
    deleted: bool,
    /// `next` of the page before, with the other parameters unchanged
    #[param(value_type = Option<String>, pattern = "^(-?[0-9]{1,15})?-[0-9a-f]{32}$")]
    cursor: Option<Text>,
    /// How many
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    limit: Limit,
}

/// Runs of an experiment, those that began last first
#[utoipa::path(get, path = "/api/v1/experiments/{id}/runs", operation_id = "listRuns", tag = "tracking",
    params(("id" = i64, Path, description = "The experiment", minimum = 0, maximum = 9_007_199_254_740_991_u64), WantedRuns),
    responses((status = 200, description = "A page of runs", body = Page<Run>), Failures))]
pub(super) async fn runs(
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(wanted): Query<WantedRuns>,
) -> PageAnswer<Run> {
    let before = wanted.cursor.as_ref().map(|cursor| place(&cursor.0)).transpose()?;
    find(&app, id).await?;
    let (stage, limit) = (stage(wanted.deleted), wanted.limit.and_one());
    let found = app.registry().db().tracked_runs_before(id, stage, before, limit).await?;
    Ok(Page::of(found, wanted.limit, |run| cursor(run.info.started_at, run.info.id), Run::from))
}

async fn find(app: &App, id: i64) -> Result<Stored, Problem> {
    app.registry().db().experiment(id).await?.ok_or_else(|| {
        Problem::missing(format!("there is no experiment {id}")).hint("`/api/v1/experiments` lists them")
    })
}

fn stage(deleted: bool) -> Stage {
    if deleted { Stage::Deleted } else { Stage::Active }
}

type Began = Option<tidemill_core::Timestamp>;

/// The place of a run in the list; those that did not begin yet have no time.
fn cursor(at: Began, id: RunId) -> String {
    at.map_or_else(|| format!("-{id}"), |at| super::pipeline::cursor(at, id))
}

fn place(text: &str) -> Result<(Began, RunId), Problem> {
    match text.strip_prefix('-').and_then(|id| id.parse().ok()) {
        Some(id) => Ok((None, id)),
        None => super::pipeline::place(text).map(|(at, id)| (Some(at), id)),
    }
}
