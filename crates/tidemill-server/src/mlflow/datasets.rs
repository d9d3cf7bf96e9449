//! Evaluation datasets.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, patch, post};
use serde_json::{Map, Value, json};
use tidemill_db::evaluation::{EvaluationDataset, EvaluationRecord};
use tidemill_db::tracking::KeyValue;
use tidemill_registry::datasets::{FoundDatasets, FoundRecords};
use tidemill_registry::{Error, Result};

use crate::App;
use crate::mlflow::entity::Object;
use crate::mlflow::wire::{Answer, Call, Fields, check_values, nothing};

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
        .route("/mlflow/datasets/create", post(create))
        .route("/mlflow/datasets/search", post(search))
        .route("/mlflow/datasets/{dataset_id}", get(read).delete(remove))
        .route("/mlflow/datasets/{dataset_id}/tags", patch(set_tags))
        .route("/mlflow/datasets/{dataset_id}/tags/{key}", axum::routing::delete(delete_tag))
        .route("/mlflow/datasets/{dataset_id}/records", get(records).post(put_records).delete(delete_records))
        .route("/mlflow/datasets/{dataset_id}/experiment-ids", get(experiments))
        .route("/mlflow/datasets/{dataset_id}/add-experiments", post(add_experiments))
        .route("/mlflow/datasets/{dataset_id}/remove-experiments", post(remove_experiments))
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}

async fn create(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, experiments, tags) =
        (fields.str("name")?, fields.strings("experiment_ids")?, tags(&fields, false)?);
    let dataset = app.registry().create_evaluation_dataset(name, &experiments, tags, &actor).await?;
    Ok(axum::Json(json!({"dataset": shape(&dataset, &experiments)})))
}

async fn read(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let dataset = app.registry().evaluation_dataset(fields.str("dataset_id")?).await?;
    Ok(axum::Json(json!({"dataset": shape(&dataset, &[])})))
}

async fn remove(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    app.registry().delete_evaluation_dataset(fields.str("dataset_id")?, &actor).await?;
    nothing()
}

async fn search(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let FoundDatasets { datasets, next } = app
        .registry()
        .search_evaluation_datasets(
            &fields.strings("experiment_ids")?,
            fields.opt_str("filter_string")?.unwrap_or_default(),
            &fields.strings("order_by")?,
            fields.opt_int("max_results")?.unwrap_or(1000),
            fields.opt_str("page_token")?,
        )
        .await?;
    let answer = Object::default().list("datasets", datasets.iter().map(|dataset| shape(dataset, &[])));
    Ok(axum::Json(answer.opt("next_page_token", next).done()))
}

async fn set_tags(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let tags = tags(&fields, true)?;
    app.registry().set_evaluation_tags(fields.str("dataset_id")?, tags, &actor).await?;
    nothing()
}

async fn delete_tag(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    app.registry().delete_evaluation_tag(fields.str("dataset_id")?, fields.str("key")?, &actor).await?;
    nothing()
}

async fn put_records(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let wrong = || Error::invalid("The field `records` must be the JSON text of a list of objects.");
    let text = fields.str("records")?;
    check_values(text.as_bytes())?;
    let records: Vec<Map<String, Value>> = serde_json::from_str(text).map_err(|_| wrong())?;
    let (inserted, updated) =
        app.registry().put_evaluation_records(fields.str("dataset_id")?, &records, &actor).await?;
    Ok(axum::Json(json!({"inserted_count": inserted, "updated_count": updated})))
}

async fn records(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let limit = fields.opt_int("max_results")?.filter(|limit| *limit != 0).unwrap_or(1000);
    let (id, token) = (fields.str("dataset_id")?, fields.opt_str("page_token")?);
    let FoundRecords { records, next } = app.registry().evaluation_records(id, limit, token).await?;
    let list = Value::Array(records.iter().map(|record| record_shape(record, id)).collect());
    Ok(axum::Json(Object::default().set("records", list.to_string()).opt("next_page_token", next).done()))
}

async fn delete_records(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let ids = fields.strings("dataset_record_ids")?;
    let deleted = app.registry().delete_evaluation_records(fields.str("dataset_id")?, &ids, &actor).await?;
    Ok(axum::Json(json!({"deleted_count": deleted})))
}

async fn experiments(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let ids = app.registry().evaluation_experiments(fields.str("dataset_id")?).await?;
    let ids = ids.into_iter().map(|id| Value::from(id.to_string()));
    Ok(axum::Json(Object::default().list("experiment_ids", ids).done()))
}

async fn add_experiments(app: State<App>, call: Call) -> Answer {
    link(app, call, true).await
}

async fn remove_experiments(app: State<App>, call: Call) -> Answer {
    link(app, call, false).await
}

async fn link(State(app): State<App>, Call { fields, actor }: Call, there: bool) -> Answer {
    let experiments = fields.strings("experiment_ids")?;
    let dataset =
        app.registry().link_evaluation(fields.str("dataset_id")?, &experiments, there, &actor).await?;
    Ok(axum::Json(json!({"dataset": shape(&dataset, &[])})))
}

/// Tags come as the JSON text of an object.
fn tags(fields: &Fields, needed: bool) -> Result<Vec<KeyValue>> {
    let text = if needed { Some(fields.str("tags")?) } else { fields.opt_str("tags")? };
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let parsed: Map<String, Value> = serde_json::from_str(text)
        .map_err(|_| Error::invalid("The field `tags` must be the JSON text of an object."))?;
    let pair = |(key, value): (String, Value)| {
        let value = match value {
            Value::Null => return None,
            Value::String(text) => text,
            other => other.to_string(),
        };
        Some(KeyValue { key: key.replace('\0', "\u{fffd}"), value: value.replace('\0', "\u{fffd}") })
    };
    Ok(parsed.into_iter().filter_map(pair).collect())
}

fn shape(dataset: &EvaluationDataset, experiments: &[String]) -> Value {
    let tags: Map<String, Value> =
        dataset.tags.iter().map(|tag| (tag.key.clone(), Value::from(tag.value.as_str()))).collect();
    Object::default()
        .set("dataset_id", dataset.id.as_str())
        .set("name", dataset.name.as_str())
        .set("tags", Value::Object(tags).to_string())
        .opt("schema", dataset.schema.as_deref())
        .opt("profile", dataset.profile.as_deref())
        .set("digest", dataset.digest.as_str())
        .set("created_time", dataset.created_at.millis())
        .set("last_update_time", dataset.updated_at.millis())
        .opt("created_by", dataset.created_by.as_deref())
        .opt("last_updated_by", dataset.updated_by.as_deref())
        .list("experiment_ids", experiments.iter().map(|id| Value::from(id.as_str())))
        .done()
}

fn record_shape(record: &EvaluationRecord, dataset: &str) -> Value {
    let parsed =
        |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    Object::default()
        .set("dataset_record_id", record.id.as_str())
        .set("dataset_id", dataset)
        .set("inputs", serde_json::from_str::<Value>(&record.inputs).unwrap_or_default())
        .opt("expectations", parsed(&record.expectations))
        .opt("tags", parsed(&record.tags).or_else(|| Some(json!({}))))
        .opt("source", parsed(&record.source))
        .opt("source_id", record.source_id.as_deref())
        .opt("source_type", Some(record.source_kind.as_str()).filter(|kind| !kind.is_empty()))
        .set("created_time", record.created_at.millis())
        .set("last_update_time", record.updated_at.millis())
        .opt("created_by", record.created_by.as_deref())
        .opt("last_updated_by", record.updated_by.as_deref())
        .opt("outputs", parsed(&record.outputs))
        .done()
}
