//! Experiments and runs as MLflow's JSON: what is empty or unset is left out.

use serde_json::{Map, Value, json};
use tidemill_db::tracking::{Experiment, InputDataset, KeyValue, Metric, Run, RunInfo};

use crate::mlflow::wire::float_value;

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

pub(crate) fn key_value(pair: &KeyValue) -> Value {
    json!({"key": pair.key, "value": pair.value})
}

pub(crate) fn metric(metric: &Metric) -> Value {
    Object::default()
        .set("key", metric.key.as_str())
        .set("value", float_value(metric.value))
        .set("timestamp", metric.at.millis())
        .set("step", metric.step)
        .opt("dataset_name", metric.dataset_name.as_deref())
        .opt("dataset_digest", metric.dataset_digest.as_deref())
        .opt("model_id", metric.model_id.as_deref())
        .opt("run_id", metric.run_id.map(|run| run.to_string()))
        .done()
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

pub(crate) fn run_info(info: &RunInfo) -> Value {
    let id = info.id.to_string();
    Object::default()
        .set("run_uuid", id.as_str())
        .set("run_id", id)
        .set("run_name", info.name.as_str())
        .set("experiment_id", info.experiment.to_string())
        .set("user_id", info.user.as_str())
        .set("status", info.status.word())
        .opt("start_time", info.started_at.map(|at| at.millis()))
        .opt("end_time", info.ended_at.map(|at| at.millis()))
        .set("artifact_uri", info.artifact_uri.as_str())
        .set("lifecycle_stage", info.stage.word())
        .done()
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

pub(crate) fn run(run: &Run) -> Value {
    let data = Object::default()
        .list("metrics", run.metrics.iter().map(metric))
        .list("params", run.params.iter().map(key_value))
        .list("tags", run.tags.iter().map(key_value))
        .done();
    let inputs = Object::default()
        .list("dataset_inputs", run.datasets.iter().map(dataset_input))
        .list("model_inputs", run.model_inputs.iter().map(|id| json!({"model_id": id})))
        .done();
    let outputs =
        run.model_outputs.iter().map(|output| json!({"model_id": output.model_id, "step": output.step}));
    let outputs: Vec<Value> = outputs.collect();
    Object::default()
        .set("info", run_info(&run.info))
        .set("data", data)
        .set("inputs", inputs)
        .opt("outputs", (!outputs.is_empty()).then(|| json!({"model_outputs": outputs})))
        .done()
}
