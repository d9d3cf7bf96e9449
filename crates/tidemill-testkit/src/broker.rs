//! Message brokers for tests, from the system's packages: on loopback, with files of their own, and what sends to them.

mod certificate;
mod kafka;
mod send;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;

/// How long a broker may take to start on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(240);

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerKind {
    /// NATS with JetStream.
    Nats,
    /// Mosquitto, which speaks MQTT and keeps sessions over restarts.
    Mosquitto,
    /// RabbitMQ, with nothing but its core.
    Rabbitmq,
    /// What speaks Kafka's protocol and keeps nothing over restarts: the mock cluster of librdkafka.
    Kafka,
}

impl BrokerKind {
    fn package(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::Mosquitto => "mosquitto",
            Self::Rabbitmq => "rabbitmq-server",
            Self::Kafka => "python3",
        }
    }
}

/// A second way to a broker: encrypted, for one user with a password.
#[derive(Debug)]
struct Guard {
    port: u16,
    folder: PathBuf,
}

/// A running broker; it ends, and its files are removed, when it is dropped.
#[derive(Debug)]
pub struct Broker {
    kind: BrokerKind,
    folder: PathBuf,
    port: u16,
    guard: Option<Guard>,
    children: Vec<Child>,
    /// Of a cluster that speaks Kafka's protocol: how many brokers, and what holds them.
    brokers: usize,
    mock: Option<kafka::Mock>,
}

impl Broker {
    /// Who may come in at [`Broker::guarded`].
    pub const USER: &'static str = "ada";
    /// With which password.
    pub const PASSWORD: &'static str = "s3cret-of-the-tests";

    /// Starts a broker that asks nobody who they are.
    ///
    /// # Panics
    /// With one line that says what to install, if it is not there.
    pub fn start(kind: BrokerKind) -> Self {
        let mut broker = Self::new(kind);
        broker.restart();
        broker
    }

    /// Starts a broker that listens at a second port too: encrypted, and for [`Broker::USER`] only.
    ///
    /// # Panics
    /// As [`Broker::start`].
    pub fn start_guarded(kind: BrokerKind) -> Self {
        let mut broker = Self::new(kind);
        let folder = broker.folder.clone();
        certificate::make(&folder);
        // NATS tells both ways apart at the same port.
        let port = if kind == BrokerKind::Nats { broker.port } else { free_port() };
        broker.guard = Some(Guard { port, folder });
        broker.restart();
        broker
    }

    fn new(kind: BrokerKind) -> Self {
        let name = format!("tidemill-broker-{}-{}", std::process::id(), free_port());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder for a broker");
        let (guard, children) = (None, Vec::new());
        Self { kind, folder, port: free_port(), guard, children, brokers: 1, mock: None }
    }

    /// Where it listens, encrypted and guarded: `127.0.0.1:PORT`.
    ///
    /// # Panics
    /// Where it does not.
    pub fn guarded(&self) -> String {
        format!("127.0.0.1:{}", self.guard.as_ref().expect("a guarded broker").port)
    }

    /// The certificate of the authority that vouches for it.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// Where it listens: `127.0.0.1:PORT`. What speaks Kafka's protocol listens somewhere else after a restart.
    pub fn at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it again where it was stopped, with what it has kept.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart(&mut self) {
        if self.kind == BrokerKind::Kafka {
            return self.kafka();
        }
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut command = match self.kind {
            BrokerKind::Nats => self.nats(),
            BrokerKind::Mosquitto => self.mosquitto(),
            BrokerKind::Rabbitmq => self.rabbit(),
            BrokerKind::Kafka => unreachable!("it is started another way"),
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

    /// Writes a file of settings; gives where it is.
    fn settings(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.join(name);
        fs::write(&file, text).expect("settings");
        file
    }

    fn nats(&self) -> Command {
        let store = self.folder.join("store");
        let mut text = format!(
            "listen: \"127.0.0.1:{}\"\njetstream {{ store_dir: \"{}\" }}\n",
            self.port,
            store.display()
        );
        if let Some(guard) = &self.guard {
            let [certificate, key] = guard.files().map(|file| file.display().to_string());
            let (user, password) = (Self::USER, Self::PASSWORD);
            let _ = write!(
                text,
                "tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\nallow_non_tls: true\n\
                 authorization {{ users: [{{user: {user}, password: {password:?}}}, {{user: any, password: any}}] }}\n\
                 no_auth_user: any\n"
            );
        }
        let mut command = program("nats-server");
        command.arg("--config").arg(self.settings("nats.conf", &text));
        command
    }

    fn mosquitto(&self) -> Command {
        let folder = self.folder.display();
        let mut text = format!(
            "per_listener_settings true\npersistence true\npersistence_location {folder}/\nautosave_interval 1\n\
             autosave_on_changes true\nuser root\nlistener {} 127.0.0.1\nallow_anonymous true\n",
            self.port
        );
        if let Some(guard) = &self.guard {
            let [certificate, key] = guard.files().map(|file| file.display().to_string());
            let users = self.folder.join("users");
            let mut make = program("mosquitto_passwd");
            let made = make.args(["-b", "-c"]).arg(&users).args([Self::USER, Self::PASSWORD]).status();
            assert!(made.is_ok_and(|status| status.success()), "mosquitto_passwd failed");
            let _ = write!(
                text,
                "listener {} 127.0.0.1\nallow_anonymous false\npassword_file {}\ncertfile {certificate}\n\
                 keyfile {key}\n",
                guard.port,
                users.display()
            );
        }
        let mut command = program("mosquitto");
        command.arg("-c").arg(self.settings("mosquitto.conf", &text));
        command
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
        // The same user at both ports, since RabbitMQ makes no more than one by itself.
        let mut text = String::new();
        if let Some(guard) = &self.guard {
            let [certificate, key] = guard.files().map(|file| file.display().to_string());
            let _ = write!(
                text,
                "default_user = {}\ndefault_pass = {}\nlisteners.ssl.1 = 127.0.0.1:{}\n\
                 ssl_options.cacertfile = {}\nssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n\
                 ssl_options.verify = verify_none\n",
                Self::USER,
                Self::PASSWORD,
                guard.port,
                self.authority().display()
            );
        }
        let settings = self.settings("rabbitmq.conf", &text);
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
            .env("RABBITMQ_CONFIG_FILE", settings)
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_LOGS", "-");
        command
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        if self.kind != BrokerKind::Rabbitmq {
            return true;
        }
        // It listens before it has read its queues.
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let _ = stream.write_all(b"AMQP\x00\x00\x09\x01");
        log.contains("Server startup complete") && stream.read(&mut [0; 1]).is_ok_and(|read| read == 1)
    }

    /// kill -9.
    pub fn stop(&mut self) {
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
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Guard {
    /// Certificate and key.
    fn files(&self) -> [PathBuf; 2] {
        ["certificate.pem", "key.pem"].map(|name| self.folder.join(name))
    }
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

fn spawn(command: &mut Command, kind: BrokerKind) -> Child {
    command.spawn().unwrap_or_else(|error| {
        let package = kind.package();
        panic!("{package}: {error}: run `apt-get install {package}` or `cargo xtask setup`")
    })
}
