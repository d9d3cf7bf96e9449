//! OpenTelemetry's messages as JSON: identifiers in hexadecimal digits, integers as numbers or as text, fields that are
//! not known ignored.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::otlp::Refusal;
use crate::otlp::proto::{
    Any, AnyValue, ArrayValue, Event, ExportRequest, KeyValue, KeyValueList, Link, Resource, ResourceSpans,
    ScopeSpans, Span, Status,
};

/// Values inside of each other.
const DEPTH: usize = 64;

/// Reads a request.
pub(super) fn parse(bytes: &[u8]) -> Result<ExportRequest, Refusal> {
    let value: Value = serde_json::from_slice(bytes).map_err(|_| Refusal::Malformed)?;
    let Value::Object(request) = value else { return Err(Refusal::Malformed) };
    Ok(ExportRequest { resource_spans: list(&request, "resourceSpans", resource_spans)? })
}

type Fields = Map<String, Value>;

fn resource_spans(fields: &Fields) -> Result<ResourceSpans, Refusal> {
    Ok(ResourceSpans {
        resource: one(fields, "resource", resource)?,
        scope_spans: list(fields, "scopeSpans", scope_spans)?,
    })
}

fn resource(fields: &Fields) -> Result<Resource, Refusal> {
    Ok(Resource { attributes: list(fields, "attributes", |pair| key_value(pair, DEPTH))? })
}

fn scope_spans(fields: &Fields) -> Result<ScopeSpans, Refusal> {
    Ok(ScopeSpans { spans: list(fields, "spans", span)? })
}

fn span(fields: &Fields) -> Result<Span, Refusal> {
    Ok(Span {
        trace_id: hex(fields, "traceId")?,
        span_id: hex(fields, "spanId")?,
        parent_span_id: hex(fields, "parentSpanId")?,
        name: text(fields, "name")?,
        start_time_unix_nano: nanos(fields, "startTimeUnixNano")?,
        end_time_unix_nano: nanos(fields, "endTimeUnixNano")?,
        attributes: list(fields, "attributes", |pair| key_value(pair, DEPTH))?,
        events: list(fields, "events", event)?,
        links: list(fields, "links", link)?,
        status: one(fields, "status", status)?,
    })
}

fn event(fields: &Fields) -> Result<Event, Refusal> {
    Ok(Event {
        time_unix_nano: nanos(fields, "timeUnixNano")?,
        name: text(fields, "name")?,
        attributes: list(fields, "attributes", |pair| key_value(pair, DEPTH))?,
    })
}

fn link(fields: &Fields) -> Result<Link, Refusal> {
    Ok(Link {
        trace_id: hex(fields, "traceId")?,
        span_id: hex(fields, "spanId")?,
        attributes: list(fields, "attributes", |pair| key_value(pair, DEPTH))?,
    })
}

fn status(fields: &Fields) -> Result<Status, Refusal> {
    let code = match fields.get("code") {
        None | Some(Value::Null) => 0,
        Some(Value::Number(number)) => {
            number.as_i64().and_then(|code| i32::try_from(code).ok()).ok_or(Refusal::Malformed)?
        }
        Some(Value::String(name)) => match name.as_str() {
            "STATUS_CODE_UNSET" => 0,
            "STATUS_CODE_OK" => 1,
            "STATUS_CODE_ERROR" => 2,
            _ => return Err(Refusal::Malformed),
        },
        Some(_) => return Err(Refusal::Malformed),
    };
    Ok(Status { message: text(fields, "message")?, code })
}

fn key_value(fields: &Fields, depth: usize) -> Result<KeyValue, Refusal> {
    Ok(KeyValue { key: text(fields, "key")?, value: one(fields, "value", |value| any_value(value, depth))? })
}

fn any_value(fields: &Fields, depth: usize) -> Result<AnyValue, Refusal> {
    let depth =
        depth.checked_sub(1).ok_or_else(|| Refusal::Limit("values are nested too deeply".to_owned()))?;
    let known = fields.iter().find(|(name, value)| name.ends_with("Value") && !value.is_null());
    let Some((name, value)) = known else { return Ok(AnyValue { value: None }) };
    let any = match (name.as_str(), value) {
        ("stringValue", Value::String(text)) => Any::Text(text.clone()),
        ("boolValue", Value::Bool(flag)) => Any::Flag(*flag),
        ("intValue", Value::String(text)) => Any::Int(text.parse().map_err(|_| Refusal::Malformed)?),
        ("intValue", Value::Number(number)) => Any::Int(number.as_i64().ok_or(Refusal::Malformed)?),
        ("doubleValue", Value::Number(number)) => Any::Float(number.as_f64().ok_or(Refusal::Malformed)?),
        ("doubleValue", Value::String(text)) => Any::Float(text.parse().map_err(|_| Refusal::Malformed)?),
        ("arrayValue", Value::Object(array)) => {
            Any::List(ArrayValue { values: list(array, "values", |value| any_value(value, depth))? })
        }
        ("kvlistValue", Value::Object(map)) => {
            Any::Map(KeyValueList { values: list(map, "values", |pair| key_value(pair, depth))? })
        }
        ("bytesValue", Value::String(text)) => Any::Bytes(
            base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| Refusal::Malformed)?,
        ),
        _ => return Err(Refusal::Malformed),
    };
    Ok(AnyValue { value: Some(any) })
}

fn list<T>(
    fields: &Fields,
    name: &str,
    read: impl Fn(&Fields) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.iter().map(|item| read(item.as_object().ok_or(Refusal::Malformed)?)).collect()
        }
        Some(_) => Err(Refusal::Malformed),
    }
}

fn one<T>(
    fields: &Fields,
    name: &str,
    read: impl Fn(&Fields) -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(message)) => read(message).map(Some),
        Some(_) => Err(Refusal::Malformed),
    }
}

fn text(fields: &Fields, name: &str) -> Result<String, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Refusal::Malformed),
    }
}

fn nanos(fields: &Fields, name: &str) -> Result<u64, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(Value::String(text)) => text.parse().map_err(|_| Refusal::Malformed),
        Some(Value::Number(number)) => number.as_u64().ok_or(Refusal::Malformed),
        Some(_) => Err(Refusal::Malformed),
    }
}

fn hex(fields: &Fields, name: &str) -> Result<Vec<u8>, Refusal> {
    let text = text(fields, name)?;
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Refusal::Malformed);
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| Refusal::Malformed))
        .collect()
}
