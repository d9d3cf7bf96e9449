//! What is logged inside of a run: metrics, parameters, tags, inputs and outputs. Observations carry no event.

use tidemill_core::RunId;
use tidemill_db::Error as Db;
use tidemill_db::tracking::{Batch, InputDataset, KeyValue, Metric, ModelOutput};

use super::RUN_NAME;
use crate::{Error, Registry, Result, validate};

/// The tag in which old clients keep the models that they logged.
const LOGGED_MODELS: &str = "mlflow.log-model.history";

impl Registry {
    /// Logs one point of a metric.
    pub async fn log_metric(&self, run: &str, metric: Metric) -> Result<()> {
        validate::metric(&metric, "")?;
        let run = validate::run_id(run)?;
        self.log(run, Batch { metrics: vec![metric], ..Batch::default() }).await
    }

    /// Logs metrics, parameters and tags together: all of them or, where one is refused, nothing.
    pub async fn log_batch(
        &self,
        run: &str,
        metrics: Vec<Metric>,
        params: Vec<KeyValue>,
        tags: Vec<KeyValue>,
    ) -> Result<()> {
        let run = validate::formed_run_id(run)?;
        let mut batch = Batch { metrics, params, tags, ..Batch::default() };
        validate::batch(&mut batch)?;
        batch.name = name_in(&batch.tags);
        // An empty name is not taken over, neither here nor there.
        batch.tags.retain(|tag| tag.key != RUN_NAME || !tag.value.is_empty());
        self.log(run, batch).await
    }

    /// Logs a parameter. The same value again is fine, another one is refused.
    pub async fn log_param(&self, run: &str, mut param: KeyValue) -> Result<()> {
        validate::param(&mut param, "")?;
        let run = validate::run_id(run)?;
        let batch = Batch { params: vec![param], ..Batch::default() };
        match self.db.ingest().log(run, batch).await {
            Err(Db::ParamsChanged { run, changes }) => {
                let change = changes.first();
                let [key, old, new] = [
                    change.map(|change| change.key.as_str()),
                    change.map(|change| change.old.as_str()),
                    change.map(|change| change.new.as_str()),
                ]
                .map(Option::unwrap_or_default);
                Err(Error::invalid(format!(
                    "Changing param values is not allowed. Param with key='{key}' was already logged with \
                     value='{old}' for run ID='{run}'. Attempted logging new value '{new}'."
                )))
            }
            done => Ok(done?),
        }
    }

    /// Sets a tag; the one with the run's name renames it.
    pub async fn set_tag(&self, run: &str, mut tag: KeyValue) -> Result<()> {
        validate::tag(&mut tag, "")?;
        let run = validate::run_id(run)?;
        let mut tags = vec![tag];
        let name = name_in(&tags);
        tags.retain(|tag| tag.key != RUN_NAME || !tag.value.is_empty());
        self.log(run, Batch { tags, name, ..Batch::default() }).await
    }

    /// Removes a tag. That of the run's name does not take the name away.
    pub async fn delete_tag(&self, run: &str, key: &str) -> Result<()> {
        let id = validate::run_id(run)?;
        let batch = Batch { removed_tags: vec![key.to_owned()], ..Batch::default() };
        match self.db.ingest().log(id, batch).await {
            Err(Db::NotFound { what: "tag", name }) => {
                Err(Error::missing(format!("No tag with name: {name} in run with id {run}")))
            }
            done => Ok(done?),
        }
    }

    /// Records datasets and logged models that a run read.
    pub async fn log_inputs(
        &self,
        run: &str,
        datasets: Vec<InputDataset>,
        models: Vec<String>,
    ) -> Result<()> {
        let run = validate::formed_run_id(run)?;
        datasets.iter().try_for_each(validate::dataset)?;
        self.log(run, Batch { datasets, model_inputs: models, ..Batch::default() }).await
    }

    /// Records logged models that a run made.
    pub async fn log_outputs(&self, run: &str, models: Vec<ModelOutput>) -> Result<()> {
        let run = validate::run_id(run)?;
        self.log(run, Batch { model_outputs: models, ..Batch::default() }).await
    }

    /// Adds a model to the run's tag of models that old clients keep; `entry` is a JSON object.
    pub async fn record_model(&self, run: &str, entry: serde_json::Value) -> Result<()> {
        let id = validate::run_id(run)?;
        let added = |before: Option<&str>| {
            let mut models: Vec<serde_json::Value> =
                before.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            models.push(entry);
            // Cut, it could not be read again, so the limit for values does not hold here.
            serde_json::Value::Array(models).to_string()
        };
        match self.db.change_run_tag(id, LOGGED_MODELS, added).await {
            Err(Db::NotFound { .. }) => Err(validate::no_run(run)),
            done => Ok(done?),
        }
    }

    async fn log(&self, run: RunId, batch: Batch) -> Result<()> {
        Ok(self.db.ingest().log(run, batch).await?)
    }
}

/// The run's new name, where its tag is among these. An empty one is not taken.
fn name_in(tags: &[KeyValue]) -> Option<String> {
    let named = tags.iter().rev().find(|tag| tag.key == RUN_NAME && !tag.value.is_empty());
    named.map(|tag| tag.value.clone())
}
