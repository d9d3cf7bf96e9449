//! What starts work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_core::Name;

use crate::Period;

/// An event and what it starts. (The key is `actions`: YAML 1.1 reads `on` as true.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// The event.
    pub when: When,
    /// What happens, in order; the first failure ends it.
    pub actions: Vec<TriggerAction>,
    /// Events within this time of one another count as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debounce: Option<Period>,
    /// What happens when the event comes while its actions still run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// A time: five cron fields (minute, hour, day of month, month, day of week), or `@daily` and its kin; or
    /// that with a time zone.
    Schedule(Schedule),
    /// A dataset has changed.
    Data(Name),
    /// A monitor has fired.
    Alert(String),
    /// A branch has a new commit.
    Git(String),
    /// A message has arrived.
    Message(Message),
    /// Somebody has called the webhook of this name.
    Webhook(Name),
}

/// A time, as cron writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Schedule {
    /// In UTC.
    Cron(String),
    /// In a time zone.
    Zoned(ZonedSchedule),
}

impl Schedule {
    /// The cron text.
    pub fn cron(&self) -> &str {
        match self {
            Self::Cron(cron) => cron,
            Self::Zoned(zoned) => &zoned.cron,
        }
    }
}

/// A time in a time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZonedSchedule {
    /// Five cron fields, or `@daily` and its kin.
    pub cron: String,
    /// The time zone's name, for example `Europe/Berlin`.
    pub timezone: String,
}

/// Where a message arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A NATS subject.
    Nats(String),
    /// A Kafka topic.
    Kafka(String),
    /// A RabbitMQ queue.
    Rabbitmq(String),
    /// An MQTT topic filter.
    Mqtt(String),
    /// A Redis stream.
    Redis(String),
}

/// What a trigger starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerAction {
    /// Checks the file and the data expectations.
    Check,
    /// Runs the pipeline.
    Run,
    /// Releases the model.
    Release,
    /// Tests the commit as code, data and model.
    Ci,
}

/// What happens when an event comes while its actions still run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// One more waits.
    Queue,
    /// What runs is stopped.
    Replace,
    /// The event is dropped.
    Forbid,
}
