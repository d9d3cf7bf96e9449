//! The kinds of changes that webhooks can be told of.

use tidemill_db::webhooks::WebhookEvent;

use crate::{Error, Result};

/// All entities, in the order of MLflow's numbers, from 1.
pub const ENTITIES: [&str; 10] = [
    "registered_model",
    "model_version",
    "model_version_tag",
    "model_version_alias",
    "prompt",
    "prompt_version",
    "prompt_tag",
    "prompt_version_tag",
    "prompt_alias",
    "budget_policy",
];

/// All actions, in the order of MLflow's numbers, from 1.
pub const ACTIONS: [&str; 5] = ["created", "updated", "deleted", "set", "exceeded"];

/// A kind of change, if there is such an action on such an entity.
pub fn webhook_event(entity: &str, action: &str) -> Result<WebhookEvent> {
    let valid = valid_actions(entity);
    if !valid.contains(&action) {
        let list: Vec<String> = valid.iter().map(|action| format!("'{action}'")).collect();
        return Err(Error::invalid(format!(
            "Invalid action '{action}' for entity '{entity}'. Valid actions are: [{}]",
            list.join(", ")
        )));
    }
    Ok(WebhookEvent { entity: entity.to_owned(), action: action.to_owned() })
}

/// By name.
fn valid_actions(entity: &str) -> &'static [&'static str] {
    match entity {
        "registered_model" | "model_version" | "prompt" | "prompt_version" => &["created"],
        "model_version_tag" | "prompt_tag" | "prompt_version_tag" => &["deleted", "set"],
        "model_version_alias" | "prompt_alias" => &["created", "deleted"],
        // Taken, so that a client that listens for everything can; nothing here has a budget.
        "budget_policy" => &["exceeded"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_has_an_action() {
        for entity in ENTITIES {
            assert!(ACTIONS.iter().any(|action| webhook_event(entity, action).is_ok()), "{entity}");
        }
        assert_eq!(
            webhook_event("registered_model", "set").unwrap_err().message,
            "Invalid action 'set' for entity 'registered_model'. Valid actions are: ['created']"
        );
        assert_eq!(
            webhook_event("prompt_tag", "created").unwrap_err().message,
            "Invalid action 'created' for entity 'prompt_tag'. Valid actions are: ['deleted', 'set']"
        );
    }
}
