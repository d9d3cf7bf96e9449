//! Registered models and versions as MLflow's JSON.

use serde_json::{Value, json};
use tidemill_db::models::{ModelVersion, RegisteredModel};

use crate::mlflow::entity::{Object, key_value};

pub(super) fn model(model: &RegisteredModel) -> Value {
    Object::default()
        .set("name", model.name.as_str())
        .set("creation_timestamp", model.created_at.millis())
        .set("last_updated_timestamp", model.updated_at.millis())
        .opt("description", model.description.as_deref().filter(|text| !text.is_empty()))
        .list("latest_versions", model.latest.iter().map(version))
        .list("tags", model.tags.iter().map(key_value))
        .list(
            "aliases",
            model
                .aliases
                .iter()
                .map(|alias| json!({"alias": alias.alias, "version": alias.version.to_string()})),
        )
        .done()
}

pub(super) fn version(version: &ModelVersion) -> Value {
    Object::default()
        .set("name", version.model.as_str())
        .set("version", version.version.to_string())
        .set("creation_timestamp", version.created_at.millis())
        .set("last_updated_timestamp", version.updated_at.millis())
        .opt("user_id", version.user.as_deref())
        .set("current_stage", version.stage.word())
        .opt("description", version.description.as_deref())
        .set("source", version.source.as_str())
        .set("run_id", version.run.as_deref().unwrap_or_default())
        .set("status", version.status.as_str())
        .opt("status_message", version.status_message.as_deref().filter(|text| !text.is_empty()))
        .list("tags", version.tags.iter().map(key_value))
        .set("run_link", version.run_link.as_deref().unwrap_or_default())
        .list("aliases", version.aliases.iter().map(|alias| Value::from(alias.as_str())))
        .opt("model_id", version.logged_model.as_deref())
        .done()
}
