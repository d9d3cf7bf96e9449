//! Counts the messages of a request before any of them is made. A message may take two bytes on the wire and hundreds in
//! memory, so a limit on bytes alone would not hold what a request costs.

use prost::bytes::Buf as _;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::otlp::Refusal;

/// Messages that a request may have, inside of each other or not.
const MESSAGES: usize = 2_000_000;
/// Messages inside of each other.
const DEPTH: usize = 80;

/// What a message is, as far as its parts go.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    ResourceSpans,
    Resource,
    ScopeSpans,
    Span,
    Event,
    Link,
    Status,
    KeyValue,
    AnyValue,
    ArrayValue,
    KeyValueList,
}

impl Kind {
    /// What a field of it is, if it is a message that is read.
    fn part(self, field: u32) -> Option<Self> {
        match (self, field) {
            (Self::Request, 1) => Some(Self::ResourceSpans),
            (Self::ResourceSpans, 1) => Some(Self::Resource),
            (Self::ResourceSpans, 2) => Some(Self::ScopeSpans),
            (Self::ScopeSpans, 2) => Some(Self::Span),
            (Self::Span, 11) => Some(Self::Event),
            (Self::Span, 13) => Some(Self::Link),
            (Self::Span, 15) => Some(Self::Status),
            (Self::Resource | Self::KeyValueList, 1)
            | (Self::Span, 9)
            | (Self::Event, 3)
            | (Self::Link, 4) => Some(Self::KeyValue),
            (Self::KeyValue, 2) | (Self::ArrayValue, 1) => Some(Self::AnyValue),
            (Self::AnyValue, 5) => Some(Self::ArrayValue),
            (Self::AnyValue, 6) => Some(Self::KeyValueList),
            _ => None,
        }
    }
}

/// Refuses a request that has too many messages, or is no request at all.
pub(super) fn check(bytes: &[u8]) -> Result<(), Refusal> {
    let mut left = MESSAGES;
    count(bytes, Kind::Request, DEPTH, &mut left)
}

fn count(mut bytes: &[u8], kind: Kind, depth: usize, left: &mut usize) -> Result<(), Refusal> {
    let malformed = |_| Refusal::Malformed;
    let depth =
        depth.checked_sub(1).ok_or_else(|| Refusal::Limit("values are nested too deeply".to_owned()))?;
    while !bytes.is_empty() {
        let (field, wire) = decode_key(&mut bytes).map_err(malformed)?;
        let skip = match wire {
            WireType::Varint => {
                decode_varint(&mut bytes).map_err(malformed)?;
                0
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::LengthDelimited => {
                let length = decode_varint(&mut bytes).map_err(malformed)?;
                usize::try_from(length).map_err(|_| Refusal::Malformed)?
            }
            // Groups are older than OpenTelemetry.
            WireType::StartGroup | WireType::EndGroup => return Err(Refusal::Malformed),
        };
        let (part, _) = bytes.split_at_checked(skip).ok_or(Refusal::Malformed)?;
        if wire == WireType::LengthDelimited
            && let Some(kind) = kind.part(field)
        {
            *left = left.checked_sub(1).ok_or_else(|| {
                Refusal::Limit(format!("a request may have up to {MESSAGES} spans, attributes and values"))
            })?;
            count(part, kind, depth, left)?;
        }
        bytes.advance(skip);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::otlp::proto::{
        Any, AnyValue, ArrayValue, ExportRequest, KeyValue, ResourceSpans, ScopeSpans, Span,
    };

    fn request(spans: usize, nesting: usize) -> Vec<u8> {
        let value = (0..nesting).fold(AnyValue { value: Some(Any::Int(1)) }, |inner, _| AnyValue {
            value: Some(Any::List(ArrayValue { values: vec![inner] })),
        });
        let span = Span {
            attributes: vec![KeyValue { key: "k".to_owned(), value: Some(value) }],
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span; spans] }];
        ExportRequest { resource_spans: vec![ResourceSpans { resource: None, scope_spans }] }.encode_to_vec()
    }

    #[test]
    fn what_is_small_passes() {
        check(&[]).unwrap();
        check(&request(3, 10)).unwrap();
    }

    #[test]
    fn too_many_and_too_deep_are_refused() {
        assert!(matches!(check(&request(1, 60)), Err(Refusal::Limit(_))));
        // Two bytes for each empty span.
        let mut spans = Vec::new();
        (0..=MESSAGES).for_each(|_| spans.extend([0x12, 0]));
        let mut inner = vec![0x12];
        prost::encoding::encode_varint(spans.len() as u64, &mut inner);
        inner.extend(spans);
        let mut bytes = vec![0x0a];
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend(inner);
        assert!(matches!(check(&bytes), Err(Refusal::Limit(_))));
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        for bytes in [
            &[0xff][..],
            &[0x0a, 5, 1],
            &[0x0b],
            &[0x0d, 1],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert_eq!(check(bytes), Err(Refusal::Malformed), "{bytes:?}");
        }
    }
}
