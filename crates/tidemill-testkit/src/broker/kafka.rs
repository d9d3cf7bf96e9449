//! A cluster that speaks Kafka's protocol: the mock cluster of librdkafka, held by a Python program.
//!
//! It is no broker: what it cannot show stands in the program.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;

use super::{Broker, BrokerKind, spawn};
use crate::python;

const PROGRAM: &str = include_str!("kafka.py");
/// Number of the question by which offsets are kept.
const OFFSET_COMMIT: i16 = 8;
/// Makes the mock cluster hang up.
const HANG_UP: i32 = -195;

/// What the program is told, and what it answers.
#[derive(Debug)]
pub(super) struct Mock(Mutex<(ChildStdin, BufReader<ChildStdout>)>);

impl Mock {
    /// One line, and the one that answers it.
    fn tell(&self, line: &str) -> String {
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stdin, stdout) = &mut *both;
        writeln!(stdin, "{line}").expect("a program that reads");
        let mut answer = String::new();
        stdout.read_line(&mut answer).expect("a program that answers");
        answer.trim().to_owned()
    }
}

impl Broker {
    /// Starts a cluster of so many brokers that speaks Kafka's protocol.
    ///
    /// # Panics
    /// As [`Broker::start`].
    pub fn start_cluster(brokers: usize) -> Self {
        let mut broker = Self::new(BrokerKind::Kafka);
        broker.brokers = brokers;
        broker.restart();
        broker
    }

    /// Starts the program. It listens somewhere else each time, and begins with nothing.
    pub(super) fn kafka(&mut self) {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut command = Command::new(python());
        command.args(["-c", PROGRAM, &self.brokers.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.into_parts().0);
        let mut child = spawn(&mut command, self.kind);
        let (stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        self.children.push(child);
        let mut stdout = BufReader::new(stdout);
        let mut servers = String::new();
        stdout.read_line(&mut servers).expect("a program that answers");
        let port = servers.trim().split([',', ':']).nth(1).and_then(|port| port.parse().ok());
        self.port = port.unwrap_or_else(|| {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            panic!("no mock cluster of librdkafka: run `cargo xtask setup`\n{log}")
        });
        self.mock = Some(Mock(Mutex::new((stdin, stdout))));
    }

    fn mock(&self, line: &str) {
        let answer = self.mock.as_ref().expect("a cluster that speaks Kafka's protocol").tell(line);
        assert_eq!(answer, "0", "{line}");
    }

    /// Makes a topic of Kafka.
    ///
    /// # Panics
    /// Where the cluster does not do it, here as below.
    pub fn keep_partitions(&self, topic: &str, partitions: usize) {
        self.mock(&format!("[\"topic_create\", {topic:?}, {partitions}, 1]"));
    }

    pub(super) fn forget_topic(&self, topic: &str) {
        self.mock(&format!("[\"topic_delete\", {topic:?}]"));
    }

    /// Forgets what a partition has before an offset, as retention does.
    pub fn forget_before(&self, topic: &str, partition: i32, offset: i64) {
        self.mock(&format!("[\"partition_delete_records\", {topic:?}, {partition}, {offset}]"));
    }

    /// Makes a broker, counted from 1, the leader of a partition; -1 for none.
    pub fn lead(&self, topic: &str, partition: i32, broker: i32) {
        self.mock(&format!("[\"partition_set_leader\", {topic:?}, {partition}, {broker}]"));
    }

    /// Answers a kind of question, by its number, in these versions only.
    pub fn answer_only(&self, question: i16, from: i16, to: i16) {
        self.mock(&format!("[\"set_apiversion\", {question}, {from}, {to}]"));
    }

    /// Answers the next question of a kind, by its number, with an error.
    pub fn fail(&self, question: i16, code: i32) {
        self.change(&format!("[\"push_request_errors\", {question}, 1, {code}]"));
    }

    /// Answers questions about a topic with an error; 0 for none.
    pub fn fail_topic(&self, topic: &str, code: i32) {
        self.change(&format!("[\"topic_set_error\", {topic:?}, {code}]"));
    }

    /// What gives nothing back, so that what it seems to give does not count.
    fn change(&self, line: &str) {
        self.mock.as_ref().expect("a cluster that speaks Kafka's protocol").tell(line);
    }

    /// Hangs up at the next acknowledgement, which is lost.
    pub fn lose_acknowledgement(&self) {
        self.fail(OFFSET_COMMIT, HANG_UP);
    }

    /// Sends messages as one batch, compressed by `none`, `gzip`, `snappy`, `lz4` or `zstd`; each with a key and headers.
    pub fn produce(&self, topic: &str, partition: i32, codec: &str, values: &[&str]) {
        self.mock(&format!("[\"produce\", {topic:?}, {partition}, {codec:?}, {values:?}]"));
    }
}
