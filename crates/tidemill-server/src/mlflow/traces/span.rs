//! Spans as OpenTelemetry's messages in MLflow's JSON: bytes in base64, values with the name of their kind.

use serde_json::{Value, json};
use tidemill_registry::traces::{SpanBody, SpanLink, decoded};

use crate::mlflow::entity::Object;

/// A span.
pub(super) fn json(span: &SpanBody) -> Value {
    let events = span.events.iter().map(|event| {
        Object::default()
            .set("time_unix_nano", event.at_ns)
            .set("name", event.name.as_str())
            .list("attributes", event.attributes.iter().map(|(key, value)| pair(key, value)))
            .done()
    });
    let status = Object::default()
        .opt("message", span.status.message.as_deref().filter(|message| !message.is_empty()))
        .opt("code", Some(span.status.code.as_str()).filter(|code| *code != "STATUS_CODE_UNSET"));
    Object::default()
        .set("trace_id", span.trace_id.as_str())
        .set("span_id", span.span_id.as_str())
        .opt("parent_span_id", span.parent_span_id.as_deref())
        .set("name", span.name.as_str())
        .set("start_time_unix_nano", span.start_time_unix_nano)
        .opt("end_time_unix_nano", span.end_time_unix_nano)
        .list("attributes", span.attributes.iter().map(|(key, value)| pair(key, &decoded(value))))
        .list("events", events)
        .list("links", span.links.iter().filter_map(link))
        .set("status", status.done())
        .done()
}

fn pair(key: &str, value: &Value) -> Value {
    json!({"key": key, "value": any(value)})
}

/// A value with the name of its kind.
fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(flag) => json!({"bool_value": flag}),
        Value::Number(number) if number.is_f64() => json!({"double_value": number}),
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            json!({"double_value": number.as_f64()})
        }
        Value::Number(number) => json!({"int_value": number}),
        Value::String(text) => json!({"string_value": text}),
        Value::Array(items) => {
            json!({"array_value": Object::default().list("values", items.iter().map(any)).done()})
        }
        Value::Object(fields) => {
            let values = fields.iter().map(|(key, value)| pair(key, value));
            json!({"kvlist_value": Object::default().list("values", values).done()})
        }
    }
}

fn link(link: &SpanLink) -> Option<Value> {
    let trace = base64_of_hex(link.trace.strip_prefix("tr-").unwrap_or(&link.trace), 16)?;
    let span = base64_of_hex(&link.span, 8)?;
    let attributes = link.attributes.iter().flatten().map(|(key, value)| pair(key, value));
    Some(Object::default().set("trace_id", trace).set("span_id", span).list("attributes", attributes).done())
}

fn base64_of_hex(text: &str, length: usize) -> Option<String> {
    use base64::Engine as _;
    let digits = text.as_bytes();
    if digits.len() != 2 * length {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    Some(base64::engine::general_purpose::STANDARD.encode(bytes?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_the_name_of_their_kind() {
        let value = json!({"a": [1, 2.5, "x", true, null], "b": []});
        assert_eq!(
            any(&value),
            json!({"kvlist_value": {"values": [
                {"key": "a", "value": {"array_value": {"values": [
                    {"int_value": 1}, {"double_value": 2.5}, {"string_value": "x"}, {"bool_value": true}, {}
                ]}}},
                {"key": "b", "value": {"array_value": {}}},
            ]}})
        );
    }

    #[test]
    fn a_link_needs_identifiers_of_the_right_length() {
        let good = SpanLink {
            trace: format!("tr-{}", "ab".repeat(16)),
            span: "0102030405060708".to_owned(),
            attributes: None,
        };
        assert_eq!(link(&good).unwrap()["span_id"], "AQIDBAUGBwg=");
        assert_eq!(link(&SpanLink { span: "01".to_owned(), ..good.clone() }), None);
        assert_eq!(link(&SpanLink { span: "x".repeat(16), ..good }), None);
    }
}
