//! Tracked runs and the histories of their metrics.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidemill_core::RunId;
use tidemill_db::tracking::{self, HistoryPoint, Run as Stored, Stage};
use utoipa::{IntoParams, ToSchema};

use super::envelope::{Number, One, OneAnswer, Path, Query, Time, one};
use super::experiments::map;
use super::{Failures, Problem};
use crate::App;

/// One execution of training code, or of a pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Run {
    /// Its identifier.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    id: String,
    /// Its experiment.
    experiment_id: i64,
    /// Its name.
    name: String,
    /// Who made it, as the client says.
    user: String,
    /// How it stands.
    #[schema(pattern = "^(RUNNING|SCHEDULED|FINISHED|FAILED|KILLED)$")]
    status: &'static str,
    /// Whether it is marked as deleted.
    deleted: bool,
    /// Where its artifacts are.
    artifact_uri: String,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
    params: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    /// The newest value of each metric, by key.
    metrics: Vec<Metric>,
    /// Datasets that it read.
    datasets: Vec<RunDataset>,
    /// Logged models that it read.
    input_models: Vec<String>,
    /// Logged models that it made.
    output_models: Vec<String>,
}

/// The newest value of a metric.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Metric {
    key: String,
    value: Number,
    /// The training step, or 0.
    step: i64,
    at: Time,
}

/// A dataset that a run read, as the client described it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunDataset {
    name: String,
    digest: String,
    /// Where it is, in the client's words.
    source: String,
    /// For example what it was used for.
    tags: BTreeMap<String, String>,
}

impl From<Stored> for Run {
    fn from(run: Stored) -> Self {
        let info = run.info;
        Self {
            id: info.id.to_string(),
            experiment_id: info.experiment,
            name: info.name,
            user: info.user,
            status: info.status.word(),
            deleted: info.stage == Stage::Deleted,
            artifact_uri: info.artifact_uri,
            started_at: info.started_at.map(Time),
            ended_at: info.ended_at.map(Time),
            params: map(run.params),
            tags: map(run.tags),
            metrics: run.metrics.into_iter().map(Metric::from).collect(),
            datasets: run.datasets.into_iter().map(RunDataset::from).collect(),
            input_models: run.model_inputs,
            output_models: run.model_outputs.into_iter().map(|output| output.model_id).collect(),
        }
    }
}

impl From<tracking::Metric> for Metric {
    fn from(metric: tracking::Metric) -> Self {
        Self { key: metric.key, value: Number(metric.value), step: metric.step, at: Time(metric.at) }
    }
}

impl From<tracking::InputDataset> for RunDataset {
    fn from(dataset: tracking::InputDataset) -> Self {
        Self { name: dataset.name, digest: dataset.digest, source: dataset.source, tags: map(dataset.tags) }
    }
}

/// One run
#[utoipa::path(get, path = "/api/v1/runs/{id}", operation_id = "getRun", tag = "tracking",
    params(("id" = String, Path, description = "The run: 32 hexadecimal digits", min_length = 1)),
    responses((status = 200, description = "The run", body = One<Run>), Failures))]
pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> OneAnswer<Run> {
    let run = app.registry().db().tracked_run(run_id(&id)?).await?;
    one(run.ok_or_else(|| no_run(&id))?.into())
}

/// The history of one metric of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Series {
    /// What was measured.
    key: String,
    /// In the order of step and time.
    points: Vec<Point>,
}

/// One measured value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Point {
    step: i64,
    at: Time,
    value: Number,
}

impl From<HistoryPoint> for Point {
    fn from(point: HistoryPoint) -> Self {
        Self { step: point.step, at: Time(point.at), value: Number(point.value) }
    }
}

/// How many points a chart gets.
#[derive(Clone, Copy, Debug)]
struct Points(usize);

impl Default for Points {
    fn default() -> Self {
        Self(1000)
    }
}

impl<'de> Deserialize<'de> for Points {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let points = usize::deserialize(deserializer)?;
        if (4..=20_000).contains(&points) {
            return Ok(Self(points));
        }
        Err(serde::de::Error::custom(format!("a history has 4 to 20000 points, not {points}")))
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// At most this many points: a longer history is thinned out, and its highest, lowest, first and last points stay
    #[serde(default)]
    #[param(value_type = u64, minimum = 4, maximum = 20_000, required = false)]
    points: Points,
}

/// The history of a metric, for charts
///
/// A slash in the key is written as `%2F`.
#[utoipa::path(get, path = "/api/v1/runs/{id}/metrics/{key}", operation_id = "getMetric", tag = "tracking",
    params(("id" = String, Path, description = "The run", min_length = 1),
        ("key" = String, Path, description = "The metric", min_length = 1), Wanted),
    responses((status = 200, description = "The history", body = One<Series>), Failures))]
pub(super) async fn metric(
    State(app): State<App>,
    Path((id, key)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> OneAnswer<Series> {
    let (db, run) = (app.registry().db(), run_id(&id)?);
    let no_metric =
        || Problem::missing(format!("run {id} has no metric `{key}`")).hint("the run lists its metrics");
    if key.contains('\0') {
        return Err(no_metric());
    }
    let points = db.metric_extremes(run, &key, (wanted.points.0 - 2) / 2).await?;
    if points.is_empty() {
        return Err(match db.tracked_run_info(run).await? {
            Some(_) => no_metric(),
            None => no_run(&id),
        });
    }
    one(Series { key, points: points.into_iter().map(Point::from).collect() })
}

fn run_id(text: &str) -> Result<RunId, Problem> {
    text.parse().map_err(|_| no_run(text))
}

fn no_run(id: &str) -> Problem {
    Problem::missing(format!("there is no run `{id}`"))
        .hint("`/api/v1/experiments/{id}/runs` lists those of an experiment")
}
