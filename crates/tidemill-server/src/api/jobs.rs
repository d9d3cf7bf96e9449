//! Jobs: what triggers started.

use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_core::{Actor, JobState};
use tidemill_db::jobs::{Job as Stored, Stopped};
use tidemill_registry::{Code, Error};
use utoipa::{IntoParams, ToSchema};

use super::envelope::{Limit, One, OneAnswer, Page, PageAnswer, Path, Position, Query, Text, Time, one};
use super::{Failures, Problem};
use crate::App;
use crate::triggers::cancel_by_hand;

/// What a trigger started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    /// Its number.
    #[schema(minimum = 1)]
    id: u64,
    /// The project.
    project: String,
    /// The trigger.
    trigger: String,
    /// How it stands.
    #[schema(value_type = String, pattern = "^(waiting|running|succeeded|failed|cancelled|superseded)$")]
    state: JobState,
    /// What is to be done, in order.
    #[schema(value_type = Vec<String>)]
    actions: serde_json::Value,
    /// What is known of the event, by name.
    #[schema(value_type = Object)]
    details: serde_json::Value,
    /// The event of the log that it was made with, `trigger.fired`.
    #[schema(minimum = 1)]
    cause: u64,
    /// How often a worker began with it.
    attempts: u32,
    /// When it was made.
    created_at: Time,
    /// When a worker began with it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
    /// Why it did not go well.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<Stored> for Job {
    fn from(job: Stored) -> Self {
        let json = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self {
            id: job.id,
            state: job.state,
            actions: json(&job.actions),
            details: json(&job.details),
            cause: job.cause,
            attempts: job.attempts,
            created_at: Time(job.created_at),
            started_at: job.started_at.map(Time),
            ended_at: job.ended_at.map(Time),
            reason: job.reason,
            project: job.project,
            trigger: job.trigger,
        }
    }
}

/// How a job may stand.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    Waiting,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Superseded,
}

impl From<Standing> for JobState {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Waiting => Self::Waiting,
            Standing::Running => Self::Running,
            Standing::Succeeded => Self::Succeeded,
            Standing::Failed => Self::Failed,
            Standing::Cancelled => Self::Cancelled,
            Standing::Superseded => Self::Superseded,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only jobs of this trigger
    #[param(value_type = Option<String>, min_length = 1, pattern = r"^[^\x00]+$")]
    trigger: Option<Text>,
    /// Only jobs that stand like this
    #[param(inline)]
    state: Option<Standing>,
    /// `next` of the page before
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    cursor: Option<Position>,
    /// How many
    #[serde(default)]
    #[param(value_type = u64, minimum = 1, maximum = 1000, required = false)]
    limit: Limit,
}

/// Jobs, newest first
#[utoipa::path(get, path = "/api/v1/jobs", operation_id = "listJobs", tag = "triggers", params(Wanted),
    responses((status = 200, description = "A page of jobs", body = Page<Job>), Failures))]
pub(super) async fn list(State(app): State<App>, Query(wanted): Query<Wanted>) -> PageAnswer<Job> {
    let trigger = wanted.trigger.as_ref().map(|text| text.0.as_str());
    let before = wanted.cursor.map(|cursor| cursor.0);
    let state = wanted.state.map(JobState::from);
    // Servers of several projects may share a database.
    let project = app.config().triggers.as_ref().map(|triggers| triggers.project());
    let found = app.registry().db().jobs(project, trigger, state, before, wanted.limit.and_one()).await?;
    Ok(Page::of(found, wanted.limit, |job| job.id.to_string(), Job::from))
}

/// One job
#[utoipa::path(get, path = "/api/v1/jobs/{id}", operation_id = "getJob", tag = "triggers",
    params(("id" = u64, Path, description = "The job", minimum = 0, maximum = 9_007_199_254_740_991_u64)),
    responses((status = 200, description = "The job", body = One<Job>), Failures))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<Position>) -> OneAnswer<Job> {
    let found = app.registry().db().job(id.0).await?.ok_or_else(|| missing(id.0))?;
    one(Job::from(found))
}

/// Stops a job
///
/// One that waits ends at once; one that runs is told to stop, and `job.finished` in the log says that it has.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", operation_id = "cancelJob", tag = "triggers",
    params(("id" = u64, Path, description = "The job", minimum = 0, maximum = 9_007_199_254_740_991_u64)),
    responses((status = 200, description = "The job as it stands now", body = One<Job>), Failures,
        (status = 409, description = "The job is over", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn cancel(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<Position>,
) -> OneAnswer<Job> {
    let (registry, id) = (app.registry(), id.0);
    let (db, at) = (registry.db(), registry.clock().now());
    let job = db.job(id).await?.ok_or_else(|| missing(id))?;
    if cancel_by_hand(db, &job, &actor, at).await? == Stopped::Over {
        let why = format!("job {id} is over: {}", job.state.name());
        return Err(Error::new(Code::InvalidState, why).into());
    }
    if let Some(triggers) = &app.config().triggers {
        triggers.stopping();
    }
    let found = db.job(id).await?.ok_or_else(|| missing(id))?;
    one(Job::from(found))
}

fn missing(id: u64) -> Problem {
    Problem::missing(format!("there is no job {id}")).hint("`/api/v1/jobs` lists them")
}
