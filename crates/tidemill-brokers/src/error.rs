//! Why a broker is not listened to.

use std::io;

/// Why a broker is not listened to. Never says a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("the address `{address}` {why}")]
    Address {
        /// As it is declared, without a password.
        address: String,
        /// Why, as the end of the sentence.
        why: String,
    },
    /// Nobody answers there.
    #[error("no broker answers at {server}: {source}; is it running, and is `server` right?")]
    Unreachable {
        /// Where.
        server: String,
        /// What the system says.
        source: io::Error,
    },
    /// Whoever answers there says nothing.
    #[error(
        "what answers at {server} does not speak as a broker of this kind, or is overloaded; is `server` right?"
    )]
    Silent {
        /// Where.
        server: String,
    },
    /// The broker does not want it.
    #[error("the broker at {server} refuses: {why}")]
    Refused {
        /// Where.
        server: String,
        /// Why.
        why: String,
    },
    /// The connection has ended.
    #[error("the connection to {server} has ended: {why}")]
    Lost {
        /// Where.
        server: String,
        /// Why.
        why: String,
    },
    /// There is no adapter.
    #[error(
        "there is no adapter for `{0}` in this build; bridge it to NATS, Kafka, RabbitMQ or MQTT, or let it call a webhook"
    )]
    Unsupported(&'static str),
}
