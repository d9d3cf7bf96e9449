//! Our own evaluator for classical models: tree ensembles, linear models, support vector machines, their
//! preprocessing and the arithmetic that converters put around them.
//!
//! A graph becomes a list of steps over flat arrays when it is loaded. Sums run in the precision and order of ONNX
//! Runtime, so answers agree to the last bits. A call works on the caller's thread.

mod basic;
mod encode;
mod features;
mod kernel;
mod labels;
mod linear;
mod matrix;
mod operators;
mod plan;
mod post;
mod scale;
mod svm;
mod text;
mod tree;

use std::collections::BTreeMap;

use crate::onnx::{self, Declared, Model, ValueKind};
use crate::{Dim, LoadError, RunError, Runtime, Session, Slot, Tensor};
use plan::{Plan, Refused};

/// The runtime's name.
pub(crate) const NAME: &str = "classical";

/// Whether there is such a standard operator.
pub(crate) fn knows(op: &str) -> bool {
    operators::knows("", op)
}

/// The runtime of classical models. It has no settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Classical;

impl Runtime for Classical {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, LoadError> {
        session(&onnx::read(model)?).map(|session| Box::new(session) as Box<dyn Session>)
    }
}

/// Prepares a model that is read already.
pub(crate) fn session(model: &Model) -> Result<ClassicalSession, LoadError> {
    let plan = Plan::compile(&model.graph, &model.opsets).map_err(|refused| match refused {
        Refused::Missing(nodes) => LoadError::Unsupported {
            runtime: NAME,
            what: format!("it has no {}", nodes.into_iter().collect::<Vec<_>>().join(", ")),
        },
        Refused::Malformed(why) => LoadError::Malformed(why),
    })?;
    let mut columns = BTreeMap::new();
    let inputs = slots(&model.graph.inputs, model, &mut columns, "input")?;
    let outputs = slots(&model.graph.outputs, model, &mut columns, "output")?;
    Ok(ClassicalSession { plan, inputs, outputs, columns })
}

/// A classical model that is loaded.
#[derive(Debug)]
pub(crate) struct ClassicalSession {
    plan: Plan,
    inputs: Vec<Slot>,
    outputs: Vec<Slot>,
    columns: BTreeMap<String, Vec<String>>,
}

impl Session for ClassicalSession {
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
        self.plan.run(inputs)
    }

    fn memory_bytes(&self) -> u64 {
        self.plan.memory_bytes() + size_of::<Self>() as u64
    }

    fn is_quick(&self) -> bool {
        true
    }

    fn columns(&self, slot: &str) -> Option<&[String]> {
        self.columns.get(slot).map(Vec::as_slice)
    }
}

/// Slots of declared values. A map becomes a matrix with a column for each key.
fn slots(
    declared: &[Declared],
    model: &Model,
    columns: &mut BTreeMap<String, Vec<String>>,
    role: &str,
) -> Result<Vec<Slot>, LoadError> {
    declared
        .iter()
        .map(|declared| {
            let name = declared.name.clone();
            match &declared.kind {
                ValueKind::Tensor(element, shape) => {
                    Ok(Slot { name, element: *element, shape: shape.clone(), optional: false })
                }
                ValueKind::Map(_, element) => {
                    let Some(keys) = crate::maps::keys(&model.graph, declared.value) else {
                        let why = format!("{role} `{name}` is a map whose keys are not known");
                        return Err(LoadError::Malformed(why));
                    };
                    let shape = vec![Dim::Any(None), Dim::Fixed(keys.len())];
                    columns.insert(name.clone(), keys);
                    Ok(Slot { name, element: *element, shape, optional: false })
                }
                ValueKind::Other => Err(LoadError::Malformed(format!(
                    "{role} `{name}` has no type, or one that is neither a tensor nor a map"
                ))),
            }
        })
        .collect()
}
