//! Message brokers as sources of events: NATS JetStream, Kafka, RabbitMQ, MQTT.
//!
//! Each is a small client of our own for the one thing that is needed: to take messages one after the other and to say
//! which of them have acted. Why not the usual client libraries: `docs/contributing/dependencies.md`. What is decided about
//! a message is `tidemill-trigger`'s.

mod address;
mod error;
mod fields;
mod kafka;
mod mqtt;
mod nats;
mod rabbitmq;
mod wire;

use std::time::Duration;

use tidemill_core::declare::{BrokerKind, MessageSource};
use tidemill_trigger::message::Source;

use address::Address;
pub use error::Error;

/// The most of a body that is looked at, in bytes; the rest is read and forgotten.
pub const BODY: usize = 1 << 20;
/// How long a broker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is listened for, and as whom.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where messages arrive.
    pub source: MessageSource,
    /// Where the broker is; at its usual port on this machine where not given.
    pub server: Option<String>,
    /// Who listens: the broker keeps what has acted by this name. The same name later goes on where it stopped.
    pub name: String,
    /// The password of the user in the broker's address.
    pub password: Option<String>,
}

/// Connects to the broker and begins to listen.
///
/// # Errors
/// Where the address makes no sense, nobody answers there, or the broker refuses.
pub async fn connect(config: &Config) -> Result<Box<dyn Source>, Error> {
    let kind = config.source.broker;
    let (schemes, default) = match kind {
        BrokerKind::Nats => ([("nats", 4222, false), ("tls", 4222, true)], "nats://127.0.0.1:4222"),
        BrokerKind::Rabbitmq => ([("amqp", 5672, false), ("amqps", 5671, true)], "amqp://127.0.0.1:5672"),
        BrokerKind::Mqtt => ([("mqtt", 1883, false), ("mqtts", 8883, true)], "mqtt://127.0.0.1:1883"),
        BrokerKind::Kafka => ([("kafka", 9092, false), ("kafkas", 9093, true)], "kafka://127.0.0.1:9092"),
        BrokerKind::Redis => return Err(Error::Unsupported(kind.name())),
    };
    let server = config.server.as_deref().unwrap_or(default);
    // Of a cluster several may be named.
    let servers = match kind {
        BrokerKind::Kafka => Address::several(server, &schemes)?,
        _ => vec![Address::parse(server, &schemes)?],
    };
    let address = &servers[0];
    let name = plain(&config.name);
    let listening = async {
        Ok::<Box<dyn Source>, Error>(match kind {
            BrokerKind::Nats => Box::new(nats::Nats::connect(config, address, &name).await?),
            BrokerKind::Rabbitmq => Box::new(rabbitmq::Rabbitmq::connect(config, address, &name).await?),
            BrokerKind::Mqtt => Box::new(mqtt::Mqtt::connect(config, address, &name).await?),
            BrokerKind::Kafka => Box::new(kafka::Kafka::connect(config, &servers, &name).await?),
            BrokerKind::Redis => return Err(Error::Unsupported(kind.name())),
        })
    };
    match tokio::time::timeout(PATIENCE, listening).await {
        Ok(listening) => listening,
        Err(_) => Err(Error::Silent { server: address.shown() }),
    }
}

/// Reads any bytes as what a broker that speaks Kafka's protocol answers, for fuzzing: it returns for all of them.
pub fn fuzz_kafka(bytes: &[u8]) {
    kafka::fuzz_entry(bytes);
}

/// A name that every broker takes: letters, digits, `-` and `_`, with the digest of what it was, since two may look alike
/// then.
fn plain(name: &str) -> String {
    let digest = tidemill_core::Digest::of(name.as_bytes()).short();
    let plain: String =
        name.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("{plain}-{digest}")
}

/// What nobody can guess.
fn random() -> String {
    use std::hash::{BuildHasher as _, Hasher as _};
    // Each has keys of its own.
    let word = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_for_brokers() {
        let name = plain("tidemill my.project go/now");
        assert!(name.starts_with("tidemill-my-project-go-now-"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{name}");
        assert_ne!(plain("a.b"), plain("a-b"));
    }
}
