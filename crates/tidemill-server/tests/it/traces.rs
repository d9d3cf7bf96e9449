//! Traces, assessments and spans on the wire.

use serde_json::{Value, json};
use tidemill_core::{Actor, EventKind, NewEvent, Timestamp};
use tidemill_db::tracking::{Experiment, Stage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Reply, Server};

/// A server with the experiments 1 and 2.
pub(crate) async fn server() -> Server {
    let server = Server::start().await;
    for id in [1, 2] {
        let experiment = Experiment {
            id,
            name: format!("tides {id}"),
            artifact_location: format!("mlflow-artifacts:/{id}"),
            stage: Stage::Active,
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(1),
            tags: Vec::new(),
        };
        let mut tx = server.db.begin().await.unwrap();
        tx.create_experiment(&experiment).await.unwrap();
        let kind = EventKind::ExperimentCreated { experiment: id, name: experiment.name };
        let at = Timestamp::from_millis(1);
        tx.commit(vec![NewEvent { at, actor: Actor::user("ada"), kind, cause: None }]).await.unwrap();
    }
    server
}

pub(crate) async fn post(server: &Server, path: &str, body: Value) -> Reply {
    server.ask("POST", path, &[], &body.to_string()).await
}

fn told(id: &str, experiment: i64) -> Value {
    json!({"trace": {"trace_info": {
        "trace_id": id,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment.to_string()}},
        "request_time": "2026-11-26T03:44:40.392Z", "execution_duration": "0.313s", "state": "OK",
        "trace_metadata": {"mlflow.trace.sizeStats": "{\"num_spans\": 2}", "mlflow.user": "ana"},
        "tags": {"mlflow.traceName": "answer"},
        "request_preview": "{\"q\": \"hello\"}",
    }}})
}

const TRACE: &str = "6bad9431e11be14184281a47758eaf56";

fn spans(names: &[(&str, &str, Option<&str>)]) -> Value {
    let spans: Vec<Value> = names
        .iter()
        .map(|(name, id, parent)| {
            json!({
                "traceId": TRACE, "spanId": id, "parentSpanId": parent.unwrap_or_default(), "name": name,
                "startTimeUnixNano": "1795664680392486938", "endTimeUnixNano": "1795664680706154973",
                "attributes": [
                    {"key": "mlflow.spanType", "value": {"stringValue": "LLM"}},
                    {"key": "mlflow.spanInputs", "value": {"kvlistValue": {"values": [
                        {"key": "q", "value": {"stringValue": "hello"}}, {"key": "k", "value": {"intValue": "2"}}]}}},
                    {"key": "mlflow.chat.tokenUsage", "value": {"kvlistValue": {"values": [
                        {"key": "total_tokens", "value": {"intValue": 7}}]}}},
                ],
                "status": {"code": 1},
            })
        })
        .collect();
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}},
        {"key": "telemetry.sdk.name", "value": {"stringValue": "x"}}]});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]})
}

async fn export(server: &Server, experiment: &str, body: &Value) -> Reply {
    server.ask("POST", "/v1/traces", &[("x-mlflow-experiment-id", experiment)], &body.to_string()).await
}

const BOTH: [(&str, &str, Option<&str>); 2] =
    [("answer", "eba584cfdc7fceff", None), ("retrieve", "546b88e2ed29bebf", Some("eba584cfdc7fceff"))];

#[tokio::test]
async fn a_trace_is_told_of_and_read() {
    let server = server().await;
    let id = format!("tr-{TRACE}");
    let started = post(&server, "/api/3.0/mlflow/traces", told(&id, 1)).await;
    started.is(200, &["\"mlflow.trace.infoFinalized\":\"true\"", "\"execution_duration\":\"0.313s\""]);
    let read = server.get(&format!("/api/3.0/mlflow/traces/{id}?trace_id={id}")).await;
    assert_eq!(read.json(), started.json());
    let info = &started.json()["trace"]["trace_info"];
    assert_eq!(info["request_time"], "2026-11-26T03:44:40.392Z");
    assert_eq!(info["tags"]["mlflow.artifactLocation"], format!("mlflow-artifacts:/1/traces/{id}/artifacts"));
    assert_eq!(info["tags"]["mlflow.traceName"], "answer");
    assert_eq!(info.get("client_request_id"), None);

    // One of the two spans that the client counted is not there yet.
    export(&server, "1", &spans(&BOTH[..1])).await.is(200, &["{}"]);
    let path = format!("/api/3.0/mlflow/traces/get?trace_id={id}");
    server.get(&path).await.is(404, &["RESOURCE_DOES_NOT_EXIST", "is not fully exported yet"]);
    server.get(&format!("{path}&allow_partial=True")).await.is(200, &["\"name\":\"answer\""]);
    server
        .get(&format!("/api/3.0/mlflow/traces/batchGet?trace_ids={id}&trace_ids=tr-x"))
        .await
        .is(200, &["{}"]);
    export(&server, "1", &spans(&BOTH[1..])).await.is(200, &["{}"]);
    let trace = server.get(&path).await.json()["trace"].take();
    let pair = |key: &str, kind: &str, value: Value| json!({"key": key, "value": {kind: value}});
    let attributes = json!([
        pair(
            "mlflow.chat.tokenUsage",
            "kvlist_value",
            json!({"values": [pair("total_tokens", "int_value", json!(7))]}),
        ),
        pair(
            "mlflow.spanInputs",
            "kvlist_value",
            json!({"values": [pair("k", "int_value", json!(2)), pair("q", "string_value", json!("hello"))]}),
        ),
        pair("mlflow.spanType", "string_value", json!("LLM")),
        pair("mlflow.traceRequestId", "string_value", json!(id)),
    ]);
    let span = |name: &str, id: &str| {
        json!({"trace_id": "a62UMeEb4UGEKBpHdY6vVg==", "span_id": id, "name": name, "attributes": attributes,
            "start_time_unix_nano": 1_795_664_680_392_486_938_u64, "status": {"code": "STATUS_CODE_OK"},
            "end_time_unix_nano": 1_795_664_680_706_154_973_u64})
    };
    let mut child = span("retrieve", "VGuI4u0pvr8=");
    child["parent_span_id"] = json!("66WEz9x/zv8=");
    assert_eq!(trace["spans"], json!([span("answer", "66WEz9x/zv8="), child]));
    let many = server.get(&format!("/api/3.0/mlflow/traces/batchGet?trace_ids={id}&trace_ids=tr-x")).await;
    assert_eq!(many.json()["traces"], json!([trace]));
    let infos = post(&server, "/ajax-api/3.0/mlflow/traces/batchGetInfos", json!({"trace_ids": [id]})).await;
    assert_eq!(infos.json()["trace_infos"], json!([trace["trace_info"]]));
    let elsewhere = json!({"trace_ids": [id], "experiment_ids": ["2"]});
    post(&server, "/api/3.0/mlflow/traces/batchGetInfos", elsewhere).await.is(200, &["{}"]);

    let file = server.get(&format!("/ajax-api/3.0/mlflow/get-trace-artifact?request_id={id}")).await;
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=traces.json"));
    let root = &file.json()["spans"][0];
    assert_eq!(root["attributes"]["mlflow.spanInputs"], "{\"k\": 2, \"q\": \"hello\"}");
    assert_eq!(
        (&root["trace_id"], &root["parent_span_id"]),
        (&json!("a62UMeEb4UGEKBpHdY6vVg=="), &Value::Null)
    );
}

#[tokio::test]
async fn spans_alone_make_a_trace() {
    let server = server().await;
    export(&server, "1", &spans(&BOTH)).await.is(200, &["{}"]);
    // Sent again after an answer that was lost.
    export(&server, "1", &spans(&BOTH)).await.is(200, &["{}"]);
    let path = format!("/api/3.0/mlflow/traces/get?trace_id=tr-{TRACE}");
    let trace = server.get(&path).await.json()["trace"].take();
    assert_eq!(trace["spans"].as_array().unwrap().len(), 2);
    assert_eq!(
        trace["trace_info"],
        json!({
            "trace_id": format!("tr-{TRACE}"),
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}},
            "request_time": "2026-11-26T03:44:40.392Z", "execution_duration": "0.314s", "state": "OK",
            "request_preview": trace["trace_info"]["request_preview"],
            "trace_metadata": {"mlflow.trace.tokenUsage": "{\"input_tokens\": 0, \"output_tokens\": 0, \"total_tokens\": 7}"},
            "tags": {"mlflow.artifactLocation": format!("mlflow-artifacts:/1/traces/tr-{TRACE}/artifacts"),
                "mlflow.trace.spansLocation": "TRACKING_STORE", "service.name": "shop"},
        })
    );
}

#[tokio::test]
async fn what_opentelemetry_clients_are_refused_with() {
    let server = server().await;
    let body = spans(&BOTH).to_string();
    server.ask("POST", "/v1/traces", &[], &body).await.is(
        422,
        &[r#"{"detail":[{"#, r#""loc":["header","x-mlflow-experiment-id"]"#, r#""msg":"Field required""#],
    );
    for (experiment, body, status, text) in [
        ("1", json!({}), 400, "Invalid OpenTelemetry format - no spans found"),
        ("1", json!([]), 400, "{\"detail\":\"Invalid OpenTelemetry format\"}"),
        ("999", spans(&BOTH), 404, "No Experiment with id=999 exists"),
        ("abc", spans(&BOTH), 400, "Invalid experiment ID 'abc'. Experiment ID must be a valid integer."),
        ("1", spans(&[("x", "00", None)]), 422, "Cannot convert OpenTelemetry span to MLflow span"),
    ] {
        export(&server, experiment, &body).await.is(status, &[text]);
    }
    let encoded = [("x-mlflow-experiment-id", "1"), ("content-encoding", "br")];
    server.ask("POST", "/v1/traces", &encoded, &body).await.is(400, &["Unsupported Content-Encoding: br"]);
    let broken = [("x-mlflow-experiment-id", "1"), ("content-encoding", "gzip")];
    server.ask("POST", "/v1/traces", &broken, &body).await.is(400, &["Failed to decompress gzip payload"]);
    post(
        &server,
        "/api/3.0/mlflow/traces/search",
        json!({"locations": [{"mlflow_experiment": {"experiment_id": "1"}}]}),
    )
    .await
    .is(200, &["{}"]);
}

/// A field of a protobuf message with bytes in it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    [&[number << 3 | 2, length], bytes].concat()
}

#[tokio::test]
async fn protobuf_is_answered_with_protobuf() {
    let server = server().await;
    let span = [field(1, &[7; 16]), field(2, &[1; 8]), field(5, b"root")].concat();
    let body = field(1, &field(2, &field(2, &span)));
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\n\
         x-mlflow-experiment-id: 1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(server.running.address()).await.unwrap();
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("content-type: application/x-protobuf\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    let id = format!("tr-{}", "07".repeat(16));
    server.get(&format!("/api/3.0/mlflow/traces/{id}")).await.is(200, &["\"state\":\"OK\""]);
}

#[tokio::test]
async fn searches_give_pages() {
    let server = server().await;
    for i in 1..=5 {
        let mut body = told(&format!("tr-{i}"), 1);
        body["trace"]["trace_info"]["request_time"] = json!(format!("2026-01-01T00:00:0{i}Z"));
        body["trace"]["trace_info"]["tags"]["odd"] = json!((i % 2).to_string());
        post(&server, "/api/3.0/mlflow/traces", body).await.is(200, &[]);
    }
    let locations = json!([{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}}]);
    let ids = |reply: &Value| -> Vec<String> {
        let traces = reply["traces"].as_array().cloned().unwrap_or_default();
        traces.iter().map(|trace| trace["trace_id"].as_str().unwrap().to_owned()).collect()
    };
    let mut ask = json!({"locations": locations, "max_results": 2, "filter": "tags.odd = '1'"});
    let first = post(&server, "/api/3.0/mlflow/traces/search", ask.clone()).await.json();
    assert_eq!(ids(&first), ["tr-5", "tr-3"]);
    ask["page_token"] = first["next_page_token"].clone();
    let second = post(&server, "/api/3.0/mlflow/traces/search", ask.clone()).await.json();
    assert_eq!((ids(&second), second.get("next_page_token")), (vec!["tr-1".to_owned()], None));
    let ordered = json!({"locations": locations, "order_by": ["timestamp_ms ASC"], "max_results": "2"});
    assert_eq!(ids(&post(&server, "/api/3.0/mlflow/traces/search", ordered).await.json()), ["tr-1", "tr-2"]);
    for (body, text) in [
        (json!({}), "Missing value for required parameter 'locations'"),
        (
            json!({"locations": locations, "max_results": 501}),
            "Invalid value 501 for parameter 'max_results' supplied",
        ),
        (json!({"locations": locations, "max_results": 0}), "It must be a positive integer"),
        (json!({"locations": locations, "page_token": "xx"}), "Invalid page token, could not base64-decode"),
        (json!({"locations": locations, "page_token": "WzFd"}), "a page of another order"),
        (json!({"locations": locations, "filter": "foo = 'x'"}), "Invalid attribute key 'foo' specified"),
        (json!({"locations": locations, "order_by": ["foo"]}), "Invalid attribute key 'foo' specified"),
    ] {
        post(&server, "/api/3.0/mlflow/traces/search", body)
            .await
            .is(400, &["INVALID_PARAMETER_VALUE", text]);
    }
    // Clients before 3.0.
    let old = server
        .get("/api/2.0/mlflow/traces?experiment_ids=1&max_results=1&filter=tags.odd%20%3D%20%270%27")
        .await
        .json();
    assert_eq!(old["traces"][0]["request_id"], "tr-4");
    assert_eq!(old["traces"][0]["execution_time_ms"], 313);
}

#[tokio::test]
async fn tags_links_and_deletion() {
    let server = server().await;
    post(&server, "/api/3.0/mlflow/traces", told("tr-1", 1)).await.is(200, &[]);
    let patch = async |path: &str, body: Value| server.ask("PATCH", path, &[], &body.to_string()).await;
    let delete = async |path: &str, body: Value| server.ask("DELETE", path, &[], &body.to_string()).await;
    patch("/api/2.0/mlflow/traces/tr-1/tags", json!({"key": "color", "value": "red"})).await.is(200, &["{}"]);
    patch("/api/3.0/mlflow/traces/tr-1/tags", json!({"key": "gone"})).await.is(200, &["{}"]);
    delete("/api/2.0/mlflow/traces/tr-1/tags", json!({"key": "gone"})).await.is(200, &["{}"]);
    delete("/api/3.0/mlflow/traces/tr-1/tags", json!({"key": "gone"}))
        .await
        .is(404, &["No trace tag with key 'gone' for trace with ID 'tr-1'"]);
    patch("/api/2.0/mlflow/traces/tr-x/tags", json!({"key": "a", "value": "b"}))
        .await
        .is(404, &["Trace with ID 'tr-x' not found."]);
    for (body, text) in [
        (json!({"value": "b"}), "Missing value for required parameter 'key'"),
        (
            json!({"key": "a$"}),
            "Invalid value \\\"a$\\\" for parameter 'key' supplied: Names may only contain",
        ),
        (json!({"key": "mlflow.trace.spansLocation"}), "is immutable and cannot be set on a trace."),
    ] {
        patch("/api/3.0/mlflow/traces/tr-1/tags", body).await.is(400, &[text]);
    }
    let run = post(&server, "/api/2.0/mlflow/runs/create", json!({"experiment_id": "1"})).await.json();
    let run = run["run"]["info"]["run_id"].as_str().unwrap();
    post(&server, "/api/2.0/mlflow/traces/link-to-run", json!({"trace_ids": ["tr-1"], "run_id": run}))
        .await
        .is(200, &["{}"]);
    let found = json!({"locations": [{"mlflow_experiment": {"experiment_id": "1"}}], "filter": format!("run_id = '{run}'")});
    post(&server, "/api/3.0/mlflow/traces/search", found).await.is(200, &["tr-1", "\"color\":\"red\""]);
    let nowhere = json!({"trace_ids": ["tr-1"], "run_id": "0123456789abcdef0123456789abcdef"});
    post(&server, "/api/2.0/mlflow/traces/link-to-run", nowhere).await.is(404, &["Run with id="]);
    let too_many = json!({"trace_ids": vec!["tr-1"; 101], "run_id": run});
    post(&server, "/api/2.0/mlflow/traces/link-to-run", too_many)
        .await
        .is(400, &["Cannot link more than 100 traces"]);

    for (body, text) in [
        (json!({}), "Missing value for required parameter 'experiment_id'"),
        (json!({"experiment_id": "1"}), "Either `max_timestamp_millis` or `trace_ids` must be specified."),
        (
            json!({"experiment_id": "1", "max_timestamp_millis": 5, "max_traces": 0}),
            "`max_traces` must be a positive integer, received 0.",
        ),
        (
            json!({"experiment_id": "1", "request_ids": ["a"], "max_traces": 1}),
            "`max_traces` can't be specified if `trace_ids` is specified.",
        ),
    ] {
        post(&server, "/api/2.0/mlflow/traces/delete-traces", body).await.is(400, &[text]);
    }
    let gone = json!({"experiment_id": "1", "request_ids": ["tr-1", "tr-x"]});
    let deleted = post(&server, "/api/2.0/mlflow/traces/delete-traces", gone).await.json();
    assert_eq!(deleted, json!({"traces_deleted": 1}));
    server.get("/api/3.0/mlflow/traces/tr-1").await.is(404, &["Trace with ID 'tr-1' not found."]);
    let events = server.get("/api/v1/events?kind=traces.deleted").await.json();
    assert_eq!(events["data"][0]["details"], json!({"experiment": 1, "traces": 1}));
}

#[tokio::test]
async fn assessments_are_made_changed_and_removed() {
    let server = server().await;
    post(&server, "/api/3.0/mlflow/traces", told("tr-1", 1)).await.is(200, &[]);
    let path = "/api/3.0/mlflow/traces/tr-1/assessments";
    let good = json!({"assessment": {"assessment_name": "good", "trace_id": "tr-1",
        "source": {"source_type": "HUMAN", "source_id": "ana"}, "create_time": "2026-11-26T03:44:41.445Z",
        "last_update_time": "2026-11-26T03:44:41.445Z", "feedback": {"value": true}, "rationale": "because",
        "metadata": {"a": "b"}, "valid": true}});
    let made = post(&server, path, good.clone()).await.json()["assessment"].take();
    let id = made["assessment_id"].as_str().unwrap();
    let mut expected = good["assessment"].clone();
    expected["assessment_id"] = json!(id);
    assert_eq!(made, expected);
    let one = format!("{path}/{id}");
    assert_eq!(
        server.get(&format!("{one}?trace_id=tr-1&assessment_id={id}")).await.json()["assessment"],
        made
    );
    let change = json!({"assessment": {"assessment_id": id, "feedback": {"value": false}, "metadata": {"c": "d"}},
        "update_mask": "feedback,metadata"});
    let changed = server.ask("PATCH", &one, &[], &change.to_string()).await.json()["assessment"].take();
    assert_eq!(
        (&changed["feedback"]["value"], &changed["metadata"]),
        (&json!(false), &json!({"a": "b", "c": "d"}))
    );
    assert_eq!(
        (&changed["rationale"], &changed["last_update_time"]),
        (&json!("because"), &json!("2023-11-14T22:13:20Z"))
    );
    let wrong = json!({"assessment": {"expectation": {"value": 1}}, "update_mask": "expectation"});
    server
        .ask("PATCH", &one, &[], &wrong.to_string())
        .await
        .is(400, &["Cannot update expectation value on a Feedback assessment."]);

    let over =
        json!({"assessment": {"assessment_name": "good", "feedback": {"value": "no"}, "overrides": id}});
    let over = post(&server, path, over).await.json()["assessment"]["assessment_id"].take();
    let valid = async || server.get(&one).await.json()["assessment"]["valid"].take();
    assert_eq!(valid().await, false);
    let body = json!({"trace_id": "tr-1"}).to_string();
    server.ask("DELETE", &format!("{path}/{}", over.as_str().unwrap()), &[], &body).await.is(200, &["{}"]);
    assert_eq!(valid().await, true);
    server
        .get(&format!("{path}/a-x"))
        .await
        .is(404, &["Assessment with ID 'a-x' not found for trace 'tr-1'"]);
    server
        .get("/api/3.0/mlflow/traces/tr-x/assessments/a-x")
        .await
        .is(404, &["Trace with request_id 'tr-x' not found"]);
    for (path, body, status, text) in [
        ("/api/3.0/mlflow/traces/tr-x/assessments", good.clone(), 404, "Trace with ID 'tr-x' not found."),
        (path, json!({}), 400, "Missing value for required parameter 'assessment'"),
        (path, json!({"assessment": {"assessment_name": "n"}}), 400, "Unknown assessment type: None"),
        (
            path,
            json!({"assessment": {"assessment_name": "n", "feedback": {"value": 1}, "overrides": "a-x"}}),
            404,
            "Assessment with ID 'a-x' not found for trace 'tr-1'",
        ),
    ] {
        post(&server, path, body).await.is(status, &[text]);
    }
}

#[tokio::test]
async fn charts_are_answered_with_points() {
    let server = server().await;
    export(&server, "1", &spans(&BOTH)).await.is(200, &["{}"]);
    let ask = async |body: Value| post(&server, "/ajax-api/3.0/mlflow/traces/metrics", body).await;
    let count = json!({"experiment_ids": ["1"], "view_type": "TRACES", "metric_name": "trace_count",
        "aggregations": [{"aggregation_type": "COUNT"}]});
    assert_eq!(
        ask(count.clone()).await.json(),
        json!({"data_points": [{"metric_name": "trace_count", "values": {"COUNT": 1.0}}]})
    );
    let mut none = count.clone();
    none["experiment_ids"] = json!(["2"]);
    assert_eq!(ask(none).await.json()["data_points"][0]["values"], json!({"COUNT": 0.0}));
    let latency = json!({"experiment_ids": ["1"], "view_type": "TRACES", "metric_name": "latency",
        "aggregations": [{"aggregation_type": "AVG"}, {"aggregation_type": "PERCENTILE", "percentile_value": 50}],
        "time_interval_seconds": 3600, "start_time_ms": 0, "end_time_ms": 2_000_000_000_000_i64});
    assert_eq!(
        ask(latency).await.json()["data_points"],
        json!([{"metric_name": "latency", "dimensions": {"time_bucket": "2026-11-26T03:00:00+00:00"},
            "values": {"AVG": 314.0, "P50.0": 314.0}}])
    );
    let kinds = json!({"experiment_ids": ["1"], "view_type": "SPANS", "metric_name": "span_count",
        "aggregations": [{"aggregation_type": 1}], "dimensions": ["span_type", "span_name"]});
    assert_eq!(
        ask(kinds).await.json()["data_points"][1],
        json!({"metric_name": "span_count", "dimensions": {"span_type": "LLM", "span_name": "retrieve"},
            "values": {"COUNT": 1.0}})
    );
    let mut bad = count;
    bad["dimensions"] = json!(["span_name"]);
    ask(bad).await.is(400, &["Found invalid dimension(s): ['span_name']."]);
    ask(json!({"experiment_ids": ["1"]}))
        .await
        .is(400, &["Missing value for required parameter 'view_type'"]);
}

#[tokio::test]
async fn clients_before_3_tell_of_beginning_and_end() {
    let server = server().await;
    let begin = json!({"experiment_id": "1", "timestamp_ms": "1000",
        "request_metadata": [{"key": "mlflow.traceInputs", "value": "x"}], "tags": [{"key": "mlflow.traceName", "value": "n"}]});
    let begun = post(&server, "/api/2.0/mlflow/traces", begin).await.json()["trace_info"].take();
    assert_eq!((&begun["status"], &begun["timestamp_ms"]), (&json!("IN_PROGRESS"), &json!(1000)));
    let id = begun["request_id"].as_str().unwrap();
    let end = json!({"timestamp_ms": 1250, "status": "OK", "request_metadata": [{"key": "k", "value": "v"}], "tags": []});
    let ended =
        server.ask("PATCH", &format!("/api/2.0/mlflow/traces/{id}"), &[], &end.to_string()).await.json();
    let info = server.get(&format!("/api/2.0/mlflow/traces/{id}/info")).await.json();
    assert_eq!(info, ended);
    assert_eq!(info["trace_info"]["execution_time_ms"], 250);
    assert_eq!(info["trace_info"]["request_metadata"][0], json!({"key": "k", "value": "v"}));
}
