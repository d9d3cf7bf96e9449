//! Who is told when an alert fires or is over.
//!
//! Secrets do not stand in a project file: it names the environment variables of the server that hold them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who is told of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Receiver {
    /// A URL that gets JSON, signed where a secret is named.
    Webhook(WebhookReceiver),
    /// An incoming webhook of Slack, or of what understands the same (Mattermost, Rocket.Chat, Discord's `/slack`).
    Slack(SlackReceiver),
    /// Mail over SMTP.
    Email(EmailReceiver),
    /// A URL that takes CloudEvents 1.0 in structured mode.
    Cloudevents(CloudeventsReceiver),
    /// Prometheus' Alertmanager.
    Alertmanager(AlertmanagerReceiver),
}

impl Receiver {
    /// The kind as it stands in a project file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Email(_) => "email",
            Self::Cloudevents(_) => "cloudevents",
            Self::Alertmanager(_) => "alertmanager",
        }
    }
}

/// A URL that gets JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookReceiver {
    /// Where to.
    pub url: String,
    /// The environment variable of the server that holds the secret of the signature (HMAC-SHA256, as Standard Webhooks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
}

/// An incoming webhook of Slack. Its URL is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackReceiver {
    /// The environment variable of the server that holds the URL.
    pub url_env: String,
}

/// Mail over SMTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailReceiver {
    /// The mail server.
    pub host: String,
    /// Its port; 587 where not given, 465 with `security: tls`, 25 with `security: none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: MailSecurity,
    /// The sender's address.
    pub from: String,
    /// The addresses that get it.
    pub to: Vec<String>,
    /// The user's name at the mail server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The environment variable of the server that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailSecurity {
    /// It begins in the clear and must then be encrypted.
    #[default]
    Starttls,
    /// It is encrypted from the start.
    Tls,
    /// Not at all: for a mail server on the same machine.
    None,
}

/// A URL that takes CloudEvents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudeventsReceiver {
    /// Where to.
    pub url: String,
}

/// Prometheus' Alertmanager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerReceiver {
    /// Its address, as in `http://alerts.example.com:9093`.
    pub url: String,
}
