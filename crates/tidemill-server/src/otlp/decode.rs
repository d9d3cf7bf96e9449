//! Messages to spans, with limits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use serde_json::{Map, Value};
use tidemill_core::hex;
use tidemill_registry::traces::{NewSpan, SpanEvent, SpanGroup, SpanLink, SpanStatus, trace_id};

use crate::otlp::proto::{Any, AnyValue, ExportRequest, KeyValue, Span};
use crate::otlp::{Form, Refusal, json, measure};

/// Attributes of one span, of one event, of a program.
const ATTRIBUTES: usize = 1_000;
/// Events, and links, of one span.
const PARTS: usize = 10_000;
/// Bytes of a name or of a key.
const NAME: usize = 4096;
/// Values inside of each other.
const DEPTH: usize = 64;

/// Reads a request.
pub fn decode(bytes: &[u8], form: Form) -> Result<Vec<SpanGroup>, Refusal> {
    let request = match form {
        Form::Protobuf => {
            measure::check(bytes)?;
            ExportRequest::decode(bytes).map_err(|_| Refusal::Malformed)?
        }
        Form::Json => json::parse(bytes)?,
    };
    if request.resource_spans.is_empty() {
        return Err(Refusal::Empty);
    }
    let mut groups = Vec::with_capacity(request.resource_spans.len());
    for part in request.resource_spans {
        let spans: Vec<Span> = part.scope_spans.into_iter().flat_map(|scope| scope.spans).collect();
        groups.push(SpanGroup {
            resource: attributes(part.resource.unwrap_or_default().attributes)?,
            spans: spans.into_iter().map(span).collect::<Result<_, _>>()?,
        });
    }
    Ok(groups)
}

fn span(span: Span) -> Result<NewSpan, Refusal> {
    if span.events.len() > PARTS || span.links.len() > PARTS {
        return Err(Refusal::Limit(format!("a span may have up to {PARTS} events and {PARTS} links")));
    }
    let parent = match span.parent_span_id.as_slice() {
        [] => None,
        bytes => Some(<[u8; 8]>::try_from(bytes).map_err(|_| Refusal::Span)?).filter(|id| *id != [0; 8]),
    };
    let trace = <[u8; 16]>::try_from(span.trace_id.as_slice()).map_err(|_| Refusal::Span)?;
    let id = <[u8; 8]>::try_from(span.span_id.as_slice()).map_err(|_| Refusal::Span)?;
    if trace == [0; 16] || id == [0; 8] {
        return Err(Refusal::Span);
    }
    // SQL's integers end there: in the year 2262.
    if span.start_time_unix_nano.max(span.end_time_unix_nano) > i64::MAX as u64 {
        return Err(Refusal::Span);
    }
    let status = span.status.unwrap_or_default();
    let event = |event: crate::otlp::proto::Event| {
        Ok(SpanEvent {
            name: name(event.name)?,
            at_ns: event.time_unix_nano,
            attributes: attributes(event.attributes)?,
        })
    };
    let link = |link: crate::otlp::proto::Link| {
        let attributes = attributes(link.attributes)?;
        Ok(SpanLink {
            trace: trace_id(&link.trace_id),
            span: hex(&link.span_id),
            attributes: (!attributes.is_empty()).then_some(attributes),
        })
    };
    Ok(NewSpan {
        trace,
        id,
        parent,
        name: name(span.name)?,
        started_ns: span.start_time_unix_nano,
        ended_ns: span.end_time_unix_nano,
        status: match status.code {
            1 => SpanStatus::Ok,
            2 => SpanStatus::Error,
            _ => SpanStatus::Unset,
        },
        message: plain(status.message),
        attributes: attributes(span.attributes)?,
        events: span.events.into_iter().map(event).collect::<Result<_, Refusal>>()?,
        links: span.links.into_iter().map(link).collect::<Result<_, Refusal>>()?,
    })
}

fn name(text: String) -> Result<String, Refusal> {
    if text.len() > NAME {
        return Err(Refusal::Limit(format!("a name may have up to {NAME} bytes")));
    }
    Ok(plain(text))
}

/// Programs must not lose a batch of spans for one character that PostgreSQL cannot keep: NUL becomes U+FFFD.
fn plain(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn attributes(pairs: Vec<KeyValue>) -> Result<Map<String, Value>, Refusal> {
    if pairs.len() > ATTRIBUTES {
        return Err(Refusal::Limit(format!("there may be up to {ATTRIBUTES} attributes")));
    }
    map(pairs, DEPTH)
}

fn map(pairs: Vec<KeyValue>, depth: usize) -> Result<Map<String, Value>, Refusal> {
    pairs.into_iter().map(|pair| Ok((name(pair.key)?, value(pair.value, depth)?))).collect()
}

fn value(any: Option<AnyValue>, depth: usize) -> Result<Value, Refusal> {
    let depth =
        depth.checked_sub(1).ok_or_else(|| Refusal::Limit("values are nested too deeply".to_owned()))?;
    Ok(match any.and_then(|any| any.value) {
        None => Value::Null,
        Some(Any::Text(text)) => Value::String(plain(text)),
        Some(Any::Flag(flag)) => Value::Bool(flag),
        Some(Any::Int(number)) => Value::from(number),
        // JSON has no such numbers; their names can be read.
        Some(Any::Float(number)) if !number.is_finite() => Value::from(if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }),
        Some(Any::Float(number)) => Value::from(number),
        Some(Any::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        Some(Any::List(list)) => {
            let items = list.values.into_iter().map(|item| value(Some(item), depth));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Some(Any::Map(list)) => Value::Object(map(list.values, depth)?),
    })
}
