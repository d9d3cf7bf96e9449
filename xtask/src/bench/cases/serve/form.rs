//! The forms of a request for one row, and where its answer has the probability.

use anyhow::{Context as _, Result};
use prost::Message;
use serde_json::Value;

use super::{ASKED, FEATURES};
use crate::bench::server::{Client, Connection, Grpc, Server};

/// The method of inference over gRPC.
const METHOD: &str = "/inference.GRPCInferenceService/ModelInfer";

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The Open Inference Protocol in JSON, at `/v2/models/bench/infer`.
    Json,
    /// The same with binary tensors both ways.
    Binary,
    /// The same over gRPC, tensors as raw bytes.
    Grpc,
    /// The same JSON at the path of the hand-written server.
    Own,
    /// MLflow's scoring protocol, `dataframe_split`.
    Mlflow,
    /// BentoML's.
    Bento,
}

impl Form {
    /// The bytes that are sent for a row.
    pub(super) fn request(self, row: &[f32]) -> Vec<u8> {
        let numbers = row.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let tensor = format!(r#""name":"X","shape":[1,{FEATURES}],"datatype":"FP32""#);
        let raw = || row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let v2 = format!(r#"{{"inputs":[{{{tensor},"data":[{numbers}]}}]}}"#);
        let path = format!("/v2/models/{ASKED}/infer");
        match self {
            Self::Json => post(&path, "", v2.as_bytes()),
            Self::Own => post("/predict", "", v2.as_bytes()),
            Self::Binary => {
                let raw = raw();
                let mut body = format!(
                    r#"{{"inputs":[{{{tensor},"parameters":{{"binary_data_size":{}}}}}],"parameters":{{"binary_data_output":true}}}}"#,
                    raw.len()
                )
                .into_bytes();
                let header = format!("Inference-Header-Content-Length: {}\r\n", body.len());
                body.extend(raw);
                post(&path, &header, &body)
            }
            Self::Grpc => Infer {
                model: ASKED.to_owned(),
                inputs: vec![Tensor {
                    name: "X".to_owned(),
                    datatype: "FP32".to_owned(),
                    shape: vec![1, FEATURES as i64],
                }],
                raw: vec![raw()],
            }
            .encode_to_vec(),
            Self::Mlflow => {
                let names: Vec<String> = (0..FEATURES).map(|index| format!("\"x{index:02}\"")).collect();
                let body = format!(
                    r#"{{"dataframe_split":{{"columns":[{}],"data":[[{numbers}]]}}}}"#,
                    names.join(",")
                );
                post("/invocations", "", body.as_bytes())
            }
            Self::Bento => post("/predict", "", format!(r#"{{"rows":[[{numbers}]]}}"#).as_bytes()),
        }
    }

    /// The probability of the second class in an answer.
    pub(super) fn score(self, answer: &[u8]) -> Result<f64> {
        match self {
            Self::Json | Self::Own => {
                let answer: Value = serde_json::from_slice(answer)?;
                let outputs = answer["outputs"].as_array().context("no outputs")?;
                let found = outputs.iter().find(|output| output["name"] == "probabilities");
                found
                    .and_then(|output| output["data"].as_array()?.last()?.as_f64())
                    .context("no probabilities")
            }
            // The probabilities are the last output, and the second class is their last value.
            Self::Binary => last(answer),
            Self::Grpc => last(Answer::decode(answer)?.raw.last().context("no raw outputs")?),
            Self::Mlflow => {
                let answer: Value = serde_json::from_slice(answer)?;
                answer["predictions"][0].as_f64().context("no prediction")
            }
            Self::Bento => {
                let answer: Value = serde_json::from_slice(answer)?;
                answer[0][1].as_f64().context("no probabilities")
            }
        }
    }

    /// A connection to a server for requests in this form.
    pub(super) fn connect(self, server: &Server) -> Connection {
        if self == Self::Grpc {
            Connection::Grpc(Grpc::new(server.grpc().unwrap_or_default(), METHOD))
        } else {
            Connection::Http(Client::new(server.url()))
        }
    }
}

fn post(path: &str, header: &str, body: &[u8]) -> Vec<u8> {
    let kind = if header.is_empty() { "application/json" } else { "application/octet-stream" };
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{header}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

fn last(bytes: &[u8]) -> Result<f64> {
    let value = bytes.last_chunk::<4>().context("no value")?;
    Ok(f64::from(f32::from_le_bytes(*value)))
}

/// `ModelInferRequest`, of which a request needs these fields; the numbers are those of
/// <https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto>.
#[derive(Clone, PartialEq, Message)]
struct Infer {
    #[prost(string, tag = "1")]
    model: String,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<Tensor>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    raw: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
}

/// `ModelInferResponse`, of which only the values matter.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(bytes = "vec", repeated, tag = "6")]
    raw: Vec<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_every_form() {
        let v2 = br#"{"outputs":[{"name":"label","data":[1]},{"name":"probabilities","data":[0.25,0.75]}]}"#;
        let raw = [0.25_f32, 0.75].map(f32::to_le_bytes).concat();
        let grpc = Answer { raw: vec![vec![0; 8], raw.clone()] }.encode_to_vec();
        for (form, answer) in [
            (Form::Json, v2.to_vec()),
            (Form::Own, v2.to_vec()),
            (Form::Binary, raw),
            (Form::Grpc, grpc),
            (Form::Mlflow, br#"{"predictions":[0.75]}"#.to_vec()),
            (Form::Bento, b"[[0.25,0.75]]".to_vec()),
        ] {
            assert!((form.score(&answer).unwrap() - 0.75).abs() < 1e-9, "{form:?}");
            assert!(form.score(b"{}").is_err(), "{form:?}");
        }
    }

    #[test]
    fn a_request_has_its_length() {
        let text = String::from_utf8(Form::Mlflow.request(&[0.1234; FEATURES])).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.contains("0.1234,0.1234"), "{body}");
    }
}
