//! The Open Inference Protocol, version 2, over HTTP and gRPC, as Triton's clients speak it.
//!
//! Decodes requests into [`Request`](crate::Request)s and encodes answers; which model answers, and how, is behind
//! [`Inference`]. The protocol is described by <https://github.com/kserve/open-inference-protocol> and Triton's
//! extensions by <https://github.com/triton-inference-server/server/tree/main/docs/protocol>: binary tensor data,
//! parameters, model repository, model configuration. Shared memory, classification, sequences, statistics, traces
//! and log settings are refused in words.

mod binary;
mod compress;
mod datatype;
mod grpc;
mod headers;
mod http;
pub(crate) mod json;
mod request;
mod response;
pub(crate) mod values;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use compress::{Packing, Unreadable, unpack};
pub use grpc::{GrpcService, ServeError, serve_grpc};
pub use headers::TIMEOUT_HEADER;
pub(crate) use headers::{deadline, selected};
pub use http::{Direct, Wanted};
pub(crate) use http::{Received, answer, at_latest, receive, retry_after, run};

use crate::Inference;

/// Bounds of requests. Decoded tensors take at most twelve times the bytes of a body (very short strings), four times
/// with numbers in JSON, as much with binary numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body of a request in bytes, after it was unpacked; 413 beyond.
    pub body: usize,
    /// The largest gRPC message in bytes, in both directions.
    pub message: usize,
    /// Answers of so many bytes and more are packed where the client accepts it.
    pub pack_from: usize,
    /// How many requests of one gRPC stream are answered at the same time.
    pub in_stream: usize,
    /// How many calls one gRPC connection may have open.
    pub calls: u32,
    /// The longest that a request may take, whatever its caller would wait.
    pub longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 20,
            message: 64 << 20,
            pack_from: 1_024,
            in_stream: 16,
            calls: 256,
            // The longest that an endpoint may declare; what it declares is up to the gateway.
            longest: Duration::from_secs(3_600),
        }
    }
}

/// What every handler has.
#[derive(Clone)]
struct Shared {
    inference: Arc<dyn Inference>,
    limits: Arc<Limits>,
}

/// The routes below `/v2`.
pub fn router(inference: Arc<dyn Inference>, limits: Limits) -> axum::Router {
    http::router(Shared { inference, limits: Arc::new(limits) })
}

/// The way past the routes below `/v2` for the requests that are most.
pub fn direct(inference: Arc<dyn Inference>, limits: Limits) -> Direct {
    Direct::new(Shared { inference, limits: Arc::new(limits) })
}

/// The service `inference.GRPCInferenceService`, for [`serve_grpc`] or any server of tower services over HTTP/2.
pub fn grpc_service(inference: Arc<dyn Inference>, limits: Limits) -> GrpcService {
    GrpcService::new(Shared { inference, limits: Arc::new(limits) })
}

/// The name of the server in its metadata.
const NAME: &str = "tidemill";

/// The version of the server in its metadata.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The extensions of the protocol that are there.
const EXTENSIONS: [&str; 4] = ["binary_tensor_data", "model_configuration", "model_repository", "parameters"];

/// Reads any bytes as an inference request over HTTP, for fuzzing: two bytes of the JSON's length, then the body.
/// What is read must be written and be the same in either form.
///
/// # Panics
/// Where it is not.
pub fn fuzz_http(data: &[u8]) {
    let Some((length, body)) = data.split_first_chunk::<2>() else { return };
    let _ = request::decode(body, None);
    if let Ok((request, wishes)) = request::decode(body, Some(usize::from(u16::from_le_bytes(*length)))) {
        let answer = crate::Response {
            model: "m".to_owned(),
            version: "1".to_owned(),
            id: request.id.unwrap_or_default(),
            outputs: request.inputs,
            arm: None,
            warnings: Vec::new(),
        };
        let _ = response::encode(&answer, &wishes);
        let wishes = request::Wishes { binary: true, ..request::Wishes::default() };
        let written = response::encode(&answer, &wishes).unwrap_or_else(|error| unreachable!("{error}"));
        // An answer's outputs stand where a request has its inputs.
        let json = written.json_length.unwrap_or(written.body.len());
        let (json, bytes) = written.body.split_at(json);
        let json = String::from_utf8_lossy(json).replacen(",\"outputs\":[", ",\"inputs\":[", 1);
        let body = [json.as_bytes(), bytes].concat();
        match request::decode(&body, Some(json.len())) {
            Ok((again, _)) => assert!(same(&again.inputs, &answer.outputs), "values changed on the way"),
            // The id may hold what was replaced.
            Err(error) => assert!(answer.id.contains("outputs"), "own text refused: {error}"),
        }
    }
}

/// Whether tensors are the same to the bit; NaN is not equal to itself.
fn same(left: &[crate::Named], right: &[crate::Named]) -> bool {
    let bytes = |named: &crate::Named| {
        let mut out = Vec::new();
        binary::write(named.tensor.values(), &mut out);
        out
    };
    left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| {
            left.name == right.name
                && left.tensor.shape() == right.tensor.shape()
                && bytes(left) == bytes(right)
        })
}

/// Reads any bytes as an inference request over gRPC, for fuzzing.
pub fn fuzz_grpc(data: &[u8]) {
    grpc::fuzz(data);
}
