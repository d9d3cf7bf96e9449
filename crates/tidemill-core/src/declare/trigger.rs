//! What starts work: the events, what they start, and what keeps them from starting too much.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An event and what it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its name, the only one of this name in the project.
    pub name: String,
    /// The event.
    pub when: When,
    /// What happens, in order; the first failure ends it.
    pub actions: Vec<TriggerAction>,
    /// The environment to which `release` and `ci` release; the first one where not given.
    pub to: Option<String>,
    /// Events within this time of one another count as one; zero for none.
    pub debounce: Duration,
    /// What happens when the event comes while a job of it is open.
    pub concurrency: Concurrency,
    /// How often it may start a job.
    pub limit: Option<RateLimit>,
    /// What callers of its webhook must know.
    pub secret: Option<Secret>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// A time.
    Schedule {
        /// Five cron fields, or six of which the first is seconds, or `@daily` and its kin.
        cron: String,
        /// The name of a time zone, for example `Europe/Berlin`.
        timezone: String,
        /// What happens with times at which nobody was there.
        missed: Missed,
    },
    /// The files of a dataset have changed, or it has a new version.
    Data {
        /// The dataset.
        dataset: String,
        /// Where its files are, as the project file says.
        paths: Vec<String>,
        /// How often files that cannot be watched are looked at.
        poll: Duration,
    },
    /// A dataset was checked, and an expectation on it did not hold.
    Expectations {
        /// The dataset.
        dataset: String,
    },
    /// A monitor has fired.
    Alert {
        /// The monitor.
        monitor: String,
    },
    /// A branch has a new commit.
    Git {
        /// The branch.
        branch: String,
        /// The remote, or the address of a repository; `None` for the project's own repository, by its remote `origin`
        /// where it has one.
        remote: Option<String>,
        /// How often the branch is looked at; zero for never, where a webhook tells.
        poll: Duration,
    },
    /// A registered model has a new version, or an alias of it has moved.
    Model {
        /// The registered model.
        model: String,
        /// The alias; `None` for versions.
        alias: Option<String>,
    },
    /// A rollout was completed in an environment, which runs another release now.
    Environment {
        /// The environment.
        environment: String,
    },
    /// A message has arrived.
    Message(MessageSource),
    /// Somebody has called the webhook of the trigger.
    Webhook,
    /// A CloudEvent has arrived at the webhook of the trigger.
    CloudEvent {
        /// Its `type`; `*` at the end stands for any rest.
        kind: String,
        /// Its `source`; `None` for any.
        source: Option<String>,
    },
    /// Alertmanager has told the webhook of the trigger that an alert fires.
    Alertmanager {
        /// The label `alertname`; `*` for any.
        alert: String,
    },
}

/// Where a message arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSource {
    /// What kind of broker.
    pub broker: BrokerKind,
    /// The subject, topic or queue.
    pub address: String,
}

/// A kind of message broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerKind {
    /// NATS JetStream.
    Nats,
    /// What speaks Kafka's protocol.
    Kafka,
    /// RabbitMQ.
    Rabbitmq,
    /// MQTT.
    Mqtt,
    /// Redis streams.
    Redis,
}

impl BrokerKind {
    /// The word in the project file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Kafka => "kafka",
            Self::Rabbitmq => "rabbitmq",
            Self::Mqtt => "mqtt",
            Self::Redis => "redis",
        }
    }
}

/// What happens with times of a schedule at which no server was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are left out.
    Skip,
    /// However many they are, they count as one.
    #[default]
    Once,
    /// Each is made up for, the latest 100 of them.
    All,
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
    /// Tests the commit as code, data and model in a checkout of its own, registers its model and releases it.
    Ci,
    /// The same without registering and releasing anything.
    Test,
}

impl TriggerAction {
    /// The word in the project file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Run => "run",
            Self::Release => "release",
            Self::Ci => "ci",
            Self::Test => "test",
        }
    }
}

/// What happens when an event comes while a job of its trigger waits or runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// The new job waits for its turn; up to 32 do.
    #[default]
    Queue,
    /// What waits or runs is stopped, and the new job takes its place.
    Supersede,
    /// No new job is made.
    Reject,
}

/// How often a trigger may start a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many times.
    pub count: u32,
    /// In this time.
    pub per: Duration,
}

/// Where a secret is: never in the project file itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// In this environment variable of the server.
    Env(String),
    /// In this file; a path in the project folder, or an absolute one.
    File(String),
}
