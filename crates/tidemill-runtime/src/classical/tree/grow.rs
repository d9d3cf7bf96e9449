//! A forest in the making.

use super::Real;
use super::forest::{Forest, Nodes};
use super::node::{Small, Wide};

/// The comparison of a node, brought to `<=` and `==`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<T> {
    pub(super) feature: usize,
    pub(super) threshold: T,
    /// `==` rather than `<=`.
    pub(super) equal: bool,
    /// Whether missing values fulfil it.
    pub(super) missing: bool,
}

/// Nodes that are added one after the other, and what is known of all of them.
#[derive(Debug)]
pub(super) struct Growing<T> {
    nodes: Vec<Wide<T>>,
    roots: Vec<u32>,
    /// For each node where its weights start and how many there are; nothing for inner nodes.
    ranges: Vec<(u32, u32)>,
    weights: Vec<(u32, T)>,
    width: usize,
    any_equal: bool,
    any_missing: bool,
}

impl<T: Real> Growing<T> {
    /// Without trees, with room for so many nodes.
    pub(super) fn with_room(nodes: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(nodes),
            roots: Vec::new(),
            ranges: Vec::with_capacity(nodes),
            weights: Vec::new(),
            width: 1,
            any_equal: false,
            any_missing: false,
        }
    }

    /// Adds a node whose ways are set later.
    pub(super) fn branch(&mut self, condition: &Condition<T>) -> Result<u32, String> {
        let feature = u32::try_from(condition.feature).ok().filter(|feature| *feature < Wide::<T>::FEATURE);
        let Some(mut feature) = feature else {
            return Err(format!("feature {} is beyond what trees may use", condition.feature));
        };
        self.width = self.width.max(condition.feature + 1);
        if condition.equal {
            feature |= Wide::<T>::EQUAL;
            self.any_equal = true;
        }
        if condition.missing {
            feature |= Wide::<T>::MISSING;
            self.any_missing = true;
        }
        self.push(Wide { threshold: condition.threshold, feature, next: [0, 0] }, (0, 0))
    }

    /// Adds a leaf.
    pub(super) fn leaf(&mut self, weights: &[(u32, T)]) -> Result<u32, String> {
        let start = self.weights.len() as u32;
        self.weights.extend_from_slice(weights);
        let first = weights.first().map_or(T::ZERO, |(_, weight)| *weight);
        let own = self.nodes.len() as u32;
        self.push(Wide { threshold: first, feature: 0, next: [own, own] }, (start, weights.len() as u32))
    }

    fn push(&mut self, node: Wide<T>, range: (u32, u32)) -> Result<u32, String> {
        let index = self.nodes.len();
        if index >= i32::MAX as usize {
            return Err("more nodes than trees may have".to_owned());
        }
        self.nodes.push(node);
        self.ranges.push(range);
        Ok(index as u32)
    }

    /// Sets where a node leads to.
    pub(super) fn lead(&mut self, node: u32, fulfilled: bool, to: u32) {
        if let Some(node) = self.nodes.get_mut(node as usize) {
            node.next[usize::from(!fulfilled)] = to;
        }
    }

    /// Makes a node the root of the next tree.
    pub(super) fn root(&mut self, node: u32) {
        self.roots.push(node);
    }

    /// With no more than walks need.
    pub(super) fn finished(mut self) -> Forest<T> {
        let mut only = self.weights.first().map(|(target, _)| *target);
        let mut leaves = (0..).zip(&self.nodes).filter(|(at, node): &(u32, _)| node.is_leaf(*at));
        let each_has_one = leaves.all(|(at, _)| self.ranges[at as usize].1 == 1);
        if each_has_one && self.weights.iter().all(|(target, _)| Some(*target) == only) {
            (self.ranges, self.weights) = (Vec::new(), Vec::new());
        } else {
            only = None;
        }
        self.roots.shrink_to_fit();
        self.ranges.shrink_to_fit();
        self.weights.shrink_to_fit();
        Forest {
            nodes: nodes(self.nodes),
            roots: self.roots,
            ranges: self.ranges,
            weights: self.weights,
            only,
            width: self.width,
            any_equal: self.any_equal,
            any_missing: self.any_missing,
        }
    }
}

/// Small ones, if all of them can be.
fn nodes<T: Copy>(mut wide: Vec<Wide<T>>) -> Nodes<T> {
    let mut nodes = Vec::with_capacity(wide.len());
    for (at, node) in (0..).zip(&wide) {
        let Some(small) = Small::of(node, at) else {
            wide.shrink_to_fit();
            return Nodes::Wide(wide);
        };
        nodes.push(small);
    }
    Nodes::Small(nodes)
}
