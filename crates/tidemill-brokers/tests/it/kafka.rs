//! Kafka's protocol against librdkafka's mock cluster, to which librdkafka produces.
//!
//! The mock cluster is no broker: it has no users, no encryption, no markers of transactions, and it cannot add partitions.
//! Users are let in by a small program; transactions, and what follows from more partitions, are tested beside the code.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use tidemill_brokers::{BODY, Config, connect};
use tidemill_core::declare::BrokerKind;
use tidemill_testkit::{Broker, BrokerKind as Kind, python};
use tidemill_trigger::message::{Place, Source};

use super::{comes_again, long_bodies, next, refused};

/// Numbers of questions and codes of errors.
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;
const HANG_UP: i32 = -195;

fn config(broker: &Broker, topic: &str) -> Config {
    super::config(BrokerKind::Kafka, "kafka", &broker.at(), topic)
}

/// Partition, offset and body of a message, which is acknowledged.
async fn taken(source: &mut Box<dyn Source>) -> (String, u64, String) {
    let message = next(source).await;
    source.acknowledge().await.unwrap();
    let Place::Position { part, position } = message.place else { unreachable!("{:?}", message.place) };
    let index = part.rsplit('/').next().unwrap().to_owned();
    (index, position, String::from_utf8(message.body).unwrap())
}

fn said(partition: &str, offset: u64, body: &str) -> (String, u64, String) {
    (partition.to_owned(), offset, body.to_owned())
}

#[tokio::test]
async fn each_message_comes_once_and_in_order() {
    let broker = Broker::start(Kind::Kafka);
    let config = config(&broker, "data.ready");
    let why = refused(&config).await;
    assert!(why.contains(&broker.at()) && why.contains("there is no topic `data.ready`; make it"), "{why}");
    broker.keep("data.ready");
    // What was there before anybody listened is no news.
    broker.send("data.ready", "before", None);
    let source = connect(&config).await.unwrap();
    drop(source);
    comes_again(&broker, &config).await;
    long_bodies(&broker, &config).await;
}

#[tokio::test]
async fn every_compression() {
    let broker = Broker::start(Kind::Kafka);
    let config = config(&broker, "packed");
    broker.keep("packed");
    let mut source = connect(&config).await.unwrap();
    let mut offset = 0;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        // More than a block of each of them.
        let long = format!("{codec}{}", " and again".repeat(30_000));
        broker.produce("packed", 0, codec, &["first", &long, "last"]);
        for body in ["first", &long, "last"] {
            assert_eq!(taken(&mut source).await, said("0", offset, body), "{codec}");
            offset += 1;
        }
    }
    // Whoever stops within a batch goes on within it.
    broker.produce("packed", 0, "zstd", &["one", "two", "three"]);
    assert_eq!(taken(&mut source).await, said("0", offset, "one"));
    assert_eq!(next(&mut source).await.body, b"two");
    drop(source);
    let mut source = connect(&config).await.unwrap();
    assert_eq!(taken(&mut source).await, said("0", offset + 1, "two"));
    assert_eq!(taken(&mut source).await, said("0", offset + 2, "three"));
    let long = "x".repeat(2 * BODY);
    broker.produce("packed", 0, "gzip", &[&long, "after"]);
    let message = next(&mut source).await;
    assert!(message.is_cut() && message.size == 2 * BODY as u64 && message.body.len() == BODY);
    source.acknowledge().await.unwrap();
    assert_eq!(taken(&mut source).await, said("0", offset + 4, "after"));
}

#[tokio::test]
async fn partitions_of_several_brokers() {
    let broker = Broker::start_cluster(3);
    let config = config(&broker, "wide");
    broker.keep_partitions("wide", 4);
    for (partition, leader) in [(0, 1), (1, 2), (2, 3), (3, 1)] {
        broker.lead("wide", partition, leader);
    }
    let mut source = connect(&config).await.unwrap();
    let send = |round: usize| {
        for partition in 0..4 {
            let bodies = [0, 1, 2].map(|i| format!("{partition} {}", round * 3 + i));
            broker.produce("wide", partition, "lz4", &bodies.each_ref().map(String::as_str));
        }
    };
    send(0);
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for i in 0..24 {
        match i {
            // Another broker takes over while there is something to read.
            5 => broker.lead("wide", 0, 3),
            12 => {
                drop(source);
                send(1);
                source = connect(&config).await.unwrap();
            }
            18 => broker.lead("wide", 1, 1),
            _ => {}
        }
        let (partition, offset, body) = taken(&mut source).await;
        let bodies = found.entry(partition.clone()).or_default();
        assert_eq!(offset, bodies.len() as u64, "{partition}: {bodies:?}");
        bodies.push(body);
    }
    let expected = (0..4).map(|partition: usize| {
        (partition.to_string(), (0..6).map(|i| format!("{partition} {i}")).collect::<Vec<_>>())
    });
    assert_eq!(found, expected.collect());
    // Without a leader the others go on.
    broker.lead("wide", 2, -1);
    broker.produce("wide", 3, "none", &["without"]);
    assert_eq!(taken(&mut source).await, said("3", 6, "without"));
    broker.lead("wide", 2, 2);
    broker.produce("wide", 2, "none", &["with"]);
    assert_eq!(taken(&mut source).await, said("2", 6, "with"));
}

#[tokio::test]
async fn what_goes_wrong_is_said_and_loses_nothing() {
    let mut broker = Broker::start(Kind::Kafka);
    let mut config = config(&broker, "data");
    broker.keep("data");
    for (question, code, expected) in [
        (METADATA, HANG_UP, "it hangs up; does it want a user"),
        (FIND_COORDINATOR, 30, "may not use the consumer group `tidemill-lab-go-"),
        (FIND_COORDINATOR, 15, "has no coordinator at the moment"),
        (OFFSET_FETCH, 30, "may not use the consumer group `tidemill-lab-go-"),
    ] {
        broker.fail(question, code);
        let why = refused(&config).await;
        assert!(why.contains(expected) && why.contains(&broker.at()), "{why}");
    }
    broker.fail_topic("data", 29);
    let why = refused(&config).await;
    assert!(why.contains("this user may not read the topic `data`; allow it Describe and Read"), "{why}");
    broker.fail_topic("data", 0);
    let mut source = connect(&config).await.unwrap();
    broker.send("data", "a", None);
    assert_eq!(taken(&mut source).await, said("0", 0, "a"));
    // The connection ends before a message comes, and before it is acknowledged.
    broker.fail(FETCH, HANG_UP);
    let why = lost(&mut source).await;
    assert!(why.contains(&format!("the connection to kafka://{} has ended", broker.at())), "{why}");
    broker.send("data", "b", None);
    source = connect(&config).await.unwrap();
    assert_eq!(next(&mut source).await.body, b"b");
    broker.lose_acknowledgement();
    assert!(source.acknowledge().await.is_err());
    source = connect(&config).await.unwrap();
    assert_eq!(taken(&mut source).await, said("0", 1, "b"));
    drop(source);
    // What nobody has read is gone.
    for body in ["c", "d", "e"] {
        broker.send("data", body, None);
    }
    broker.forget_before("data", 0, 4);
    source = connect(&config).await.unwrap();
    assert_eq!(taken(&mut source).await, said("0", 4, "e"));
    // Another topic of the same name.
    broker.forget("data");
    let why = lost(&mut source).await;
    assert!(why.contains("there is no topic `data`"), "{why}");
    broker.keep("data");
    broker.send("data", "before", None);
    source = connect(&config).await.unwrap();
    broker.send("data", "f", None);
    assert_eq!(taken(&mut source).await, said("0", 1, "f"));
    // The cluster goes away.
    broker.stop();
    let why = lost(&mut source).await;
    assert!(why.contains("has ended"), "{why}");
    // The first of several servers that answers will do.
    broker.restart();
    broker.keep("data");
    config.server = Some(format!("kafka://127.0.0.1:1,{}", broker.at()));
    source = connect(&config).await.unwrap();
    broker.send("data", "g", None);
    assert_eq!(taken(&mut source).await, said("0", 0, "g"));
}

#[tokio::test]
async fn addresses_and_brokers_that_will_not_do() {
    let broker = Broker::start(Kind::Kafka);
    broker.keep("data");
    let mut config = config(&broker, "data");
    // Topics have no identifiers before Kafka 2.8.
    broker.answer_only(METADATA, 0, 8);
    let mut source = connect(&config).await.unwrap();
    broker.send("data", "a", None);
    let message = next(&mut source).await;
    assert_eq!(message.place, Place::Position { part: "0".to_owned(), position: 0 });
    broker.answer_only(FETCH, 0, 9);
    let why = refused(&config).await;
    assert!(why.contains("it does not answer Fetch in version 10; Kafka does since 2.1"), "{why}");
    let at = broker.at();
    for (server, password, expected) in [
        (format!("kafkas://{at}"), None, "no encrypted connection"),
        (format!("http://{at}"), None, "expected `kafka://` or `kafkas://`"),
        (format!("kafka://{at}/GSSAPI"), None, "none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        (format!("kafka://{at}"), Some("s3cret"), "names no user, whose password `secret` is"),
        ("kafka://127.0.0.1:1,127.0.0.1:2".to_owned(), None, "no broker answers at kafka://127.0.0.1:1:"),
    ] {
        config.server = Some(server);
        config.password = password.map(str::to_owned);
        let why = refused(&config).await;
        assert!(why.contains(expected) && !why.contains("s3cret"), "{why}");
    }
    // NATS greets, which is no answer.
    let nats = Broker::start(Kind::Nats);
    let why = refused(&super::config(BrokerKind::Kafka, "kafka", &nats.at(), "data")).await;
    assert!(why.contains("it does not speak Kafka's protocol"), "{why}");
}

/// The mock cluster has no users, so here the other side is a program that has nothing else, by Python's `hmac`.
#[tokio::test]
async fn users_are_let_in() {
    const USER: &str = "ada";
    const PASSWORD: &str = "s3cret,=of the tests";
    let all = "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN";
    let good = "there is no topic `data`";
    let wrong = "user or password are wrong";
    // What is offered, what stands after the port, user, password, the broker's own password, and what is said then.
    for (offered, path, user, password, own, expected) in [
        (all, "", USER, PASSWORD, PASSWORD, good),
        ("SCRAM-SHA-256,PLAIN", "", USER, PASSWORD, PASSWORD, good),
        ("GSSAPI,PLAIN", "", USER, PASSWORD, PASSWORD, good),
        (all, "/scram-sha-256", USER, PASSWORD, PASSWORD, good),
        (all, "/PLAIN", USER, PASSWORD, PASSWORD, good),
        (all, "", USER, "s3cret", PASSWORD, wrong),
        (all, "/SCRAM-SHA-256", USER, "s3cret", PASSWORD, "(SCRAM-SHA-256; it offers SCRAM-SHA-512, "),
        ("PLAIN", "", USER, "s3cret", PASSWORD, "Invalid username or password"),
        (all, "", "bob", PASSWORD, PASSWORD, wrong),
        (all, "", USER, PASSWORD, "s3cret?", "it does not know the password itself"),
        ("GSSAPI,OAUTHBEARER", "", USER, PASSWORD, PASSWORD, "it lets users in by GSSAPI, OAUTHBEARER"),
        ("PLAIN", "/SCRAM-SHA-512", USER, PASSWORD, PASSWORD, "it lets users in by PLAIN"),
    ] {
        let mut child = Command::new(python())
            .args(["-c", include_str!("login.py"), offered, USER, PASSWORD, own])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let at = format!("{user}@127.0.0.1:{}{path}", port.trim());
        let mut config = super::config(BrokerKind::Kafka, "kafka", &at, "data");
        config.password = Some(password.to_owned());
        let why = refused(&config).await;
        assert!(why.contains(expected), "{offered}{path} {user}: {why}");
        assert!(!why.contains("s3cret"), "{why}");
        // It ends with what it reads.
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// Why no message comes any more.
async fn lost(source: &mut Box<dyn Source>) -> String {
    tokio::time::timeout(Duration::from_secs(60), source.next()).await.expect("an error in time").unwrap_err()
}
