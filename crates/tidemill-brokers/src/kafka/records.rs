//! Batches of records, as a broker of Kafka keeps and sends them.
//!
//! A batch is unpacked while it is read, so that memory holds what came over the network and one record, whatever the
//! batch says that it unpacks to.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufReader, Cursor, Read, Take};

use bytes::{Buf as _, Bytes};

use crate::BODY;
use crate::fields::Fields;

/// The most that a batch may unpack to, in bytes.
const UNPACKED: u64 = 256 << 20;
/// The most that a block of Snappy may unpack to, in bytes; such a block is unpacked at once.
const BLOCK: usize = 64 << 20;
/// Snappy makes at most so much of a byte.
const SNAPPY_RATIO: usize = 64;
/// What Java's Snappy writes first. Without it, all is one block.
const SNAPPY_JAVA: &[u8] = b"\x82SNAPPY\0";
/// The length of a batch counts what follows it.
const BEFORE_LENGTH: usize = 12;
/// A batch without records, in bytes.
const HEAD: usize = 61;

/// A record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its place in the partition.
    pub(super) offset: i64,
    /// How long its value is.
    pub(super) size: u64,
    /// The first bytes of its value.
    pub(super) body: Vec<u8>,
}

/// The records of a partition that an answer holds, one after the other.
pub(super) struct Records {
    bytes: Bytes,
    /// Transactions that were given up: where each begins, and whose it is; in order.
    aborted: VecDeque<(i64, i64)>,
    /// Whose records are to be left out, until the end of their transaction.
    left_out: BTreeSet<i64>,
    /// The first offset that is wanted, and that was wanted at first.
    from: i64,
    begun: i64,
    batch: Option<Open>,
}

/// A batch that is being read.
struct Open {
    base: i64,
    last: i64,
    left: i32,
    reader: BufReader<Take<Box<dyn Read + Send>>>,
}

/// The beginning of a batch.
struct Head {
    base: i64,
    last: i64,
    attributes: i16,
    producer: i64,
    count: i32,
}

impl Records {
    /// Those from `from` on. Of a batch that has records before it, they are left out.
    pub(super) fn new(bytes: Bytes, from: i64, mut aborted: Vec<(i64, i64)>) -> Self {
        aborted.sort_unstable();
        Self { bytes, aborted: aborted.into(), left_out: BTreeSet::new(), from, begun: from, batch: None }
    }

    /// The offset that comes after all that were read.
    pub(super) fn position(&self) -> i64 {
        self.from
    }

    /// Whether anything was read or passed over.
    pub(super) fn got_on(&self) -> bool {
        self.from > self.begun
    }

    /// The next record; nothing where no whole batch follows.
    pub(super) fn next(&mut self) -> Result<Option<Record>, String> {
        loop {
            let Some(batch) = &mut self.batch else {
                if !self.open()? {
                    return Ok(None);
                }
                continue;
            };
            if batch.left == 0 {
                self.from = self.from.max(batch.last + 1);
                self.batch = None;
                continue;
            }
            batch.left -= 1;
            let (base, last) = (batch.base, batch.last);
            let record = record(&mut batch.reader, base).map_err(|error| {
                let why = match error.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        format!("it ends early, or unpacks to more than {} MiB", UNPACKED >> 20)
                    }
                    _ => error.to_string(),
                };
                format!("the batch of messages at offset {base} cannot be read: {why}")
            })?;
            if !(base..=last).contains(&record.offset) {
                return Err(format!("the batch of messages at offset {base} counts wrongly"));
            }
            if record.offset >= self.from {
                self.from = record.offset + 1;
                return Ok(Some(record));
            }
        }
    }

    /// Begins with the next batch, or passes it over; `false` where none follows.
    fn open(&mut self) -> Result<bool, String> {
        let Some((head, whole)) = head(&self.bytes)? else { return Ok(false) };
        let mut batch = self.bytes.split_to(whole);
        let Head { base, last, attributes, producer, count } = head;
        while let Some((_, whose)) = self.aborted.pop_front_if(|(first, _)| *first <= last) {
            self.left_out.insert(whose);
        }
        let (is_transaction, is_control) = (attributes & 0x10 != 0, attributes & 0x20 != 0);
        if is_control {
            // It ends the transaction of its producer, one way or the other.
            self.left_out.remove(&producer);
        }
        if is_control || (is_transaction && self.left_out.contains(&producer)) {
            self.from = self.from.max(last + 1);
        }
        if last >= self.from {
            batch.advance(HEAD);
            let unpacked = unpacked(attributes & 7, batch)
                .map_err(|why| format!("the batch of messages at offset {base} cannot be unpacked: {why}"))?;
            self.batch =
                Some(Open { base, last, left: count, reader: BufReader::new(unpacked.take(UNPACKED)) });
        }
        Ok(true)
    }
}

/// The beginning of the batch that is first, and how long the batch is; nothing where it is not all there.
fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, String> {
    const MAGIC: usize = 16;
    let mut fields = Fields::new(bytes);
    let (Some(base), Some(length), Some(magic)) = (fields.i64(), fields.i32(), bytes.get(MAGIC)) else {
        return Ok(None);
    };
    let broken = || format!("the batch of messages at offset {base} makes no sense");
    if *magic != 2 {
        return Err(format!(
            "the batch of messages at offset {base} is in format {magic}; Kafka writes format 2 since 0.11"
        ));
    }
    let whole = usize::try_from(length).map_err(|_| broken())? + BEFORE_LENGTH;
    if base < 0 || whole < HEAD {
        return Err(broken());
    }
    let Some(batch) = bytes.get(..whole) else { return Ok(None) };
    let read = || {
        let mut fields = Fields::new(&batch[MAGIC + 1..]);
        let crc = fields.u32()?;
        let guarded = fields.rest();
        let (attributes, delta) = (fields.i16()?, fields.i32()?);
        // Times of the first and of the last.
        fields.bytes(16)?;
        let producer = fields.i64()?;
        // Epoch and number of the producer.
        fields.bytes(6)?;
        let count = fields.i32()?;
        let last = base.checked_add(i64::from(delta)).filter(|last| (base..i64::MAX).contains(last))?;
        (count >= 0).then_some((crc, guarded, Head { base, last, attributes, producer, count }))
    };
    let (crc, guarded, head) = read().ok_or_else(broken)?;
    if crc32c::crc32c(guarded) != crc {
        return Err(format!("the batch of messages at offset {base} is damaged: its checksum is wrong"));
    }
    Ok(Some((head, whole)))
}

/// What is compressed, unpacked as it is read.
fn unpacked(codec: i16, bytes: Bytes) -> Result<Box<dyn Read + Send>, String> {
    let packed = Cursor::new(bytes.clone());
    Ok(match codec {
        0 => Box::new(packed),
        1 => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        2 => Box::new(Snappy::new(bytes)),
        3 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
        // Its window is at most 128 MiB, of which as much is touched as is unpacked.
        4 => Box::new(zstd::Decoder::with_buffer(packed).map_err(|error| error.to_string())?),
        codec => return Err(format!("nobody knows compression {codec}")),
    })
}

/// Blocks of Snappy: each after its length, as Java writes them, or one that is all.
struct Snappy {
    rest: Bytes,
    is_framed: bool,
    block: Cursor<Vec<u8>>,
}

impl Snappy {
    fn new(mut rest: Bytes) -> Self {
        // The mark is followed by two versions.
        let is_framed = rest.starts_with(SNAPPY_JAVA) && rest.len() >= SNAPPY_JAVA.len() + 8;
        if is_framed {
            rest.advance(SNAPPY_JAVA.len() + 8);
        }
        Self { rest, is_framed, block: Cursor::default() }
    }

    fn unpack(&mut self) -> io::Result<Vec<u8>> {
        let length = if self.is_framed {
            self.rest.try_get_u32().map_err(|_| io::ErrorKind::UnexpectedEof)? as usize
        } else {
            self.rest.len()
        };
        if length > self.rest.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let packed = self.rest.split_to(length);
        // It makes as much room as the block says that it needs.
        if snap::raw::decompress_len(&packed)? > BLOCK.min(length.saturating_mul(SNAPPY_RATIO)) {
            return Err(io::Error::other("a block of Snappy that says that it is longer than it can be"));
        }
        Ok(snap::raw::Decoder::new().decompress_vec(&packed)?)
    }
}

impl Read for Snappy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.block.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.rest.is_empty() {
                return Ok(read);
            }
            self.block = Cursor::new(self.unpack()?);
        }
    }
}

/// Reads a record of the batch that begins at `base`.
fn record(reader: &mut impl Read, base: i64) -> io::Result<Record> {
    let length = varint(reader)?;
    let mut rest = reader.by_ref().take(u64::try_from(length).map_err(io::Error::other)?);
    // Attributes, of which there are none, and the time.
    skip(&mut rest, 1)?;
    varint(&mut rest)?;
    let offset = base.checked_add(varint(&mut rest)?).ok_or_else(|| io::Error::other("a wrong offset"))?;
    // No key and no value have the length -1.
    let key = varint(&mut rest)?.max(0) as u64;
    skip(&mut rest, key)?;
    let size = varint(&mut rest)?.max(0) as u64;
    let kept = size.min(BODY as u64);
    let mut body = Vec::new();
    rest.by_ref().take(kept).read_to_end(&mut body)?;
    if (body.len() as u64) < kept {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    skip(&mut rest, size - kept)?;
    // Headers.
    let left = rest.limit();
    skip(&mut rest, left)?;
    Ok(Record { offset, size, body })
}

fn skip(reader: &mut impl Read, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(count), &mut io::sink())?;
    if skipped < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// A number in as few bytes as it needs, small ones of either sign in few.
fn varint(reader: &mut impl Read) -> io::Result<i64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    Err(io::Error::other("a number without end"))
}

/// Reads any bytes as batches, for fuzzing: as they are, and with the checksums that they should have.
pub(super) fn fuzz(bytes: &[u8]) {
    let mut mended = bytes.to_vec();
    let mut rest = mended.as_mut_slice();
    while let Some((before, after)) = std::mem::take(&mut rest).split_at_mut_checked(HEAD) {
        let mut fields = Fields::new(before);
        let (_, length) = (fields.i64(), fields.i32());
        let whole = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0) + BEFORE_LENGTH;
        let left = whole.saturating_sub(HEAD).min(after.len());
        let (inside, next) = after.split_at_mut(left);
        // What follows the checksum is guarded by it.
        let crc = crc32c::crc32c_append(crc32c::crc32c(&before[21..]), inside);
        before[17..21].copy_from_slice(&crc.to_be_bytes());
        rest = next;
    }
    for bytes in [bytes.to_vec(), mended] {
        let mut records = Records::new(Bytes::from(bytes), 0, vec![(0, 1), (5, 2)]);
        while let Ok(Some(record)) = records.next() {
            assert!(record.body.len() <= BODY && record.offset < records.position());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: i64) -> Vec<u8> {
        let mut left = ((number << 1) ^ (number >> 63)) as u64;
        let mut bytes = Vec::new();
        while left > 0x7f {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes
    }

    /// The record that is so much behind the first of its batch.
    fn one(delta: i64, value: &[u8]) -> Vec<u8> {
        let (size, none) = (number(value.len() as i64), number(-1));
        let record = [&[0, 0][..], &number(delta), &none, &size, value, &[0]].concat();
        [number(record.len() as i64), record].concat()
    }

    fn batch(base: i64, attributes: i16, producer: i64, deltas: i32, count: i32, packed: &[u8]) -> Vec<u8> {
        let guarded = [
            &attributes.to_be_bytes()[..],
            &deltas.to_be_bytes(),
            &[0; 16],
            &producer.to_be_bytes(),
            &[0; 6],
            &count.to_be_bytes(),
            packed,
        ]
        .concat();
        let after = [&[0, 0, 0, 0, 2][..], &crc32c::crc32c(&guarded).to_be_bytes(), &guarded].concat();
        [&base.to_be_bytes()[..], &(after.len() as i32).to_be_bytes(), &after].concat()
    }

    fn plain(base: i64, values: &[&str]) -> Vec<u8> {
        transaction(base, 0, -1, values)
    }

    fn transaction(base: i64, attributes: i16, producer: i64, values: &[&str]) -> Vec<u8> {
        let records: Vec<u8> =
            values.iter().enumerate().flat_map(|(i, value)| one(i as i64, value.as_bytes())).collect();
        batch(base, attributes, producer, values.len() as i32 - 1, values.len() as i32, &records)
    }

    /// Offsets and values, and where to go on.
    fn all(bytes: Vec<u8>, from: i64, aborted: Vec<(i64, i64)>) -> (Vec<(i64, String)>, i64) {
        let mut records = Records::new(bytes.into(), from, aborted);
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            assert_eq!(record.size, record.body.len() as u64);
            found.push((record.offset, String::from_utf8(record.body).unwrap()));
        }
        (found, records.position())
    }

    fn why(bytes: Vec<u8>) -> String {
        let mut records = Records::new(bytes.into(), 0, Vec::new());
        loop {
            match records.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("nothing is wrong with it"),
                Err(why) => return why,
            }
        }
    }

    /// Of librdkafka, in each compression, with keys and headers.
    #[test]
    fn batches_of_another_client() {
        let answers: [(&str, i64, &[u8]); 5] = [
            ("none", 0, include_bytes!("../../../../fuzz/seeds/kafka/fetch-none.bin")),
            ("gzip", 0, include_bytes!("../../../../fuzz/seeds/kafka/fetch-gzip.bin")),
            ("snappy", 4, include_bytes!("../../../../fuzz/seeds/kafka/fetch-snappy.bin")),
            ("lz4", 4, include_bytes!("../../../../fuzz/seeds/kafka/fetch-lz4.bin")),
            ("zstd", 8, include_bytes!("../../../../fuzz/seeds/kafka/fetch-zstd.bin")),
        ];
        for (codec, base, answer) in answers {
            let fetched = super::super::protocol::read_fetched(&Bytes::from_static(answer)).unwrap().unwrap();
            let value = |i: i64| (base + i, format!("message {i} of {codec} {}", "x".repeat(60)));
            let expected: Vec<(i64, String)> = (0..4).map(value).collect();
            assert_eq!(
                all(fetched[0].records.to_vec(), base, Vec::new()),
                (expected.clone(), base + 4),
                "{codec}"
            );
            // Whoever goes on in the middle is sent the whole batch.
            let rest = all(fetched[0].records.to_vec(), base + 3, Vec::new());
            assert_eq!(rest, (expected[3..].to_vec(), base + 4), "{codec}");
        }
    }

    #[test]
    fn batches_one_after_the_other() {
        let text = |offset, text: &str| (offset, text.to_owned());
        let bytes = [plain(5, &["a", "b"]), plain(9, &["c"]), plain(12, &["d"])].concat();
        let expected = vec![text(5, "a"), text(6, "b"), text(9, "c"), text(12, "d")];
        assert_eq!(all(bytes.clone(), 0, Vec::new()), (expected.clone(), 13));
        assert_eq!(all(bytes.clone(), 7, Vec::new()), (expected[2..].to_vec(), 13));
        // The last one is not all there.
        assert_eq!(all(bytes[..bytes.len() - 1].to_vec(), 0, Vec::new()), (expected[..3].to_vec(), 10));
        for short in 0..HEAD {
            assert_eq!(all(bytes[..short].to_vec(), 0, Vec::new()), (Vec::new(), 0));
        }
        // Records that were compacted away leave a gap, which is passed.
        let gap = batch(20, 0, -1, 9, 1, &one(3, b"e"));
        assert_eq!(all(gap, 20, Vec::new()), (vec![text(23, "e")], 30));
        assert_eq!(all(batch(20, 0, -1, 9, 0, b""), 20, Vec::new()), (Vec::new(), 30));
    }

    /// The broker says which transactions were given up; a marker ends each.
    #[test]
    fn transactions_that_were_given_up() {
        const TRANSACTION: i16 = 0x10;
        const MARKER: i16 = 0x30;
        let marker = |base, producer| batch(base, MARKER, producer, 0, 1, &one(0, b"marker"));
        let bytes = [
            transaction(0, TRANSACTION, 7, &["aborted", "aborted"]),
            transaction(2, TRANSACTION, 8, &["committed"]),
            plain(3, &["alone"]),
            transaction(4, TRANSACTION, 7, &["aborted"]),
            marker(5, 7),
            marker(6, 8),
            transaction(7, TRANSACTION, 7, &["committed later"]),
            marker(8, 7),
            transaction(9, TRANSACTION, 7, &["aborted"]),
            marker(10, 7),
        ]
        .concat();
        let (found, next) = all(bytes.clone(), 0, vec![(9, 7), (0, 7)]);
        let found: Vec<(i64, &str)> = found.iter().map(|(offset, text)| (*offset, text.as_str())).collect();
        assert_eq!(found, [(2, "committed"), (3, "alone"), (7, "committed later")]);
        assert_eq!(next, 11);
        let (found, _) = all(bytes, 4, vec![(9, 7), (0, 7)]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn snappy_as_java_writes_it() {
        let block = |text: &[u8]| {
            let packed = snap::raw::Encoder::new().compress_vec(text).unwrap();
            [&(packed.len() as u32).to_be_bytes()[..], &packed].concat()
        };
        let records = [one(0, b"first"), one(1, &[b'x'; 1000])].concat();
        let (a, b) = records.split_at(9);
        let framed = [SNAPPY_JAVA, &[0, 0, 0, 1, 0, 0, 0, 1], &block(a), &block(b"")[..], &block(b)].concat();
        let (found, _) = all(batch(0, 2, -1, 1, 2, &framed), 0, Vec::new());
        assert_eq!(found, [(0, "first".to_owned()), (1, "x".repeat(1000))]);
    }

    /// What would unpack to more than there is memory does not.
    #[test]
    fn bombs() {
        let bomb = |head: &[u8]| {
            let zeros = std::io::repeat(0).take(UNPACKED + 1);
            batch(0, 4, -1, 0, 1, &zstd::encode_all(Read::chain(head, zeros), 1).unwrap())
        };
        // The length of the record is longer than that, and so is its key.
        let long = [number(1 << 40), vec![0, 0, 0], number(1 << 39)].concat();
        assert!(why(bomb(&long)).contains("more than 256 MiB"));
        assert!(why(bomb(&[0x80; 11])).contains("a number without end"));
        // A block of Snappy says first how long it is.
        let snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        assert!(why(batch(0, 2, -1, 0, 1, &snappy)).contains("longer than it can be"));
        // Of a value that is long the beginning is kept.
        let value = vec![b'x'; BODY + 7];
        let mut records = Records::new(batch(0, 0, -1, 0, 1, &one(0, &value)).into(), 0, Vec::new());
        let record = records.next().unwrap().unwrap();
        assert_eq!((record.size, record.body.len()), (BODY as u64 + 7, BODY));
        assert_eq!(records.next(), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let good = plain(3, &["a"]);
        let mut old = good.clone();
        old[16] = 1;
        assert!(why(old).contains("at offset 3 is in format 1"));
        let mut damaged = good.clone();
        damaged[HEAD + 2] ^= 1;
        assert!(why(damaged).contains("its checksum is wrong"));
        let mut short = good.clone();
        short[11] = 9;
        assert!(why(short).contains("makes no sense"));
        assert!(why(batch(-1, 0, -1, 0, 1, &one(0, b"a"))).contains("makes no sense"));
        assert!(why(batch(i64::MAX, 0, -1, 0, 1, &one(0, b"a"))).contains("makes no sense"));
        assert!(why(batch(0, 0, -1, 0, -1, b"")).contains("makes no sense"));
        assert!(why(batch(0, 7, -1, 0, 1, b"")).contains("nobody knows compression 7"));
        assert!(why(batch(0, 0, -1, 0, 1, &one(5, b"a"))).contains("counts wrongly"));
        assert!(why(batch(0, 0, -1, 0, 2, &one(0, b"a"))).contains("it ends early"));
        for codec in 1..=4 {
            assert!(
                why(batch(0, codec, -1, 0, 1, b"no such thing")).contains("offset 0 cannot be"),
                "{codec}"
            );
        }
    }
}
