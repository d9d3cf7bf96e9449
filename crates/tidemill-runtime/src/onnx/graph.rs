//! A graph whose names are resolved and whose nodes stand in an order in which they can be run.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::attributes::Attributes;
use super::constant;
use super::proto::{GraphProto, NodeProto, TypeProto, ValueInfoProto};
use crate::{Dim, ElementType, Tensor};

/// More nodes than any model that we evaluate has.
const MAX_NODES: usize = 1_000_000;
/// More dimensions than any runtime takes.
const MAX_RANK: usize = 32;

/// A graph. Values are numbered: inputs first, then constants, then what nodes give.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// How many values there are.
    pub(crate) values: usize,
    pub(crate) inputs: Vec<Declared>,
    pub(crate) outputs: Vec<Declared>,
    pub(crate) constants: Vec<(usize, Tensor)>,
    /// In an order in which each node's inputs are there when it runs.
    pub(crate) nodes: Vec<Node>,
}

/// An input or output with its declared type.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) value: usize,
    pub(crate) name: String,
    pub(crate) kind: ValueKind,
}

/// The declared type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    /// A tensor.
    Tensor(ElementType, Vec<Dim>),
    /// One value for each key, or a list of such maps: the keys' type, the values' type.
    Map(ElementType, ElementType),
    /// A type that is not supported, or none.
    Other,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) op: String,
    /// Empty for the standard operators.
    pub(crate) domain: String,
    pub(crate) attributes: Attributes,
    /// `None` where an optional input is left out.
    pub(crate) inputs: Vec<Option<usize>>,
    /// `None` where nobody reads the output.
    pub(crate) outputs: Vec<Option<usize>>,
}

impl Node {
    /// How messages call the node.
    pub(crate) fn describe(&self) -> String {
        let Self { name, op, domain, .. } = self;
        let of = if domain.is_empty() { String::new() } else { format!("{domain}.") };
        if name.is_empty() { format!("{of}{op}") } else { format!("{of}{op} (node `{name}`)") }
    }
}

/// `ai.onnx` is another name of the standard operators.
pub(crate) fn normal_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// Numbers by names; a name stands for one value.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn define(&mut self, name: &str, what: &str) -> Result<usize, String> {
        let next = self.0.len();
        if name.is_empty() {
            return Err(format!("{what} without a name"));
        }
        if self.0.insert(name.to_owned(), next).is_some() {
            return Err(format!("the name `{name}` is given to two values"));
        }
        Ok(next)
    }
}

/// Resolves the names of a graph and orders its nodes.
pub(crate) fn resolve(proto: GraphProto) -> Result<Graph, String> {
    if !proto.sparse_initializer.is_empty() {
        return Err("sparse initializers are not supported".to_owned());
    }
    if proto.node.len() > MAX_NODES {
        return Err(format!("{} nodes, more than {MAX_NODES}", proto.node.len()));
    }
    let mut names = Names::default();
    let defaults: std::collections::HashSet<&str> =
        proto.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
    let mut inputs = Vec::new();
    for info in &proto.input {
        let name = info.name.as_deref().unwrap_or_default();
        // Files of the first versions list constants among the inputs.
        if !defaults.contains(name) {
            let value = names.define(name, "an input")?;
            inputs.push(Declared { value, name: name.to_owned(), kind: kind(info)? });
        }
    }
    let mut constants = Vec::with_capacity(proto.initializer.len());
    for initializer in proto.initializer {
        let name = initializer.name.clone().unwrap_or_default();
        let value = names.define(&name, "an initializer")?;
        let tensor = constant::tensor(initializer).map_err(|why| format!("initializer `{name}`: {why}"))?;
        constants.push((value, tensor));
    }
    for node in &proto.node {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            names.define(output, "an output of a node")?;
        }
    }
    let nodes = proto.node.into_iter().map(|node| read_node(node, &names)).collect::<Result<Vec<_>, _>>()?;
    let available = inputs.len() + constants.len();
    let nodes = order(nodes, names.0.len(), available)?;
    let mut outputs = Vec::new();
    for info in &proto.output {
        let name = info.name.clone().unwrap_or_default();
        let Some(&value) = names.0.get(&name) else {
            return Err(format!("output `{name}` is computed by no node"));
        };
        outputs.push(Declared { value, name, kind: kind(info)? });
    }
    if outputs.is_empty() {
        return Err("no output".to_owned());
    }
    Ok(Graph { values: names.0.len(), inputs, outputs, constants, nodes })
}

fn read_node(proto: NodeProto, names: &Names) -> Result<Node, String> {
    let name = proto.name.unwrap_or_default();
    let op = proto.op_type.unwrap_or_default();
    let at = |why: String| format!("{op} (node `{name}`): {why}");
    let inputs = proto
        .input
        .iter()
        .map(|input| match names.0.get(input) {
            _ if input.is_empty() => Ok(None),
            Some(&value) => Ok(Some(value)),
            None => Err(at(format!("nothing gives its input `{input}`"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = proto.output.iter().map(|output| names.0.get(output).copied()).collect();
    let attributes = Attributes::read(proto.attribute).map_err(at)?;
    let domain = normal_domain(proto.domain.as_deref().unwrap_or_default()).to_owned();
    Ok(Node { name, op, domain, attributes, inputs, outputs })
}

/// Orders nodes so that inputs come before what reads them, otherwise as in the file. Values below `available` are
/// there from the start.
fn order(nodes: Vec<Node>, values: usize, available: usize) -> Result<Vec<Node>, String> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); values];
    let mut missing = vec![0_usize; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        for &value in node.inputs.iter().flatten().filter(|&&value| value >= available) {
            if let (Some(readers), Some(missing)) = (readers.get_mut(value), missing.get_mut(index)) {
                readers.push(index);
                *missing += 1;
            }
        }
    }
    let mut ready: VecDeque<usize> =
        missing.iter().enumerate().filter(|(_, missing)| **missing == 0).map(|(index, _)| index).collect();
    let count = nodes.len();
    let mut waiting: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(count);
    while let Some(index) = ready.pop_front() {
        let Some(node) = waiting.get_mut(index).and_then(Option::take) else { continue };
        for &value in node.outputs.iter().flatten() {
            for &reader in readers.get(value).map(Vec::as_slice).unwrap_or_default() {
                if let Some(missing) = missing.get_mut(reader) {
                    *missing -= 1;
                    if *missing == 0 {
                        ready.push_back(reader);
                    }
                }
            }
        }
        ordered.push(node);
    }
    match waiting.into_iter().flatten().next() {
        Some(stuck) => Err(format!("{} waits for its own output: the graph has a cycle", stuck.describe())),
        None => Ok(ordered),
    }
}

fn kind(info: &ValueInfoProto) -> Result<ValueKind, String> {
    let name = info.name.as_deref().unwrap_or_default();
    let Some(proto) = &info.kind else { return Ok(ValueKind::Other) };
    if let Some(tensor) = &proto.tensor_type {
        let Some(element) = constant::element_type(tensor.elem_type.unwrap_or_default()) else {
            return Ok(ValueKind::Other);
        };
        let dims = tensor.shape.as_ref().map(|shape| shape.dim.as_slice()).unwrap_or_default();
        if dims.len() > MAX_RANK {
            return Err(format!("`{name}` has {} dimensions", dims.len()));
        }
        let dims = dims
            .iter()
            .map(|dim| match (dim.dim_value, &dim.dim_param) {
                // Some exporters write 0 or -1 for a size that is not known.
                (Some(size), _) if size > 0 => Dim::Fixed(size as usize),
                (_, Some(symbol)) if !symbol.is_empty() => Dim::Any(Some(symbol.clone())),
                _ => Dim::Any(None),
            })
            .collect();
        return Ok(ValueKind::Tensor(element, dims));
    }
    let map = match &proto.sequence_type {
        Some(sequence) => sequence.elem_type.as_deref(),
        None => Some(proto),
    };
    Ok(map.and_then(map_kind).unwrap_or(ValueKind::Other))
}

fn map_kind(proto: &TypeProto) -> Option<ValueKind> {
    let map = proto.map_type.as_deref()?;
    let key = constant::element_type(map.key_type?)?;
    let value = constant::element_type(map.value_type.as_deref()?.tensor_type.as_ref()?.elem_type?)?;
    Some(ValueKind::Map(key, value))
}

/// Operator sets by domain.
pub(crate) type Opsets = BTreeMap<String, i64>;
