//! Networks through `tract`: convolutions, normalisations, attention, in Rust and without another library.
//!
//! A plan with symbols for open dimensions serves any batch where `tract` can make one; shapes that come often have a plan
//! of their own beside it, in which every size is known. Where there is none with symbols, there is a plan for each shape,
//! made when the shape first comes. Of both a few are kept, and the least recently used goes.

mod kept;
mod plans;
mod tensors;

use std::collections::BTreeSet;

use tract_onnx::prelude::*;

use crate::onnx::{self, Model, ValueKind};
use crate::{Dim, LoadError, RunError, Runtime, Session, Slot, Tensor};
use plans::Plans;

/// The runtime's name.
pub(crate) const NAME: &str = "network";

/// The runtime of networks. It has no settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network;

impl Runtime for Network {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, LoadError> {
        let read = onnx::read(model)?;
        session(&read, model).map(|session| Box::new(session) as Box<dyn Session>)
    }
}

/// Prepares a model that is read already. `bytes` are its file.
pub(crate) fn session(model: &Model, bytes: &[u8]) -> Result<NetworkSession, LoadError> {
    let unsupported = |what: String| LoadError::Unsupported { runtime: NAME, what };
    let reader = tract_onnx::onnx();
    // Its operators for classical models have given wrong labels, so no domain but the standard one is left to it.
    let missing: BTreeSet<String> = model
        .graph
        .nodes
        .iter()
        .filter(|node| !node.domain.is_empty() || !reader.op_register.0.contains_key(&node.op))
        .map(onnx::Node::describe)
        .collect();
    if !missing.is_empty() {
        let missing: Vec<String> = missing.into_iter().collect();
        return Err(unsupported(format!("it has no {}", missing.join(", "))));
    }
    let inputs = slots(&model.graph.inputs)?;
    let outputs = slots(&model.graph.outputs)?;
    if let Some(slot) = inputs.iter().chain(&outputs).find(|slot| tensors::datum(slot.element).is_none()) {
        return Err(unsupported(format!("`{}` has elements of type {}", slot.name, slot.element)));
    }
    let parsed = reader
        .model_for_read(&mut &*bytes)
        .map_err(|error| unsupported(format!("it does not understand the graph: {error:#}")))?;
    let plans = Plans::new(parsed, &inputs, bytes.len() as u64)
        .map_err(|error| unsupported(format!("it cannot make a plan of the graph: {error:#}")))?;
    Ok(NetworkSession { plans, inputs, outputs, bytes: bytes.len() as u64 })
}

/// A network that is loaded.
#[derive(Debug)]
pub(crate) struct NetworkSession {
    plans: Plans,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    /// Of the file.
    bytes: u64,
}

impl Session for NetworkSession {
    fn runtime(&self) -> &'static str {
        NAME
    }

    fn inputs(&self) -> &[Slot] {
        &self.inputs
    }

    fn outputs(&self) -> &[Slot] {
        &self.outputs
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        crate::check::inputs(&self.inputs, inputs)?;
        let failed = |error: TractError| RunError::Model(format!("{error:#}"));
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|input| input.shape().to_vec()).collect();
        let plan = self.plans.of(&shapes).map_err(failed)?;
        let values =
            inputs.iter().map(|input| tensors::into_tract(input).map(Into::into)).collect::<TractResult<_>>();
        let results = plan.run(values.map_err(failed)?).map_err(failed)?;
        results.iter().map(|result| tensors::from_tract(result)).collect()
    }

    /// Weights once for each plan that there is or may be.
    fn memory_bytes(&self) -> u64 {
        self.bytes * (1 + self.plans.most() as u64)
    }
}

fn slots(declared: &[onnx::Declared]) -> Result<Vec<Slot>, LoadError> {
    declared
        .iter()
        .map(|declared| match &declared.kind {
            ValueKind::Tensor(element, shape) => {
                let (name, shape) = (declared.name.clone(), shape.clone());
                Ok(Slot { name, element: *element, shape, optional: false })
            }
            ValueKind::Map(..) | ValueKind::Other => {
                let what = format!("`{}` is no tensor", declared.name);
                Err(LoadError::Unsupported { runtime: NAME, what })
            }
        })
        .collect()
}

/// The name of an open dimension as a symbol: dimensions with the same name are the same; the first dimension is the
/// batch of all inputs where it has no name.
fn symbol(input: usize, place: usize, dim: &Dim) -> Option<String> {
    match dim {
        Dim::Fixed(_) => None,
        Dim::Any(Some(name)) => {
            let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
            Some(format!("d_{}", plain.collect::<String>()))
        }
        Dim::Any(None) if place == 0 => Some("batch".to_owned()),
        Dim::Any(None) => Some(format!("i{input}_{place}")),
    }
}
