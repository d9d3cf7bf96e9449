//! Messages of real brokers: each acts once, whatever dies in between.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_testkit::{Broker, BrokerKind};

use super::client::Client;
use super::process::Server;
use super::triggers::{Lab, STEP};

#[test]
fn nats() {
    let broker = Broker::start(BrokerKind::Nats);
    let recreated = |broker: &Broker| {
        // A stream that is made anew counts from 1 again.
        broker.forget("data.ready");
        broker.keep("data.ready");
    };
    each_message_acts_once(broker, "nats", "data.ready", Some(&recreated));
}

/// Against librdkafka's mock cluster, which forgets all when it is restarted: then the topic is another one too.
#[test]
fn kafka() {
    let broker = Broker::start(BrokerKind::Kafka);
    let recreated = |broker: &Broker| {
        broker.forget("data.ready");
        broker.keep("data.ready");
    };
    each_message_acts_once(broker, "kafka", "data.ready", Some(&recreated));
}

#[test]
fn mqtt() {
    each_message_acts_once(Broker::start(BrokerKind::Mosquitto), "mqtt", "data/ready", None);
}

#[test]
fn rabbitmq() {
    each_message_acts_once(Broker::start(BrokerKind::Rabbitmq), "rabbitmq", "data.ready", None);
}

fn scheme(kind: &str) -> &str {
    if kind == "rabbitmq" { "amqp" } else { kind }
}

fn each_message_acts_once(mut broker: Broker, kind: &str, address: &str, anew: Option<&dyn Fn(&Broker)>) {
    broker.keep(address);
    let way = Way::to(&broker.at());
    let scheme = scheme(kind);
    let lab = Lab::new(&format!(
        "{STEP}triggers:\n\
         - {{name: go, when: {{message: {{{kind}: {{address: {address}, server: '{scheme}://{}', \
           filter: {{dataset: flights}}}}}}}}, actions: [check]}}\n\
         - {{name: lost, when: {{message: {{{kind}: {{address: {address}, server: '{scheme}://127.0.0.1:1'}}}}}}, \
           actions: [check]}}\n",
        way.at()
    ));
    let send = |broker: &Broker, number: usize, id: Option<&str>| {
        broker.send(address, &format!("{{\"dataset\": \"flights\", \"number\": {number}}}"), id);
    };
    let mut sent = 0;
    // kill -9 while messages arrive and become jobs.
    for round in 0..4_u64 {
        let server = lab.place.serve();
        listening(&lab, &server);
        for _ in 0..2 {
            sent += 1;
            send(&broker, sent, None);
        }
        broker.send(address, r#"{"dataset": "weather"}"#, None);
        broker.send(address, "not JSON", None);
        std::thread::sleep(Duration::from_millis(round * 37 % 90));
        server.kill();
    }
    let server = lab.place.serve();
    lab.wait(&server, "every message", |log| log.count("source_changed") >= sent);

    // The message becomes an event, and the broker never hears so.
    listening(&lab, &server);
    if kind == "kafka" {
        // Its client goes to the brokers that it is told of, past our way.
        broker.lose_acknowledgement();
    } else {
        // What asks for the next message must have come through.
        way.settle();
        way.mute(true);
    }
    sent += 1;
    send(&broker, sent, None);
    lab.wait(&server, "the message whose acknowledgement is lost", |log| log.count("source_changed") == sent);
    way.cut();
    way.mute(false);
    // What comes after it shows that it came again, and did nothing.
    sent += 1;
    send(&broker, sent, None);
    lab.wait(&server, "the message after the one that came again", |log| log.count("source_changed") == sent);

    // The broker is away for a while.
    broker.stop();
    way.cut();
    let problem = |trigger: &str| status(&lab).into_iter().find(|(name, _)| name == trigger).unwrap().1;
    until("the broker's absence to be known", || problem("go")["problem"].is_string());
    broker.restart();
    way.lead_to(&broker.at());
    if kind == "kafka" {
        broker.keep(address);
    }
    listening(&lab, &server);
    sent += 1;
    send(&broker, sent, None);
    lab.wait(&server, "the message after the broker's absence", |log| log.count("source_changed") == sent);

    if let Some(anew) = anew {
        let part = |event: &Value| {
            event["details"]["position"].as_str().unwrap().rsplit_once(':').unwrap().0.to_owned()
        };
        let before: BTreeSet<String> = lab.log().of("source_changed").map(part).collect();
        anew(&broker);
        way.cut();
        // What is sent before somebody listens to the new stream is not news.
        until("a message of the new stream", || {
            send(&broker, 1, None);
            lab.log().of("source_changed").any(|event| !before.contains(&part(event)))
        });
    } else if kind == "rabbitmq" {
        // A sender that is not sure sends again.
        for _ in 0..2 {
            send(&broker, sent + 1, Some("the same"));
        }
        sent += 2;
        send(&broker, sent, None);
        lab.wait(&server, "the message after the one that was sent twice", |log| {
            log.count("source_changed") == sent
        });
    }
    // The address that leads nowhere says so, and has stopped nothing.
    let lost = problem("lost");
    let why = lost["problem"].as_str().unwrap_or_default();
    assert!(why.contains(&format!("no broker answers at {scheme}://127.0.0.1:1")), "{lost}");
    let said = lab.run(&["trigger", "list"]);
    assert!(said.contains("no broker answers"), "{said}");
    let log = lab.wait(&server, "all jobs", |log| log.count("job_finished") == log.count("trigger_fired"));
    assert!(
        log.of("source_changed").all(|event| event["name"] == "go" && event["source"] == "message"),
        "{log}"
    );
    log.acted_once();
    lab.run(&["log", "verify"]);
    server.stop();
}

/// Encrypted, with a password that is a secret of ours; and what is said where certificate or password are wrong.
#[test]
fn encrypted_and_with_a_password() {
    let kinds = [
        (BrokerKind::Nats, "nats", "tls", "data.ready", "Authorization Violation"),
        (BrokerKind::Rabbitmq, "rabbitmq", "amqps", "data.ready", "ACCESS_REFUSED"),
        (BrokerKind::Mosquitto, "mqtt", "mqtts", "data/ready", "this user may not connect"),
    ];
    let brokers = kinds.map(|(kind, ..)| Broker::start_guarded(kind));
    let mut yaml = format!("{STEP}triggers:\n");
    for (broker, (_, kind, scheme, address, _)) in brokers.iter().zip(kinds) {
        broker.keep(address);
        for (name, secret) in [("good", "env: BROKER_PASSWORD"), ("wrong", "file: wrong.txt")] {
            let server = format!("{scheme}://{}@{}", Broker::USER, broker.guarded());
            yaml += &format!(
                " - {{name: {name}-{kind}, secret: {{{secret}}}, actions: [check], \
                   when: {{message: {{{kind}: {{address: {address}, server: '{server}'}}}}}}}}\n"
            );
        }
    }
    let lab = Lab::new(&yaml);
    lab.write("wrong.txt", "another-s3cret\n");
    let all: String =
        brokers.iter().map(|broker| fs_err::read_to_string(broker.authority()).unwrap()).collect();
    lab.write("authorities.pem", &all);
    let said = |name: &str| status(&lab).into_iter().find(|(found, _)| found == name).unwrap().1;

    // Nobody vouches for the brokers.
    let password = ("BROKER_PASSWORD", Broker::PASSWORD);
    let server = lab.place.serve_in(&[password]);
    for (_, kind, ..) in kinds {
        until("a certificate to be refused", || {
            said(&format!("good-{kind}"))["problem"]
                .as_str()
                .is_some_and(|why| why.contains("no encrypted connection"))
        });
    }
    server.stop();

    let authorities = lab.place.root().join("authorities.pem");
    let server = lab.place.serve_in(&[password, ("SSL_CERT_FILE", authorities.to_str().unwrap())]);
    for (broker, (_, kind, _, address, why)) in brokers.iter().zip(kinds) {
        until("a broker to be listened to", || said(&format!("good-{kind}"))["listening"] == true);
        until("a password to be refused", || {
            said(&format!("wrong-{kind}"))["problem"].as_str().is_some_and(|said| said.contains(why))
        });
        broker.send(address, "{}", None);
    }
    let log = lab.wait(&server, "a message of each broker", |log| log.ended("succeeded") == kinds.len());
    assert_eq!(log.count("source_changed"), kinds.len(), "{log}");
    let answer = Client::connect(&server.url)
        .unwrap()
        .send("GET", "/api/v1/triggers", "application/json", b"")
        .unwrap();
    let answer = String::from_utf8(answer.body).unwrap();
    assert!(answer.contains("ACCESS_REFUSED"), "{answer}");
    for text in [server.said(), lab.run(&["trigger", "list"]), lab.run(&["log", "export"]), answer] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    server.stop();
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(120), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How the brokers of the triggers stand, by name.
fn status(lab: &Lab) -> Vec<(String, Value)> {
    let listed: Value = serde_json::from_str(&lab.run(&["trigger", "list", "--json"])).unwrap();
    let all = listed.as_array().unwrap().iter();
    all.map(|one| (one["name"].as_str().unwrap().to_owned(), one["source"].clone())).collect()
}

/// Waits until the trigger `go` hears messages.
#[track_caller]
fn listening(lab: &Lab, server: &Server) {
    let begin = Instant::now();
    while !status(lab).iter().any(|(name, source)| name == "go" && source["listening"] == true) {
        assert!(begin.elapsed() < Duration::from_secs(120), "nobody listens:\n{}", server.said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The way to a broker, which can be cut, and on which what is said to the broker can be lost.
struct Way {
    at: String,
    broker: Arc<Mutex<String>>,
    mute: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    /// When something was said to the broker last.
    said: Arc<Mutex<Instant>>,
}

impl Way {
    fn to(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let (mute, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let broker = Arc::new(Mutex::new(broker.to_owned()));
        let said = Arc::new(Mutex::new(Instant::now()));
        let way = Self {
            at,
            broker: Arc::clone(&broker),
            mute: Arc::clone(&mute),
            open: Arc::clone(&open),
            said: Arc::clone(&said),
        };
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let broker = broker.lock().unwrap().clone();
                let Ok(far) = TcpStream::connect(broker) else { continue };
                let mut open = open.lock().unwrap();
                open.push(near.try_clone().unwrap());
                open.push(far.try_clone().unwrap());
                let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (mute, said) = (Arc::clone(&mute), Arc::clone(&said));
                std::thread::spawn(move || carry(from, to, &mute, &said));
                std::thread::spawn(move || {
                    carry(far, near, &AtomicBool::new(false), &Mutex::new(Instant::now()));
                });
            }
        });
        way
    }

    fn at(&self) -> &str {
        &self.at
    }

    /// Where the broker is now.
    fn lead_to(&self, broker: &str) {
        broker.clone_into(&mut self.broker.lock().unwrap());
    }

    /// Waits until nothing was said to the broker for half a second.
    fn settle(&self) {
        let begin = Instant::now();
        while self.said.lock().unwrap().elapsed() < Duration::from_millis(500) {
            assert!(begin.elapsed() < Duration::from_secs(60), "the client never stops to talk");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn mute(&self, mute: bool) {
        self.mute.store(mute, Ordering::SeqCst);
    }

    /// Ends all connections.
    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, mute: &AtomicBool, said: &Mutex<Instant>) {
    let mut buffer = [0; 4096];
    while let Ok(read) = from.read(&mut buffer) {
        *said.lock().unwrap() = Instant::now();
        if read == 0 || (!mute.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).is_err()) {
            break;
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
