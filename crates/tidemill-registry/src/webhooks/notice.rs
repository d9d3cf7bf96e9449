//! What webhooks are told, in the words of MLflow's deliveries.

use serde_json::{Map, Value, json};
use tidemill_db::Tx;
use tidemill_db::models::ModelVersion;
use tidemill_db::tracking::KeyValue;

use super::kind::webhook_event;
use crate::fresh::uuid;
use crate::{Registry, Result};

/// The prompt's text among the tags of a prompt version.
const TEXT: &str = "mlflow.prompt.text";
/// Tags that only say that something is a prompt.
const MARKS: [&str; 2] = ["mlflow.prompt.is_prompt", "_mlflow_prompt_type"];

/// One thing to be told to whoever listens.
pub(crate) struct Notice {
    entity: &'static str,
    action: &'static str,
    data: Value,
}

impl Notice {
    pub(crate) fn model_created(name: &str, tags: &[KeyValue], description: &str, prompt: bool) -> Self {
        let entity = if prompt { "prompt" } else { "registered_model" };
        let tags = tag_map(tags, |key| prompt && MARKS.contains(&key));
        Self {
            entity,
            action: "created",
            data: json!({"name": name, "tags": tags, "description": description}),
        }
    }

    pub(crate) fn version_created(version: &ModelVersion, prompt: bool) -> Self {
        let description = version.description.as_deref().filter(|text| !text.is_empty());
        let number = version.version.to_string();
        if prompt {
            let text = version.tags.iter().find(|tag| tag.key == TEXT).map(|tag| tag.value.as_str());
            let tags = tag_map(&version.tags, |key| key == TEXT || MARKS.contains(&key));
            let data = json!({
                "name": version.model, "version": number, "template": text, "tags": tags, "description": description,
            });
            return Self { entity: "prompt_version", action: "created", data };
        }
        let data = json!({
            "name": version.model, "version": number, "source": version.source, "run_id": version.run,
            "tags": tag_map(&version.tags, |_| false), "description": description,
        });
        Self { entity: "model_version", action: "created", data }
    }

    pub(crate) fn tag_set(name: &str, version: Option<u64>, tag: &KeyValue, prompt: bool) -> Self {
        let mut data = tag_data(name, version, &tag.key);
        data.insert("value".to_owned(), Value::from(tag.value.as_str()));
        Self { entity: tag_entity(version, prompt), action: "set", data: Value::Object(data) }
    }

    pub(crate) fn tag_deleted(name: &str, version: Option<u64>, key: &str, prompt: bool) -> Self {
        let data = Value::Object(tag_data(name, version, key));
        Self { entity: tag_entity(version, prompt), action: "deleted", data }
    }

    pub(crate) fn alias_created(name: &str, alias: &str, version: u64, prompt: bool) -> Self {
        let data = json!({"name": name, "alias": alias, "version": version.to_string()});
        Self { entity: alias_entity(prompt), action: "created", data }
    }

    pub(crate) fn alias_deleted(name: &str, alias: &str, prompt: bool) -> Self {
        Self { entity: alias_entity(prompt), action: "deleted", data: json!({"name": name, "alias": alias}) }
    }
}

impl Registry {
    /// Puts into the outbox what everybody who listens is to be told.
    pub(crate) async fn notify(&self, tx: &mut Tx, notice: &Notice) -> Result<()> {
        // MLflow has no such kind: tags of registered models that are no prompts.
        if webhook_event(notice.entity, notice.action).is_err() {
            return Ok(());
        }
        let data = notice.data.to_string();
        tx.queue_deliveries(notice.entity, notice.action, &data, self.clock.now(), uuid).await?;
        Ok(())
    }
}

/// What a delivery of this kind would say, for trying a webhook out.
pub fn example_data(entity: &str, action: &str) -> Value {
    let (name, alias) = if entity.starts_with("prompt") {
        ("example_prompt", "example_alias")
    } else {
        ("example_model", "example_alias")
    };
    let tag = KeyValue { key: "example_key".to_owned(), value: "example_value".to_owned() };
    let version = entity.contains("version").then_some(1);
    let prompt = entity.starts_with("prompt");
    let tags = json!({"example_key": "example_value"});
    match (entity, action) {
        ("registered_model" | "prompt", _) => Notice::model_created(name, &[tag], "An example", prompt).data,
        ("model_version", _) => json!({
            "name": name, "version": "1", "source": "models:/m-0123456789abcdef0123456789abcdef",
            "run_id": "0123456789abcdef0123456789abcdef", "tags": tags, "description": "An example",
        }),
        ("prompt_version", _) => json!({
            "name": name, "version": "1", "template": "Hello {{name}}!", "tags": tags, "description": "An example",
        }),
        ("model_version_alias" | "prompt_alias", "created") => {
            Notice::alias_created(name, alias, 1, prompt).data
        }
        ("model_version_alias" | "prompt_alias", _) => Notice::alias_deleted(name, alias, prompt).data,
        (_, "set") => Notice::tag_set(name, version, &tag, prompt).data,
        (_, "deleted") => Notice::tag_deleted(name, version, &tag.key, prompt).data,
        _ => json!({"name": name}),
    }
}

fn tag_entity(version: Option<u64>, prompt: bool) -> &'static str {
    match (version, prompt) {
        (Some(_), true) => "prompt_version_tag",
        (Some(_), false) => "model_version_tag",
        (None, true) => "prompt_tag",
        (None, false) => "registered_model_tag",
    }
}

fn alias_entity(prompt: bool) -> &'static str {
    if prompt { "prompt_alias" } else { "model_version_alias" }
}

fn tag_data(name: &str, version: Option<u64>, key: &str) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("name".to_owned(), Value::from(name));
    if let Some(version) = version {
        data.insert("version".to_owned(), Value::from(version.to_string()));
    }
    data.insert("key".to_owned(), Value::from(key));
    data
}

/// Of two tags with one key the later counts.
fn tag_map(tags: &[KeyValue], left_out: impl Fn(&str) -> bool) -> Map<String, Value> {
    let kept = tags.iter().filter(|tag| !left_out(&tag.key));
    kept.map(|tag| (tag.key.clone(), Value::from(tag.value.as_str()))).collect()
}
