//! Counts the messages of a request before any of them is made. A message may take two bytes on the wire and hundreds in
//! memory, so a limit on bytes alone would not hold what a request costs.

use std::fmt;
use std::marker::PhantomData;

use prost::bytes::Buf as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::mlflow::json_marks;
use crate::otlp::Refusal;

/// Messages that a request may have, inside of each other or not: some 100 MB once they are read.
const MESSAGES: usize = 500_000;
/// Spans that a request may have.
pub(super) const SPANS: usize = 10_000;
/// Events and links that the spans of a request may have together.
const PARTS: usize = 100_000;
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

/// What a request may still have.
struct Left {
    messages: usize,
    spans: usize,
    parts: usize,
}

impl Left {
    fn all() -> Self {
        Self { messages: MESSAGES, spans: SPANS, parts: PARTS }
    }

    fn take(left: &mut usize, count: usize, all: usize, what: &str) -> Result<(), Refusal> {
        let rest = left.checked_sub(count);
        *left = rest.ok_or_else(|| Refusal::Limit(format!("a request may have up to {all} {what}")))?;
        Ok(())
    }

    fn messages(&mut self, count: usize) -> Result<(), Refusal> {
        Self::take(&mut self.messages, count, MESSAGES, "spans, attributes and values")
    }

    fn spans(&mut self, count: usize) -> Result<(), Refusal> {
        Self::take(&mut self.spans, count, SPANS, "spans")
    }

    fn parts(&mut self, count: usize) -> Result<(), Refusal> {
        Self::take(&mut self.parts, count, PARTS, "events and links")
    }
}

/// Refuses a request that has too many messages, or is no request at all.
pub(super) fn check(bytes: &[u8]) -> Result<(), Refusal> {
    count(bytes, Kind::Request, DEPTH, &mut Left::all())
}

/// As [`check`], for a request in JSON, whose objects are its messages. Nothing is kept of what is read here.
pub(super) fn check_json(bytes: &[u8]) -> Result<(), Refusal> {
    let mut left = Left::all();
    left.messages(json_marks(bytes, b"{"))?;
    let RequestSize { of } = serde_json::from_slice(bytes).map_err(|_| Refusal::Malformed)?;
    left.spans(of.spans)?;
    left.parts(of.parts)
}

/// What is kept of a list: how many spans, events and links are in it.
#[derive(Clone, Copy, Default)]
struct Sum {
    spans: usize,
    parts: usize,
}

/// What an item adds to a [`Sum`].
trait Counted {
    fn count(&self) -> Sum;
}

/// The items of a list, counted.
fn sum<'de, D: Deserializer<'de>, T: Counted + Deserialize<'de>>(deserializer: D) -> Result<Sum, D::Error> {
    struct Read<T>(PhantomData<T>);
    impl<'de, T: Counted + Deserialize<'de>> Visitor<'de> for Read<T> {
        type Value = Sum;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_unit<E>(self) -> Result<Sum, E> {
            Ok(Sum::default())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sum, A::Error> {
            let mut sum = Sum::default();
            while let Some(item) = items.next_element::<T>()? {
                let Sum { spans, parts } = item.count();
                sum = Sum { spans: sum.spans + spans, parts: sum.parts + parts };
            }
            Ok(sum)
        }
    }
    deserializer.deserialize_any(Read(PhantomData::<T>))
}

#[derive(Deserialize)]
struct RequestSize {
    #[serde(rename = "resourceSpans", default, deserialize_with = "sum::<_, ResourceSize>")]
    of: Sum,
}

#[derive(Deserialize)]
struct ResourceSize {
    #[serde(rename = "scopeSpans", default, deserialize_with = "sum::<_, ScopeSize>")]
    of: Sum,
}

#[derive(Deserialize)]
struct ScopeSize {
    #[serde(rename = "spans", default, deserialize_with = "sum::<_, SpanSize>")]
    of: Sum,
}

#[derive(Deserialize)]
struct SpanSize {
    #[serde(default, deserialize_with = "sum::<_, IgnoredAny>")]
    events: Sum,
    #[serde(default, deserialize_with = "sum::<_, IgnoredAny>")]
    links: Sum,
}

impl Counted for ResourceSize {
    fn count(&self) -> Sum {
        self.of
    }
}

impl Counted for ScopeSize {
    fn count(&self) -> Sum {
        self.of
    }
}

impl Counted for SpanSize {
    fn count(&self) -> Sum {
        Sum { spans: 1, parts: self.events.parts + self.links.parts }
    }
}

impl Counted for IgnoredAny {
    fn count(&self) -> Sum {
        Sum { spans: 0, parts: 1 }
    }
}

fn count(mut bytes: &[u8], kind: Kind, depth: usize, left: &mut Left) -> Result<(), Refusal> {
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
            left.messages(1)?;
            match kind {
                Kind::Span => left.spans(1)?,
                Kind::Event | Kind::Link => left.parts(1)?,
                _ => {}
            }
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
        (0..=SPANS).for_each(|_| spans.extend([0x12, 0]));
        let mut inner = vec![0x12];
        prost::encoding::encode_varint(spans.len() as u64, &mut inner);
        inner.extend(spans);
        let mut bytes = vec![0x0a];
        prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
        bytes.extend(inner);
        assert!(matches!(check(&bytes), Err(Refusal::Limit(_))));
    }

    /// A few thousand bytes, compressed, must not become gigabytes.
    #[test]
    fn json_is_counted_before_it_is_read() {
        let spans =
            |spans: String| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
        let many = |item: &str, count: usize| vec![item; count].join(",");
        let check = |text: String| check_json(text.as_bytes());
        check(spans(many("{}", SPANS))).unwrap();
        for (text, what) in [
            (spans(many("{}", SPANS + 1)), "10000 spans"),
            (spans(format!(r#"{{"events":[{}]}}"#, many("{}", PARTS + 1))), "events and links"),
            (
                spans(format!(r#"{{"events":[{0}],"links":[{0}]}}"#, many("0", PARTS / 2 + 1))),
                "events and links",
            ),
            (spans(format!(r#"{{"attributes":[{}]}}"#, many("{}", MESSAGES))), "attributes and values"),
        ] {
            let refused = check(text);
            assert!(
                matches!(&refused, Err(Refusal::Limit(why)) if why.contains(what)),
                "{refused:?}: {what}"
            );
        }
        // Braces inside of texts are none.
        let text = r#"\"{"#.repeat(10);
        check(spans(format!(r#"{{"name":"{text}","events":null}}"#))).unwrap();
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
