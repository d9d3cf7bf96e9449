//! Requests and what is read of them.

use prost::Message as _;
use serde_json::{Value, json};
use tidemill_registry::traces::SpanStatus;

use crate::otlp::proto::{
    Any, AnyValue, ArrayValue, Event, ExportRequest, KeyValue, KeyValueList, Link, Resource, ResourceSpans,
    ScopeSpans, Span, Status,
};
use crate::otlp::{Form, Refusal, decode};

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn request(spans: Vec<Span>) -> ExportRequest {
    let resource = Resource { attributes: vec![pair("service.name", Any::Text("shop".to_owned()))] };
    let scope_spans = vec![ScopeSpans { spans }];
    ExportRequest { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] }
}

fn span() -> Span {
    Span { trace_id: vec![0xab; 16], span_id: vec![1; 8], name: "root".to_owned(), ..Span::default() }
}

fn full() -> Span {
    Span {
        parent_span_id: vec![2; 8],
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 2_000,
        attributes: vec![
            pair("text", Any::Text("ü".to_owned())),
            pair("flag", Any::Flag(true)),
            pair("int", Any::Int(-3)),
            pair("float", Any::Float(0.5)),
            pair("nan", Any::Float(f64::NAN)),
            pair("bytes", Any::Bytes(vec![1, 2])),
            pair(
                "list",
                Any::List(ArrayValue {
                    values: vec![AnyValue { value: Some(Any::Int(1)) }, AnyValue::default()],
                }),
            ),
            pair("map", Any::Map(KeyValueList { values: vec![pair("a", Any::Int(1))] })),
            KeyValue { key: "none".to_owned(), value: None },
        ],
        events: vec![Event {
            time_unix_nano: 5,
            name: "exception".to_owned(),
            attributes: vec![pair("exception.type", Any::Text("E".to_owned()))],
        }],
        links: vec![Link { trace_id: vec![0xcd; 16], span_id: vec![3; 8], attributes: Vec::new() }],
        status: Some(Status { message: "boom".to_owned(), code: 2 }),
        ..span()
    }
}

fn read(spans: Vec<Span>) -> Result<Vec<tidemill_registry::traces::SpanGroup>, Refusal> {
    decode(&request(spans).encode_to_vec(), Form::Protobuf)
}

#[test]
fn protobuf_is_read_whole() {
    let groups = read(vec![full()]).unwrap();
    assert_eq!(Value::Object(groups[0].resource.clone()), json!({"service.name": "shop"}));
    let span = &groups[0].spans[0];
    assert_eq!((span.trace, span.id, span.parent), ([0xab; 16], [1; 8], Some([2; 8])));
    assert_eq!((span.started_ns, span.ended_ns), (1_000, 2_000));
    assert_eq!((span.status, span.message.as_str()), (SpanStatus::Error, "boom"));
    assert_eq!(
        Value::Object(span.attributes.clone()),
        json!({"text": "ü", "flag": true, "int": -3, "float": 0.5, "nan": "NaN", "bytes": "AQI=", "list": [1, null],
            "map": {"a": 1}, "none": null})
    );
    assert_eq!((span.events[0].name.as_str(), span.events[0].at_ns), ("exception", 5));
    assert_eq!(span.links[0].trace, format!("tr-{}", "cd".repeat(16)));
    assert_eq!(span.links[0].span, "03".repeat(8));
}

#[test]
fn json_is_read_as_protobuf_is() {
    let body = json!({"unknown": 1, "resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"scope": {"name": "x"}, "spans": [{
            "traceId": "AB".repeat(16), "spanId": "01".repeat(8), "parentSpanId": "02".repeat(8), "name": "root",
            "kind": 1, "startTimeUnixNano": "1000", "endTimeUnixNano": 2000,
            "attributes": [
                {"key": "text", "value": {"stringValue": "ü"}}, {"key": "flag", "value": {"boolValue": true}},
                {"key": "int", "value": {"intValue": "-3"}}, {"key": "float", "value": {"doubleValue": 0.5}},
                {"key": "nan", "value": {"doubleValue": "NaN"}}, {"key": "bytes", "value": {"bytesValue": "AQI="}},
                {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}, {}]}}},
                {"key": "map", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1}}]}}},
                {"key": "none"},
            ],
            "events": [{"timeUnixNano": "5", "name": "exception",
                "attributes": [{"key": "exception.type", "value": {"stringValue": "E"}}]}],
            "links": [{"traceId": "cd".repeat(16), "spanId": "03".repeat(8)}],
            "status": {"code": "STATUS_CODE_ERROR", "message": "boom"},
        }]}],
    }]});
    assert_eq!(decode(body.to_string().as_bytes(), Form::Json), read(vec![full()]));
}

#[test]
fn spans_without_proper_identifiers_or_times_are_refused() {
    for wrong in [
        Span { trace_id: Vec::new(), ..span() },
        Span { trace_id: vec![1; 15], ..span() },
        Span { trace_id: vec![0; 16], ..span() },
        Span { span_id: vec![1; 9], ..span() },
        Span { span_id: vec![0; 8], ..span() },
        Span { parent_span_id: vec![1; 3], ..span() },
        Span { end_time_unix_nano: u64::MAX, ..span() },
    ] {
        assert_eq!(read(vec![wrong.clone()]), Err(Refusal::Span), "{wrong:?}");
    }
    // Some SDKs send zeros for no parent.
    assert_eq!(read(vec![Span { parent_span_id: vec![0; 8], ..span() }]).unwrap()[0].spans[0].parent, None);
}

#[test]
fn there_are_limits() {
    let long = "x".repeat(5000);
    for wrong in [
        vec![span(); 10_001],
        vec![Span { name: long.clone(), ..span() }],
        vec![Span { attributes: vec![pair("k", Any::Int(1)); 1001], ..span() }],
        vec![Span { attributes: vec![pair(&long, Any::Int(1))], ..span() }],
        vec![Span { events: vec![Event::default(); 10_001], ..span() }],
    ] {
        assert!(matches!(read(wrong), Err(Refusal::Limit(_))));
    }
    let deep = (0..70).fold(json!({"intValue": 1}), |inner, _| json!({"arrayValue": {"values": [inner]}}));
    let body = json!({"resourceSpans": [{"resource": {"attributes": [{"key": "k", "value": deep}]}}]});
    let refused = decode(body.to_string().as_bytes(), Form::Json);
    assert!(matches!(refused, Err(Refusal::Limit(_) | Refusal::Malformed)), "{refused:?}");
}

#[test]
fn what_is_no_request_is_refused() {
    for (bytes, form, refusal) in [
        (&b""[..], Form::Protobuf, Refusal::Empty),
        (b"{}", Form::Json, Refusal::Empty),
        (b"{\"resourceSpans\": []}", Form::Json, Refusal::Empty),
        (b"", Form::Json, Refusal::Malformed),
        (b"[]", Form::Json, Refusal::Malformed),
        (b"{\"resourceSpans\": 1}", Form::Json, Refusal::Malformed),
        (b"{\"resourceSpans\": [1]}", Form::Json, Refusal::Malformed),
        (b"{\"resourceSpans\": [[]]}", Form::Json, Refusal::Malformed),
        (
            b"{\"resourceSpans\": [{\"scopeSpans\": [{\"spans\": [{\"traceId\": \"zz\"}]}]}]}",
            Form::Json,
            Refusal::Malformed,
        ),
        (
            b"{\"resourceSpans\": [{\"scopeSpans\": [{\"spans\": [{\"startTimeUnixNano\": -1}]}]}]}",
            Form::Json,
            Refusal::Malformed,
        ),
        (b"not protobuf", Form::Protobuf, Refusal::Malformed),
    ] {
        assert_eq!(decode(bytes, form), Err(refusal), "{:?}", String::from_utf8_lossy(bytes));
    }
}
