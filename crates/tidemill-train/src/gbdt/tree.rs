//! Fitted trees, and walking down them.
//!
//! Trees are stored over values, not bins: thresholds are 32-bit floats, categories are numbered by the model's
//! cuts. Walking uses flat arrays made from them.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::GbdtModel;
use super::bins::{Cuts, MISSING};
use super::grow::{Child, Grown};
use super::split::{Rule, holds};
use crate::frame::{ColumnData, Frame};
use crate::model::Scores;

/// Rows that go through all trees together.
const BLOCK: usize = 128;

/// A binary tree. Node 0 is the root; a tree without nodes is a single leaf.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The inner nodes, parents before children.
    pub nodes: Vec<Node>,
    /// The value of each leaf, shrunk, a multiple of the model's step.
    pub leaves: Vec<f32>,
}

/// An inner node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The frame's column that it looks at.
    pub column: u32,
    /// Who goes left.
    pub test: Test,
    /// Where rows go that pass the test.
    pub left: Branch,
    /// Where the others go.
    pub right: Branch,
}

/// Who goes left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Numbers up to and with `threshold`, after rounding to a 32-bit float, and missing ones if `missing`.
    AtMost {
        /// The largest number that goes left.
        threshold: f32,
        /// Whether missing numbers go left.
        missing: bool,
    },
    /// All numbers, while missing ones go right.
    Present,
    /// Categories whose bin is in this set of 256 bits, lowest bit first. Bit 255 stands for missing values,
    /// unknown categories, and categories without a bin.
    In([u64; 4]),
}

/// Where a node leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branch {
    /// To an inner node.
    Node(u32),
    /// To a leaf.
    Leaf(u32),
}

impl Tree {
    /// A grown tree over values; `columns` maps binned columns to the frame's.
    pub(super) fn new(grown: &Grown, leaves: Vec<f32>, columns: &[usize], cuts: &[Cuts]) -> Self {
        let branch = |child| match child {
            Child::Node(node) => Branch::Node(node),
            Child::Leaf(leaf) => Branch::Leaf(u32::from(leaf)),
        };
        let nodes = grown.nodes.iter().map(|node| {
            let column = columns[node.column];
            let test = match (node.rule, &cuts[column]) {
                (Rule::UpTo { bin, missing_left: missing }, Cuts::Numeric(cuts)) => {
                    match cuts.get(usize::from(bin)) {
                        Some(&threshold) => Test::AtMost { threshold, missing },
                        None => Test::Present,
                    }
                }
                _ => Test::In(node.set),
            };
            Node {
                column: column as u32,
                test,
                left: branch(node.children[0]),
                right: branch(node.children[1]),
            }
        });
        Self { nodes: nodes.collect(), leaves }
    }
}

/// A node as walking reads it: children are node numbers, or `!leaf`.
struct FlatNode {
    column: u32,
    threshold: f32,
    /// Index of a set, or `u32::MAX` for a number.
    set: u32,
    missing_left: bool,
    left: i32,
    right: i32,
}

struct FlatTree {
    nodes: Vec<FlatNode>,
    leaves: Vec<f64>,
}

/// A model in flat arrays.
pub(super) struct Flat<'a> {
    model: &'a GbdtModel,
    trees: Vec<FlatTree>,
    sets: Vec<[u64; 4]>,
}

impl<'a> Flat<'a> {
    pub(super) fn new(model: &'a GbdtModel) -> Self {
        let mut sets = Vec::new();
        let step = |branch| match branch {
            Branch::Node(node) => node as i32,
            Branch::Leaf(leaf) => !(leaf as i32),
        };
        let mut flatten = |node: &Node| {
            let (threshold, missing_left, set) = match &node.test {
                Test::AtMost { threshold, missing } => (*threshold, *missing, u32::MAX),
                Test::Present => (f32::INFINITY, false, u32::MAX),
                Test::In(set) => {
                    sets.push(*set);
                    (0.0, false, sets.len() as u32 - 1)
                }
            };
            FlatNode {
                column: node.column,
                threshold,
                set,
                missing_left,
                left: step(node.left),
                right: step(node.right),
            }
        };
        let trees = model
            .trees
            .iter()
            .map(|tree| FlatTree {
                nodes: tree.nodes.iter().map(&mut flatten).collect(),
                leaves: tree.leaves.iter().map(|&leaf| f64::from(leaf)).collect(),
            })
            .collect();
        Self { model, trees, sets }
    }

    /// Raw scores turned to answers, for all rows.
    pub(super) fn scores(&self, frame: &Frame) -> Scores {
        let width =
            self.model.loss().outputs().max(if self.model.classes > 0 { self.model.classes } else { 1 });
        let mut values = vec![0.0; frame.rows() * width];
        values.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, into)| {
            self.block(frame, block * BLOCK, into, width);
        });
        Scores { values, width }
    }

    fn block(&self, frame: &Frame, first: usize, into: &mut [f64], width: usize) {
        let rows = into.len() / width;
        let columns = self.model.cuts.len();
        let mut features = vec![f32::NAN; rows * columns];
        for (column, cuts) in self.model.cuts.iter().enumerate() {
            let to = features.iter_mut().skip(column).step_by(columns);
            match (cuts, &frame.columns()[column].data) {
                (Cuts::Numeric(_), ColumnData::Numeric(values)) => {
                    to.zip(&values[first..]).for_each(|(to, &value)| *to = value as f32);
                }
                (Cuts::Category(bins), ColumnData::Category { codes, .. }) => {
                    let bin = |code: u32| bins.get(code as usize).copied().unwrap_or(MISSING);
                    to.zip(&codes[first..]).for_each(|(to, &code)| *to = f32::from(bin(code)));
                }
                (Cuts::Category(_), _) => to.for_each(|to| *to = f32::from(MISSING)),
                (Cuts::Numeric(_), _) => {}
            }
        }
        let outputs = self.model.start.len();
        for row in into.chunks_mut(width) {
            row[..outputs].copy_from_slice(&self.model.start);
        }
        for (index, tree) in self.trees.iter().enumerate() {
            let output = index % outputs;
            for (row, features) in into.chunks_mut(width).zip(features.chunks(columns.max(1))) {
                row[output] += tree.leaves[self.leaf(tree, features)];
            }
        }
        into.chunks_mut(width).for_each(|row| self.model.loss().answer(row));
    }

    #[inline]
    fn leaf(&self, tree: &FlatTree, features: &[f32]) -> usize {
        let mut at = if tree.nodes.is_empty() { -1 } else { 0_i32 };
        while at >= 0 {
            let node = &tree.nodes[at as usize];
            let value = features[node.column as usize];
            let left = if node.set == u32::MAX {
                value <= node.threshold || (node.missing_left && value.is_nan())
            } else {
                holds(&self.sets[node.set as usize], value as u8)
            };
            at = if left { node.left } else { node.right };
        }
        !at as usize
    }
}
