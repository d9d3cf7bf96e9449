//! Runs: make, read, update, delete, restore; inputs, outputs and single tags. Metrics and batches, the hot ones, are in
//! `logging`; searches are in `search`.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tidemill_core::Timestamp;
use tidemill_db::tracking::{InputDataset, ModelOutput, RunStatus};
use tidemill_registry::{Error, NewRun, Result, RunChange};

use crate::App;
use crate::mlflow::entity;
use crate::mlflow::experiments::{pair, pairs};
use crate::mlflow::logging;
use crate::mlflow::wire::{Answer, Call, Fields, nothing};

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
        .route("/mlflow/runs/create", post(create))
        .route("/mlflow/runs/get", get(by_id))
        .route("/mlflow/runs/update", post(update))
        .route("/mlflow/runs/delete", post(delete))
        .route("/mlflow/runs/restore", post(restore))
        .route("/mlflow/runs/log-metric", post(logging::metric))
        .route("/mlflow/runs/log-batch", post(logging::batch))
        .route("/mlflow/runs/log-parameter", post(log_param))
        .route("/mlflow/runs/set-tag", post(set_tag))
        .route("/mlflow/runs/delete-tag", post(delete_tag))
        .route("/mlflow/runs/log-inputs", post(log_inputs))
        .route("/mlflow/runs/outputs", post(log_outputs))
        .route("/mlflow/runs/log-model", post(log_model))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}

fn opt_time(fields: &Fields, name: &str) -> Result<Option<Timestamp>> {
    Ok(fields.opt_int(name)?.map(Timestamp::from_millis))
}

async fn create(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let new = NewRun {
        experiment: fields.any_text("experiment_id")?.to_owned(),
        user: fields.any_text("user_id")?.to_owned(),
        name: fields.any_text("run_name")?.to_owned(),
        started_at: opt_time(&fields, "start_time")?,
        tags: pairs(&fields, "tags")?,
    };
    let run = app.registry().create_run(&actor, new).await?;
    Ok(Json(json!({"run": entity::run(&run)})))
}

async fn by_id(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let run = app.registry().run(fields.run_id()?).await?;
    Ok(Json(json!({"run": entity::run(&run)})))
}

async fn update(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let words = RunStatus::ALL.map(RunStatus::word);
    let change = RunChange {
        status: fields.opt_enum("status", &words)?.and_then(RunStatus::from_word),
        ended_at: opt_time(&fields, "end_time")?,
        name: fields.opt_str("run_name")?.map(str::to_owned),
    };
    let info = app.registry().update_run(&actor, fields.run_id()?, change).await?;
    Ok(Json(json!({"run_info": entity::run_info(&info)})))
}

async fn delete(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    app.registry().delete_run(&actor, fields.run_id()?).await?;
    nothing()
}

async fn restore(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    app.registry().restore_run(&actor, fields.run_id()?).await?;
    nothing()
}

async fn log_param(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    app.registry().log_param(fields.run_id()?, pair(&fields)?).await?;
    nothing()
}

async fn set_tag(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    app.registry().set_tag(fields.run_id()?, pair(&fields)?).await?;
    nothing()
}

async fn delete_tag(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    app.registry().delete_tag(fields.run_id()?, fields.text("key")?).await?;
    nothing()
}

async fn log_inputs(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let datasets = fields.messages("datasets")?.iter().map(dataset).collect::<Result<_>>()?;
    let models = fields.messages("models")?;
    let models =
        models.iter().map(|model| model.text("model_id").map(str::to_owned)).collect::<Result<_>>()?;
    app.registry().log_inputs(fields.run_id()?, datasets, models).await?;
    nothing()
}

fn dataset(input: &Fields) -> Result<InputDataset> {
    let dataset = input.message("dataset")?.ok_or_else(|| Error::invalid("Dataset cannot be None"))?;
    let text = |name: &str| -> Result<Option<String>> { Ok(dataset.opt_str(name)?.map(str::to_owned)) };
    let needed =
        |name: &str| text(name)?.ok_or_else(|| Error::invalid(format!("Dataset {name} cannot be None")));
    Ok(InputDataset {
        name: needed("name")?,
        digest: needed("digest")?,
        source_type: needed("source_type")?,
        source: needed("source")?,
        schema: text("schema")?,
        profile: text("profile")?,
        tags: pairs(input, "tags")?,
    })
}

async fn log_outputs(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let run = fields.run_id()?;
    if fields.get("models").is_none() {
        return Err(fields.missing("models").into());
    }
    let models = fields.messages("models")?;
    let output = |model: &Fields| {
        let model_id = model.text("model_id")?.to_owned();
        Ok(ModelOutput { model_id, step: model.opt_int("step")?.unwrap_or_default() })
    };
    let models = models.iter().map(output).collect::<Result<_>>()?;
    app.registry().log_outputs(run, models).await?;
    nothing()
}

/// Old clients describe a logged model in this way; what is kept of it goes into a tag.
async fn log_model(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    const NEEDED: [&str; 4] = ["artifact_path", "flavors", "run_id", "utc_time_created"];
    const KEPT: [&str; 4] = ["run_id", "utc_time_created", "artifact_path", "model_uuid"];
    let (run, text) = (fields.run_id()?, fields.text("model_json")?);
    let Ok(Value::Object(model)) = serde_json::from_str(text) else {
        let message = format!("Malformed model info. \n {text} \n is not a valid JSON.");
        return Err(Error::invalid(message).into());
    };
    let missing: Vec<String> =
        NEEDED.iter().filter(|name| !model.contains_key(**name)).map(|name| format!("'{name}'")).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let message = format!("Model json is missing mandatory fields: {{{missing}}}");
        return Err(Error::invalid(message).into());
    }
    let mut kept: serde_json::Map<String, Value> = model
        .iter()
        .filter(|(name, _)| KEPT.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    let mut flavors = model.get("flavors").cloned().unwrap_or_default();
    for flavor in flavors.as_object_mut().into_iter().flat_map(|flavors| flavors.values_mut()) {
        if let Some(settings) = flavor.as_object_mut() {
            settings.remove("config");
        }
    }
    kept.insert("flavors".to_owned(), flavors);
    app.registry().record_model(run, Value::Object(kept)).await?;
    nothing()
}
