//! What each method answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tidemill_runtime::Slot;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

use super::codec::Inferring;
use super::decode::Decoded;
use super::proto::{
    Choice, ConfigInput, ConfigOutput, Flag, IndexEntry, IndexRequest, IndexResponse, InferResponse, Model,
    ModelConfig, ModelConfigResponse, ModelMetadata, Nothing, Parameter, RepositoryModel, ServerMetadata,
    StreamResponse, TensorMetadata,
};
use crate::oip::headers::traceparent;
use crate::oip::http::{answer, at_latest, overrides, state_words};
use crate::oip::{EXTENSIONS, NAME, Shared, VERSION, binary, datatype, deadline, selected};
use crate::{InferError, ModelState};

type Answer<T> = Result<Response<T>, Status>;

/// The transport answers late requests as cancelled; ours must be there before.
const BEFORE_TRANSPORT: Duration = Duration::from_millis(3);

/// How the protocol tells that a request was not answered.
impl From<InferError> for Status {
    fn from(error: InferError) -> Self {
        let (code, wait) = match &error {
            InferError::NotFound(_) => (Code::NotFound, None),
            InferError::Invalid(_) => (Code::InvalidArgument, None),
            InferError::TooMany { retry_after, .. } => (Code::ResourceExhausted, Some(*retry_after)),
            InferError::Unavailable { retry_after, .. } => (Code::Unavailable, *retry_after),
            InferError::Deadline(_) => (Code::DeadlineExceeded, None),
            InferError::Model(_) | InferError::Internal(_) => (Code::Internal, None),
        };
        let mut metadata = MetadataMap::new();
        if let Some(wait) = wait {
            // What gRPC's own retry policy looks at.
            metadata.insert("grpc-retry-pushback-ms", MetadataValue::from(wait.as_millis() as u64));
        }
        Self::with_metadata(code, error.to_string(), metadata)
    }
}

pub(super) async fn live(_: Shared, _: Nothing) -> Answer<Flag> {
    Ok(Response::new(Flag { flag: true }))
}

pub(super) async fn ready(shared: Shared, _: Nothing) -> Answer<Flag> {
    Ok(Response::new(Flag { flag: shared.inference.is_ready() }))
}

fn version(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

pub(super) async fn model_ready(shared: Shared, model: Model) -> Answer<Flag> {
    let state = shared.inference.model_state(&model.name, version(&model.version)).await?;
    Ok(Response::new(Flag { flag: state == ModelState::Ready }))
}

pub(super) async fn server_metadata(_: Shared, _: Nothing) -> Answer<ServerMetadata> {
    let extensions = EXTENSIONS.map(str::to_owned).to_vec();
    Ok(Response::new(ServerMetadata { name: NAME.to_owned(), version: VERSION.to_owned(), extensions }))
}

fn tensor(name: &str, element: tidemill_runtime::ElementType, shape: Vec<i64>) -> TensorMetadata {
    TensorMetadata { name: name.to_owned(), datatype: datatype::name(element).to_owned(), shape }
}

pub(super) async fn model_metadata(shared: Shared, model: Model) -> Answer<ModelMetadata> {
    let found = shared.inference.metadata(&model.name, version(&model.version)).await?;
    let tensors = |slots: &[Slot]| {
        slots.iter().map(|slot| tensor(&slot.name, slot.element, datatype::dims(&slot.shape))).collect()
    };
    Ok(Response::new(ModelMetadata {
        name: found.name.clone(),
        versions: found.versions.clone(),
        platform: found.platform.clone(),
        inputs: tensors(&found.inputs),
        outputs: tensors(&found.outputs),
        properties: found.properties.clone(),
    }))
}

pub(super) async fn model_config(shared: Shared, model: Model) -> Answer<ModelConfigResponse> {
    let found = shared.inference.metadata(&model.name, version(&model.version)).await?;
    let input = |slot: &Slot| ConfigInput {
        name: slot.name.clone(),
        data_type: datatype::in_configuration(slot.element).0,
        dims: datatype::dims(&slot.shape),
        optional: slot.optional,
    };
    let output = |slot: &Slot| ConfigOutput {
        name: slot.name.clone(),
        data_type: datatype::in_configuration(slot.element).0,
        dims: datatype::dims(&slot.shape),
    };
    let config = ModelConfig {
        name: found.name.clone(),
        platform: found.platform.clone(),
        max_batch_size: 0,
        input: found.inputs.iter().map(input).collect(),
        output: found.outputs.iter().map(output).collect(),
        backend: found.platform.clone(),
    };
    Ok(Response::new(ModelConfigResponse { config: Some(config) }))
}

pub(super) async fn index(shared: Shared, request: IndexRequest) -> Answer<IndexResponse> {
    let entries = shared.inference.index(request.ready).await?;
    let entry = |entry: crate::inference::IndexEntry| {
        let (state, reason) = state_words(&entry.state);
        let (state, reason) = (state.to_owned(), reason.to_owned());
        IndexEntry { name: entry.name, version: entry.version, state, reason }
    };
    Ok(Response::new(IndexResponse { models: entries.into_iter().map(entry).collect() }))
}

pub(super) async fn load(shared: Shared, request: RepositoryModel) -> Answer<Nothing> {
    for name in request.parameters.keys() {
        overrides(name)?;
    }
    shared.inference.load(&request.model_name).await?;
    Ok(Response::new(Nothing {}))
}

pub(super) async fn unload(shared: Shared, request: RepositoryModel) -> Answer<Nothing> {
    shared.inference.unload(&request.model_name).await?;
    Ok(Response::new(Nothing {}))
}

/// What the head of a call says.
#[derive(Clone)]
struct Head {
    headers: axum::http::HeaderMap,
    begin: Instant,
}

async fn inferred(shared: &Shared, head: &Head, decoded: Decoded) -> Result<InferResponse, InferError> {
    let Decoded { mut request, timeout_us, marks_final } = decoded;
    let longest = shared.limits.longest;
    let latest = deadline(&head.headers, timeout_us, head.begin, longest);
    let latest = latest.map(|latest| latest.checked_sub(BEFORE_TRANSPORT).unwrap_or(latest));
    request.deadline = at_latest(latest, head.begin, longest);
    request.headers = selected(&head.headers);
    Ok(encode(answer(&*shared.inference, request).await?, marks_final))
}

fn encode(response: crate::Response, marks_final: bool) -> InferResponse {
    let mut parameters = BTreeMap::new();
    let mut say = |name: &str, choice| {
        parameters.insert(name.to_owned(), Parameter { choice: Some(choice) });
    };
    if let Some(arm) = &response.arm {
        say("arm", Choice::Text(arm.to_string()));
    }
    if !response.warnings.is_empty() {
        say("warnings", Choice::Text(response.warnings.join("; ")));
    }
    if marks_final {
        say("triton_final_response", Choice::Flag(true));
    }
    let mut outputs = Vec::with_capacity(response.outputs.len());
    let mut raw_output_contents = Vec::with_capacity(response.outputs.len());
    for output in &response.outputs {
        let shape =
            output.tensor.shape().iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
        outputs.push(tensor(&output.name, output.tensor.element(), shape));
        let mut raw = Vec::new();
        binary::write(output.tensor.values(), &mut raw);
        raw_output_contents.push(Bytes::from(raw));
    }
    InferResponse {
        model_name: response.model,
        model_version: response.version,
        id: response.id,
        parameters,
        outputs,
        raw_output_contents,
    }
}

/// Gives the request's place in a trace back.
fn traced<T>(head: &Head, message: T) -> Response<T> {
    let mut response = Response::new(message);
    let trace = traceparent(&head.headers).and_then(|trace| MetadataValue::try_from(trace.as_bytes()).ok());
    if let Some(trace) = trace {
        response.metadata_mut().insert("traceparent", trace);
    }
    response
}

pub(super) async fn infer(shared: Shared, request: Request<Inferring>) -> Answer<InferResponse> {
    let begin = Instant::now();
    let (metadata, _, Inferring(decoded)) = request.into_parts();
    let head = Head { headers: metadata.into_headers(), begin };
    let response = inferred(&shared, &head, decoded?).await?;
    Ok(traced(&head, response))
}

/// Answers come in the order of the requests; several are worked on at once. A request that fails gives an answer
/// that says so, and the stream goes on.
pub(super) fn stream(
    shared: Shared,
    request: Request<Streaming<Inferring>>,
) -> Answer<impl Stream<Item = Result<StreamResponse, Status>> + Send + use<>> {
    let begin = Instant::now();
    let (metadata, _, requests) = request.into_parts();
    let head = Head { headers: metadata.into_headers(), begin };
    let started = traced(&head, ());
    let in_stream = shared.limits.in_stream.max(1);
    // `grpc-timeout` is for the stream as a whole, `timeout` for each request from when it came.
    let whole = deadline(&head.headers, None, begin, shared.limits.longest);
    let answers = requests.map(move |received| {
        let (shared, mut head) = (shared.clone(), head.clone());
        async move {
            let Inferring(decoded) = received?;
            if whole.is_none() {
                head.begin = Instant::now();
            }
            let (id, result) = match decoded {
                Ok(decoded) => {
                    let id = decoded.request.id.clone().unwrap_or_default();
                    (id, inferred(&shared, &head, decoded).await)
                }
                Err(error) => (String::new(), Err(error)),
            };
            Ok(match result {
                Ok(response) => {
                    StreamResponse { error_message: String::new(), infer_response: Some(response) }
                }
                Err(error) => StreamResponse {
                    error_message: error.to_string(),
                    infer_response: Some(InferResponse { id, ..InferResponse::default() }),
                },
            })
        }
    });
    Ok(started.map(|()| answers.buffered(in_stream)))
}
