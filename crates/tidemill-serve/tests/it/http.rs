//! The protocol over HTTP, request by request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tidemill_runtime::Values;
use tidemill_serve::oip::{self, Limits};
use tower::ServiceExt as _;

use crate::fake::Fake;

pub(crate) struct Server {
    pub(crate) fake: Arc<Fake>,
    router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    fn with(limits: Limits) -> Self {
        let fake = Fake::new();
        let router = oip::router(fake.clone(), limits);
        Self { fake, router }
    }

    fn new() -> Self {
        Self::with(Limits { body: 1 << 20, ..Limits::default() })
    }

    pub(crate) fn of(fake: Arc<Fake>, router: Router) -> Self {
        Self { fake, router }
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    async fn infer(&self, model: &str, body: Value) -> Answer {
        self.post(model, &[], body.to_string()).await
    }

    async fn post(&self, model: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.ask(Method::POST, &format!("/v2/models/{model}/infer"), headers, body).await
    }
}

fn x(data: Value) -> Value {
    json!({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": data}]})
}

#[tokio::test]
async fn what_the_server_and_its_models_say() {
    let server = Server::new();
    let mut said = Vec::new();
    for path in [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/double",
        "/v2/models/double/versions/1",
        "/v2/models/double/config",
        "/v2/models/double/ready",
        "/v2/models/double/versions/2/ready",
        "/v2/models/loading/ready",
        "/v2/models/broken/ready",
        "/v2/models/none",
        "/v2/models/none/ready",
        "/v2/models/double/versions/9/ready",
        "/v2/models/double/stats",
        "/v2/models/double/trace/setting",
        "/v2/trace/setting",
        "/v2/logging",
        "/v2/systemsharedmemory/status",
        "/v2/cudasharedmemory/region/r/status",
        "/v2/somethingelse/status",
        "/v2/nothing/here",
        "/v2/models/double/infer",
    ] {
        let answer = server.get(path).await;
        said.push(format!("GET {path}: {} {}", answer.status.as_u16(), answer.json()));
    }
    insta::assert_snapshot!(said.join("\n").replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    server.fake.draining.store(true, Ordering::Relaxed);
    assert_eq!(server.get("/v2/health/ready").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_repository() {
    let server = Server::new();
    let post = async |path: &str, body: &str| {
        let answer = server.ask(Method::POST, path, &[], body.to_owned()).await;
        (answer.status.as_u16(), answer.json())
    };
    let (status, all) = post("/v2/repository/index", "").await;
    assert_eq!((status, all.as_array().unwrap().len()), (200, 13));
    assert!(all.as_array().unwrap().contains(
        &json!({"name": "broken", "version": "2", "state": "UNAVAILABLE", "reason": "golden rows differ"})
    ));
    assert_eq!(post("/v2/repository/index", "{\"ready\": true}").await.1.as_array().unwrap().len(), 11);
    assert_eq!(post("/v2/repository/index", "{\"ready\": 1}").await.0, 400);

    assert_eq!(
        post("/v2/repository/models/double/unload", "{\"parameters\":{\"unload_dependents\":false}}").await.0,
        200
    );
    let answer = server.infer("double", x(json!([1, 2, 3]))).await;
    assert_eq!((answer.status.as_u16(), answer.field("retry-after")), (503, ""));
    assert_eq!(server.get("/v2/models/double/ready").await.status.as_u16(), 400);
    assert_eq!(post("/v2/repository/models/double/load", "").await, (200, json!({})));
    assert_eq!(server.infer("double", x(json!([1, 2, 3]))).await.status.as_u16(), 200);
    assert_eq!(post("/v2/repository/models/none/load", "").await.0, 404);
    assert_eq!(
        post("/v2/repository/models/double/load", "{\"parameters\":{\"config\":\"{}\"}}").await.0,
        400
    );
    assert_eq!(
        post("/v2/repository/models/double/load", "{\"parameters\":{\"file:1/m.onnx\":\"\"}}").await.0,
        400
    );
    assert_eq!(post("/v2/repository/models/double/load", "{\"parameters\":null}").await.0, 200);
    assert_eq!(post("/v2/systemsharedmemory/region/r/register", "{}").await.0, 400);
    assert_eq!(post("/v2/cudasharedmemory/unregister", "").await, (200, json!({})));
    assert_eq!(post("/v2/systemsharedmemory/region/r/unregister", "").await, (200, json!({})));
}

#[tokio::test]
async fn json_in_and_out() {
    let server = Server::new();
    let answer = server.infer("double", x(json!([1, 2.5, -3]))).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.field("content-type"), "application/json");
    assert_eq!(
        answer.json(),
        json!({
            "model_name": "double",
            "model_version": "2",
            "id": "made-0",
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [2.0, 5.0, -6.0]},
                {"name": "total", "datatype": "FP64", "shape": [1], "data": [0.5]},
            ],
        })
    );

    // Nested data, fields in an unusual order, unknown ones, a version, an id, a selected output.
    let body = r#"{"id": 7, "new": {"a": [1]}, "outputs": [{"name": "y"}], "inputs":
        [{"data": [[1, NaN, -Infinity]], "more": null, "datatype": "FP32", "shape": [1, 3], "name": "x"}]}"#;
    let path = "/v2/models/double/versions/1/infer";
    let answer = server.ask(Method::POST, path, &[("x-arm", "b"), ("x-warn", "out of range")], body).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert_eq!(
        text,
        r#"{"model_name":"double","model_version":"1","id":"7","parameters":{"arm":"b","warnings":"out of range"},"outputs":[{"name":"y","datatype":"FP32","shape":[1,3],"data":[2.0,NaN,-Infinity]}]}"#
    );
    let request = server.fake.last();
    assert_eq!((request.version.as_deref(), request.id.as_deref()), (Some("1"), Some("7")));
    assert_eq!(request.outputs, ["y"]);
}

#[tokio::test]
async fn bytes_in_and_out() {
    let server = Server::new();
    let head = r#"{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}],
        "outputs":[{"name":"total"},{"name":"y","parameters":{"binary_data":true}}]}"#;
    let floats = |values: [f32; 3]| values.map(f32::to_le_bytes).concat();
    let body = [head.as_bytes(), &floats([1.0, 2.0, 3.0])].concat();
    let length = head.len().to_string();
    let answer = server.post("double", &[("Inference-Header-Content-Length", &length)], body).await;
    assert_eq!(answer.status.as_u16(), 200, "{:?}", answer.body);
    assert_eq!(answer.field("content-type"), "application/octet-stream");
    let (json, bytes) =
        answer.body.split_at(answer.field("inference-header-content-length").parse().unwrap());
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["outputs"][0]["parameters"], json!({"binary_data_size": 12}));
    assert_eq!(json["outputs"][1]["data"], json!([6.0]));
    assert_eq!(bytes, floats([2.0, 4.0, 6.0]));

    // All outputs as bytes, and one excepted.
    let body = json!({
        "parameters": {"binary_data_output": true},
        "outputs": [{"name": "y", "parameters": {"binary_data": false}}, {"name": "total"}],
        "inputs": x(json!([1, 2, 3]))["inputs"],
    });
    let answer = server.infer("double", body).await;
    let (json, bytes) =
        answer.body.split_at(answer.field("inference-header-content-length").parse().unwrap());
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["outputs"][0]["data"], json!([2.0, 4.0, 6.0]));
    assert_eq!(bytes, 6.0_f64.to_le_bytes());

    // No JSON at all: the bytes of the one input.
    let answer =
        server.post("bare", &[("Inference-Header-Content-Length", "0")], vec![1, 0, 2, 0, 3, 0, 4, 0]).await;
    assert_eq!(answer.status.as_u16(), 200, "{:?}", answer.body);
    let tensor = server.fake.last().inputs.remove(0).tensor;
    assert_eq!((tensor.shape(), tensor.values()), (&[2, 2][..], &Values::I16(vec![1, 2, 3, 4])));
    let answer = server.post("bare", &[("Inference-Header-Content-Length", "0")], vec![1, 0, 2]).await;
    assert_eq!(answer.status.as_u16(), 400);
}

#[tokio::test]
async fn packed_bodies() {
    use std::io::{Read as _, Write as _};
    let server = Server::new();
    let many: Vec<f32> = (0..3_000).map(|value| value as f32).collect();
    let body =
        json!({"inputs": [{"name": "x", "shape": [1_000, 3], "datatype": "FP32", "data": many}]}).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let answer = server
        .post("double", &[("content-encoding", "gzip"), ("accept-encoding", "gzip")], gzip.clone())
        .await;
    assert_eq!((answer.status.as_u16(), answer.field("content-encoding")), (200, "gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["outputs"][0]["data"][2_999], json!(5998.0));
    // Short answers are not worth it.
    let answer = server.post("double", &[("accept-encoding", "gzip")], x(json!([1, 2, 3])).to_string()).await;
    assert_eq!(answer.field("content-encoding"), "");

    // A small body that is large inside.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..4 {
        bomb.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let answer = server.post("double", &[("content-encoding", "gzip")], bomb.finish().unwrap()).await;
    assert_eq!(answer.status.as_u16(), 413);
    assert_eq!(server.post("double", &[("content-encoding", "br")], "x").await.status.as_u16(), 415);
    assert_eq!(server.post("double", &[("content-encoding", "gzip")], "x").await.status.as_u16(), 400);
    assert_eq!(server.post("double", &[], vec![b' '; (1 << 20) + 1]).await.status.as_u16(), 413);
    let chunks = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
    assert_eq!(server.post("double", &[], Body::from_stream(chunks)).await.status.as_u16(), 413);
}

/// Every refusal of a request, word by word.
#[tokio::test]
async fn what_is_refused() {
    let server = Server::new();
    let mut said = Vec::new();
    let input = |fields: &str| format!("{{\"inputs\":[{{{fields}}}]}}");
    let shaped = |shape: &str, data: &str| {
        input(&format!("\"name\":\"x\",\"shape\":{shape},\"datatype\":\"FP32\",\"data\":{data}"))
    };
    let typed = |datatype: &str, data: &str| {
        input(&format!("\"name\":\"x\",\"shape\":[1],\"datatype\":\"{datatype}\",\"data\":[{data}]"))
    };
    let cases = [
        ("nothing", String::new()),
        ("no JSON", "hello".to_owned()),
        ("a list", "[]".to_owned()),
        ("cut off", "{\"inputs\":[{\"name\":\"x\"".to_owned()),
        ("something behind", "{\"inputs\":[]} {}".to_owned()),
        ("deep", format!("{{\"a\":{}", "[".repeat(10_000))),
        ("no inputs", "{}".to_owned()),
        ("no name", input("\"shape\":[1]")),
        ("no shape", input("\"name\":\"x\",\"datatype\":\"FP32\",\"data\":[1]")),
        ("no datatype", input("\"name\":\"x\",\"shape\":[1],\"data\":[1]")),
        ("no data", input("\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\"")),
        ("both", input("\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1],\"parameters\":{\"binary_data_size\":4}")),
        ("an unknown type", typed("FLOAT", "1")),
        ("too few", shaped("[1,3]", "[1,2]")),
        ("too many", shaped("[1,3]", "[1,2,3,4]")),
        ("nested otherwise", shaped("[3,2]", "[[1,2,3],[4,5,6]]")),
        ("ragged", shaped("[2,2]", "[[1,2],[3]]")),
        ("a negative size", shaped("[-1,3]", "[1,2,3]")),
        ("a huge shape", shaped("[4294967296,4294967296,4294967296]", "[1]")),
        ("a large shape", shaped("[4294967296]", "[1]")),
        ("many dimensions", shaped(&format!("[{}1]", "1,".repeat(40)), "[1]")),
        ("a string for a number", typed("FP32", "\"a\"")),
        ("a float for an integer", typed("INT32", "1.5")),
        ("out of range", typed("UINT8", "256")),
        ("a number for a bool", typed("BOOL", "1")),
        ("a number for a string", typed("BYTES", "1")),
        ("too large", typed("FP32", "1e300")),
        ("twice", "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[1]},{\"name\":\"x\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[1]}]}".to_owned()),
        ("shared memory", input("\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"parameters\":{\"shared_memory_region\":\"r\",\"shared_memory_byte_size\":4}")),
        ("classification", "{\"inputs\":[],\"outputs\":[{\"name\":\"y\",\"parameters\":{\"classification\":3}}]}".to_owned()),
        ("an output in shared memory", "{\"inputs\":[],\"outputs\":[{\"name\":\"y\",\"parameters\":{\"shared_memory_region\":\"r\"}}]}".to_owned()),
        ("a wish that is none", "{\"inputs\":[],\"parameters\":{\"binary_data_output\":1}}".to_owned()),
        ("a timeout that is none", "{\"inputs\":[],\"parameters\":{\"timeout\":\"1s\"}}".to_owned()),
        ("a wrong name", "{\"inputs\":[{\"name\":\"z\",\"shape\":[1],\"datatype\":\"INT8\",\"data\":[1]}]}".to_owned()),
        ("a wrong shape", shaped("[3]", "[1,2,3]")),
    ];
    for (name, body) in cases {
        let answer = server.post("double", &[], body).await;
        said.push(format!("{name}: {} {}", answer.status.as_u16(), answer.json()));
    }
    let head =
        r#"{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}"#;
    let own = head.len().to_string();
    for (name, length, bytes) in [
        ("bytes that are missing", own.as_str(), 8),
        ("bytes too many", own.as_str(), 16),
        ("a header beyond the body", "100000", 12),
        ("a header that is no number", "many", 12),
    ] {
        let body = [head.as_bytes(), &vec![0; bytes]].concat();
        let answer = server.post("double", &[("Inference-Header-Content-Length", length)], body).await;
        said.push(format!("{name}: {} {}", answer.status.as_u16(), answer.json()));
    }
    for (datatype, size) in [("FP32", 8), ("FP32", u64::MAX), ("BYTES", 4)] {
        let head = input(&format!(
            "\"name\":\"x\",\"shape\":[3],\"datatype\":\"{datatype}\",\"parameters\":{{\"binary_data_size\":{size}}}"
        ));
        let body = [head.as_bytes(), &[255; 8][..size.min(8) as usize]].concat();
        let answer = server
            .post("double", &[("Inference-Header-Content-Length", &head.len().to_string())], body)
            .await;
        said.push(format!("{size} bytes of {datatype}: {} {}", answer.status.as_u16(), answer.json()));
    }
    for model in ["none", "busy", "loading", "broken", "failed"] {
        let answer = server.infer(model, x(json!([1, 2, 3]))).await;
        let after = answer.field("retry-after").to_owned();
        said.push(format!(
            "model {model}: {} {} retry after `{after}`",
            answer.status.as_u16(),
            answer.json()
        ));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn deadlines() {
    let server = Server::new();
    let began = Instant::now();
    let body = json!({"parameters": {"timeout": 50_000}, "inputs": []});
    let answer = server.infer("slow", body).await;
    assert_eq!(answer.status.as_u16(), 504, "{:?}", answer.body);
    let answer = server.post("slow", &[("X-Request-Timeout-Ms", "50")], "{\"inputs\":[]}").await;
    assert_eq!(answer.status.as_u16(), 504);
    let answer = server.post("slow", &[("X-Request-Timeout-Ms", "0")], "{\"inputs\":[]}").await;
    assert_eq!(answer.status.as_u16(), 504);
    assert!(began.elapsed() < Duration::from_secs(5));
    server.infer("double", x(json!([1, 2, 3]))).await;
    assert!(server.fake.last().deadline.unwrap() > began + Duration::from_secs(200));
}

#[tokio::test]
async fn what_is_passed_on_and_back() {
    let server = Server::new();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers =
        [("traceparent", trace), ("Authorization", "Bearer x"), ("Cookie", "a=b"), ("X-Cohort", "new")];
    let answer = server.post("double", &headers, x(json!([1, 2, 3])).to_string()).await;
    assert_eq!(answer.field("traceparent"), trace);
    let passed = server.fake.last().headers;
    assert_eq!(passed.keys().collect::<Vec<_>>(), ["traceparent", "x-cohort"]);
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let server = Server::new();
    let head =
        r#"{"inputs":[{"name":"s","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}]}"#;
    let body = [head.as_bytes(), &[1, 0, 0, 0, 0xff]].concat();
    let answer =
        server.post("echo", &[("Inference-Header-Content-Length", &head.len().to_string())], body).await;
    assert_eq!(answer.status.as_u16(), 400);
    assert!(answer.json()["error"].as_str().unwrap().contains("binary_data"), "{:?}", answer.body);
}
