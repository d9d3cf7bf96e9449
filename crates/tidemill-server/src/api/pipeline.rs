//! Runs of the pipeline and their steps.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_core::{RunId, RunState, StepState, Timestamp};
use tidemill_db::{RunRecord, StepRun};
use utoipa::{IntoParams, ToSchema};

use super::envelope::{Limit, One, OneAnswer, Page, PageAnswer, Path, Query, Text, Time, one};
use super::{Failures, Problem};
use crate::App;

/// One execution of the pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PipelineRun {
    /// Its identifier.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    id: String,
    /// The project's name.
    project: String,
    /// How it stands.
    #[schema(value_type = String, pattern = "^(running|succeeded|failed|cancelled|interrupted)$")]
    state: RunState,
    /// Digest of the stored plan.
    plan: String,
    /// Commit of the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// Digest of the lock file that it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    /// When it began.
    started_at: Time,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
}

/// One attempt at one step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Step {
    /// The step's name.
    step: String,
    /// Which attempt, from 1.
    #[schema(minimum = 1)]
    attempt: u32,
    /// How it ended.
    #[schema(value_type = String, pattern = "^(ran|restored|unchanged|failed|cancelled|skipped)$")]
    state: StepState,
    /// Exit code, where a process ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// The step's cache key.
    key: String,
    /// When it began.
    started_at: Time,
    /// When it ended.
    ended_at: Time,
}

/// A run with its steps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WithSteps {
    #[serde(flatten)]
    run: PipelineRun,
    /// The steps that ended, in that order.
    steps: Vec<Step>,
}

impl From<RunRecord> for PipelineRun {
    fn from(run: RunRecord) -> Self {
        Self {
            id: run.id.to_string(),
            project: run.project,
            state: run.state,
            plan: run.plan.to_string(),
            commit: run.commit,
            lock: run.lock.map(|lock| lock.to_string()),
            started_at: Time(run.started_at),
            ended_at: run.ended_at.map(Time),
        }
    }
}

impl From<StepRun> for Step {
    fn from(step: StepRun) -> Self {
        Self {
            step: step.step,
            attempt: step.attempt,
            state: step.state,
            exit_code: step.exit_code,
            key: step.key.to_string(),
            started_at: Time(step.started_at),
            ended_at: Time(step.ended_at),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// `next` of the page before
    #[param(value_type = Option<String>, pattern = "^-?[0-9]{1,18}-[0-9a-f]{32}$")]
    cursor: Option<Text>,
    /// How many
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    limit: Limit,
}

/// Runs of the pipeline, newest first
#[utoipa::path(get, path = "/api/v1/pipeline-runs", operation_id = "listPipelineRuns", tag = "pipeline", params(Wanted),
    responses((status = 200, description = "A page of runs", body = Page<PipelineRun>), Failures))]
pub(super) async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> PageAnswer<PipelineRun> {
    let before = wanted.cursor.as_ref().map(|cursor| place(&cursor.0)).transpose()?;
    let runs = app.registry().db().runs_before(before, wanted.limit.and_one()).await?;
    Ok(Page::of(runs, wanted.limit, |run| cursor(run.started_at, run.id), PipelineRun::from))
}

/// One run of the pipeline with its steps
#[utoipa::path(get, path = "/api/v1/pipeline-runs/{id}", operation_id = "getPipelineRun", tag = "pipeline",
    params(("id" = String, Path, description = "The run, or the beginning of its identifier", min_length = 1)),
    responses((status = 200, description = "The run", body = One<WithSteps>), Failures))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> OneAnswer<WithSteps> {
    let run = find(&app, &id).await?;
    let steps = app.registry().db().step_runs(run.id).await?.into_iter().map(Step::from).collect();
    one(WithSteps { run: run.into(), steps })
}

/// The run whose identifier begins so.
pub(super) async fn find(app: &App, id: &str) -> Result<RunRecord, Problem> {
    app.registry().db().run(id).await.map_err(|error| match error {
        tidemill_db::Error::Ambiguous { .. } => {
            Problem::invalid(error.to_string()).hint("give more digits of the identifier")
        }
        other => other.into(),
    })
}

/// The place of a run among those that began at the same time.
pub(super) fn cursor(at: Timestamp, id: RunId) -> String {
    format!("{}-{id}", at.millis())
}

/// From [`cursor`].
pub(super) fn place(text: &str) -> Result<(Timestamp, RunId), Problem> {
    let wrong = || {
        Problem::invalid(format!("`{text}` is no cursor of this list")).hint("send `next` of the page before")
    };
    let (at, id) = text.rsplit_once('-').ok_or_else(wrong)?;
    let at = at.parse().map_err(|_| wrong())?;
    Ok((Timestamp::from_millis(at), id.parse().map_err(|_| wrong())?))
}
