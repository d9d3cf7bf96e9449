//! One delivery of MLflow's webhooks over HTTP: its body and its signature.

use serde_json::{Value, json};
use tidemill_core::Timestamp;
use tidemill_db::webhooks::Delivery;

use crate::outgoing::{Answered, Sender, signature};

/// Sends once. The error is a short reason, without the URL, which may hold a token.
pub(super) async fn send(sender: &Sender, delivery: &Delivery, now: Timestamp) -> Result<Answered, String> {
    let body = body(delivery);
    let seconds = now.millis().div_euclid(1000).to_string();
    let mut headers = vec![
        ("Content-Type", "application/json"),
        ("X-MLflow-Delivery-Id", delivery.id.as_str()),
        ("X-MLflow-Timestamp", seconds.as_str()),
    ];
    // An empty secret is how a client takes one away.
    let secret = delivery.secret.as_ref().filter(|secret| !secret.reveal().is_empty());
    let signed = secret.map(|secret| signature(secret, &delivery.id, &seconds, &body));
    headers.extend(signed.as_deref().map(|signed| ("X-MLflow-Signature", signed)));
    sender.post(&delivery.url, &headers, body).await
}

fn body(delivery: &Delivery) -> String {
    let data: Value = serde_json::from_str(&delivery.data).unwrap_or_default();
    json!({
        "entity": delivery.entity,
        "action": delivery.action,
        "timestamp": delivery.created_at.to_string(),
        "data": data,
    })
    .to_string()
}
