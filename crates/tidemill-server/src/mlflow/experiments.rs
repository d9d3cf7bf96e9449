//! Experiments: make, read, rename, delete, restore, tag. Searches are in `search`.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::json;
use tidemill_db::tracking::KeyValue;
use tidemill_registry::Result;

use crate::App;
use crate::access::{self, Caller};
use crate::mlflow::entity;
use crate::mlflow::wire::{Answer, Call, Fields, nothing};

/// Paths below `/api/2.0`.
pub(super) fn routes_2() -> Router<App> {
    Router::new()
        .route("/mlflow/experiments/create", post(create))
        .route("/mlflow/experiments/get", get(by_id))
        .route("/mlflow/experiments/get-by-name", get(by_name))
        .route("/mlflow/experiments/update", post(update))
        .route("/mlflow/experiments/delete", post(delete))
        .route("/mlflow/experiments/restore", post(restore))
        .route("/mlflow/experiments/set-experiment-tag", post(set_tag))
        .route("/mlflow/experiments/delete-experiment-tag", post(delete_tag))
}

/// Paths below `/api/3.0`.
pub(super) fn routes_3() -> Router<App> {
    Router::new()
}

/// Paths of the root.
pub(super) fn routes_root() -> Router<App> {
    Router::new()
}

/// Keys and values of a list of messages.
pub(super) fn pairs(fields: &Fields, name: &str) -> Result<Vec<KeyValue>> {
    fields.messages(name)?.iter().map(pair).collect()
}

/// A key and a value, which may be missing.
pub(super) fn pair(fields: &Fields) -> Result<KeyValue> {
    Ok(KeyValue { key: fields.text("key")?.to_owned(), value: fields.any_text("value")?.to_owned() })
}

async fn create(
    State(app): State<App>,
    caller: Option<Extension<Caller>>,
    Call { fields, actor }: Call,
) -> Answer {
    let (name, location) = (fields.text("name")?, fields.opt_str("artifact_location")?);
    let tags = pairs(&fields, "tags")?;
    let maker = caller.as_ref().and_then(|caller| caller.person());
    let id = app.registry().create_experiment_of(&actor, name, location, tags, maker).await?;
    access::forget(&app);
    Ok(Json(json!({"experiment_id": id.to_string()})))
}

async fn by_id(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let found = app.registry().experiment(fields.text("experiment_id")?).await?;
    Ok(Json(json!({"experiment": entity::experiment(&found)})))
}

async fn by_name(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let found = app.registry().experiment_by_name(fields.text("experiment_name")?).await?;
    Ok(Json(json!({"experiment": entity::experiment(&found)})))
}

async fn update(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (id, name) = (fields.text("experiment_id")?, fields.text("new_name")?);
    app.registry().rename_experiment(&actor, id, name).await?;
    nothing()
}

async fn delete(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    app.registry().delete_experiment(&actor, fields.text("experiment_id")?).await?;
    nothing()
}

async fn restore(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    app.registry().restore_experiment(&actor, fields.text("experiment_id")?).await?;
    nothing()
}

async fn set_tag(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let id = fields.text("experiment_id")?;
    app.registry().set_experiment_tag(&actor, id, pair(&fields)?).await?;
    nothing()
}

async fn delete_tag(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (id, key) = (fields.text("experiment_id")?, fields.text("key")?);
    app.registry().delete_experiment_tag(&actor, id, key).await?;
    nothing()
}
