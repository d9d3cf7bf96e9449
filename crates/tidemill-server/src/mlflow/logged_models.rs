//! Logged models: folders of files that a training made.

use axum::extract::State;
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tidemill_db::logged_models::{DatasetName, LoggedModel, LoggedModelStatus};
use tidemill_registry::{LoggedModelRequest, LoggedModelSearch, Result, SearchOrder};

use super::entity::{Object, key_value, metric};
use super::models::{pairs, required, text};
use super::wire::{Answer, Call, Fields, nothing};
use crate::App;

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
        .route("/mlflow/logged-models", post(create))
        .route("/mlflow/logged-models/search", post(search))
        .route("/mlflow/logged-models/{model_id}", get(read).patch(finish).delete(remove))
        .route("/mlflow/logged-models/{model_id}/params", post(log_params))
        .route("/mlflow/logged-models/{model_id}/tags", patch(set_tags))
        // A key may hold slashes.
        .route("/mlflow/logged-models/{model_id}/tags/{*tag_key}", delete(delete_tag))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}

async fn create(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let request = LoggedModelRequest {
        experiment: required(&fields, "experiment_id")?.to_owned(),
        name: fields.opt_str("name")?.map(str::to_owned),
        model_type: text(&fields, "model_type")?,
        source_run: fields.opt_str("source_run_id")?.map(str::to_owned),
        params: pairs(&fields, "params")?,
        tags: pairs(&fields, "tags")?,
    };
    answer(&app.registry().create_logged_model(&actor, request).await?)
}

async fn read(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let deleted_too = fields.opt_str("allow_deleted")?.is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
    answer(&app.registry().logged_model(fields.str("model_id")?, deleted_too).await?)
}

async fn search(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    if fields.get("experiment_ids").is_none() {
        return Err(fields.missing("experiment_ids").into());
    }
    let given = |fields: &Fields, name: &str| -> Result<Option<String>> {
        Ok(Some(text(fields, name)?).filter(|text| !text.is_empty()))
    };
    let datasets = fields.messages("datasets")?;
    let datasets = datasets.iter().map(|dataset| {
        Ok(DatasetName { name: text(dataset, "dataset_name")?, digest: given(dataset, "dataset_digest")? })
    });
    let order = fields.messages("order_by")?;
    let order = order.iter().map(|key| {
        Ok(SearchOrder {
            field_name: required(key, "field_name")?.to_owned(),
            ascending: key.opt_bool("ascending")?.unwrap_or(true),
            dataset_name: given(key, "dataset_name")?,
            dataset_digest: given(key, "dataset_digest")?,
        })
    });
    let search = LoggedModelSearch {
        experiments: fields.strings("experiment_ids")?,
        filter: text(&fields, "filter")?,
        datasets: datasets.collect::<Result<_>>()?,
        order: order.collect::<Result<_>>()?,
        limit: fields.opt_int("max_results")?,
        token: given(&fields, "page_token")?,
    };
    let found = app.registry().search_logged_models(&search).await?;
    let models = found.items.iter().map(logged_model);
    Ok(Json(Object::default().list("models", models).opt("next_page_token", found.next).done()))
}

async fn finish(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let id = fields.str("model_id")?;
    let words = LoggedModelStatus::ALL.map(LoggedModelStatus::word);
    let word = fields.opt_enum("status", &words)?.ok_or_else(|| fields.missing("status"))?;
    let status = LoggedModelStatus::from_word(word).ok_or_else(|| fields.missing("status"))?;
    answer(&app.registry().finish_logged_model(&actor, id, status).await?)
}

async fn remove(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    app.registry().delete_logged_model(&actor, fields.str("model_id")?).await?;
    nothing()
}

async fn log_params(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    app.registry().log_model_params(fields.str("model_id")?, &pairs(&fields, "params")?).await?;
    nothing()
}

async fn set_tags(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    app.registry().tag_logged_model(fields.str("model_id")?, &pairs(&fields, "tags")?).await?;
    nothing()
}

async fn delete_tag(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    app.registry().untag_logged_model(fields.str("model_id")?, fields.str("tag_key")?).await?;
    nothing()
}

fn answer(model: &LoggedModel) -> Answer {
    Ok(Json(json!({"model": logged_model(model)})))
}

pub(super) fn logged_model(model: &LoggedModel) -> Value {
    let info = Object::default()
        .set("model_id", model.id.as_str())
        .set("experiment_id", model.experiment.to_string())
        .set("name", model.name.as_str())
        .set("creation_timestamp_ms", model.created_at.millis())
        .set("last_updated_timestamp_ms", model.updated_at.millis())
        .set("artifact_uri", model.artifact_uri.as_str())
        .set("status", model.status.word())
        .set("model_type", model.model_type.as_str())
        .set("source_run_id", model.source_run.as_deref().unwrap_or_default())
        .opt("status_message", model.status_message.as_deref())
        .list("tags", model.tags.iter().map(key_value))
        .done();
    let data = Object::default()
        .list("params", model.params.iter().map(key_value))
        .list("metrics", model.metrics.iter().map(metric))
        .done();
    json!({"info": info, "data": data})
}
