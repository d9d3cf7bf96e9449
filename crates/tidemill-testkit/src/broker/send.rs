//! What sends to brokers: as much of each protocol as that needs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use super::{Broker, BrokerKind, PATIENCE, free_port};

impl Broker {
    /// Makes a place that keeps what is sent to `address`: a stream, a queue or a topic. MQTT needs none.
    ///
    /// # Panics
    /// Where the broker does not do it, here as below.
    pub fn keep(&self, address: &str) {
        match self.kind {
            BrokerKind::Nats => {
                let name = address.replace(['.', '*', '>'], "_");
                let body = format!(r#"{{"name": "{name}", "subjects": ["{address}"]}}"#);
                let answer = self.nats_request(&format!("$JS.API.STREAM.CREATE.{name}"), &body);
                assert!(answer.contains("\"config\""), "{answer}");
            }
            BrokerKind::Mosquitto => {}
            BrokerKind::Rabbitmq => {
                Amqp::connect(self).declare(address, &[]);
            }
            BrokerKind::Kafka => self.keep_partitions(address, 1),
        }
    }

    /// Makes a quorum queue of RabbitMQ, which counts deliveries in the headers of a message.
    ///
    /// # Panics
    /// Where the broker does not do it.
    pub fn keep_in_quorum(&self, queue: &str) {
        let table = [short("x-queue-type"), b"S".to_vec(), long(b"quorum")].concat();
        Amqp::connect(self).declare(queue, &table);
    }

    /// Removes what [`Broker::keep`] made.
    ///
    /// # Panics
    /// Where the broker does not do it.
    pub fn forget(&self, address: &str) {
        match self.kind {
            BrokerKind::Nats => {
                let name = address.replace(['.', '*', '>'], "_");
                let answer = self.nats_request(&format!("$JS.API.STREAM.DELETE.{name}"), "");
                assert!(answer.contains("success"), "{answer}");
            }
            BrokerKind::Mosquitto => {}
            BrokerKind::Rabbitmq => Amqp::connect(self).delete(address),
            BrokerKind::Kafka => self.forget_topic(address),
        }
    }

    /// Sends a message, and waits until the broker has it; `id` where the protocol has such a thing.
    ///
    /// # Panics
    /// Where the broker does not take it.
    pub fn send(&self, address: &str, body: &str, id: Option<&str>) {
        match self.kind {
            BrokerKind::Nats => {
                let answer = self.nats_request(address, body);
                assert!(answer.contains("\"seq\""), "{answer}");
            }
            BrokerKind::Mosquitto => self.mqtt_send(address, body, false),
            BrokerKind::Rabbitmq => Amqp::connect(self).publish(address, body, id),
            BrokerKind::Kafka => self.produce(address, 0, "none", &[body]),
        }
    }

    /// Sends to a subject and gives the body of the answer.
    fn nats_request(&self, subject: &str, body: &str) -> String {
        let mut stream = self.connect();
        let inbox = format!("_INBOX.t{}", free_port());
        let request = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}}\r\n\
             SUB {inbox} 1\r\nPUB {subject} {inbox} {}\r\n{body}\r\n",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("a broker that reads");
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        loop {
            line.clear();
            lines.read_line(&mut line).expect("a broker that answers");
            assert!(!line.is_empty() && !line.starts_with("-ERR"), "the broker said `{line}`");
            if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                let length: usize =
                    line.split_whitespace().last().and_then(|word| word.parse().ok()).expect("a length");
                let mut answer = vec![0; length];
                lines.read_exact(&mut answer).expect("an answer");
                return String::from_utf8_lossy(&answer).into_owned();
            }
        }
    }

    /// Sends a message of MQTT that the broker retains for those who listen later.
    ///
    /// # Panics
    /// Where the broker does not take it.
    pub fn retain(&self, topic: &str, body: &str) {
        self.mqtt_send(topic, body, true);
    }

    fn mqtt_send(&self, topic: &str, body: &str, retain: bool) {
        let mut stream = self.connect();
        let client = format!("t{}", free_port());
        let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
        let packet = |first: u8, body: Vec<u8>| {
            // Always as four bytes, of which the first three say that more follow.
            let length = [0, 7, 14, 21].map(|shift| (body.len() >> shift & 0x7f) as u8);
            let [a, b, c, d] = length;
            [vec![first, a | 0x80, b | 0x80, c | 0x80, d], body].concat()
        };
        let hello = [text("MQTT"), vec![4, 2, 0, 60], text(&client)].concat();
        stream.write_all(&packet(0x10, hello)).expect("a broker that reads");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).expect("a broker that answers");
        assert_eq!(answer, [0x20, 2, 0, 0]);
        let publish = [text(topic), vec![0, 1], body.as_bytes().to_vec()].concat();
        stream.write_all(&packet(0x32 | u8::from(retain), publish)).expect("a broker that reads");
        stream.read_exact(&mut answer).expect("a broker that answers");
        assert_eq!(answer, [0x40, 2, 0, 1]);
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a broker that listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream
    }
}

/// A connection to RabbitMQ that is about to declare or send.
struct Amqp(TcpStream);

impl Amqp {
    fn connect(broker: &Broker) -> Self {
        let (user, password) =
            if broker.guard.is_some() { (Broker::USER, Broker::PASSWORD) } else { ("guest", "guest") };
        let who = format!("\0{user}\0{password}");
        let mut stream = broker.connect();
        stream.write_all(b"AMQP\x00\x00\x09\x01").expect("a broker that reads");
        let mut amqp = Self(stream);
        amqp.wait(10, 10);
        amqp.method(0, 10, 11, &[&long(b""), &short("PLAIN"), &long(who.as_bytes()), &short("en_US")]);
        amqp.wait(10, 30);
        amqp.method(0, 10, 31, &[&[0, 1, 0, 2, 0, 0, 0, 0]]);
        amqp.method(0, 10, 40, &[&short("/"), &short(""), &[0]]);
        amqp.wait(10, 41);
        amqp.method(1, 20, 10, &[&short("")]);
        amqp.wait(20, 11);
        amqp
    }

    /// A durable queue.
    fn declare(mut self, queue: &str, table: &[u8]) {
        self.method(1, 50, 10, &[&[0, 0], &short(queue), &[2], &long(table)]);
        self.wait(50, 11);
    }

    fn delete(mut self, queue: &str) {
        self.method(1, 50, 40, &[&[0, 0], &short(queue), &[0]]);
        self.wait(50, 41);
    }

    /// Sends, persistent, and waits for the broker to confirm it.
    fn publish(mut self, queue: &str, body: &str, id: Option<&str>) {
        self.method(1, 85, 10, &[&[0]]);
        self.wait(85, 11);
        self.method(1, 60, 40, &[&[0, 0], &short(""), &short(queue), &[0]]);
        let flags: u16 = 1 << 12 | if id.is_some() { 1 << 7 } else { 0 };
        let mut head =
            [&[0, 60, 0, 0][..], &(body.len() as u64).to_be_bytes(), &flags.to_be_bytes(), &[2]].concat();
        head.extend(id.map(short).unwrap_or_default());
        self.frame(2, 1, &head);
        for part in body.as_bytes().chunks(100 << 10) {
            self.frame(3, 1, part);
        }
        self.wait(60, 80);
    }

    fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[&[u8]]) {
        let body = [&class.to_be_bytes(), &method.to_be_bytes(), arguments.concat().as_slice()].concat();
        self.frame(1, channel, &body);
    }

    fn frame(&mut self, kind: u8, channel: u16, body: &[u8]) {
        let frame =
            [&[kind][..], &channel.to_be_bytes(), &(body.len() as u32).to_be_bytes(), body, &[0xce]].concat();
        self.0.write_all(&frame).expect("a broker that reads");
    }

    fn wait(&mut self, class: u16, method: u16) {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head).expect("a broker that answers");
            let mut body = vec![0; u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize + 1];
            self.0.read_exact(&mut body).expect("a broker that answers");
            if head[0] != 1 {
                continue;
            }
            let found = (u16::from_be_bytes([body[0], body[1]]), u16::from_be_bytes([body[2], body[3]]));
            assert!(!matches!(found, (10, 50) | (20, 40)), "{}", String::from_utf8_lossy(&body));
            if found == (class, method) {
                return;
            }
        }
    }
}

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}
