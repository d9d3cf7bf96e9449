//! `registered-models/…`

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::json;
use tidemill_db::models::RegisteredModel;
use tidemill_db::tracking::KeyValue;

use super::{entity, pairs, required, text};
use crate::App;
use crate::access::{self, Caller, Seen};
use crate::mlflow::entity::Object;
use crate::mlflow::wire::{Answer, Call, nothing};

pub(super) async fn create(
    State(app): State<App>,
    caller: Option<Extension<Caller>>,
    Call { fields, actor }: Call,
) -> Answer {
    let name = required(&fields, "name")?;
    let tags = pairs(&fields, "tags")?;
    let description = fields.opt_str("description")?;
    let maker = caller.as_ref().and_then(|caller| caller.person());
    let model = app.registry().create_model_of(&actor, name, &tags, description, maker).await?;
    access::forget(&app);
    answer(&model)
}

pub(super) async fn get(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    answer(&app.registry().model(required(&fields, "name")?).await?)
}

pub(super) async fn rename(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, to) = (required(&fields, "name")?, required(&fields, "new_name")?);
    let model = app.registry().rename_model(&actor, name, to).await?;
    access::forget(&app);
    answer(&model)
}

pub(super) async fn update(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let name = required(&fields, "name")?;
    let description = fields.opt_str("description")?;
    answer(&app.registry().describe_model(&actor, name, description).await?)
}

pub(super) async fn remove(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    app.registry().delete_model(&actor, required(&fields, "name")?).await?;
    access::forget(&app);
    nothing()
}

pub(super) async fn search(
    State(app): State<App>,
    seen: Option<Extension<Seen>>,
    Call { fields, .. }: Call,
) -> Answer {
    let (filter, order) = (text(&fields, "filter")?, fields.strings("order_by")?);
    let (limit, token) = (fields.opt_int("max_results")?, fields.opt_str("page_token")?);
    let seen = seen.map(|Extension(seen)| seen.models).unwrap_or_default();
    let found = app.registry().search_models_of(&filter, &order, limit, token, &seen).await?;
    let models = found.items.iter().map(entity::model);
    Ok(Json(Object::default().list("registered_models", models).opt("next_page_token", found.next).done()))
}

pub(super) async fn latest(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let name = required(&fields, "name")?;
    let versions = app.registry().latest_versions(name, &fields.strings("stages")?).await?;
    Ok(Json(Object::default().list("model_versions", versions.iter().map(entity::version)).done()))
}

pub(super) async fn set_tag(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let name = required(&fields, "name")?;
    let tag = KeyValue { key: required(&fields, "key")?.to_owned(), value: text(&fields, "value")? };
    app.registry().tag_model(&actor, name, &tag).await?;
    nothing()
}

pub(super) async fn delete_tag(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, key) = (required(&fields, "name")?, required(&fields, "key")?);
    app.registry().untag_model(&actor, name, key).await?;
    nothing()
}

pub(super) async fn set_alias(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, alias) = (required(&fields, "name")?, required(&fields, "alias")?);
    app.registry().set_alias(&actor, name, alias, required(&fields, "version")?).await?;
    nothing()
}

pub(super) async fn delete_alias(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, alias) = (required(&fields, "name")?, required(&fields, "alias")?);
    app.registry().remove_alias(&actor, name, alias).await?;
    nothing()
}

fn answer(model: &RegisteredModel) -> Answer {
    Ok(Json(json!({"registered_model": entity::model(model)})))
}
