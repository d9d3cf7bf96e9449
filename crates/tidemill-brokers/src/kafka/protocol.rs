//! Questions to a broker of Kafka and its answers, each in one version that brokers since 2.1 (2018) have; only about topics
//! in two, since a topic has an identifier of its own no earlier than 2.8.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::fields::{Fields, Out};

/// A kind of question, in one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Api {
    pub(super) key: i16,
    pub(super) version: i16,
    /// Whether fields that nobody knows may follow, and lengths are short.
    pub(super) is_flexible: bool,
    name: &'static str,
}

impl Api {
    pub(super) const FETCH: Self = Self::plain(1, 10, "Fetch");
    pub(super) const LIST_OFFSETS: Self = Self::plain(2, 2, "ListOffsets");
    pub(super) const METADATA: Self = Self::plain(3, 4, "Metadata");
    /// With the identifier of the topic.
    pub(super) const METADATA_ID: Self = Self { version: 10, is_flexible: true, ..Self::METADATA };
    pub(super) const OFFSET_COMMIT: Self = Self::plain(8, 5, "OffsetCommit");
    pub(super) const OFFSET_FETCH: Self = Self::plain(9, 2, "OffsetFetch");
    pub(super) const FIND_COORDINATOR: Self = Self::plain(10, 1, "FindCoordinator");
    pub(super) const SASL_HANDSHAKE: Self = Self::plain(17, 1, "SaslHandshake");
    pub(super) const API_VERSIONS: Self = Self::plain(18, 0, "ApiVersions");
    pub(super) const SASL_AUTHENTICATE: Self = Self::plain(36, 0, "SaslAuthenticate");

    /// What every broker must have.
    const NEEDED: [Self; 6] = [
        Self::FETCH,
        Self::LIST_OFFSETS,
        Self::METADATA,
        Self::OFFSET_COMMIT,
        Self::OFFSET_FETCH,
        Self::FIND_COORDINATOR,
    ];

    const fn plain(key: i16, version: i16, name: &'static str) -> Self {
        Self { key, version, is_flexible: false, name }
    }
}

/// Which versions of which questions a broker answers.
pub(super) struct Versions(Vec<(i16, i16, i16)>);

impl Versions {
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(answer);
        let (code, count) = (fields.i16()?, fields.i32()?);
        let all = fields.list(count, |one| Some((one.i16()?, one.i16()?, one.i16()?)))?;
        (code == 0).then_some(Self(all))
    }

    pub(super) fn has(&self, api: Api) -> bool {
        self.0.iter().any(|(key, from, to)| *key == api.key && (*from..=*to).contains(&api.version))
    }

    /// What is missing, for people.
    pub(super) fn missing(&self) -> Option<String> {
        let missing = Api::NEEDED.into_iter().find(|api| !self.has(*api))?;
        Some(format!(
            "it does not answer {} in version {}; Kafka does since 2.1",
            missing.name, missing.version
        ))
    }
}

/// What stands before a question.
pub(super) fn head(api: Api, number: i32) -> Out {
    let head = Out::new().i16(api.key).i16(api.version).i32(number).text16("tidemill");
    if api.is_flexible { head.u8(0) } else { head }
}

/// A topic, and where its partitions are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Topic {
    /// Another one of the same name has another; empty where the broker gives none.
    pub(super) id: Vec<u8>,
    /// Who leads each partition; nobody, for a while, where that has failed.
    pub(super) leaders: BTreeMap<i32, Option<Node>>,
}

/// Where a broker of a cluster is.
pub(super) type Node = (String, u16);

/// Asks about a topic, which is not to be made.
pub(super) fn metadata(api: Api, topic: &str) -> Out {
    if !api.is_flexible {
        return Out::new().u32(1).text16(topic).u8(0);
    }
    // One topic: no identifier, its name, and nothing else; and nobody's rights.
    let (one, name) = (Out::new().raw(&[2]).raw(&[0; 16]), topic.as_bytes());
    let mut length = Vec::new();
    let mut left = name.len() + 1;
    while left > 0x7f {
        length.push(left as u8 | 0x80);
        left >>= 7;
    }
    length.push(left as u8);
    one.raw(&length).raw(name).raw(&[0, 0, 0, 0, 0])
}

/// The topic, or the code of the error.
pub(super) fn read_metadata(api: Api, answer: &[u8]) -> Option<Result<Topic, i16>> {
    let is_flexible = api.is_flexible;
    let fields = &mut Fields::new(answer);
    if is_flexible {
        tags(fields)?;
    }
    let count = |fields: &mut Fields| {
        if is_flexible { i32::try_from(i64::from(length(fields)?) - 1).ok() } else { fields.i32() }
    };
    let text = |fields: &mut Fields| {
        if !is_flexible {
            return fields.text16();
        }
        let length = length(fields)?.saturating_sub(1);
        fields.bytes(length as usize).map(|text| String::from_utf8_lossy(text).into_owned())
    };
    let end = |fields: &mut Fields| if is_flexible { tags(fields) } else { Some(()) };
    // How long to wait.
    fields.i32()?;
    let brokers = count(fields)?;
    let nodes = fields.list(brokers, |broker| {
        let (id, host, port) = (broker.i32()?, text(broker)?, broker.i32()?);
        text(broker)?;
        end(broker)?;
        Some((id, (host, u16::try_from(port).ok()?)))
    })?;
    let nodes: BTreeMap<i32, Node> = nodes.into_iter().collect();
    // The cluster, and who has the say in it.
    text(fields)?;
    fields.i32()?;
    if count(fields)? < 1 {
        return None;
    }
    let code = fields.i16()?;
    text(fields)?;
    let id = if is_flexible { fields.bytes(16)?.to_vec() } else { Vec::new() };
    // Whether it is one of Kafka's own.
    fields.u8()?;
    if code != 0 {
        return Some(Err(code));
    }
    let partitions = count(fields)?;
    let leaders = fields.list(partitions, |partition| {
        // An error of a partition says in other words that nobody leads it.
        partition.i16()?;
        let (index, leader) = (partition.i32()?, partition.i32()?);
        if is_flexible {
            partition.i32()?;
        }
        // Who has copies, whose copies are current, and, where that is said, who is away.
        for _ in 0..if is_flexible { 3 } else { 2 } {
            let replicas = count(partition)?;
            partition.list(replicas, Fields::i32)?;
        }
        end(partition)?;
        Some((index, nodes.get(&leader).cloned()))
    })?;
    Some(Ok(Topic { id, leaders: leaders.into_iter().collect() }))
}

/// A length that is written in as few bytes as it needs.
fn length(fields: &mut Fields) -> Option<u32> {
    let mut length = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = fields.u8()?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(length).ok();
        }
    }
    None
}

/// Passes over fields that nobody knows.
fn tags(fields: &mut Fields) -> Option<()> {
    for _ in 0..length(fields)? {
        length(fields)?;
        let size = length(fields)?;
        fields.bytes(size as usize)?;
    }
    Some(())
}

/// Asks where offsets of a group are kept.
pub(super) fn find_coordinator(group: &str) -> Out {
    Out::new().text16(group).u8(0)
}

/// Where they are kept, or the code of the error.
pub(super) fn read_coordinator(answer: &[u8]) -> Option<Result<Node, i16>> {
    let mut fields = Fields::new(answer);
    fields.i32()?;
    let code = fields.i16()?;
    // What the error is, and the number of the broker.
    fields.text16()?;
    fields.i32()?;
    let (host, port) = (fields.text16()?, fields.i32()?);
    Some(if code == 0 { Ok((host, u16::try_from(port).ok()?)) } else { Err(code) })
}

/// Asks for the offsets that a group has kept.
pub(super) fn offset_fetch(group: &str, topic: &str, partitions: impl ExactSizeIterator<Item = i32>) -> Out {
    Out::new().text16(group).u32(1).text16(topic).list(partitions, Out::i32)
}

/// What a group has kept of a partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) partition: i32,
    /// -1 where nothing is kept.
    pub(super) offset: i64,
    pub(super) note: String,
}

/// What was kept, or the code of the first error.
pub(super) fn read_kept(answer: &[u8]) -> Option<Result<Vec<Kept>, i16>> {
    let mut fields = Fields::new(answer);
    let mut failed = 0;
    let topics = fields.i32()?;
    let kept = fields.list(topics, |topic| {
        topic.text16()?;
        let partitions = topic.i32()?;
        topic.list(partitions, |one| {
            let kept = Kept { partition: one.i32()?, offset: one.i64()?, note: one.text16()? };
            let code = one.i16()?;
            if failed == 0 {
                failed = code;
            }
            Some(kept)
        })
    })?;
    let code = fields.i16()?;
    let failed = if code == 0 { failed } else { code };
    Some(if failed == 0 { Ok(kept.into_iter().flatten().collect()) } else { Err(failed) })
}

/// Keeps offsets of a group in which nobody is a member, each with the same note.
pub(super) fn offset_commit(
    group: &str,
    topic: &str,
    note: &str,
    offsets: impl ExactSizeIterator<Item = (i32, i64)>,
) -> Out {
    let head = Out::new().text16(group).i32(-1).text16("").u32(1).text16(topic);
    head.list(offsets, |out, (partition, offset)| out.i32(partition).i64(offset).text16(note))
}

/// The code of the first error; 0 where there is none.
pub(super) fn read_committed(answer: &[u8]) -> Option<i16> {
    let mut fields = Fields::new(answer);
    fields.i32()?;
    let topics = fields.i32()?;
    let codes = fields.list(topics, |topic| {
        topic.text16()?;
        let partitions = topic.i32()?;
        topic.list(partitions, |one| {
            one.i32()?;
            one.i16()
        })
    })?;
    Some(codes.into_iter().flatten().find(|code| *code != 0).unwrap_or(0))
}

/// Where a partition begins.
pub(super) const EARLIEST: i64 = -2;
/// Where it ends: after what is committed.
pub(super) const LATEST: i64 = -1;
/// Of transactions, only what is committed is seen.
const COMMITTED: u8 = 1;

/// Asks where partitions begin or end.
pub(super) fn list_offsets(topic: &str, times: impl ExactSizeIterator<Item = (i32, i64)>) -> Out {
    let head = Out::new().i32(-1).u8(COMMITTED).u32(1).text16(topic);
    head.list(times, |out, (partition, time)| out.i32(partition).i64(time))
}

/// Where they begin or end, or the code of the first error.
pub(super) fn read_offsets(answer: &[u8]) -> Option<Result<Vec<(i32, i64)>, i16>> {
    let mut fields = Fields::new(answer);
    fields.i32()?;
    let topics = fields.i32()?;
    let mut failed = 0;
    let found = fields.list(topics, |topic| {
        topic.text16()?;
        let partitions = topic.i32()?;
        topic.list(partitions, |one| {
            let (partition, code) = (one.i32()?, one.i16()?);
            if failed == 0 {
                failed = code;
            }
            // The time.
            one.i64()?;
            Some((partition, one.i64()?))
        })
    })?;
    Some(if failed == 0 { Ok(found.into_iter().flatten().collect()) } else { Err(failed) })
}

/// Asks for records.
pub(super) struct Fetch<'a> {
    pub(super) topic: &'a str,
    /// How long the broker may wait until there are some, in milliseconds.
    pub(super) wait: i32,
    /// About how much it may send, in bytes, of all partitions and of each.
    pub(super) most: i32,
    pub(super) most_each: i32,
}

impl Fetch<'_> {
    /// From these offsets on.
    pub(super) fn of(&self, positions: impl ExactSizeIterator<Item = (i32, i64)>) -> Out {
        // Who asks, and how much there must be; no session.
        let head = Out::new().i32(-1).i32(self.wait).i32(1).i32(self.most).u8(COMMITTED).i32(0).i32(-1);
        let list = head.u32(1).text16(self.topic).list(positions, |out, (partition, offset)| {
            out.i32(partition).i32(-1).i64(offset).i64(-1).i32(self.most_each)
        });
        // Nothing is to be forgotten.
        list.u32(0)
    }
}

/// What was fetched of a partition.
pub(super) struct Fetched {
    pub(super) partition: i32,
    pub(super) code: i16,
    /// Transactions that were given up: where each begins, and whose it is.
    pub(super) aborted: Vec<(i64, i64)>,
    pub(super) records: Bytes,
}

/// What was fetched, or the code of the error.
pub(super) fn read_fetched(answer: &Bytes) -> Option<Result<Vec<Fetched>, i16>> {
    let mut fields = Fields::new(answer);
    fields.i32()?;
    let code = fields.i16()?;
    if code != 0 {
        return Some(Err(code));
    }
    fields.i32()?;
    let topics = fields.i32()?;
    let all = fields.list(topics, |topic| {
        topic.text16()?;
        let partitions = topic.i32()?;
        topic.list(partitions, |one| {
            let (partition, code) = (one.i32()?, one.i16()?);
            // Where it ends, where what is committed ends, and where it begins.
            one.bytes(24)?;
            let count = one.i32()?;
            let aborted = one.list(count, |whose| {
                let producer = whose.i64()?;
                Some((whose.i64()?, producer))
            })?;
            let records = answer.slice_ref(one.bytes32()?);
            Some(Fetched { partition, code, aborted, records })
        })
    })?;
    Some(Ok(all.into_iter().flatten().collect()))
}

/// What a broker says to the way in which somebody wants to come in: the code, and which ways there are.
pub(super) fn read_handshake(answer: &[u8]) -> Option<(i16, Vec<String>)> {
    let mut fields = Fields::new(answer);
    let (code, count) = (fields.i16()?, fields.i32()?);
    Some((code, fields.list(count, Fields::text16)?))
}

/// What a broker says to a proof: the code, the reason of a refusal, and what is to be answered.
pub(super) fn read_authenticated(answer: &[u8]) -> Option<(i16, String, Vec<u8>)> {
    let mut fields = Fields::new(answer);
    Some((fields.i16()?, fields.text16()?, fields.bytes32()?.to_vec()))
}

/// Codes of errors.
pub(super) mod code {
    pub(in super::super) const OUT_OF_RANGE: i16 = 1;
    pub(in super::super) const UNSUPPORTED_MECHANISM: i16 = 33;
    /// A partition is led by somebody else, or by nobody at the moment.
    pub(in super::super) const MOVED: [i16; 9] = [3, 5, 6, 9, 56, 74, 75, 78, 100];
}

/// What a code means, with what is to be done where that is known.
pub(super) fn meaning(code: i16, topic: &str, group: &str) -> String {
    match code {
        3 => format!("there is no topic `{topic}`; make it, or correct `address`"),
        14..=16 => "the consumer group has no coordinator at the moment".to_owned(),
        17 => format!("`{topic}` is no name of a topic"),
        22 | 25 | 27 => {
            format!("somebody else is a member of the consumer group `{group}`, which is ours alone")
        }
        29 => format!("this user may not read the topic `{topic}`; allow it Describe and Read"),
        30 => format!("this user may not use the consumer group `{group}`; allow it Read"),
        58 => "user or password are wrong".to_owned(),
        76 => "it has batches in a compression that it does not send to us".to_owned(),
        code if code::MOVED.contains(&code) => {
            format!("a partition of the topic `{topic}` has no leader at the moment")
        }
        code => format!("with the code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of librdkafka's mock cluster: two brokers, two partitions, both led by the first.
    #[test]
    fn topics_in_both_versions() {
        let answers: [(Api, usize, &[u8]); 2] = [
            (Api::METADATA, 0, include_bytes!("../../../../fuzz/seeds/kafka/metadata-4.bin")),
            (Api::METADATA_ID, 16, include_bytes!("../../../../fuzz/seeds/kafka/metadata-10.bin")),
        ];
        for (api, id, answer) in answers {
            let topic = read_metadata(api, answer).unwrap().unwrap();
            let leaders: Vec<(i32, &str)> = topic
                .leaders
                .iter()
                .map(|(index, leader)| (*index, leader.as_ref().unwrap().0.as_str()))
                .collect();
            assert_eq!(leaders, [(0, "127.0.0.1"), (1, "127.0.0.1")]);
            assert_eq!(topic.id.len(), id);
            // Rights and fields that nobody knows come last.
            for short in 0..answer.len() - 12 {
                assert!(read_metadata(api, &answer[..short]).is_none(), "{short} bytes");
            }
        }
    }

    #[test]
    fn answers_of_another_program() {
        let kept = read_kept(include_bytes!("../../../../fuzz/seeds/kafka/kept.bin")).unwrap().unwrap();
        let kept: Vec<_> =
            kept.iter().map(|kept| (kept.partition, kept.offset, kept.note.as_str())).collect();
        assert_eq!(kept, [(0, 5, "partitions=2"), (1, -1, "")]);
        let offsets = read_offsets(include_bytes!("../../../../fuzz/seeds/kafka/offsets.bin"));
        assert_eq!(offsets, Some(Ok(vec![(0, 12), (1, 0)])));
        assert_eq!(read_committed(include_bytes!("../../../../fuzz/seeds/kafka/committed.bin")), Some(0));
        let home = read_coordinator(include_bytes!("../../../../fuzz/seeds/kafka/coordinator.bin"));
        assert!(home.is_some_and(|home| home.is_ok_and(|(host, _)| host == "127.0.0.1")));
    }

    #[test]
    fn versions_that_are_missing() {
        let answer = include_bytes!("../../../../fuzz/seeds/kafka/versions.bin");
        let mut versions = Versions::read(answer).unwrap();
        assert_eq!(versions.missing(), None);
        assert!(versions.has(Api::METADATA_ID) && !versions.has(Api::SASL_HANDSHAKE));
        versions.0.retain(|(key, ..)| *key != Api::FETCH.key);
        versions.0.push((Api::FETCH.key, 0, 9));
        let missing = versions.missing().unwrap();
        assert_eq!(missing, "it does not answer Fetch in version 10; Kafka does since 2.1");
    }

    #[test]
    fn a_long_name_has_a_length_of_two_bytes() {
        let question = metadata(Api::METADATA_ID, &"t".repeat(200)).done();
        assert_eq!(question[17..20], [0xc9, 1, b't']);
        assert_eq!(question.len(), 19 + 200 + 5);
    }
}
