//! `webhooks/…`

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tidemill_db::webhooks::{Delivery, Secret, Webhook, WebhookEvent, WebhookPatch};
use tidemill_registry::{
    ACTIONS, ENTITIES, Result, WebhookRequest, example_data, page_offset, page_token, webhook_event,
};

use super::client::send;
use crate::App;
use crate::mlflow::entity::Object;
use crate::mlflow::models::{required, text};
use crate::mlflow::wire::{Answer, Call, Fields, nothing};
use crate::outgoing::{Sender, check_host};

const STATES: [&str; 2] = ["ACTIVE", "DISABLED"];

pub(super) async fn create(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let reach = app.config().webhook_reach;
    let request = WebhookRequest {
        name: required(&fields, "name")?.to_owned(),
        url: required(&fields, "url")?.to_owned(),
        events: events(&fields)?.ok_or_else(|| fields.missing("events"))?,
        description: given(&fields, "description")?,
        secret: given(&fields, "secret")?.map(Secret::new),
        active: active(&fields)?.unwrap_or(true),
    };
    check_host(&request.url, reach).await?;
    answer(&app.registry().create_webhook(&actor, request, reach).await?)
}

pub(super) async fn list(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let offset = page_offset(fields.opt_str("page_token")?)?;
    let (webhooks, more) = app.registry().webhooks(offset, fields.opt_int("max_results")?).await?;
    let next = more.then(|| page_token(offset + webhooks.len() as u64));
    Ok(Json(
        Object::default().list("webhooks", webhooks.iter().map(webhook)).opt("next_page_token", next).done(),
    ))
}

pub(super) async fn read(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    answer(&app.registry().webhook(fields.str("webhook_id")?).await?)
}

pub(super) async fn update(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    let reach = app.config().webhook_reach;
    let patch = WebhookPatch {
        name: given(&fields, "name")?,
        // An empty description takes the old one away; an empty name, URL or list of events is none.
        description: fields.opt_str("description")?.map(str::to_owned),
        url: given(&fields, "url")?,
        secret: fields.opt_str("secret")?.map(Secret::new),
        active: active(&fields)?,
        events: events(&fields)?.filter(|events| !events.is_empty()),
    };
    if let Some(url) = &patch.url {
        check_host(url, reach).await?;
    }
    answer(&app.registry().update_webhook(&actor, fields.str("webhook_id")?, &patch, reach).await?)
}

pub(super) async fn remove(State(app): State<App>, Call { fields, actor }: Call) -> Answer {
    app.registry().delete_webhook(&actor, fields.str("webhook_id")?).await?;
    nothing()
}

/// Sends an example at once; its answer says how it went, whatever that was.
pub(super) async fn test(State(app): State<App>, Call { fields, .. }: Call) -> Answer {
    let registry = app.registry();
    let webhook = registry.webhook(fields.str("webhook_id")?).await?;
    let asked = fields.message("event")?.map(|event| read_event(&event)).transpose()?;
    let Some(event) = asked.or_else(|| webhook.events.first().cloned()) else {
        return Err(fields.missing("event").into());
    };
    let now = registry.clock().now();
    let delivery = Delivery {
        id: tidemill_registry::uuid(),
        secret: registry.db().webhook_secret(&webhook.id).await?,
        webhook: webhook.id,
        url: webhook.url,
        data: example_data(&event.entity, &event.action).to_string(),
        entity: event.entity,
        action: event.action,
        created_at: now,
        attempts: 1,
    };
    let result = match send(&Sender::new(app.config().webhook_reach), &delivery, now).await {
        Ok(answer) => json!({
            "success": answer.status.as_u16() < 400,
            "response_status": answer.status.as_u16(),
            "response_body": answer.body,
        }),
        Err(reason) => {
            json!({"success": false, "error_message": format!("Failed to test webhook: {reason}")})
        }
    };
    Ok(Json(json!({"result": result})))
}

fn answer(one: &Webhook) -> Answer {
    Ok(Json(json!({"webhook": webhook(one)})))
}

fn webhook(webhook: &Webhook) -> Value {
    let event = |event: &WebhookEvent| json!({"entity": event.entity.to_uppercase(), "action": event.action.to_uppercase()});
    Object::default()
        .set("webhook_id", webhook.id.as_str())
        .set("name", webhook.name.as_str())
        .opt("description", webhook.description.as_deref())
        .set("url", webhook.url.as_str())
        .list("events", webhook.events.iter().map(event))
        .set("status", STATES[usize::from(!webhook.active)])
        .set("creation_timestamp", webhook.created_at.millis())
        .set("last_updated_timestamp", webhook.updated_at.millis())
        .done()
}

/// What is unset and what is empty are the same.
fn given(fields: &Fields, name: &str) -> Result<Option<String>> {
    Ok(Some(text(fields, name)?).filter(|text| !text.is_empty()))
}

fn active(fields: &Fields) -> Result<Option<bool>> {
    Ok(fields.opt_enum("status", &STATES)?.map(|state| state == STATES[0]))
}

fn events(fields: &Fields) -> Result<Option<Vec<WebhookEvent>>> {
    if fields.get("events").is_none() {
        return Ok(None);
    }
    fields.messages("events")?.iter().map(read_event).collect::<Result<_>>().map(Some)
}

fn read_event(fields: &Fields) -> Result<WebhookEvent> {
    let word = |name: &str, known: &[&'static str]| -> Result<String> {
        let upper: Vec<String> = known.iter().map(|word| word.to_uppercase()).collect();
        let value = fields.get(name).ok_or_else(|| fields.missing(name))?;
        let at = match value {
            Value::Number(number) => number.as_u64().and_then(|n| usize::try_from(n).ok()?.checked_sub(1)),
            Value::String(text) => upper.iter().position(|word| word == text),
            _ => None,
        };
        let found = at.and_then(|at| known.get(at));
        found.map(|word| (*word).to_owned()).ok_or_else(|| fields.invalid(name, value))
    };
    webhook_event(&word("entity", &ENTITIES)?, &word("action", &ACTIONS)?)
}
