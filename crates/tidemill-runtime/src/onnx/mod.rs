//! Reading ONNX files. The bytes may come from anyone: what is read takes memory in proportion to them, and anything
//! that does not fit together is a [`LoadError::Malformed`] which says where.

pub(crate) mod attributes;
pub(crate) mod constant;
pub(crate) mod graph;
pub(crate) mod proto;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::LoadError;
pub(crate) use attributes::Attributes;
pub(crate) use graph::{Declared, Graph, Node, Opsets, ValueKind};

/// The format's own limit: lengths in a protobuf message are below 2 GiB.
const MAX_BYTES: usize = i32::MAX as usize;

/// A model as it stands in its file, with names resolved and nodes in order.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) graph: Graph,
    pub(crate) opsets: Opsets,
    pub(crate) description: Description,
}

/// What an ONNX file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// The program that wrote it, such as `skl2onnx`; may be empty.
    pub producer: String,
    /// That program's version; may be empty.
    pub producer_version: String,
    /// The version of the file format.
    pub ir_version: i64,
    /// Versions of the operator sets by domain; the standard operators' domain is empty.
    pub opsets: BTreeMap<String, i64>,
    /// Whatever the producer noted.
    pub metadata: BTreeMap<String, String>,
    /// The operators that are used, with their domains: `Add`, `ai.onnx.ml.Scaler`.
    pub operators: BTreeSet<String>,
}

/// Reads what an ONNX file says about itself, without preparing it for calls.
///
/// # Errors
///
/// [`LoadError::Malformed`] as [`crate::Runtime::load`].
pub fn describe(bytes: &[u8]) -> Result<Description, LoadError> {
    read(bytes).map(|model| model.description)
}

/// Reads a model.
pub(crate) fn read(bytes: &[u8]) -> Result<Model, LoadError> {
    if bytes.len() > MAX_BYTES {
        return Err(LoadError::Malformed(format!("{} bytes, more than ONNX files can have", bytes.len())));
    }
    let proto = proto::ModelProto::decode(bytes)
        .map_err(|error| LoadError::Malformed(format!("not an ONNX file: {error}")))?;
    let Some(graph) = proto.graph else {
        return Err(LoadError::Malformed("an ONNX file without a graph".to_owned()));
    };
    let mut opsets = Opsets::new();
    for set in proto.opset_import {
        let domain = graph::normal_domain(set.domain.as_deref().unwrap_or_default()).to_owned();
        let version = set.version.unwrap_or_default();
        // Converters repeat a domain; the newest is meant.
        let known = opsets.entry(domain).or_insert(version);
        *known = version.max(*known);
    }
    let graph = graph::resolve(graph).map_err(LoadError::Malformed)?;
    let operators =
        graph
            .nodes
            .iter()
            .map(|node| {
                if node.domain.is_empty() { node.op.clone() } else { format!("{}.{}", node.domain, node.op) }
            })
            .collect();
    let metadata = proto
        .metadata_props
        .into_iter()
        .map(|entry| (entry.key.unwrap_or_default(), entry.value.unwrap_or_default()))
        .collect();
    let description = Description {
        producer: proto.producer_name.unwrap_or_default(),
        producer_version: proto.producer_version.unwrap_or_default(),
        ir_version: proto.ir_version.unwrap_or_default(),
        opsets: opsets.clone(),
        metadata,
        operators,
    };
    Ok(Model { graph, opsets, description })
}

#[cfg(test)]
mod tests;
