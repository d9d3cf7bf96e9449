//! Measures what the protocols cost: processor time of a request from its bytes to the bytes of the answer, with
//! routing, decoding and encoding, in front of a model that only gives a number for each row. No socket is involved.
//!
//! `cargo run --release -p tidemill-serve --example codec_rate [SECONDS]` prints microseconds per request for 30
//! features in batches of 1 and 64.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "measuring programs fail where their helpers fail, and print what they find"
)]

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::http::Request as HttpRequest;
use http_body_util::BodyExt as _;
use tidemill_runtime::{Dim, ElementType, Slot, Tensor, Values};
use tidemill_serve::inference::IndexEntry;
use tidemill_serve::oip::{self, Limits};
use tidemill_serve::scoring::{self, ScoringConfig};
use tidemill_serve::{InferError, Inference, ModelMetadata, ModelState, Named, Request, Response};
use tower::ServiceExt as _;

const FEATURES: usize = 30;

/// Answers the sum of each row.
struct Sums(Arc<ModelMetadata>);

#[async_trait]
impl Inference for Sums {
    async fn infer(&self, request: Request) -> Result<Response, InferError> {
        let input = &request.inputs.first().ok_or_else(|| InferError::Invalid("no input".to_owned()))?.tensor;
        let Values::F32(values) = input.values() else {
            return Err(InferError::Invalid("not floats".to_owned()));
        };
        let sums: Vec<f32> = values.chunks(FEATURES).map(|row| row.iter().sum()).collect();
        let labels: Vec<i64> = sums.iter().map(|sum| i64::from(*sum > 0.0)).collect();
        let named = |name: &str, values| Named { name: name.to_owned(), tensor: Tensor::vector(values) };
        Ok(Response {
            model: request.model,
            version: "1".to_owned(),
            id: request.id.unwrap_or_else(|| "0198f0a1-0000-7000-8000-000000000000".to_owned()),
            outputs: vec![named("label", Values::I64(labels)), named("score", Values::F32(sums))],
            arm: None,
            warnings: Vec::new(),
        })
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn model_state(&self, _: &str, _: Option<&str>) -> Result<ModelState, InferError> {
        Ok(ModelState::Ready)
    }

    async fn metadata(&self, _: &str, _: Option<&str>) -> Result<Arc<ModelMetadata>, InferError> {
        Ok(Arc::clone(&self.0))
    }

    async fn index(&self, _: bool) -> Result<Vec<IndexEntry>, InferError> {
        Ok(Vec::new())
    }

    async fn load(&self, _: &str) -> Result<(), InferError> {
        Ok(())
    }

    async fn unload(&self, _: &str) -> Result<(), InferError> {
        Ok(())
    }
}

fn metadata() -> ModelMetadata {
    let names: Vec<String> = (0..FEATURES).map(|at| format!("feature_{at}")).collect();
    let columns = serde_json::to_string(&names).unwrap();
    ModelMetadata {
        name: "m".to_owned(),
        versions: vec!["1".to_owned()],
        platform: "onnx".to_owned(),
        inputs: vec![Slot {
            name: "x".to_owned(),
            element: ElementType::F32,
            shape: vec![Dim::Any(None), Dim::Fixed(FEATURES)],
            optional: false,
        }],
        outputs: Vec::new(),
        is_tabular: false,
        properties: [(scoring::COLUMNS_PROPERTY.to_owned(), columns)].into(),
    }
}

/// Values as a client has them: floats of seven digits.
fn values(rows: usize) -> Vec<f32> {
    (0..rows * FEATURES).map(|at| ((at * 7_919) % 10_007) as f32 / 1_234.5 - 4.0).collect()
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// Runs `once` for a while and gives microseconds for each, the best of five rounds.
async fn measure<F: Future<Output = Bytes>>(seconds: f64, once: impl Fn() -> F) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begin = Instant::now();
        let limit = Duration::from_secs_f64(seconds / 5.0);
        let mut count = 0_u32;
        while begin.elapsed() < limit {
            for _ in 0..64 {
                assert!(!once().await.is_empty());
            }
            count += 64;
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e6 / f64::from(count));
    }
    best
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let seconds: f64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let inference: Arc<dyn Inference> = Arc::new(Sums(Arc::new(metadata())));
    let http = oip::router(Arc::clone(&inference), Limits::default());
    let grpc = oip::grpc_service(Arc::clone(&inference), Limits::default());
    let scored =
        scoring::router(inference, ScoringConfig { model: Some("m".to_owned()), ..ScoringConfig::default() });
    println!("{:<28}{:>10}{:>12}{:>14}", "", "rows", "body bytes", "us/request");
    for rows in [1, 64] {
        let values = values(rows);
        let data: Vec<String> = values.iter().map(f32::to_string).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let lines: Vec<String> = data.chunks(FEATURES).map(|row| format!("[{}]", row.join(","))).collect();

        let json = format!(
            "{{\"inputs\":[{{\"name\":\"x\",\"shape\":[{rows},{FEATURES}],\"datatype\":\"FP32\",\"data\":[{}]}}]}}",
            data.join(",")
        );
        let head = format!(
            "{{\"inputs\":[{{\"name\":\"x\",\"shape\":[{rows},{FEATURES}],\"datatype\":\"FP32\",\"parameters\":{{\"binary_data_size\":{}}}}}],\"parameters\":{{\"binary_data_output\":true}}}}",
            bytes.len()
        );
        let binary = [head.as_bytes(), &bytes].concat();
        let shape = [rows as u8, FEATURES as u8];
        let tensor = [field(1, b"x"), field(2, b"FP32"), field(3, &shape)].concat();
        let message = [field(1, b"m"), field(5, &tensor), field(7, &bytes)].concat();
        let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
        let names: Vec<String> = (0..FEATURES).map(|at| format!("\"feature_{at}\"")).collect();
        let split = format!(
            "{{\"dataframe_split\":{{\"columns\":[{}],\"data\":[{}]}}}}",
            names.join(","),
            lines.join(",")
        );

        let length = head.len().to_string();
        let post = |path: &str, kind: &str, body: &Bytes| {
            HttpRequest::post(path.to_owned())
                .header("content-type", kind)
                .header("host", "localhost")
                .body(Body::from(body.clone()))
                .unwrap()
        };
        let json = Bytes::from(json);
        let took = measure(seconds, async || {
            let request = post("/v2/models/m/infer", "application/json", &json);
            http.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
        });
        println!("{:<28}{rows:>10}{:>12}{:>14.2}", "HTTP, JSON", json.len(), took.await);
        let binary = Bytes::from(binary);
        let took = measure(seconds, async || {
            let mut request = post("/v2/models/m/infer", "application/octet-stream", &binary);
            request.headers_mut().insert("inference-header-content-length", length.parse().unwrap());
            http.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
        });
        println!("{:<28}{rows:>10}{:>12}{:>14.2}", "HTTP, binary", binary.len(), took.await);
        let frame = Bytes::from(frame);
        let took = measure(seconds, async || {
            let request = post("/inference.GRPCInferenceService/ModelInfer", "application/grpc", &frame);
            grpc.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
        });
        println!("{:<28}{rows:>10}{:>12}{:>14.2}", "gRPC", frame.len(), took.await);
        let split = Bytes::from(split);
        let took = measure(seconds, async || {
            let request = post("/invocations", "application/json", &split);
            scored.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
        });
        println!("{:<28}{rows:>10}{:>12}{:>14.2}", "MLflow, dataframe_split", split.len(), took.await);
    }
}
