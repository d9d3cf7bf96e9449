//! The webhook of Prometheus' Alertmanager.
//!
//! Source: "Alerting configuration, webhook_config" of Prometheus' documentation, version 4 of the message.

use serde::Deserialize;

use crate::{Details, detail};

/// The most alerts in one message.
const ALERTS: usize = 1000;

/// What Alertmanager sends.
#[derive(Clone, Debug, Deserialize)]
struct Message {
    version: String,
    alerts: Vec<Sent>,
}

#[derive(Clone, Debug, Deserialize)]
struct Sent {
    status: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(rename = "startsAt", default)]
    starts_at: String,
    #[serde(default)]
    fingerprint: String,
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The label `alertname`.
    pub name: String,
    /// What tells this time of firing from every other: Alertmanager repeats itself as long as an alert fires.
    pub key: String,
    /// What the log says of it.
    pub details: Details,
}

/// Why a body is no message of Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body is no message of Alertmanager: {0}")]
pub struct NoMessage(String);

/// The alerts of a message that fire and are called `wanted`; `*` for any.
pub fn firing(body: &[u8], wanted: &str) -> Result<Vec<Alert>, NoMessage> {
    let message: Message = serde_json::from_slice(body).map_err(|error| NoMessage(error.to_string()))?;
    if message.version != "4" {
        return Err(NoMessage(format!("it is of version `{}`, not 4", detail(&message.version))));
    }
    if message.alerts.len() > ALERTS {
        return Err(NoMessage(format!("it holds {} alerts, more than {ALERTS}", message.alerts.len())));
    }
    let found = message.alerts.into_iter().filter(|alert| alert.status == "firing");
    Ok(found
        .filter_map(|alert| {
            let name = alert.labels.get("alertname")?.clone();
            (wanted == "*" || wanted == name).then(|| {
                let who = if alert.fingerprint.is_empty() {
                    alert.labels.iter().map(|(key, value)| format!("{key}={value},")).collect()
                } else {
                    alert.fingerprint.clone()
                };
                let mut details: Details =
                    alert.labels.iter().take(20).map(|(key, value)| (detail(key), detail(value))).collect();
                details.insert("starts_at".to_owned(), detail(&alert.starts_at));
                Alert { name, key: format!("{who} {}", alert.starts_at), details }
            })
        })
        .collect())
}
