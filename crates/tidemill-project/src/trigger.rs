//! What starts work, as the project file says it; and what that means with every default filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidemill_core::Name;
use tidemill_core::declare::{
    BrokerKind, Concurrency, MessageSource, Missed, RateLimit, Secret, Trigger, TriggerAction, When,
};

use crate::{Period, Project};

/// An event and what it starts. (The key is `actions`: YAML 1.1 reads `on` as true.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerDecl {
    /// A name for the log, the command line and the address of its webhook; made of the event where not given, for
    /// example `data-flights`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The event.
    pub when: WhenDecl,
    /// What happens, in order; the first failure ends it.
    pub actions: Vec<TriggerAction>,
    /// The environment to which `release` and `ci` release; the first one below `release:` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Name>,
    /// Events within this time of one another count as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debounce: Option<Period>,
    /// What happens when the event comes while its actions still run; `queue` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// How often it may start work. Where not given, only what the trigger itself may have set off is limited: three
    /// times a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitDecl>,
    /// Where the secret is that callers of the trigger's webhook sign with; where not given, they need what every
    /// request to the server needs. Of a message, where the password or token for the broker is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenDecl {
    /// A time: five cron fields (minute, hour, day of month, month, day of week), six of which the first is seconds,
    /// or `@daily` and its kin; or that with a time zone.
    Schedule(Schedule),
    /// The files of a dataset have changed, or it has a new version.
    Data(Name),
    /// A dataset was checked, and an expectation on it did not hold, be it one that only warns.
    Expectations(Name),
    /// A monitor has fired.
    Alert(String),
    /// A branch has a new commit.
    Git(GitDecl),
    /// A registered model has a new version, or an alias of it has moved.
    Model(ModelDecl),
    /// An environment below `release:` runs another release, whose rollout is complete.
    Environment(Name),
    /// A message has arrived.
    Message(Message),
    /// Somebody has called the webhook of this name.
    Webhook(Name),
    /// A CloudEvent has arrived at the trigger's webhook.
    #[serde(rename = "cloudevent")]
    CloudEvent(CloudEventDecl),
    /// Alertmanager has told the trigger's webhook that the alert of this name fires; `*` for any.
    Alertmanager(String),
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

    /// The name of the time zone.
    pub fn timezone(&self) -> &str {
        match self {
            Self::Cron(_) => "UTC",
            Self::Zoned(zoned) => zoned.timezone.as_deref().unwrap_or("UTC"),
        }
    }
}

/// A time in a time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZonedSchedule {
    /// Five or six cron fields, or `@daily` and its kin.
    pub cron: String,
    /// The time zone's name, for example `Europe/Berlin`; UTC where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What happens with times at which no server ran; `once` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
}

/// A branch, or that with where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum GitDecl {
    /// The branch of the project's own repository.
    Branch(String),
    /// The branch and where it is.
    Of(GitBranch),
}

/// A branch and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitBranch {
    /// The branch.
    pub branch: String,
    /// A remote of the project's repository; `origin` where there is one, and else the repository itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// How often the branch is looked at; every minute where not given, `0s` for never, where a webhook tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Period>,
}

/// A registered model, or that with an alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ModelDecl {
    /// A new version of this model.
    Version(String),
    /// An alias of a model has moved.
    Alias(ModelAlias),
}

/// An alias of a registered model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelAlias {
    /// The registered model.
    pub name: String,
    /// The alias, for example `champion`.
    pub alias: String,
}

/// The type of a CloudEvent, or that with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CloudEventDecl {
    /// The `type`; `*` at its end stands for any rest.
    Type(String),
    /// The `type` and the `source`.
    Filter(CloudEventFilter),
}

/// What a CloudEvent must say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudEventFilter {
    /// The `type`; `*` at its end stands for any rest.
    #[serde(rename = "type")]
    pub kind: String,
    /// The `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Where a message arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A NATS subject that a stream of JetStream keeps.
    Nats(Listen),
    /// A topic of Kafka, or of what speaks its protocol.
    Kafka(Listen),
    /// A RabbitMQ queue.
    Rabbitmq(Listen),
    /// An MQTT topic filter.
    Mqtt(Listen),
    /// A Redis stream. There is no adapter in this build.
    Redis(Listen),
}

/// A subject, topic or queue, or that with where it is and what counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Listen {
    /// At the broker on this machine.
    Address(String),
    /// Somewhere else, or only some messages.
    At(ListenAt),
}

/// A subject, topic or queue, where it is, and which messages count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenAt {
    /// The subject, topic or queue.
    pub address: String,
    /// Where the broker is, for example `nats://broker:4222`, `kafkas://user@broker,other`, `amqp://user@broker/vhost` or
    /// `mqtts://user@broker`; never with a password, whose place `secret` names. The usual port on this machine where not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Only messages whose body is a JSON object with these values; by field, or by JSON pointer, which begins with `/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, String>,
}

impl Message {
    /// What is listened for, and how it is declared.
    pub(crate) fn source(&self) -> (MessageSource, &Listen) {
        let (broker, listen) = match self {
            Self::Nats(listen) => (BrokerKind::Nats, listen),
            Self::Kafka(listen) => (BrokerKind::Kafka, listen),
            Self::Rabbitmq(listen) => (BrokerKind::Rabbitmq, listen),
            Self::Mqtt(listen) => (BrokerKind::Mqtt, listen),
            Self::Redis(listen) => (BrokerKind::Redis, listen),
        };
        let address = match listen {
            Listen::Address(address) | Listen::At(ListenAt { address, .. }) => address.clone(),
        };
        (MessageSource { broker, address }, listen)
    }
}

/// How often a trigger may start work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitDecl {
    /// So many times,
    #[schemars(range(min = 1))]
    pub count: u32,
    /// in this time.
    pub per: Period,
}

/// How often branches, and files that cannot be watched, are looked at where the project file does not say.
const POLL: Duration = Duration::from_secs(60);

impl Project {
    /// The triggers with every default filled in and a name each, in the order of the file.
    pub fn resolved_triggers(&self) -> Vec<Trigger> {
        let mut taken: BTreeSet<String> =
            self.triggers.iter().filter_map(|t| t.name.as_ref().map(ToString::to_string)).collect();
        self.triggers
            .iter()
            .map(|decl| {
                let name = decl.name.as_ref().map_or_else(
                    || {
                        let name = free_name(&decl.when.usual_name(), &taken);
                        taken.insert(name.clone());
                        name
                    },
                    ToString::to_string,
                );
                Trigger {
                    name,
                    when: self.when(&decl.when),
                    actions: decl.actions.clone(),
                    to: decl.to.as_ref().map(ToString::to_string),
                    debounce: decl.debounce.map_or(Duration::ZERO, |period| period.0),
                    concurrency: decl.concurrency.unwrap_or_default(),
                    limit: decl.limit.map(|limit| RateLimit { count: limit.count, per: limit.per.0 }),
                    secret: decl.secret.clone(),
                }
            })
            .collect()
    }

    /// Where the messages are that triggers listen for, and which of them count; by the trigger's name.
    pub fn listened(&self) -> BTreeMap<String, ListenAt> {
        let named = self.triggers.iter().zip(self.resolved_triggers());
        named
            .filter_map(|(decl, resolved)| {
                let WhenDecl::Message(message) = &decl.when else { return None };
                let at = match message.source().1 {
                    Listen::At(at) => at.clone(),
                    Listen::Address(address) => {
                        ListenAt { address: address.clone(), server: None, filter: BTreeMap::new() }
                    }
                };
                Some((resolved.name, at))
            })
            .collect()
    }

    fn when(&self, when: &WhenDecl) -> When {
        match when {
            WhenDecl::Schedule(schedule) => When::Schedule {
                cron: schedule.cron().to_owned(),
                timezone: schedule.timezone().to_owned(),
                missed: match schedule {
                    Schedule::Cron(_) => Missed::default(),
                    Schedule::Zoned(zoned) => zoned.missed.unwrap_or_default(),
                },
            },
            WhenDecl::Data(dataset) => When::Data {
                dataset: dataset.to_string(),
                paths: self.data.get(dataset).map_or_else(Vec::new, |data| data.path.as_slice().to_vec()),
                poll: POLL,
            },
            WhenDecl::Expectations(dataset) => When::Expectations { dataset: dataset.to_string() },
            WhenDecl::Alert(monitor) => When::Alert { monitor: monitor.clone() },
            WhenDecl::Git(GitDecl::Branch(branch)) => {
                When::Git { branch: branch.clone(), remote: None, poll: POLL }
            }
            WhenDecl::Git(GitDecl::Of(of)) => When::Git {
                branch: of.branch.clone(),
                remote: of.remote.clone(),
                poll: of.poll.map_or(POLL, |period| period.0),
            },
            WhenDecl::Model(ModelDecl::Version(model)) => When::Model { model: model.clone(), alias: None },
            WhenDecl::Model(ModelDecl::Alias(of)) => {
                When::Model { model: of.name.clone(), alias: Some(of.alias.clone()) }
            }
            WhenDecl::Environment(name) => When::Environment { environment: name.to_string() },
            WhenDecl::Message(message) => When::Message(message.source().0),
            WhenDecl::Webhook(_) => When::Webhook,
            WhenDecl::CloudEvent(CloudEventDecl::Type(kind)) => {
                When::CloudEvent { kind: kind.clone(), source: None }
            }
            WhenDecl::CloudEvent(CloudEventDecl::Filter(filter)) => {
                When::CloudEvent { kind: filter.kind.clone(), source: filter.source.clone() }
            }
            WhenDecl::Alertmanager(alert) => When::Alertmanager { alert: alert.clone() },
        }
    }
}

impl WhenDecl {
    /// The name of a trigger that has none of its own.
    fn usual_name(&self) -> String {
        let with = |kind: &str, rest: &str| {
            let plain: String = rest
                .chars()
                .take(100)
                .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' })
                .collect();
            let plain = plain.trim_matches('-');
            if plain.is_empty() { kind.to_owned() } else { format!("{kind}-{plain}") }
        };
        match self {
            Self::Schedule(_) => "schedule".to_owned(),
            Self::Data(dataset) => with("data", dataset.as_str()),
            Self::Expectations(dataset) => with("expectations", dataset.as_str()),
            Self::Alert(monitor) => with("alert", monitor),
            Self::Git(GitDecl::Branch(branch) | GitDecl::Of(GitBranch { branch, .. })) => with("git", branch),
            Self::Model(ModelDecl::Version(name) | ModelDecl::Alias(ModelAlias { name, .. })) => {
                with("model", name)
            }
            Self::Environment(name) => with("environment", name.as_str()),
            Self::Message(message) => {
                let (source, _) = message.source();
                with(source.broker.name(), &source.address)
            }
            Self::Webhook(name) => name.to_string(),
            Self::CloudEvent(
                CloudEventDecl::Type(kind) | CloudEventDecl::Filter(CloudEventFilter { kind, .. }),
            ) => with("cloudevent", kind),
            Self::Alertmanager(alert) => with("alertmanager", alert),
        }
    }
}

/// `name`, or with the smallest number behind it that nobody has.
fn free_name(name: &str, taken: &BTreeSet<String>) -> String {
    if !taken.contains(name) {
        return name.to_owned();
    }
    // One of so many is free.
    let numbered = (2..taken.len() + 3).map(|n| format!("{name}-{n}")).find(|name| !taken.contains(name));
    numbered.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_with_and_without_a_server() {
        let text = "project: p\ntriggers:\n\
            - {when: {message: {nats: data.ready}}, actions: [run]}\n\
            - {when: {message: {rabbitmq: {address: q, server: 'amqps://ada@rabbit/ml', filter: {/a/b: '1'}}}},\n   \
               actions: [run], secret: {env: RABBIT}}\n";
        let project = crate::parse(text, "tidemill.yaml").unwrap();
        let triggers = project.resolved_triggers();
        let nats = MessageSource { broker: BrokerKind::Nats, address: "data.ready".to_owned() };
        let rabbit = MessageSource { broker: BrokerKind::Rabbitmq, address: "q".to_owned() };
        assert_eq!(triggers[0].when, When::Message(nats));
        assert_eq!(triggers[1].when, When::Message(rabbit));
        let listened = project.listened();
        assert_eq!(listened[&triggers[0].name].server, None);
        let at = &listened[&triggers[1].name];
        assert_eq!(at.server.as_deref(), Some("amqps://ada@rabbit/ml"));
        assert_eq!(at.filter, BTreeMap::from([("/a/b".to_owned(), "1".to_owned())]));
        assert_eq!(
            crate::parse(&crate::print(&project).unwrap(), "tidemill.yaml").unwrap().listened(),
            listened
        );
    }

    #[test]
    fn messages_that_nobody_can_listen_for() {
        for (message, why) in [
            ("{nats: ''}", "nothing is listened for"),
            ("{mqtt: {address: ' '}}", "nothing is listened for"),
            ("{rabbitmq: {address: q, server: 'amqp://ada:pw@rabbit'}}", "the address holds a password"),
        ] {
            let text = format!("project: p\ntriggers:\n- {{when: {{message: {message}}}, actions: [run]}}\n");
            let report = crate::parse(&text, "tidemill.yaml").unwrap_err().render(false);
            assert!(report.contains(why) && !report.contains("pw"), "{report}");
        }
        let text = "project: p\ntriggers:\n- {when: {data: d}, actions: [run], secret: {env: S}}\n";
        let report = crate::parse(text, "tidemill.yaml").unwrap_err().render(false);
        assert!(report.contains("nothing is signed with this secret"), "{report}");
    }

    #[test]
    fn names_and_defaults() {
        let text = "project: p\ndata: {flights: {path: data/*.parquet}}\nmonitors: [{drift: {window: 1d, columns: features}}]\ntriggers:\n\
            - {when: {schedule: \"0 3 * * *\"}, actions: [run]}\n\
            - {when: {schedule: {cron: \"@daily\", timezone: Asia/Tokyo, missed: all}}, actions: [run]}\n\
            - {when: {data: flights}, actions: [run], debounce: 2s, limit: {count: 1, per: 1h}}\n\
            - {when: {git: feature/x}, actions: [ci], secret: {env: HOOK}}\n\
            - {name: schedule-2, when: {alert: drift}, actions: [run], concurrency: supersede}\n\
            - {when: {cloudevent: {type: com.example.*, source: /s}}, actions: [run]}\n\
            - {when: {model: {name: m, alias: champion}}, actions: [check]}\n\
            - {when: {alertmanager: '*'}, actions: [run]}\n";
        let project = crate::parse(text, "tidemill.yaml").unwrap();
        let triggers = project.resolved_triggers();
        let names: Vec<&str> = triggers.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "schedule",
                "schedule-3",
                "data-flights",
                "git-feature-x",
                "schedule-2",
                "cloudevent-com.example.",
                "model-m",
                "alertmanager"
            ]
        );
        let zoned = When::Schedule {
            cron: "@daily".to_owned(),
            timezone: "Asia/Tokyo".to_owned(),
            missed: Missed::All,
        };
        assert_eq!(triggers[1].when, zoned);
        assert_eq!(triggers[2].debounce, Duration::from_secs(2));
        assert_eq!(triggers[2].limit, Some(RateLimit { count: 1, per: Duration::from_secs(3600) }));
        assert_eq!(triggers[3].secret, Some(Secret::Env("HOOK".to_owned())));
        assert_eq!(triggers[4].concurrency, Concurrency::Supersede);
        let again = crate::parse(&crate::print(&project).unwrap(), "tidemill.yaml").unwrap();
        assert_eq!(again.resolved_triggers(), triggers, "printed and read back");
    }
}
