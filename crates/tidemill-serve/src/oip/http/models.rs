//! What the protocol says about the server and its models, and the model repository.

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use tidemill_runtime::Slot;

use super::{failed, receive, refusal, value};
use crate::oip::json::{Kind, Reader};
use crate::oip::{EXTENSIONS, NAME, Shared, VERSION, datatype};
use crate::{InferError, ModelMetadata, ModelState};

/// The largest body of a request that carries no tensors.
const SMALL: usize = 64 << 10;

/// Which model a path asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) version: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Ok(fields) = RawPathParams::from_request_parts(parts, state).await else {
            return Err(refusal(StatusCode::BAD_REQUEST, "the path is not UTF-8"));
        };
        let mut asked = Self { name: String::new(), version: None };
        for (field, value) in &fields {
            match field {
                "name" => value.clone_into(&mut asked.name),
                "version" => asked.version = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(asked)
    }
}

pub(super) async fn server() -> Response {
    value(&json!({"name": NAME, "version": VERSION, "extensions": EXTENSIONS}))
}

pub(super) async fn live() -> Response {
    value(&json!({"live": true}))
}

/// The protocol wants a 4xx for "not ready".
pub(super) async fn server_ready(State(shared): State<Shared>) -> Response {
    if shared.inference.is_ready() {
        value(&json!({"ready": true}))
    } else {
        refusal(StatusCode::BAD_REQUEST, "the server is not ready")
    }
}

pub(super) async fn ready(State(shared): State<Shared>, asked: Asked) -> Response {
    match shared.inference.model_state(&asked.name, asked.version.as_deref()).await {
        Ok(ModelState::Ready) => value(&json!({"name": asked.name, "ready": true})),
        Ok(state) => {
            let (_, reason) = state_words(&state);
            refusal(StatusCode::BAD_REQUEST, &format!("model `{}` is not ready: {reason}", asked.name))
        }
        Err(error) => failed(&error),
    }
}

/// A state and its reason in the words of Triton's repository index.
pub(in crate::oip) fn state_words(state: &ModelState) -> (&'static str, &str) {
    match state {
        ModelState::Ready => ("READY", ""),
        ModelState::Loading => ("LOADING", "it is loaded when it is asked for"),
        ModelState::Unloaded => ("UNAVAILABLE", "unloaded"),
        ModelState::Failed(why) => ("UNAVAILABLE", why),
    }
}

pub(super) async fn metadata(State(shared): State<Shared>, asked: Asked) -> Response {
    let metadata = match shared.inference.metadata(&asked.name, asked.version.as_deref()).await {
        Ok(metadata) => metadata,
        Err(error) => return failed(&error),
    };
    let tensors = |slots: &[Slot]| {
        let tensor = |slot: &Slot| json!({"name": slot.name, "datatype": datatype::name(slot.element), "shape": datatype::dims(&slot.shape)});
        slots.iter().map(tensor).collect::<Vec<_>>()
    };
    let ModelMetadata { name, versions, platform, inputs, outputs, properties, .. } = &*metadata;
    value(&json!({
        "name": name,
        "versions": versions,
        "platform": platform,
        "inputs": tensors(inputs),
        "outputs": tensors(outputs),
        "properties": properties,
    }))
}

/// As much of Triton's model configuration as its clients look at. With `max_batch_size` 0 shapes hold the batch.
pub(super) async fn config(State(shared): State<Shared>, asked: Asked) -> Response {
    let metadata = match shared.inference.metadata(&asked.name, asked.version.as_deref()).await {
        Ok(metadata) => metadata,
        Err(error) => return failed(&error),
    };
    let tensors = |slots: &[Slot]| {
        let tensor = |slot: &Slot| {
            let (_, kind) = datatype::in_configuration(slot.element);
            json!({"name": slot.name, "data_type": kind, "dims": datatype::dims(&slot.shape), "optional": slot.optional})
        };
        slots.iter().map(tensor).collect::<Vec<_>>()
    };
    value(&json!({
        "name": metadata.name,
        "platform": metadata.platform,
        "backend": metadata.platform,
        "max_batch_size": 0,
        "input": tensors(&metadata.inputs),
        "output": tensors(&metadata.outputs),
    }))
}

pub(super) async fn index(State(shared): State<Shared>, headers: HeaderMap, body: Body) -> Response {
    let body = match receive(&headers, body, SMALL).await {
        Ok(body) => body,
        Err(refused) => return refused.refusal(),
    };
    let only_ready = match only_ready(&body) {
        Ok(only_ready) => only_ready,
        Err(error) => return failed(&error),
    };
    match shared.inference.index(only_ready).await {
        Ok(entries) => {
            let line = |entry: &crate::inference::IndexEntry| {
                let (state, reason) = state_words(&entry.state);
                json!({"name": entry.name, "version": entry.version, "state": state, "reason": reason})
            };
            value(&entries.iter().map(line).collect())
        }
        Err(error) => failed(&error),
    }
}

fn only_ready(body: &[u8]) -> Result<bool, InferError> {
    let mut only_ready = false;
    if !body.trim_ascii().is_empty() {
        let mut reader = Reader::new(body);
        reader.object(|reader, key| {
            if key == "ready" {
                only_ready = reader.flag()?;
            } else {
                reader.skip()?;
            }
            Ok::<_, InferError>(())
        })?;
        reader.end()?;
    }
    Ok(only_ready)
}

pub(super) async fn load(
    State(shared): State<Shared>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = match receive(&headers, body, SMALL).await {
        Ok(body) => body,
        Err(refused) => return refused.refusal(),
    };
    if let Err(error) = no_overrides(&body) {
        return failed(&error);
    }
    match shared.inference.load(&asked.name).await {
        Ok(()) => value(&json!({})),
        Err(error) => failed(&error),
    }
}

/// A model comes from the registry, so its files and configuration cannot come with the request.
fn no_overrides(body: &[u8]) -> Result<(), InferError> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new(body);
    reader.object(|reader, key| {
        if key != "parameters" || reader.kind()? == Kind::Null {
            return Ok(reader.pass()?);
        }
        reader.object(|reader, name| {
            reader.skip()?;
            overrides(name)
        })
    })?;
    Ok(reader.end()?)
}

/// Refuses a parameter of a load request that brings parts of a model along.
pub(in crate::oip) fn overrides(parameter: &str) -> Result<(), InferError> {
    if parameter == "config" || parameter.starts_with("file:") {
        return Err(InferError::Invalid(format!(
            "parameter `{parameter}`: a model is loaded as it is registered; register a new version instead"
        )));
    }
    Ok(())
}

pub(super) async fn unload(
    State(shared): State<Shared>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(refused) = receive(&headers, body, SMALL).await {
        return refused.refusal();
    }
    match shared.inference.unload(&asked.name).await {
        Ok(()) => value(&json!({})),
        Err(error) => failed(&error),
    }
}
