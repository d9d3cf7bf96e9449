//! `model-versions/…`

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use futures::stream;
use serde_json::json;
use tidemill_db::models::ModelVersion;
use tidemill_db::tracking::KeyValue;
use tidemill_registry::VersionRequest;

use super::{entity, pairs, required, text};
use crate::App;
use crate::access::Seen;
use crate::mlflow::failure::Failure;
use crate::mlflow::list;
use crate::mlflow::wire::{Answer, Call, nothing};

pub(super) async fn create(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let request = VersionRequest {
        model: required(&fields, "name")?.to_owned(),
        source: required(&fields, "source")?.to_owned(),
        run: fields.opt_str("run_id")?.map(str::to_owned),
        logged_model: fields.opt_str("model_id")?.map(str::to_owned),
        run_link: fields.opt_str("run_link")?.map(str::to_owned),
        description: Some(text(&fields, "description")?),
        tags: pairs(&fields, "tags")?,
        cause: None,
        facts: None,
    };
    answer(&app.registry().create_version(&actor, request).await?)
}

pub(super) async fn get(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let (name, version) = (required(&fields, "name")?, required(&fields, "version")?);
    answer(&app.registry().version(name, version).await?)
}

pub(super) async fn by_alias(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let (name, alias) = (required(&fields, "name")?, required(&fields, "alias")?);
    answer(&app.registry().version_by_alias(name, alias).await?)
}

pub(super) async fn search(
    State(app): State<App>,
    seen: Option<Extension<Seen>>,
    Call { fields, .. }: Call,
) -> Result<Response, Failure> {
    let (filter, order) = (text(&fields, "filter")?, fields.strings("order_by")?);
    let (limit, token) = (fields.opt_int("max_results")?, fields.opt_str("page_token")?);
    let seen = seen.map(|Extension(seen)| seen.models).unwrap_or_default();
    let (found, next) = app.registry().find_versions(&filter, &order, limit, token, &seen).await?;
    let parts = stream::try_unfold(found, |mut found| async {
        let part = found.part().await?;
        Ok((!part.is_empty()).then_some((part, found)))
    });
    let write =
        |out: &mut Vec<u8>, version: ModelVersion| serde_json::to_writer(out, &entity::version(&version));
    list::answer("model_versions", parts, write, next).await
}

pub(super) async fn update(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, version) = (required(&fields, "name")?, required(&fields, "version")?);
    let description = fields.opt_str("description")?;
    answer(&app.registry().describe_version(&actor, name, version, description).await?)
}

pub(super) async fn remove(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, version) = (required(&fields, "name")?, required(&fields, "version")?);
    app.registry().delete_version(&actor, name, version).await?;
    nothing()
}

pub(super) async fn download_uri(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let (name, version) = (text(&fields, "name")?, text(&fields, "version")?);
    let location = app.registry().version_location(&name, &version).await?;
    Ok(Json(json!({"artifact_uri": location})))
}

pub(super) async fn transition(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, version) = (required(&fields, "name")?, required(&fields, "version")?);
    let stage = required(&fields, "stage")?;
    let archive = fields.opt_bool("archive_existing_versions")?.unwrap_or_default();
    answer(&app.registry().stage_version(&actor, name, version, stage, archive).await?)
}

pub(super) async fn set_tag(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, version) = (required(&fields, "name")?, required(&fields, "version")?);
    let tag = KeyValue { key: required(&fields, "key")?.to_owned(), value: text(&fields, "value")? };
    app.registry().tag_version(&actor, name, version, &tag).await?;
    nothing()
}

pub(super) async fn delete_tag(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let (name, version) = (required(&fields, "name")?, required(&fields, "version")?);
    app.registry().untag_version(&actor, name, version, required(&fields, "key")?).await?;
    nothing()
}

fn answer(version: &ModelVersion) -> Answer {
    Ok(Json(json!({"model_version": entity::version(version)})))
}
