//! `TreeEnsemble`, which replaces the two older operators from version 5 of `ai.onnx.ml` on: answers in the input's type.

use std::collections::HashMap;

use super::aggregate::{Aggregate, Targets};
use super::build::{Branch, Draft, Mode};
use super::{Forest, Real};
use crate::onnx::Attributes;
use crate::{ElementType, Tensor, Values};

use super::super::kernel::{Built, Call, Kernel, Outcome, Refusal, Surroundings};
use super::super::post::PostTransform;

#[derive(Debug)]
struct Single(Targets<f32>);

#[derive(Debug)]
struct Double(Targets<f64>);

/// Builds the operator. The type of the thresholds is the type of inputs and answers.
pub(crate) fn ensemble(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    match attributes.tensor("nodes_splits")?.map(Tensor::element) {
        Some(ElementType::F32) => Ok(Box::new(Single(targets(attributes)?))),
        Some(ElementType::F64) => Ok(Box::new(Double(targets(attributes)?))),
        Some(other) => Err(Refusal::Missing(format!("trees over {other}"))),
        None => Err(Refusal::Malformed("no nodes_splits".to_owned())),
    }
}

impl Kernel for Single {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (scores, rows) = self.0.scores(call, call.tensor(0)?)?;
        call.give(vec![rows, self.0.targets], Values::F32(scores))
    }

    fn memory_bytes(&self) -> u64 {
        self.0.memory_bytes()
    }
}

impl Kernel for Double {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (scores, rows) = self.0.scores(call, call.tensor(0)?)?;
        call.give(vec![rows, self.0.targets], Values::F64(scores))
    }

    fn memory_bytes(&self) -> u64 {
        self.0.memory_bytes()
    }
}

fn targets<T: Real>(attributes: &Attributes) -> Result<Targets<T>, Refusal> {
    let count = attributes.int("n_targets")?.unwrap_or(1);
    let targets = Targets {
        forest: forest(attributes)?,
        targets: usize::try_from(count).map_err(|_| format!("{count} targets"))?,
        aggregate: Aggregate::from_number(attributes.int("aggregate_function")?.unwrap_or(1))?,
        base: Vec::new(),
        post: PostTransform::from_number(attributes.int("post_transform")?.unwrap_or(0))?,
    };
    targets.check()?;
    Ok(targets)
}

fn forest<T: Real>(attributes: &Attributes) -> Outcome<Forest<T>> {
    let numbers = |name: &str| -> Outcome<Vec<T>> {
        match attributes.tensor(name)? {
            Some(tensor) => Ok(T::read(tensor)?.into_owned()),
            None => Ok(Vec::new()),
        }
    };
    let Some(Values::U8(modes)) = attributes.tensor("nodes_modes")?.map(Tensor::values) else {
        return Err("nodes_modes is not a tensor of uint8".to_owned());
    };
    let features = attributes.ints("nodes_featureids")?;
    let thresholds = numbers("nodes_splits")?;
    let ways = [attributes.ints("nodes_truenodeids")?, attributes.ints("nodes_falsenodeids")?];
    let leafs = [attributes.ints("nodes_trueleafs")?, attributes.ints("nodes_falseleafs")?];
    let missing = attributes.ints("nodes_missing_value_tracks_true")?;
    let count = modes.len();
    let lists = ways.iter().chain(&leafs).map(|list| list.len()).chain([features.len(), thresholds.len()]);
    if lists.into_iter().any(|length| length != count) || !(missing.is_empty() || missing.len() == count) {
        return Err("lists about nodes have different lengths".to_owned());
    }
    let targets = attributes.ints("leaf_targetids")?;
    let leaf_weights = numbers("leaf_weights")?;
    if targets.len() != leaf_weights.len() {
        return Err("lists about leaves have different lengths".to_owned());
    }
    let mut draft =
        Draft { nodes: Vec::new(), weights: vec![Vec::new(); count], members: HashMap::new(), roots: vec![] };
    let values = numbers("membership_values")?;
    let mut sets = values.split(|value| value.is_missing());
    let mut leaves = Vec::new();
    for place in 0..count {
        let mode = mode(modes[place])?;
        let feature = usize::try_from(features[place]).map_err(|_| format!("feature {}", features[place]))?;
        if mode == Mode::Member {
            draft.members.insert(place, sets.next().unwrap_or_default().to_vec());
        }
        let mut to = [0, 0];
        for ((to, ways), leafs) in to.iter_mut().zip(&ways).zip(&leafs) {
            let number = usize::try_from(ways[place]).map_err(|_| "a negative node".to_owned())?;
            if leafs[place] == 0 {
                *to = number;
                continue;
            }
            // Leaves are numbered apart, and several nodes may lead to the same one: each gets its own copy.
            let (Some(target), Some(weight)) = (targets.get(number), leaf_weights.get(number)) else {
                return Err(format!("leaf {number} does not exist"));
            };
            let target = u32::try_from(*target).map_err(|_| format!("target {target}"))?;
            *to = count + leaves.len();
            leaves.push((target, *weight));
        }
        let missing = missing.get(place).is_some_and(|track| *track == 1);
        draft.nodes.push(Branch { mode, feature, threshold: thresholds[place], missing, ways: to });
    }
    for leaf in leaves {
        let ways = [0, 0];
        draft.nodes.push(Branch { mode: Mode::Leaf, feature: 0, threshold: T::ZERO, missing: false, ways });
        draft.weights.push(vec![leaf]);
    }
    for root in attributes.ints("tree_roots")? {
        let root = usize::try_from(*root).ok().filter(|root| *root < count);
        draft.roots.push(root.ok_or_else(|| "a root that does not exist".to_owned())?);
    }
    draft.build()
}

fn mode(number: u8) -> Outcome<Mode> {
    Ok(match number {
        0 => Mode::LessOrEqual,
        1 => Mode::Less,
        2 => Mode::GreaterOrEqual,
        3 => Mode::Greater,
        4 => Mode::Equal,
        5 => Mode::NotEqual,
        6 => Mode::Member,
        other => return Err(format!("a node of mode {other}")),
    })
}
