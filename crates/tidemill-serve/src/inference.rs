//! The seam between protocols and models: a request for a prediction, its answer, and what else a protocol asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tidemill_runtime::{Slot, Tensor};

/// A request for a prediction, of whatever protocol.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The endpoint or registered model.
    pub model: String,
    /// A version of the model (`3`, or an alias as `@champion`); whatever the endpoint's routing says where absent.
    pub version: Option<String>,
    /// The caller's id for the request; one is made where absent.
    pub id: Option<String>,
    /// Tensors by name. A column of a table is a tensor of one dimension, or of two with one column.
    pub inputs: Vec<Named>,
    /// The outputs that the caller wants; all where empty.
    pub outputs: Vec<String>,
    /// Header fields (names in lower case) that routing may look at; protocols leave credentials out.
    pub headers: BTreeMap<String, String>,
    /// Parameters of the call: a JSON object as text, for models whose signature names some.
    pub params: Option<Arc<str>>,
    /// When the caller gives up.
    pub deadline: Option<Instant>,
}

/// A tensor and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The tensor.
    pub tensor: Tensor,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Response {
    /// The endpoint or registered model as it was asked for.
    pub model: String,
    /// The version that answered.
    pub version: String,
    /// The request's id, the caller's own or the one that was made: outcomes are joined by it.
    pub id: String,
    /// The outputs, in the model's order.
    pub outputs: Vec<Named>,
    /// Which arm of the endpoint answered.
    pub arm: Option<Arc<str>>,
    /// Notes that the caller may want to see: a fallback answered, a value was outside of the training range.
    pub warnings: Vec<String>,
}

/// Whether a model can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// It is loaded.
    Ready,
    /// It is known and will be loaded when it is asked for, or is being loaded.
    Loading,
    /// It is known and was unloaded on request.
    Unloaded,
    /// It cannot be loaded.
    Failed(String),
}

/// The property of a model's metadata that names the columns of text in which empty text stands for a missing value, so
/// that a request may leave them empty: a JSON array of strings.
pub const NULLABLE_PROPERTY: &str = "nullable";

/// What is known of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelMetadata {
    /// Its name as it was asked for.
    pub name: String,
    /// The versions that can be asked for, oldest first.
    pub versions: Vec<String>,
    /// What runs it: `onnx`, `python`.
    pub platform: String,
    /// What a request gives.
    pub inputs: Vec<Slot>,
    /// What an answer holds.
    pub outputs: Vec<Slot>,
    /// Whether the named inputs are the columns of one table, each of a single value in a row, so that protocols
    /// of tables may send them.
    pub is_tabular: bool,
    /// Facts for people: the registry's description, signature notes.
    pub properties: BTreeMap<String, String>,
}

impl ModelMetadata {
    /// The columns of text that may have no value; see [`NULLABLE_PROPERTY`].
    pub fn nullable(&self) -> Vec<String> {
        let names = self.properties.get(NULLABLE_PROPERTY);
        names.and_then(|names| serde_json::from_str(names).ok()).unwrap_or_default()
    }
}

/// One line of the repository's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it can answer.
    pub state: ModelState,
}

/// Answers requests for predictions.
#[async_trait]
pub trait Inference: Send + Sync {
    /// Answers a request.
    async fn infer(&self, request: Request) -> Result<Response, InferError>;

    /// Whether the server accepts requests.
    fn is_ready(&self) -> bool;

    /// Whether a model can answer. An unknown one is an error.
    async fn model_state(&self, model: &str, version: Option<&str>) -> Result<ModelState, InferError>;

    /// What a request to a model gives and an answer holds.
    async fn metadata(&self, model: &str, version: Option<&str>) -> Result<Arc<ModelMetadata>, InferError>;

    /// Every model that can be asked for; the ones that are ready where `only_ready`.
    async fn index(&self, only_ready: bool) -> Result<Vec<IndexEntry>, InferError>;

    /// Loads a model, or loads it again. Requests that come meanwhile are answered by what was loaded before.
    async fn load(&self, model: &str) -> Result<(), InferError>;

    /// Unloads a model. Requests that are being answered are answered.
    async fn unload(&self, model: &str) -> Result<(), InferError>;
}

/// Why a request was not answered. Each protocol has its own codes for these.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// No such endpoint, model or version.
    #[error("{0}")]
    NotFound(String),
    /// The request does not fit the model: a wrong name, type, shape or value.
    #[error("{0}")]
    Invalid(String),
    /// The model, or the caller, has more requests waiting than it may: 429.
    #[error("{message}")]
    TooMany {
        /// Which limit, and what may be done.
        message: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The model is not loaded, is being loaded, or the server is draining: 503.
    #[error("{message}")]
    Unavailable {
        /// Why.
        message: String,
        /// When to come back, where that is known.
        retry_after: Option<Duration>,
    },
    /// The caller's deadline or the server's limit passed.
    #[error("{0}")]
    Deadline(String),
    /// The model failed on a request that fits it.
    #[error("{0}")]
    Model(String),
    /// Something in the server failed. The message names no path and no secret.
    #[error("{0}")]
    Internal(String),
}
