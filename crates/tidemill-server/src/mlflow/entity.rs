//! Experiments and runs as MLflow's JSON: what is empty or unset is left out.
//!
//! Pages of a search are full of runs, so those are written as they are, without a tree of values in between.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tidemill_db::tracking::{Experiment, InputDataset, KeyValue, Metric, Run, RunInfo};

use crate::mlflow::metrics::Number;

/// An object that leaves out what is empty.
#[derive(Default)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    /// A field that is always there.
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// A field that is left out where it is unset.
    pub(crate) fn opt(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// A list that is left out where it is empty.
    pub(crate) fn list(self, name: &str, items: impl Iterator<Item = Value>) -> Self {
        let items: Vec<Value> = items.collect();
        if items.is_empty() { self } else { self.set(name, items) }
    }

    pub(crate) fn done(self) -> Value {
        Value::Object(self.0)
    }
}

#[derive(Serialize)]
struct Pair<'a> {
    key: &'a str,
    value: &'a str,
}

fn pairs(pairs: &[KeyValue]) -> Vec<Pair<'_>> {
    pairs.iter().map(|pair| Pair { key: &pair.key, value: &pair.value }).collect()
}

pub(crate) fn key_value(pair: &KeyValue) -> Value {
    json!(Pair { key: &pair.key, value: &pair.value })
}

#[derive(Serialize)]
struct Point<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset_name: Option<&'a str>,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
    step: i64,
    timestamp: i64,
    value: Number,
}

impl<'a> Point<'a> {
    fn of(metric: &'a Metric) -> Self {
        Self {
            dataset_digest: metric.dataset_digest.as_deref(),
            dataset_name: metric.dataset_name.as_deref(),
            key: &metric.key,
            model_id: metric.model_id.as_deref(),
            run_id: metric.run_id.map(|run| run.to_string()),
            step: metric.step,
            timestamp: metric.at.millis(),
            value: Number(metric.value),
        }
    }
}

pub(crate) fn metric(metric: &Metric) -> Value {
    json!(Point::of(metric))
}

pub(crate) fn experiment(experiment: &Experiment) -> Value {
    Object::default()
        .set("experiment_id", experiment.id.to_string())
        .set("name", experiment.name.as_str())
        .set("artifact_location", experiment.artifact_location.as_str())
        .set("lifecycle_stage", experiment.stage.word())
        .set("last_update_time", experiment.updated_at.millis())
        .set("creation_time", experiment.created_at.millis())
        .list("tags", experiment.tags.iter().map(key_value))
        .done()
}

#[derive(Serialize)]
struct Info<'a> {
    artifact_uri: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    experiment_id: String,
    lifecycle_stage: &'static str,
    run_id: &'a str,
    run_name: &'a str,
    run_uuid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    status: &'static str,
    user_id: &'a str,
}

impl<'a> Info<'a> {
    /// `id` is that of the run as text.
    fn of(info: &'a RunInfo, id: &'a str) -> Self {
        Self {
            artifact_uri: &info.artifact_uri,
            end_time: info.ended_at.map(|at| at.millis()),
            experiment_id: info.experiment.to_string(),
            lifecycle_stage: info.stage.word(),
            run_id: id,
            run_name: &info.name,
            run_uuid: id,
            start_time: info.started_at.map(|at| at.millis()),
            status: info.status.word(),
            user_id: &info.user,
        }
    }
}

pub(crate) fn run_info(info: &RunInfo) -> Value {
    json!(Info::of(info, &info.id.to_string()))
}

pub(crate) fn dataset_input(dataset: &InputDataset) -> Value {
    let body = Object::default()
        .set("name", dataset.name.as_str())
        .set("digest", dataset.digest.as_str())
        .set("source_type", dataset.source_type.as_str())
        .set("source", dataset.source.as_str())
        .opt("schema", dataset.schema.as_deref())
        .opt("profile", dataset.profile.as_deref())
        .done();
    Object::default().list("tags", dataset.tags.iter().map(key_value)).set("dataset", body).done()
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<Point<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Pair<'a>>,
}

#[derive(Serialize)]
struct Inputs<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dataset_inputs: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_inputs: Vec<ModelInput<'a>>,
}

#[derive(Serialize)]
struct ModelInput<'a> {
    model_id: &'a str,
}

#[derive(Serialize)]
struct Outputs<'a> {
    model_outputs: Vec<ModelOutput<'a>>,
}

#[derive(Serialize)]
struct ModelOutput<'a> {
    model_id: &'a str,
    step: i64,
}

/// All of a run.
#[derive(Serialize)]
struct Whole<'a> {
    data: Data<'a>,
    info: Info<'a>,
    inputs: Inputs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Outputs<'a>>,
}

/// Gives a run to `write` as what is to be written.
fn with_whole<R>(run: &Run, write: impl FnOnce(&Whole<'_>) -> R) -> R {
    let id = run.info.id.to_string();
    let data = Data {
        metrics: run.metrics.iter().map(Point::of).collect(),
        params: pairs(&run.params),
        tags: pairs(&run.tags),
    };
    let inputs = Inputs {
        dataset_inputs: run.datasets.iter().map(dataset_input).collect(),
        model_inputs: run.model_inputs.iter().map(|model_id| ModelInput { model_id }).collect(),
    };
    let outputs = run.model_outputs.iter();
    let outputs: Vec<_> =
        outputs.map(|output| ModelOutput { model_id: &output.model_id, step: output.step }).collect();
    let outputs = (!outputs.is_empty()).then_some(Outputs { model_outputs: outputs });
    write(&Whole { data, info: Info::of(&run.info, &id), inputs, outputs })
}

pub(crate) fn run(run: &Run) -> Value {
    with_whole(run, |whole| json!(whole))
}

/// [`run`] as text at the end of `out`.
pub(crate) fn write_run(out: &mut Vec<u8>, run: &Run) -> serde_json::Result<()> {
    with_whole(run, |whole| serde_json::to_writer(out, whole))
}
