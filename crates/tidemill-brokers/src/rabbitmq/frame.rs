//! The bytes of AMQP 0-9-1.

use crate::fields::Fields;

/// A method, by class and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method(u16, u16);

impl Method {
    pub(super) const START: Self = Self(10, 10);
    pub(super) const START_OK: Self = Self(10, 11);
    pub(super) const TUNE: Self = Self(10, 30);
    pub(super) const TUNE_OK: Self = Self(10, 31);
    pub(super) const OPEN: Self = Self(10, 40);
    pub(super) const OPEN_OK: Self = Self(10, 41);
    pub(super) const CLOSE: Self = Self(10, 50);
    pub(super) const CLOSE_OK: Self = Self(10, 51);
    pub(super) const CHANNEL_OPEN: Self = Self(20, 10);
    pub(super) const CHANNEL_OPEN_OK: Self = Self(20, 11);
    pub(super) const CHANNEL_CLOSE: Self = Self(20, 40);
    pub(super) const DECLARE: Self = Self(50, 10);
    pub(super) const DECLARE_OK: Self = Self(50, 11);
    pub(super) const QOS: Self = Self(60, 10);
    pub(super) const QOS_OK: Self = Self(60, 11);
    pub(super) const CONSUME: Self = Self(60, 20);
    pub(super) const CONSUME_OK: Self = Self(60, 21);
    pub(super) const CANCEL: Self = Self(60, 30);
    pub(super) const DELIVER: Self = Self(60, 60);
    pub(super) const ACK: Self = Self(60, 80);

    /// The method of a frame and its arguments.
    pub(super) fn read(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (head, arguments) = payload.split_first_chunk::<4>()?;
        let [a, b, c, d] = *head;
        Some((Self(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])), arguments))
    }
}

/// Says that we are there.
pub(super) const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0xce];

/// A frame with a method.
pub(super) fn method(channel: u16, method: Method, arguments: &[u8]) -> Vec<u8> {
    let mut frame = vec![1];
    frame.extend(channel.to_be_bytes());
    frame.extend((arguments.len() as u32 + 4).to_be_bytes());
    frame.extend(method.0.to_be_bytes());
    frame.extend(method.1.to_be_bytes());
    frame.extend_from_slice(arguments);
    frame.push(0xce);
    frame
}

/// What the header of a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Properties {
    /// Of the body, in bytes.
    pub(super) size: u64,
    /// The identifier that the sender gave.
    pub(super) id: Option<String>,
    /// What is the same at each delivery: all but the table of headers, in which some queues count deliveries.
    pub(super) rest: Vec<u8>,
}

/// Reads the payload of a header.
pub(super) fn properties(payload: &[u8]) -> Option<Properties> {
    const TABLE: u16 = 13;
    let mut fields = Fields::new(payload);
    // Class and weight.
    fields.u32()?;
    let size = fields.u64()?;
    let flags = fields.u16()?;
    let has = |bit: u16| flags & (1 << bit) != 0;
    // In the order of their bits: type and encoding of the content, headers, delivery mode, priority, correlation, reply,
    // expiration, and then the identifier.
    for bit in [15, 14] {
        if has(bit) {
            fields.text8()?;
        }
    }
    let before = fields.rest().len();
    if has(TABLE) {
        let length = fields.u32()?;
        fields.bytes(length as usize)?;
    }
    let after = fields.rest();
    let first = payload.get(14..payload.len() - before)?;
    let rest = [&(flags & !(1 << TABLE)).to_be_bytes(), first, after].concat();
    for bit in [12, 11] {
        if has(bit) {
            fields.u8()?;
        }
    }
    for bit in [10, 9, 8] {
        if has(bit) {
            fields.text8()?;
        }
    }
    let id = if has(7) { Some(fields.text8()?) } else { None };
    Some(Properties { size, id: id.filter(|id| !id.is_empty()), rest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Out;

    #[test]
    fn identifiers_of_messages() {
        let header =
            |flags: u16, rest: Out| Out::new().u16(60).u16(0).u64(7).u16(flags).raw(&rest.done()).done();
        let read = |payload: &[u8]| properties(payload).map(|found| (found.size, found.id));
        assert_eq!(read(&header(0, Out::new())), Some((7, None)));
        let all = Out::new().text8("application/json").bytes32(b"table").u8(2).text8("corr").text8("m-1");
        let flags = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 10 | 1 << 7;
        assert_eq!(read(&header(flags, all)), Some((7, Some("m-1".to_owned()))));
        assert_eq!(properties(&header(1 << 7, Out::new())), None);
        assert_eq!(properties(b"short"), None);
    }

    #[test]
    fn a_count_of_deliveries_changes_no_message() {
        let header = |flags: u16, table: &[u8], kind: &str| {
            let table = if table.is_empty() { Vec::new() } else { Out::new().bytes32(table).done() };
            let fields = Out::new().text8(kind).raw(&table).u8(2).done();
            let flags = 1 << 15 | 1 << 12 | flags;
            properties(&Out::new().u16(60).u16(0).u64(7).u16(flags).raw(&fields).done()).unwrap()
        };
        let first = header(0, b"", "text");
        assert_eq!(first, header(1 << 13, b"\x10x-delivery-countl", "text"));
        assert_ne!(first, header(0, b"", "json"));
    }

    #[test]
    fn frames() {
        let ack = method(1, Method::ACK, &Out::new().u64(3).u8(0).done());
        assert_eq!(ack, b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\0\x03\0\xce");
        assert_eq!(Method::read(&ack[7..20]).map(|(method, _)| method), Some(Method::ACK));
        assert_eq!(Method::read(b"ab"), None);
    }
}
