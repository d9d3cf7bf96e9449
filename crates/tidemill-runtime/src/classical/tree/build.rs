//! From the parallel lists of attributes to a forest.

use std::collections::HashMap;

use super::Real;
use super::forest::Forest;
use super::grow::{Condition, Growing};
use crate::Values;
use crate::onnx::Attributes;

use super::super::kernel::Outcome;

/// How a node compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    Member,
    Leaf,
}

/// Where a node leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch<T> {
    pub(super) mode: Mode,
    pub(super) feature: usize,
    pub(super) threshold: T,
    pub(super) missing: bool,
    /// Places of nodes in the list: where the condition holds, where it does not.
    pub(super) ways: [usize; 2],
}

/// Nodes of all trees before they are laid out; a leaf is a branch of mode [`Mode::Leaf`].
pub(super) struct Draft<T> {
    pub(super) nodes: Vec<Branch<T>>,
    /// Weights of the leaves by place of the node.
    pub(super) weights: Vec<Vec<(u32, T)>>,
    /// Values of each node that tests membership.
    pub(super) members: HashMap<usize, Vec<T>>,
    pub(super) roots: Vec<usize>,
}

impl<T: Real> Draft<T> {
    /// Lays the trees out, each from its root downwards.
    ///
    /// Fails where a node is reached twice: then the ways form no tree.
    pub(super) fn build(&self) -> Outcome<Forest<T>> {
        let mut forest = Growing::with_room(self.nodes.len());
        let mut seen = vec![false; self.nodes.len()];
        // Where a node's number goes once it is known.
        let mut stack: Vec<(usize, Vec<(u32, bool)>)> = Vec::new();
        for root in &self.roots {
            let mut first = None;
            stack.push((*root, Vec::new()));
            while let Some((place, parents)) = stack.pop() {
                let (Some(node), Some(seen)) = (self.nodes.get(place), seen.get_mut(place)) else {
                    return Err("a node leads to one that does not exist".to_owned());
                };
                if std::mem::replace(seen, true) {
                    return Err(format!("node {place} is reached in two ways: this is not a tree"));
                }
                let number = if node.mode == Mode::Leaf {
                    forest.leaf(self.weights.get(place).map(Vec::as_slice).unwrap_or_default())?
                } else {
                    let (entry, ends) = self.branch(&mut forest, place, node)?;
                    let [holds, fails] = ends;
                    let (holds, fails) = ((node.ways[0], holds), (node.ways[1], fails));
                    // The way that is pushed last is laid out next to its parent: that of the condition as it is stored.
                    let is_negated = fails.1.iter().all(|(_, fulfilled)| *fulfilled);
                    stack.extend(if is_negated { [holds, fails] } else { [fails, holds] });
                    entry
                };
                for (parent, way) in parents {
                    forest.lead(parent, way, number);
                }
                first.get_or_insert(number);
            }
            if let Some(first) = first {
                forest.root(first);
            }
        }
        Ok(forest.finished())
    }

    /// Adds a node in terms of `<=` and `==`. Returns its number, and which ways of which nodes lead to where the
    /// condition holds and to where it does not.
    fn branch(
        &self,
        forest: &mut Growing<T>,
        place: usize,
        node: &Branch<T>,
    ) -> Outcome<(u32, [Vec<(u32, bool)>; 2])> {
        let Branch { mode, feature, threshold, missing, .. } = *node;
        let unordered = threshold.is_missing();
        // `x < t` is `x <= t'` with the next smaller t'. Nothing is below -infinity, and nothing is `<=` NaN.
        let strict = || {
            if threshold == T::from_f32(f32::NEG_INFINITY) {
                T::from_f32(f32::NAN)
            } else {
                threshold.below()
            }
        };
        let (threshold, equal, negated) = match mode {
            Mode::LessOrEqual => (threshold, false, false),
            Mode::Less => (strict(), false, false),
            // Nothing compares with NaN, so all rows go the other way, as with `<=`.
            Mode::GreaterOrEqual | Mode::Greater if unordered => (threshold, false, false),
            Mode::GreaterOrEqual => (strict(), false, true),
            Mode::Greater => (threshold, false, true),
            Mode::Equal => (threshold, true, false),
            Mode::NotEqual => (threshold, true, true),
            Mode::Member => return self.member(forest, place, node),
            Mode::Leaf => return Err("a leaf that leads on".to_owned()),
        };
        // A negated condition is false for missing values, where the original was false too; NaN is unequal to all.
        let missing = match mode {
            Mode::NotEqual => false,
            _ => missing != negated,
        };
        let number = forest.branch(&Condition { feature, threshold, equal, missing })?;
        Ok((number, [vec![(number, !negated)], vec![(number, negated)]]))
    }

    /// Membership in a set is a chain of comparisons; all lead to the same node where one holds.
    fn member(
        &self,
        forest: &mut Growing<T>,
        place: usize,
        node: &Branch<T>,
    ) -> Outcome<(u32, [Vec<(u32, bool)>; 2])> {
        let members = self.members.get(&place).map(Vec::as_slice).unwrap_or_default();
        let mut first = None;
        let mut holds = Vec::new();
        let mut previous = None;
        // An empty set has no member: `x == NaN` never holds.
        let nothing = [T::from_f32(f32::NAN)];
        for threshold in if members.is_empty() { &nothing } else { members } {
            let condition = Condition {
                feature: node.feature,
                threshold: *threshold,
                equal: true,
                missing: node.missing,
            };
            let number = forest.branch(&condition)?;
            if let Some(previous) = previous {
                forest.lead(previous, false, number);
            }
            holds.push((number, true));
            first.get_or_insert(number);
            previous = Some(number);
        }
        match (first, previous) {
            (Some(first), Some(last)) => Ok((first, [holds, vec![(last, false)]])),
            _ => Err("a set without a test".to_owned()),
        }
    }
}

/// Reads the lists that `TreeEnsembleRegressor` and `TreeEnsembleClassifier` share. `role` is `target` or `class`.
pub(super) fn read<T: Real>(attributes: &Attributes, role: &str) -> Outcome<Draft<T>> {
    let trees = attributes.ints("nodes_treeids")?;
    let numbers = attributes.ints("nodes_nodeids")?;
    let modes = attributes.texts("nodes_modes")?;
    let features = attributes.ints("nodes_featureids")?;
    let holds = attributes.ints("nodes_truenodeids")?;
    let fails = attributes.ints("nodes_falsenodeids")?;
    let missing = attributes.ints("nodes_missing_value_tracks_true")?;
    let thresholds: Vec<T> = numbers_of(attributes, "nodes_values")?;
    let count = trees.len();
    let lengths = [numbers.len(), modes.len(), features.len(), holds.len(), fails.len(), thresholds.len()];
    if lengths.iter().any(|length| *length != count) || !(missing.is_empty() || missing.len() == count) {
        return Err(format!("lists about nodes have different lengths: {count} and {lengths:?}"));
    }
    let mut places: HashMap<(i64, i64), usize> = HashMap::with_capacity(count);
    for (place, key) in trees.iter().copied().zip(numbers.iter().copied()).enumerate() {
        if places.insert(key, place).is_some() {
            return Err(format!("node {} of tree {} twice", key.1, key.0));
        }
    }
    let mut is_child = vec![false; count];
    let mut nodes = Vec::with_capacity(count);
    for place in 0..count {
        let mode = mode(&modes[place])?;
        let mut ways = [0, 0];
        if mode != Mode::Leaf {
            for (way, number) in ways.iter_mut().zip([holds[place], fails[place]]) {
                let Some(to) = places.get(&(trees[place], number)) else {
                    return Err(format!(
                        "tree {} has no node {number}, which another leads to",
                        trees[place]
                    ));
                };
                *way = *to;
                is_child[*to] = true;
            }
        }
        let feature = usize::try_from(features[place]);
        let feature = if mode == Mode::Leaf { Ok(0) } else { feature };
        let feature = feature.map_err(|_| format!("feature {}", features[place]))?;
        let missing = missing.get(place).is_some_and(|track| *track == 1);
        nodes.push(Branch { mode, feature, threshold: thresholds[place], missing, ways });
    }
    let roots = roots(trees, &is_child)?;
    let weights = weights(attributes, role, &places)?;
    Ok(Draft { nodes, weights, members: HashMap::new(), roots })
}

/// The one node of each tree that no other leads to, trees in the order in which they come.
fn roots(trees: &[i64], is_child: &[bool]) -> Outcome<Vec<usize>> {
    let mut roots: Vec<usize> = Vec::new();
    let mut of_tree: HashMap<i64, usize> = HashMap::new();
    let mut order: HashMap<i64, usize> = HashMap::new();
    for (place, tree) in trees.iter().enumerate() {
        let next = order.len();
        order.entry(*tree).or_insert(next);
        if !is_child[place] {
            if of_tree.insert(*tree, place).is_some() {
                return Err(format!("tree {tree} has two roots"));
            }
            roots.push(place);
        }
    }
    if of_tree.len() != order.len() {
        return Err("a tree has no root: its nodes lead in a circle".to_owned());
    }
    roots.sort_by_key(|place| order.get(&trees[*place]).copied());
    Ok(roots)
}

fn weights<T: Real>(
    attributes: &Attributes,
    role: &str,
    places: &HashMap<(i64, i64), usize>,
) -> Outcome<Vec<Vec<(u32, T)>>> {
    let trees = attributes.ints(&format!("{role}_treeids"))?;
    let numbers = attributes.ints(&format!("{role}_nodeids"))?;
    let targets = attributes.ints(&format!("{role}_ids"))?;
    let values: Vec<T> = numbers_of(attributes, &format!("{role}_weights"))?;
    if [numbers.len(), targets.len(), values.len()].iter().any(|length| *length != trees.len()) {
        return Err("lists about weights have different lengths".to_owned());
    }
    let mut weights = vec![Vec::new(); places.len()];
    for (index, weight) in values.into_iter().enumerate() {
        let key = (trees[index], numbers[index]);
        let Some(place) = places.get(&key) else {
            return Err(format!("a weight of node {} of tree {}, which does not exist", key.1, key.0));
        };
        let target = u32::try_from(targets[index]).map_err(|_| format!("{role} {}", targets[index]))?;
        weights[*place].push((target, weight));
    }
    Ok(weights)
}

fn mode(text: &[u8]) -> Outcome<Mode> {
    Ok(match text {
        b"BRANCH_LEQ" => Mode::LessOrEqual,
        b"BRANCH_LT" => Mode::Less,
        b"BRANCH_GTE" => Mode::GreaterOrEqual,
        b"BRANCH_GT" => Mode::Greater,
        b"BRANCH_EQ" => Mode::Equal,
        b"BRANCH_NEQ" => Mode::NotEqual,
        b"LEAF" => Mode::Leaf,
        other => return Err(format!("a node of mode `{}`", String::from_utf8_lossy(other))),
    })
}

/// Numbers in a list of 32-bit floats, or in a tensor whose name ends in `_as_tensor`.
pub(super) fn numbers_of<T: Real>(attributes: &Attributes, name: &str) -> Outcome<Vec<T>> {
    match attributes.tensor(&format!("{name}_as_tensor"))? {
        Some(tensor) => match tensor.values() {
            Values::F64(values) => Ok(values.iter().map(|value| T::from_f64(*value)).collect()),
            Values::F32(values) => Ok(values.iter().map(|value| T::from_f32(*value)).collect()),
            _ => Err(format!("attribute `{name}_as_tensor` holds {}", tensor.element())),
        },
        None => Ok(attributes.floats(name)?.iter().map(|value| T::from_f32(*value)).collect()),
    }
}
