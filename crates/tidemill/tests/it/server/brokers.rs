//! Message brokers for tests, from the system's packages: on loopback, with files of their own, and what sends to them.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;

/// How long a broker may take to start on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(240);

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nats,
    Mosquitto,
    Rabbitmq,
}

impl Kind {
    fn package(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::Mosquitto => "mosquitto",
            Self::Rabbitmq => "rabbitmq-server",
        }
    }
}

/// A running broker; it ends, and its files are removed, when it is dropped.
#[derive(Debug)]
pub(super) struct Broker {
    kind: Kind,
    folder: PathBuf,
    port: u16,
    children: Vec<Child>,
}

impl Broker {
    /// NATS with JetStream.
    pub(super) fn nats() -> Self {
        Self::new(Kind::Nats)
    }

    /// Mosquitto, which speaks MQTT and keeps sessions over restarts.
    pub(super) fn mosquitto() -> Self {
        Self::new(Kind::Mosquitto)
    }

    /// RabbitMQ, with nothing but its core.
    pub(super) fn rabbitmq() -> Self {
        Self::new(Kind::Rabbitmq)
    }

    fn new(kind: Kind) -> Self {
        let name = format!("tidemill-broker-{}-{}", std::process::id(), free_port());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder for a broker");
        let mut broker = Self { kind, folder, port: free_port(), children: Vec::new() };
        broker.start();
        broker
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub(super) fn at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it again where it was stopped, with what it has kept.
    pub(super) fn start(&mut self) {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut command = match self.kind {
            Kind::Nats => {
                let mut command = program("nats-server");
                command.args(["--addr", "127.0.0.1", "--jetstream", "--port"]).arg(self.port.to_string());
                command.arg("--store_dir").arg(self.folder.join("store"));
                command
            }
            Kind::Mosquitto => {
                let config = format!(
                    "listener {} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
                     autosave_interval 1\nautosave_on_changes true\nuser root\n",
                    self.port,
                    self.folder.display()
                );
                let file = self.folder.join("mosquitto.conf");
                fs::write(&file, config).expect("a configuration");
                let mut command = program("mosquitto");
                command.arg("-c").arg(file);
                command
            }
            Kind::Rabbitmq => self.rabbit(),
        };
        let errors = log.try_clone().expect("the log once more");
        command.stdin(Stdio::null()).stdout(log.into_parts().0).stderr(errors.into_parts().0);
        self.children.push(spawn(&mut command, self.kind));
        let begin = Instant::now();
        while !self.answers() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let ended = self.children.last_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                panic!("{} ended: {status}\n{}", self.kind.package(), log());
            }
            assert!(begin.elapsed() < PATIENCE, "{} does not start:\n{}", self.kind.package(), log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Debian's script in `/usr/sbin` changes the user; this one is what it runs. The program by which Erlang finds its
    /// nodes is started here too, since one that it starts would stay.
    fn rabbit(&mut self) -> Command {
        let (names, between) = (free_port(), free_port());
        let mut finder = program("epmd");
        finder.args(["-address", "127.0.0.1", "-port"]).arg(names.to_string());
        finder.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.children.push(spawn(&mut finder, self.kind));
        fs::write(self.folder.join("plugins"), "[].").expect("a list of plugins");
        let inside = |name: &str| self.folder.join(name);
        let mut command = program("/usr/lib/rabbitmq/bin/rabbitmq-server");
        command
            .env("HOME", &self.folder)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", names.to_string())
            .env("RABBITMQ_NODENAME", format!("t{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", between.to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("RABBITMQ_MNESIA_BASE", inside("mnesia"))
            .env("RABBITMQ_LOG_BASE", inside("logs"))
            .env("RABBITMQ_PID_FILE", inside("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", inside("plugins"))
            .env("RABBITMQ_CONFIG_FILE", inside("none"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_LOGS", "-");
        command
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        if self.kind != Kind::Rabbitmq {
            return true;
        }
        // It listens before it has read its queues.
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let _ = stream.write_all(b"AMQP\x00\x00\x09\x01");
        log.contains("Server startup complete") && stream.read(&mut [0; 1]).is_ok_and(|read| read == 1)
    }

    /// kill -9.
    pub(super) fn stop(&mut self) {
        // RabbitMQ's script waits for the program that it has started, and does not end it.
        if let Ok(started) = fs::read_to_string(self.folder.join("pid")) {
            let _ = Command::new("kill").args(["-9", started.trim()]).stderr(Stdio::null()).status();
            let _ = fs::remove_file(self.folder.join("pid"));
        }
        for child in self.children.iter_mut().rev() {
            // They may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.children.clear();
        // What it said when it started must not be taken for what it says when it starts again.
        let _ = fs::remove_file(self.folder.join("log"));
    }

    /// Makes a place that keeps what is sent to `address`: a stream or a queue. MQTT needs none.
    pub(super) fn keep(&self, address: &str) {
        match self.kind {
            Kind::Nats => {
                let name = address.replace(['.', '*', '>'], "_");
                let body = format!(r#"{{"name": "{name}", "subjects": ["{address}"]}}"#);
                let answer = self.nats_request(&format!("$JS.API.STREAM.CREATE.{name}"), &body);
                assert!(answer.contains("\"config\""), "{answer}");
            }
            Kind::Mosquitto => {}
            Kind::Rabbitmq => {
                Amqp::connect(self).declare(address);
            }
        }
    }

    /// Removes what [`Broker::keep`] made.
    pub(super) fn forget(&self, address: &str) {
        if self.kind == Kind::Nats {
            let name = address.replace(['.', '*', '>'], "_");
            let answer = self.nats_request(&format!("$JS.API.STREAM.DELETE.{name}"), "");
            assert!(answer.contains("success"), "{answer}");
        }
    }

    /// Sends a message, and waits until the broker has it; `id` where the protocol has such a thing.
    pub(super) fn send(&self, address: &str, body: &str, id: Option<&str>) {
        match self.kind {
            Kind::Nats => {
                let answer = self.nats_request(address, body);
                assert!(answer.contains("\"seq\""), "{answer}");
            }
            Kind::Mosquitto => self.mqtt_send(address, body),
            Kind::Rabbitmq => Amqp::connect(self).publish(address, body, id),
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

    fn mqtt_send(&self, topic: &str, body: &str) {
        let mut stream = self.connect();
        let client = format!("t{}", free_port());
        let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
        let packet = |first: u8, body: Vec<u8>| {
            assert!(body.len() < 1 << 14, "a message for a test");
            [vec![first, (body.len() & 0x7f) as u8 | 0x80, (body.len() >> 7) as u8], body].concat()
        };
        let hello = [text("MQTT"), vec![4, 2, 0, 60], text(&client)].concat();
        stream.write_all(&packet(0x10, hello)).expect("a broker that reads");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).expect("a broker that answers");
        assert_eq!(answer, [0x20, 2, 0, 0]);
        let publish = [text(topic), vec![0, 1], body.as_bytes().to_vec()].concat();
        stream.write_all(&packet(0x32, publish)).expect("a broker that reads");
        stream.read_exact(&mut answer).expect("a broker that answers");
        assert_eq!(answer, [0x40, 2, 0, 1]);
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a broker that listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A connection to RabbitMQ that is about to declare or send.
struct Amqp(TcpStream);

impl Amqp {
    fn connect(broker: &Broker) -> Self {
        let mut stream = broker.connect();
        stream.write_all(b"AMQP\x00\x00\x09\x01").expect("a broker that reads");
        let mut amqp = Self(stream);
        amqp.wait(10, 10);
        amqp.method(0, 10, 11, &[&long(b""), &short("PLAIN"), &long(b"\0guest\0guest"), &short("en_US")]);
        amqp.wait(10, 30);
        amqp.method(0, 10, 31, &[&[0, 1, 0, 2, 0, 0, 0, 0]]);
        amqp.method(0, 10, 40, &[&short("/"), &short(""), &[0]]);
        amqp.wait(10, 41);
        amqp.method(1, 20, 10, &[&short("")]);
        amqp.wait(20, 11);
        amqp
    }

    /// A durable queue.
    fn declare(mut self, queue: &str) {
        self.method(1, 50, 10, &[&[0, 0], &short(queue), &[2], &long(b"")]);
        self.wait(50, 11);
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
        if !body.is_empty() {
            self.frame(3, 1, body.as_bytes());
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

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// A program, also where only root has its folder on `PATH`.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let mut path = std::env::var("PATH").unwrap_or_default();
    let _ = write!(path, ":/usr/local/sbin:/usr/sbin:/sbin");
    command.env("PATH", path);
    command
}

fn spawn(command: &mut Command, kind: Kind) -> Child {
    command.spawn().unwrap_or_else(|error| {
        let package = kind.package();
        panic!("{package}: {error}: run `apt-get install {package}` or `cargo xtask setup`")
    })
}
