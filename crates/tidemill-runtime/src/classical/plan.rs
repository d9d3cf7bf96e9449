//! A graph compiled to steps.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::kernel::{Arg, Call, Kernel, Refusal, Surroundings, values_bytes};
use super::operators;
use crate::onnx::{Graph, Node, Opsets, ValueKind};
use crate::{ElementType, RunError, Tensor};

/// The most elements of a value within a call: a batch of a million rows of 64 numbers.
const MAX_ELEMENTS: usize = 1 << 26;
/// The most elements of a value that is computed while loading.
const MAX_FOLDED: usize = 1 << 20;

/// Where a value is found.
#[derive(Clone, Copy, Debug)]
enum Place {
    Absent,
    Input(usize),
    Constant(usize),
    Slot(usize),
}

/// A node ready to run.
#[derive(Debug)]
struct Step {
    kernel: Box<dyn Kernel>,
    name: String,
    inputs: Vec<Place>,
    /// For each input whether it is the last reading of its slot.
    last: Vec<bool>,
    outputs: Vec<Option<usize>>,
}

/// A compiled graph.
#[derive(Debug)]
pub(crate) struct Plan {
    constants: Vec<Tensor>,
    steps: Vec<Step>,
    outputs: Vec<Place>,
    slots: usize,
}

/// Why a graph cannot be compiled.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Descriptions of all nodes that are beyond us, each operator once.
    Missing(BTreeSet<String>),
    /// A node that does not hold together.
    Malformed(String),
}

impl Plan {
    /// Compiles a graph. Whatever depends on constants alone is computed now.
    pub(crate) fn compile(graph: &Graph, opsets: &Opsets) -> Result<Self, Refused> {
        let missing: BTreeMap<String, String> = graph
            .nodes
            .iter()
            .filter(|node| !operators::knows(&node.domain, &node.op))
            .map(|node| (format!("{}.{}", node.domain, node.op), node.describe()))
            .rev()
            .collect();
        if !missing.is_empty() {
            return Err(Refused::Missing(missing.into_values().collect()));
        }
        let mut compiler = Compiler {
            places: vec![Place::Absent; graph.values],
            constants: graph.constants.iter().map(|(_, tensor)| tensor.clone()).collect(),
            steps: Vec::with_capacity(graph.nodes.len()),
            slots: 0,
            doubles: has_doubles(graph),
        };
        for (index, input) in graph.inputs.iter().enumerate() {
            compiler.set(input.value, Place::Input(index));
        }
        for (index, (value, _)) in graph.constants.iter().enumerate() {
            compiler.set(*value, Place::Constant(index));
        }
        let mut beyond = BTreeSet::new();
        for node in &graph.nodes {
            match compiler.node(node, opsets) {
                Ok(()) => {}
                Err(Refusal::Missing(why)) => {
                    beyond.insert(format!("{}: {why}", node.describe()));
                    for value in node.outputs.iter().flatten() {
                        let slot = compiler.slot();
                        compiler.set(*value, slot);
                    }
                }
                Err(Refusal::Malformed(why)) => {
                    return Err(Refused::Malformed(format!("{}: {why}", node.describe())));
                }
            }
        }
        if !beyond.is_empty() {
            return Err(Refused::Missing(beyond));
        }
        let outputs = graph.outputs.iter().map(|output| compiler.place(Some(output.value))).collect();
        let mut plan =
            Self { constants: compiler.constants, steps: compiler.steps, outputs, slots: compiler.slots };
        plan.mark_last_readings();
        plan.drop_unread_constants();
        Ok(plan)
    }

    /// A slot's value may be taken rather than shared by the last step that reads it, if it reads it once.
    fn mark_last_readings(&mut self) {
        let mut read_later = vec![false; self.slots];
        for place in &self.outputs {
            if let Place::Slot(slot) = place {
                read_later[*slot] = true;
            }
        }
        for step in self.steps.iter_mut().rev() {
            let slots: Vec<Option<usize>> = step
                .inputs
                .iter()
                .map(|place| if let Place::Slot(slot) = place { Some(*slot) } else { None })
                .collect();
            for (slot, last) in slots.iter().zip(&mut step.last) {
                if let Some(slot) = slot {
                    *last = !read_later[*slot]
                        && slots.iter().filter(|other| **other == Some(*slot)).count() == 1;
                }
            }
            for slot in slots.into_iter().flatten() {
                read_later[slot] = true;
            }
        }
    }

    /// Kernels may have copied what they need, and folded steps are gone: constants that nobody reads are dropped.
    fn drop_unread_constants(&mut self) {
        let mut read = vec![false; self.constants.len()];
        let places = self.steps.iter().flat_map(|step| &step.inputs).chain(&self.outputs);
        for place in places {
            if let Place::Constant(index) = place {
                read[*index] = true;
            }
        }
        for (constant, read) in self.constants.iter_mut().zip(read) {
            if !read {
                *constant = Tensor::vector(crate::Values::Bool(Vec::new()));
            }
        }
    }

    /// Runs the steps. `inputs` are as many as the graph's.
    pub(crate) fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        let mut slots: Vec<Option<Tensor>> = Vec::new();
        slots.resize_with(self.slots, || None);
        for step in &self.steps {
            let mut args: Vec<Arg<'_>> = Vec::with_capacity(step.inputs.len());
            for (place, last) in step.inputs.iter().zip(&step.last) {
                args.push(match place {
                    Place::Slot(slot) if *last => slots[*slot].take().map_or(Arg::Absent, Arg::Owned),
                    _ => Arg::Absent,
                });
            }
            for (arg, (place, last)) in args.iter_mut().zip(step.inputs.iter().zip(&step.last)) {
                match place {
                    Place::Input(index) => *arg = Arg::Shared(&inputs[*index]),
                    Place::Constant(index) => *arg = Arg::Shared(&self.constants[*index]),
                    Place::Slot(slot) if !last => {
                        if let Some(tensor) = &slots[*slot] {
                            *arg = Arg::Shared(tensor);
                        }
                    }
                    Place::Slot(_) | Place::Absent => {}
                }
            }
            let results = Vec::with_capacity(step.outputs.len());
            let mut call = Call { args, results, limit: MAX_ELEMENTS };
            step.kernel.run(&mut call).map_err(|why| RunError::Model(format!("{}: {why}", step.name)))?;
            let results = call.results;
            for (tensor, output) in results.into_iter().zip(&step.outputs) {
                if let Some(slot) = output {
                    slots[*slot] = Some(tensor);
                }
            }
        }
        let mut results: Vec<Tensor> = Vec::with_capacity(self.outputs.len());
        for (index, place) in self.outputs.iter().enumerate() {
            let tensor = match place {
                Place::Absent => None,
                Place::Input(input) => Some(inputs[*input].clone()),
                Place::Constant(constant) => Some(self.constants[*constant].clone()),
                Place::Slot(slot) => {
                    let again = self.outputs[index + 1..]
                        .iter()
                        .any(|other| matches!(other, Place::Slot(other) if other == slot));
                    if again { slots[*slot].clone() } else { slots[*slot].take() }
                }
            };
            results.push(tensor.ok_or_else(|| RunError::Model(format!("output {index} was not computed")))?);
        }
        Ok(results)
    }

    /// Bytes of constants and kernels.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let constants: u64 = self.constants.iter().map(|tensor| values_bytes(tensor.values())).sum();
        let steps: u64 =
            self.steps.iter().map(|step| step.kernel.memory_bytes() + size_of::<Step>() as u64).sum();
        constants + steps
    }
}

/// Whether a value of 64-bit floats can occur.
fn has_doubles(graph: &Graph) -> bool {
    let double = ElementType::F64;
    graph
        .inputs
        .iter()
        .any(|input| matches!(&input.kind, ValueKind::Tensor(element, _) if *element == double))
        || graph.constants.iter().any(|(_, tensor)| tensor.element() == double)
        || graph.nodes.iter().any(|node| {
            // A cast to 64 bits, or a constant of them.
            matches!(node.attributes.int("to"), Ok(Some(11)))
                || matches!(node.attributes.tensor("value"), Ok(Some(tensor)) if tensor.element() == double)
        })
}

struct Compiler {
    places: Vec<Place>,
    constants: Vec<Tensor>,
    steps: Vec<Step>,
    slots: usize,
    doubles: bool,
}

impl Compiler {
    fn set(&mut self, value: usize, place: Place) {
        if let Some(known) = self.places.get_mut(value) {
            *known = place;
        }
    }

    fn place(&self, value: Option<usize>) -> Place {
        value.and_then(|value| self.places.get(value)).copied().unwrap_or(Place::Absent)
    }

    fn slot(&mut self) -> Place {
        self.slots += 1;
        Place::Slot(self.slots - 1)
    }

    fn node(&mut self, node: &Node, opsets: &Opsets) -> Result<(), Refusal> {
        let inputs: Vec<Place> = node.inputs.iter().map(|value| self.place(*value)).collect();
        let known: Vec<Option<&Tensor>> = inputs
            .iter()
            .map(|place| if let Place::Constant(index) = place { self.constants.get(*index) } else { None })
            .collect();
        let all_known = inputs.iter().all(|place| matches!(place, Place::Constant(_) | Place::Absent));
        let opset = opsets.get(&node.domain).copied().unwrap_or(1);
        let kernel =
            operators::build(&Surroundings { opset, doubles: self.doubles, node, known: known.clone() })?;
        if all_known {
            let args = known.iter().map(|known| known.map_or(Arg::Absent, Arg::Shared)).collect();
            let mut call = Call { args, results: Vec::new(), limit: MAX_FOLDED };
            if kernel.run(&mut call).is_ok() {
                let results = call.results;
                for (value, tensor) in node.outputs.iter().zip(results) {
                    if let Some(value) = value {
                        self.constants.push(tensor);
                        self.set(*value, Place::Constant(self.constants.len() - 1));
                    }
                }
                return Ok(());
            }
        }
        let mut outputs = Vec::with_capacity(node.outputs.len());
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        for value in &node.outputs {
            outputs.push(value.map(|value| {
                self.slots += 1;
                numbers.insert(value, self.slots - 1);
                self.slots - 1
            }));
        }
        for (value, slot) in numbers {
            self.set(value, Place::Slot(slot));
        }
        let last = vec![false; inputs.len()];
        self.steps.push(Step { kernel, name: node.describe(), inputs, last, outputs });
        Ok(())
    }
}
