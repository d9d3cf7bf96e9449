//! Kafka's protocol: all partitions of a topic, each in its order, read as a consumer that shares them with nobody.
//!
//! The place of a message is its offset in its partition of the topic, so a message that comes again is known by it. What
//! has acted is kept by the broker under a consumer group of ours, in which nobody is a member.

mod connection;
mod protocol;
mod records;
mod sasl;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidemill_core::declare::BrokerKind;
use tidemill_trigger::message::{Incoming, Place, Source};

use self::connection::{Account, Connection};
use self::protocol::{Api, EARLIEST, Fetch, LATEST, Node, Topic, code};
use self::records::{Record, Records};
use crate::address::Address;
use crate::{Config, Error, PATIENCE};

/// How long a broker waits for messages before it says that there are none. Kafka's own answers as soon as there is one; others
/// that speak its protocol, librdkafka's mock cluster among them, look only once and then wait to the end.
const WAIT: Duration = Duration::from_millis(200);
/// After so long without an answer a connection is dead.
const SILENCE: Duration = Duration::from_secs(15);
/// About how much is fetched at a time, in bytes, of all partitions that a broker leads and of each.
const MOST: (i32, i32) = (1 << 20, 256 << 10);
/// How often it is looked whether there are more partitions, or other leaders.
const LOOK: Duration = Duration::from_secs(30);
/// How often offsets that stay what they are are kept again: brokers forget those that nobody has kept for days.
const KEEP: Duration = Duration::from_secs(3600);
/// While a partition has no leader.
const PAUSE: Duration = Duration::from_millis(250);
/// Before the number of partitions that are known, in the note at an offset.
const KNOWN: &str = "partitions=";

pub(crate) struct Kafka {
    /// One of the brokers; others have the same but for host and port.
    address: Address,
    account: Account,
    topic: String,
    group: String,
    /// The topic's own identifier, which another of the same name does not have.
    id: Vec<u8>,
    partitions: BTreeMap<i32, Partition>,
    /// Who leads each partition, when it was last looked.
    seen: BTreeMap<i32, Option<Node>>,
    /// Where offsets are kept.
    home: Connection,
    leaders: Vec<Leader>,
    /// What was fetched and not given out yet.
    fetched: VecDeque<(i32, Records)>,
    /// Partition and offset of the message that was given out last.
    last: Option<(i32, i64)>,
    look: Instant,
    keep: Instant,
}

/// A partition of the topic.
struct Partition {
    /// Where it is to be begun: an offset, or one of the ends.
    start: i64,
    /// What is to be fetched next; nothing before it is known where it begins.
    next: Option<i64>,
    /// What comes after all that has acted.
    done: Option<i64>,
}

/// A broker that leads partitions.
struct Leader {
    connection: Connection,
    partitions: Vec<i32>,
    /// When messages were asked for that have not come yet.
    asked: Option<Instant>,
}

impl Kafka {
    pub(crate) async fn connect(config: &Config, servers: &[Address], group: &str) -> Result<Self, Error> {
        let address = &servers[0];
        let mut account = Account::new(address, config.password.as_deref())?;
        let mut first = any(servers, &mut account).await?;
        let topic = config.source.address.as_str();
        let seen = first.topic(topic, group).await.map_err(|error| match error {
            Error::Lost { server, .. } if address.user.is_none() => Error::Refused {
                server,
                why: "it hangs up; does it want a user (`USER@` in `server`) and a password (`secret`)?"
                    .to_owned(),
            },
            error => error,
        })?;
        let answer = first.call(Api::FIND_COORDINATOR, protocol::find_coordinator(group)).await?;
        let home = first.good(protocol::read_coordinator(&answer), topic, group)?;
        let home = Connection::open(&at(address, &home), &mut account).await?;
        let now = Instant::now();
        let mut kafka = Self {
            address: address.clone(),
            account,
            topic: topic.to_owned(),
            group: group.to_owned(),
            id: seen.id.clone(),
            partitions: BTreeMap::new(),
            seen: BTreeMap::new(),
            home,
            leaders: Vec::new(),
            fetched: VecDeque::new(),
            last: None,
            look: now + LOOK,
            keep: now + KEEP,
        };
        kafka.begin(&seen).await?;
        kafka.assign(seen).await?;
        kafka.commit_all().await?;
        Ok(kafka)
    }

    /// Where each partition is to be begun.
    ///
    /// What was sent before the trigger listened for the first time is no news. But a partition that was added while no
    /// server ran holds nothing else, so the number of partitions that were known is kept with each offset.
    async fn begin(&mut self, seen: &Topic) -> Result<(), Error> {
        let partitions: Vec<i32> = seen.leaders.keys().copied().collect();
        let question = protocol::offset_fetch(&self.group, &self.topic, partitions.iter().copied());
        let answer = self.home.call(Api::OFFSET_FETCH, question).await?;
        let kept = self.home.good(protocol::read_kept(&answer), &self.topic, &self.group)?;
        let known = known(&kept);
        for partition in partitions {
            let kept = kept.iter().find(|kept| kept.partition == partition && kept.offset >= 0);
            let start = match kept {
                Some(kept) => kept.offset,
                None if known.is_some_and(|known| partition >= known) => EARLIEST,
                None => LATEST,
            };
            let kept = kept.map(|kept| kept.offset);
            self.partitions.insert(partition, Partition { start, next: kept, done: kept });
        }
        Ok(())
    }

    /// Looks whether there are more partitions, or other leaders.
    async fn look(&mut self) -> Result<(), Error> {
        let seen = self.home.topic(&self.topic, &self.group).await?;
        self.look = Instant::now() + LOOK;
        if seen.id != self.id {
            return Err(self.home.wire.lost(format!("another topic has the name `{}` now", self.topic)));
        }
        if seen.leaders == self.seen {
            return Ok(());
        }
        for partition in seen.leaders.keys() {
            let new = Partition { start: EARLIEST, next: None, done: None };
            self.partitions.entry(*partition).or_insert(new);
        }
        self.assign(seen).await?;
        self.commit_all().await
    }

    /// Connects to all leaders anew.
    async fn assign(&mut self, seen: Topic) -> Result<(), Error> {
        self.leaders.clear();
        self.fetched.clear();
        let mut led: BTreeMap<&Node, Vec<i32>> = BTreeMap::new();
        for (partition, leader) in &seen.leaders {
            if let Some(leader) = leader {
                led.entry(leader).or_default().push(*partition);
            }
        }
        for (node, partitions) in led {
            let connection = Connection::open(&at(&self.address, node), &mut self.account).await?;
            let mut leader = Leader { connection, partitions, asked: None };
            self.find_starts(&mut leader).await?;
            self.leaders.push(leader);
        }
        self.seen = seen.leaders;
        Ok(())
    }

    /// Asks a leader where those of its partitions begin of which it is not known yet.
    async fn find_starts(&mut self, leader: &mut Leader) -> Result<(), Error> {
        let open = |partition: &Partition| partition.next.is_none();
        let times: Vec<(i32, i64)> = leader
            .partitions
            .iter()
            .filter_map(|index| Some((*index, self.partitions.get(index).filter(|one| open(one))?.start)))
            .collect();
        if times.is_empty() {
            return Ok(());
        }
        let connection = &mut leader.connection;
        let question = protocol::list_offsets(&self.topic, times.iter().copied());
        let answer = connection.call(Api::LIST_OFFSETS, question).await?;
        let found = connection.good(protocol::read_offsets(&answer), &self.topic, &self.group)?;
        for (index, offset) in found {
            if offset < 0 {
                return Err(connection.broken());
            }
            if let Some(partition) = self.partitions.get_mut(&index).filter(|one| open(one)) {
                partition.next = Some(offset);
                partition.done = Some(offset);
            }
        }
        Ok(())
    }

    /// Keeps what has acted.
    async fn commit(&mut self, partitions: &[i32]) -> Result<(), Error> {
        let done = |index: &i32| Some((*index, self.partitions.get(index)?.done?));
        let offsets: Vec<(i32, i64)> = partitions.iter().filter_map(done).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let note = format!("{KNOWN}{}", self.partitions.len());
        let question = protocol::offset_commit(&self.group, &self.topic, &note, offsets.into_iter());
        let answer = self.home.call(Api::OFFSET_COMMIT, question).await?;
        let read = protocol::read_committed(&answer).map(|code| if code == 0 { Ok(()) } else { Err(code) });
        self.home.good(read, &self.topic, &self.group)
    }

    async fn commit_all(&mut self) -> Result<(), Error> {
        self.keep = Instant::now() + KEEP;
        let all: Vec<i32> = self.partitions.keys().copied().collect();
        self.commit(&all).await
    }

    async fn message(&mut self) -> Result<Incoming, Error> {
        loop {
            if let Some(message) = self.unpacked()? {
                return Ok(message);
            }
            let now = Instant::now();
            if now >= self.look {
                self.look().await?;
            }
            if now >= self.keep {
                self.commit_all().await?;
            }
            match self.ready().await? {
                Some(index) => self.receive(index).await?,
                None => {
                    tokio::time::sleep(PAUSE).await;
                    self.look = Instant::now();
                }
            }
        }
    }

    /// The next message of what was fetched.
    fn unpacked(&mut self) -> Result<Option<Incoming>, Error> {
        while let Some((index, records)) = self.fetched.front_mut() {
            let index = *index;
            let next = records.next().map_err(|why| {
                let (topic, group) = (&self.topic, &self.group);
                self.home.wire.refused(format!(
                    "in partition {index} of `{topic}`, {why}; to pass it over, set the offset of the consumer group \
                     `{group}` behind it"
                ))
            })?;
            if let Some(partition) = self.partitions.get_mut(&index) {
                partition.next = Some(records.position());
            }
            let Some(Record { offset, size, body }) = next else {
                if !records.got_on() {
                    return Err(self
                        .home
                        .wire
                        .lost(format!("partition {index} sends no whole batch of messages")));
                }
                self.fetched.pop_front();
                continue;
            };
            self.last = Some((index, offset));
            let part = if self.id.is_empty() {
                index.to_string()
            } else {
                format!("{}/{index}", URL_SAFE_NO_PAD.encode(&self.id))
            };
            let place = Place::Position { part, position: offset as u64 };
            return Ok(Some(Incoming {
                broker: BrokerKind::Kafka,
                address: self.topic.clone(),
                place,
                size,
                body,
            }));
        }
        Ok(None)
    }

    /// Which leader has an answer; nothing where nobody leads anything.
    async fn ready(&mut self) -> Result<Option<usize>, Error> {
        let fetch =
            Fetch { topic: &self.topic, wait: WAIT.as_millis() as i32, most: MOST.0, most_each: MOST.1 };
        for leader in self.leaders.iter_mut().filter(|leader| leader.asked.is_none()) {
            // Each is the first once, since those that come first may take all.
            leader.partitions.rotate_left(1);
            let next = |index: &i32| Some((*index, self.partitions.get(index)?.next?));
            let positions: Vec<(i32, i64)> = leader.partitions.iter().filter_map(next).collect();
            leader.connection.ask(Api::FETCH, fetch.of(positions.into_iter())).await?;
            leader.asked = Some(Instant::now());
        }
        if self.leaders.is_empty() {
            return Ok(None);
        }
        // Whoever answered last is heard last.
        self.leaders.rotate_left(1);
        let waits = self.leaders.iter_mut().map(|leader| {
            let left = leader.asked.map_or(SILENCE, |asked| SILENCE.saturating_sub(asked.elapsed()));
            Box::pin(leader.connection.wire.wait(left))
        });
        let (is_ready, index, _) = futures::future::select_all(waits).await;
        if is_ready? {
            Ok(Some(index))
        } else {
            Err(self.leaders[index].connection.wire.lost("the broker has fallen silent"))
        }
    }

    /// Takes the answer of a leader.
    async fn receive(&mut self, index: usize) -> Result<(), Error> {
        let mut leader = self.leaders.remove(index);
        let answer = leader.connection.answer().await?;
        leader.asked = None;
        let fetched = leader.connection.good(protocol::read_fetched(&answer), &self.topic, &self.group)?;
        let (mut has_moved, mut is_lost) = (false, false);
        for part in fetched {
            let index = part.partition;
            let Some(partition) = self.partitions.get_mut(&index) else { continue };
            match part.code {
                0 if part.records.is_empty() => {}
                0 => {
                    let from = partition.next.unwrap_or_default();
                    self.fetched.push_back((index, Records::new(part.records, from, part.aborted)));
                }
                code::OUT_OF_RANGE => {
                    let (topic, next) = (&self.topic, partition.next);
                    tracing::warn!(
                        topic,
                        partition = index,
                        next,
                        "messages are gone before they were read; going on with the first that is there"
                    );
                    (partition.start, partition.next) = (EARLIEST, None);
                    is_lost = true;
                }
                code if code::MOVED.contains(&code) => has_moved = true,
                code => return leader.connection.good(Some(Err(code)), &self.topic, &self.group),
            }
        }
        if is_lost {
            self.find_starts(&mut leader).await?;
        }
        // The others come first the next time.
        self.leaders.push(leader);
        if has_moved {
            tokio::time::sleep(PAUSE).await;
            self.look = Instant::now();
        }
        Ok(())
    }

    async fn acted(&mut self) -> Result<(), Error> {
        let Some((index, offset)) = self.last.take() else { return Ok(()) };
        if let Some(partition) = self.partitions.get_mut(&index) {
            partition.done = Some(offset + 1);
        }
        self.commit(&[index]).await
    }
}

#[async_trait]
impl Source for Kafka {
    async fn next(&mut self) -> Result<Incoming, String> {
        self.message().await.map_err(|error| error.to_string())
    }

    async fn acknowledge(&mut self) -> Result<(), String> {
        self.acted().await.map_err(|error| error.to_string())
    }
}

/// Another broker of the same cluster.
fn at(address: &Address, (host, port): &Node) -> Address {
    Address { host: host.clone(), port: *port, ..address.clone() }
}

/// A connection to the first of these that lets us in, each with its share of the time that there is; one share is for what
/// comes after.
async fn any(servers: &[Address], account: &mut Account) -> Result<Connection, Error> {
    let share = PATIENCE / (servers.len() as u32 + 1);
    let mut failed = None;
    for server in servers {
        match tokio::time::timeout(share, Connection::open(server, account)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => failed = failed.or(Some(error)),
            Err(_) => failed = failed.or(Some(Error::Silent { server: server.shown() })),
        }
    }
    Err(failed.unwrap_or_else(|| Error::Silent { server: String::new() }))
}

/// How many partitions there were when offsets were last kept; nothing where none are kept.
fn known(kept: &[protocol::Kept]) -> Option<i32> {
    let count = |kept: &protocol::Kept| {
        // Who keeps offsets by hand leaves no note.
        let noted = kept.note.strip_prefix(KNOWN).and_then(|count| count.parse().ok());
        noted.unwrap_or_else(|| kept.partition.saturating_add(1))
    };
    kept.iter().filter(|kept| kept.offset >= 0).map(count).max()
}

/// Reads any bytes as answers of a broker and as batches of records, for fuzzing.
pub(crate) fn fuzz_entry(bytes: &[u8]) {
    for api in [Api::METADATA, Api::METADATA_ID] {
        // What is read or refused is nobody's; that it ends is what counts. The same below.
        let _ = protocol::read_metadata(api, bytes);
    }
    let _ = protocol::Versions::read(bytes).map(|versions| versions.missing());
    let _ = protocol::read_coordinator(bytes);
    let _ = protocol::read_kept(bytes).map(|kept| kept.map(|kept| known(&kept)));
    let _ = protocol::read_committed(bytes);
    let _ = protocol::read_offsets(bytes);
    let _ = protocol::read_handshake(bytes);
    let _ = protocol::read_authenticated(bytes);
    let answer = bytes::Bytes::copy_from_slice(bytes);
    if let Some(Ok(fetched)) = protocol::read_fetched(&answer) {
        fetched.iter().for_each(|part| records::fuzz(&part.records));
    }
    records::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_were_known() {
        let kept =
            |partition, offset, note: &str| protocol::Kept { partition, offset, note: note.to_owned() };
        assert_eq!(known(&[kept(0, -1, ""), kept(1, -1, "")]), None);
        assert_eq!(
            known(&[kept(0, 4, "partitions=3"), kept(1, -1, ""), kept(2, 0, "partitions=2")]),
            Some(3)
        );
        // By another tool.
        assert_eq!(known(&[kept(0, 4, ""), kept(1, 7, "x"), kept(2, -1, "")]), Some(2));
    }
}
