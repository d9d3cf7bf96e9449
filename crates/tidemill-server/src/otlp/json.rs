//! OpenTelemetry's messages as JSON: identifiers in hexadecimal digits, integers as numbers or as text, fields that are
//! not known ignored.
//!
//! They are read straight into the messages: a tree of values in between would cost many times what they do.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine as _;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::otlp::proto::{
    Any, AnyValue, ArrayValue, Event, ExportRequest, KeyValue, KeyValueList, Link, Resource, ResourceSpans,
    ScopeSpans, Span, Status,
};
use crate::otlp::{Refusal, measure};

/// Reads a request.
pub(super) fn parse(bytes: &[u8]) -> Result<ExportRequest, Refusal> {
    measure::check_json(bytes)?;
    serde_json::from_slice(bytes).map_err(|_| Refusal::Malformed)
}

/// How a message is read: its fields by their names in JSON, each with the type that reads it. A field that is null is
/// as good as none.
macro_rules! message {
    ($type:ident { $($name:literal => $field:ident: $read:ty),+ $(,)? }) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;
                impl<'de> Visitor<'de> for Read {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$type, A::Error> {
                        let mut message = $type::default();
                        while let Some(name) = map.next_key::<String>()? {
                            match name.as_str() {
                                $($name => if let Some(value) = map.next_value::<Option<$read>>()? {
                                    message.$field = value.into();
                                },)+
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(message)
                    }
                }
                deserializer.deserialize_map(Read)
            }
        }
    };
}

message!(ExportRequest { "resourceSpans" => resource_spans: Vec<ResourceSpans> });
message!(ResourceSpans { "resource" => resource: Resource, "scopeSpans" => scope_spans: Vec<ScopeSpans> });
message!(Resource { "attributes" => attributes: Vec<KeyValue> });
message!(ScopeSpans { "spans" => spans: Vec<Span> });
message!(Span {
    "traceId" => trace_id: Hex,
    "spanId" => span_id: Hex,
    "parentSpanId" => parent_span_id: Hex,
    "name" => name: String,
    "startTimeUnixNano" => start_time_unix_nano: Number<u64>,
    "endTimeUnixNano" => end_time_unix_nano: Number<u64>,
    "attributes" => attributes: Vec<KeyValue>,
    "events" => events: Vec<Event>,
    "links" => links: Vec<Link>,
    "status" => status: Status,
});
message!(Event {
    "timeUnixNano" => time_unix_nano: Number<u64>,
    "name" => name: String,
    "attributes" => attributes: Vec<KeyValue>,
});
message!(Link {
    "traceId" => trace_id: Hex,
    "spanId" => span_id: Hex,
    "attributes" => attributes: Vec<KeyValue>,
});
message!(Status { "message" => message: String, "code" => code: Number<Code> });
message!(KeyValue { "key" => key: String, "value" => value: AnyValue });
message!(ArrayValue { "values" => values: Vec<AnyValue> });
message!(KeyValueList { "values" => values: Vec<KeyValue> });

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = AnyValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            /// The first that is a value counts.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyValue, A::Error> {
                let mut value = None;
                while let Some(name) = map.next_key::<String>()? {
                    let read = match name.as_str() {
                        _ if value.is_some() => {
                            map.next_value::<IgnoredAny>()?;
                            None
                        }
                        "stringValue" => map.next_value::<Option<String>>()?.map(Any::Text),
                        "boolValue" => map.next_value::<Option<bool>>()?.map(Any::Flag),
                        "intValue" => map.next_value::<Option<Number<i64>>>()?.map(|n| Any::Int(n.0)),
                        "doubleValue" => map.next_value::<Option<Number<f64>>>()?.map(|n| Any::Float(n.0)),
                        "arrayValue" => map.next_value::<Option<ArrayValue>>()?.map(Any::List),
                        "kvlistValue" => map.next_value::<Option<KeyValueList>>()?.map(Any::Map),
                        "bytesValue" => map.next_value::<Option<Base64>>()?.map(|bytes| Any::Bytes(bytes.0)),
                        name => {
                            let there = map.next_value::<Option<IgnoredAny>>()?.is_some();
                            if there && name.ends_with("Value") {
                                return Err(A::Error::custom("a value of a kind that is not known"));
                            }
                            None
                        }
                    };
                    value = value.or(read);
                }
                Ok(AnyValue { value })
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// An identifier in hexadecimal digits.
struct Hex(Vec<u8>);

impl From<Hex> for Vec<u8> {
    fn from(hex: Hex) -> Self {
        hex.0
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom("not hexadecimal digits");
        if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
        bytes.collect::<Result<_, _>>().map(Self).map_err(|_| wrong())
    }
}

struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        bytes.map(Self).map_err(|_| D::Error::custom("not Base64"))
    }
}

/// A number, or the text of one.
struct Number<T>(T);

/// What a [`Number`] may be.
trait Figure: FromStr {
    fn of_int(number: i128) -> Option<Self>;
    fn of_float(_: f64) -> Option<Self> {
        None
    }
}

impl Figure for u64 {
    fn of_int(number: i128) -> Option<Self> {
        number.try_into().ok()
    }
}

impl Figure for i64 {
    fn of_int(number: i128) -> Option<Self> {
        number.try_into().ok()
    }
}

impl Figure for f64 {
    fn of_int(number: i128) -> Option<Self> {
        Some(number as Self)
    }
    fn of_float(number: f64) -> Option<Self> {
        Some(number)
    }
}

/// The code of a status, by number or by name.
struct Code(i32);

impl Figure for Code {
    fn of_int(number: i128) -> Option<Self> {
        number.try_into().ok().map(Self)
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "STATUS_CODE_UNSET" => Ok(Self(0)),
            "STATUS_CODE_OK" => Ok(Self(1)),
            "STATUS_CODE_ERROR" => Ok(Self(2)),
            _ => Err(()),
        }
    }
}

impl From<Number<u64>> for u64 {
    fn from(number: Number<u64>) -> Self {
        number.0
    }
}

impl From<Number<Code>> for i32 {
    fn from(number: Number<Code>) -> Self {
        number.0.0
    }
}

impl<'de, T: Figure> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<T>(PhantomData<T>);
        impl<T: Figure> Read<T> {
            fn done<E: serde::de::Error>(read: Option<T>) -> Result<Number<T>, E> {
                read.map(Number).ok_or_else(|| E::custom("not a number of this kind"))
            }
        }
        impl<T: Figure> Visitor<'_> for Read<T> {
            type Value = Number<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Number<T>, E> {
                Self::done(T::of_int(number.into()))
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Number<T>, E> {
                Self::done(T::of_int(number.into()))
            }
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Number<T>, E> {
                Self::done(T::of_float(number))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number<T>, E> {
                Self::done(text.parse().ok())
            }
        }
        deserializer.deserialize_any(Read(PhantomData))
    }
}
