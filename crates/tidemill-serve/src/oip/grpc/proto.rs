//! The protocol's messages beside requests for inference, by the numbers of
//! <https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto>; what clients send and
//! nobody here looks at is left out.

use std::collections::BTreeMap;

use bytes::Bytes;

/// A request or an answer without fields, and one whose fields are not looked at.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Nothing {}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Flag {
    /// `live` or `ready`.
    #[prost(bool, tag = "1")]
    pub(super) flag: bool,
}

/// `ModelReadyRequest`, `ModelMetadataRequest`, `ModelConfigRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Model {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ServerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) extensions: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ModelMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) versions: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) platform: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) inputs: Vec<TensorMetadata>,
    #[prost(message, repeated, tag = "5")]
    pub(super) outputs: Vec<TensorMetadata>,
    /// In the open protocol, not in Triton's.
    #[prost(btree_map = "string, string", tag = "6")]
    pub(super) properties: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TensorMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub(super) shape: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Parameter {
    #[prost(oneof = "Choice", tags = "1, 3")]
    pub(super) choice: Option<Choice>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Choice {
    #[prost(bool, tag = "1")]
    Flag(bool),
    #[prost(string, tag = "3")]
    Text(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InferResponse {
    #[prost(string, tag = "1")]
    pub(super) model_name: String,
    #[prost(string, tag = "2")]
    pub(super) model_version: String,
    #[prost(string, tag = "3")]
    pub(super) id: String,
    #[prost(btree_map = "string, message", tag = "4")]
    pub(super) parameters: BTreeMap<String, Parameter>,
    /// Their values are in `raw_output_contents`.
    #[prost(message, repeated, tag = "5")]
    pub(super) outputs: Vec<TensorMetadata>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(super) raw_output_contents: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StreamResponse {
    #[prost(string, tag = "1")]
    pub(super) error_message: String,
    #[prost(message, optional, tag = "2")]
    pub(super) infer_response: Option<InferResponse>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct IndexRequest {
    #[prost(bool, tag = "2")]
    pub(super) ready: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct IndexResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) models: Vec<IndexEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct IndexEntry {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(string, tag = "3")]
    pub(super) state: String,
    #[prost(string, tag = "4")]
    pub(super) reason: String,
}

/// `RepositoryModelLoadRequest` and `RepositoryModelUnloadRequest`. Of parameters the names are looked at.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RepositoryModel {
    #[prost(string, tag = "2")]
    pub(super) model_name: String,
    #[prost(btree_map = "string, message", tag = "3")]
    pub(super) parameters: BTreeMap<String, Nothing>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ModelConfigResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) config: Option<ModelConfig>,
}

/// Of `model_config.proto`, as much as clients look at.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ModelConfig {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) platform: String,
    #[prost(int32, tag = "4")]
    pub(super) max_batch_size: i32,
    #[prost(message, repeated, tag = "5")]
    pub(super) input: Vec<ConfigInput>,
    #[prost(message, repeated, tag = "6")]
    pub(super) output: Vec<ConfigOutput>,
    #[prost(string, tag = "17")]
    pub(super) backend: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConfigInput {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(int64, repeated, tag = "4")]
    pub(super) dims: Vec<i64>,
    #[prost(bool, tag = "8")]
    pub(super) optional: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConfigOutput {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(int64, repeated, tag = "3")]
    pub(super) dims: Vec<i64>,
}

/// `SystemSharedMemoryRegisterRequest` and its sister: of both, the name.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Region {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}
