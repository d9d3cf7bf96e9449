//! The clients against the real brokers: what is not acknowledged comes again and is known, whatever its size; and what is
//! wrong is said.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail where their helpers fail")]

mod kafka;

use std::time::Duration;

use tidemill_brokers::{BODY, Config, Error, connect};
use tidemill_core::declare::{BrokerKind, MessageSource};
use tidemill_testkit::{Broker, BrokerKind as Kind};
use tidemill_trigger::message::{Incoming, Source};

fn config(kind: BrokerKind, scheme: &str, broker: &str, address: &str) -> Config {
    Config {
        source: MessageSource { broker: kind, address: address.to_owned() },
        server: Some(format!("{scheme}://{broker}")),
        name: "tidemill lab go".to_owned(),
        password: None,
    }
}

async fn next(source: &mut Box<dyn Source>) -> Incoming {
    tokio::time::timeout(Duration::from_secs(60), source.next()).await.expect("a message in time").unwrap()
}

/// What the client says where it does not connect.
async fn refused(config: &Config) -> String {
    connect(config).await.err().expect("no connection").to_string()
}

/// What acts of a message, remembered as the server does.
#[derive(Default)]
struct Memory(Option<String>);

impl Memory {
    fn acts(&mut self, message: &Incoming) -> bool {
        let next = message.place.advance(self.0.as_deref());
        let acts = next.is_some();
        self.0 = next.or(self.0.take());
        acts
    }
}

/// One message is lost half-way three times, and its acknowledgement once; the one after it is another, with the same bytes.
async fn comes_again(broker: &Broker, config: &Config) {
    let address = config.source.address.as_str();
    let mut memory = Memory::default();
    let mut source = connect(config).await.unwrap();
    broker.send(address, "same", None);
    for _ in 0..3 {
        let message = next(&mut source).await;
        assert_eq!((message.body.as_slice(), message.size, message.is_cut()), (&b"same"[..], 4, false));
        assert_eq!(message.address, address);
        // Nothing is remembered of it, since it did not get that far.
        drop(source);
        source = connect(config).await.unwrap();
    }
    let message = next(&mut source).await;
    assert!(memory.acts(&message), "{message:?}");
    drop(source);
    source = connect(config).await.unwrap();
    let message = next(&mut source).await;
    assert!(!memory.acts(&message), "{message:?} with {memory:?}", memory = memory.0);
    source.acknowledge().await.unwrap();
    source.close().await;
    drop(source);
    // Nobody listens.
    broker.send(address, "same", None);
    source = connect(config).await.unwrap();
    let message = next(&mut source).await;
    assert!(memory.acts(&message), "{message:?} with {memory:?}", memory = memory.0);
    source.acknowledge().await.unwrap();
    source.close().await;
}

/// Of a long body the beginning is kept, and the next message is read well.
async fn long_bodies(broker: &Broker, config: &Config) {
    let address = config.source.address.as_str();
    let mut source = connect(config).await.unwrap();
    let body = "x".repeat(3 * BODY + 7);
    broker.send(address, &body, None);
    broker.send(address, "short", None);
    let message = next(&mut source).await;
    assert_eq!((message.size, message.body.len()), (body.len() as u64, BODY));
    assert!(message.is_cut() && message.body.iter().all(|byte| *byte == b'x'));
    source.acknowledge().await.unwrap();
    assert_eq!(next(&mut source).await.body, b"short");
    source.acknowledge().await.unwrap();
    source.close().await;
}

#[tokio::test]
async fn nats() {
    let broker = Broker::start(Kind::Nats);
    let config = config(BrokerKind::Nats, "nats", &broker.at(), "data.ready");
    let why = refused(&config).await;
    assert!(why.contains("no stream of JetStream keeps the subject `data.ready`"), "{why}");
    broker.keep("data.ready");
    comes_again(&broker, &config).await;
    // The stream goes away while we listen.
    let mut source = connect(&config).await.unwrap();
    broker.forget("data.ready");
    let gone = tokio::time::timeout(Duration::from_secs(60), source.next()).await.unwrap();
    assert!(gone.is_err(), "{gone:?}");
    let why = refused(&config).await;
    assert!(why.contains("no stream of JetStream"), "{why}");
}

#[tokio::test]
async fn mqtt() {
    let broker = Broker::start(Kind::Mosquitto);
    let config = config(BrokerKind::Mqtt, "mqtt", &broker.at(), "data/ready");
    broker.retain("data/ready", "long ago");
    comes_again(&broker, &config).await;
    long_bodies(&broker, &config).await;
    // It was retained all the time, and sent at each connection. One that we hear when it is published is news.
    let mut source = connect(&config).await.unwrap();
    broker.retain("data/ready", "just now");
    assert_eq!(next(&mut source).await.body, b"just now");
    source.acknowledge().await.unwrap();
    source.close().await;
    source = connect(&config).await.unwrap();
    broker.send("data/ready", "after it", None);
    assert_eq!(next(&mut source).await.body, b"after it");
}

#[tokio::test]
async fn rabbitmq() {
    let broker = Broker::start(Kind::Rabbitmq);
    let of = |queue: &str| config(BrokerKind::Rabbitmq, "amqp", &broker.at(), queue);
    let why = refused(&of("nowhere")).await;
    assert!(why.contains("no queue 'nowhere'"), "{why}");
    broker.keep("data.ready");
    comes_again(&broker, &of("data.ready")).await;
    long_bodies(&broker, &of("data.ready")).await;
    broker.keep_in_quorum("counted");
    comes_again(&broker, &of("counted")).await;
    // The queue goes away while we listen.
    let mut source = connect(&of("data.ready")).await.unwrap();
    broker.forget("data.ready");
    let why = source.next().await.unwrap_err();
    assert!(why.contains("the queue `data.ready` is gone"), "{why}");
}

#[tokio::test]
async fn what_is_no_broker() {
    let broker = Broker::start(Kind::Nats);
    let why = refused(&config(BrokerKind::Mqtt, "mqtt", &broker.at(), "x")).await;
    assert!(why.contains(&broker.at()), "{why}");
    let why = refused(&config(BrokerKind::Nats, "nats", "127.0.0.1:1", "x")).await;
    assert!(why.contains("no broker answers at nats://127.0.0.1:1"), "{why}");
    let error = connect(&config(BrokerKind::Redis, "redis", &broker.at(), "x")).await.err().unwrap();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert!(error.to_string().contains("bridge it to NATS, Kafka, RabbitMQ or MQTT"), "{error}");
}
