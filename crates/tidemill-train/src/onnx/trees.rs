//! Boosted trees as a `TreeEnsembleRegressor`.
//!
//! The operator compares numbers only. A test whether a category is in a set becomes a column of its own: for each
//! column of categories, one table with a row per category and a column per distinct set holds 0 for left and 1
//! for right, and gathering the row of the category gives all tests at once. Missing and unknown categories have a
//! row like the others. One byte a cell, so at most 256 bytes for a distinct set.

use std::collections::BTreeMap;

use super::columns::{category, number};
use super::graph::{Attribute, Constant, Graph, ML};
use super::proto::DataType;
use crate::frame::FrameSchema;
use crate::gbdt::{Branch, Cuts, GbdtModel, Node, Test, Tree};
use crate::{Error, Result};

/// Raw scores, rows × outputs, 32-bit.
pub(super) fn raw_scores(
    graph: &mut Graph,
    schema: &FrameSchema,
    model: &GbdtModel,
    first: &str,
) -> Result<String> {
    let start: Vec<f32> = model.start.iter().map(|&start| start as f32).collect();
    let places = Places::find(model);
    if places.width == 0 {
        return Ok(super::repeat(graph, Constant::Float(&start), start.len() as i64, first));
    }
    let features = places.build(graph, schema, model)?;
    let mut ensemble = Ensemble::default();
    for (index, tree) in model.trees.iter().enumerate() {
        ensemble.add(tree, (index % start.len()) as i64, &places);
    }
    Ok(graph.node_of(ML, "TreeEnsembleRegressor", &[&features], ensemble.attributes(start)))
}

/// Where in the matrix of features the tests find their numbers.
struct Places {
    /// Columns of numbers that are used.
    numbers: BTreeMap<u32, usize>,
    /// The distinct sets of each used column of categories, and where the first one is.
    sets: BTreeMap<u32, (usize, Vec<[u64; 4]>)>,
    width: usize,
}

impl Places {
    fn find(model: &GbdtModel) -> Self {
        let mut places = Self { numbers: BTreeMap::new(), sets: BTreeMap::new(), width: 0 };
        for node in model.trees.iter().flat_map(|tree| &tree.nodes) {
            match &node.test {
                Test::In(set) => places.sets.entry(node.column).or_default().1.push(*set),
                Test::AtMost { .. } | Test::Present => {
                    places.numbers.insert(node.column, 0);
                }
            }
        }
        for place in places.numbers.values_mut() {
            *place = places.width;
            places.width += 1;
        }
        for (place, sets) in places.sets.values_mut() {
            sets.sort_unstable();
            sets.dedup();
            *place = places.width;
            places.width += sets.len();
        }
        places
    }

    /// The matrix of features, 32-bit.
    fn build(&self, graph: &mut Graph, schema: &FrameSchema, model: &GbdtModel) -> Result<String> {
        let spec = |column: u32| {
            let found = schema.columns.get(column as usize);
            found.ok_or_else(|| {
                Error::Export(format!("the model uses column {column}, which its schema lacks"))
            })
        };
        let mut parts = Vec::new();
        for &column in self.numbers.keys() {
            parts.push(number(graph, spec(column)?, DataType::Float));
        }
        for (&column, (_, sets)) in &self.sets {
            let spec = spec(column)?;
            let (Some(levels), Cuts::Category(bins)) = (spec.levels(), &model.cuts[column as usize]) else {
                return Err(Error::Export(format!("column `{}` does not hold categories", spec.name)));
            };
            let with_bin: Vec<(&str, u8)> = levels
                .iter()
                .map(String::as_str)
                .zip(bins.iter().copied())
                .filter(|(_, bin)| *bin != 255)
                .collect();
            let names: Vec<&str> = with_bin.iter().map(|(level, _)| *level).collect();
            let codes = category(graph, spec, &names);
            let cells: Vec<u8> = std::iter::once(255)
                .chain(with_bin.iter().map(|(_, bin)| *bin))
                .flat_map(|bin| {
                    sets.iter().map(move |set| u8::from(set[usize::from(bin >> 6)] >> (bin & 63) & 1 == 0))
                })
                .collect();
            let dims = [names.len() as i64 + 1, sets.len() as i64];
            let table = graph.constant(&dims, Constant::Byte(&cells));
            let tests = graph.node("Gather", &[&table, &codes], vec![("axis", Attribute::Int(0))]);
            parts.push(graph.cast(&tests, DataType::Uint8, DataType::Float));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(graph.node("Concat", &parts, vec![("axis", Attribute::Int(1))]))
    }

    /// The feature, the threshold, and whether missing numbers go left.
    fn test(&self, node: &Node) -> (usize, f32, bool) {
        match &node.test {
            Test::AtMost { threshold, missing } => (self.numbers[&node.column], *threshold, *missing),
            Test::Present => (self.numbers[&node.column], f32::INFINITY, false),
            Test::In(set) => {
                let (first, sets) = &self.sets[&node.column];
                (first + sets.binary_search(set).unwrap_or(0), 0.5, false)
            }
        }
    }
}

/// The attributes of the operator: parallel lists over the nodes of all trees, and over all leaves.
#[derive(Default)]
struct Ensemble {
    trees: i64,
    tree: Vec<i64>,
    node: Vec<i64>,
    feature: Vec<i64>,
    value: Vec<f32>,
    mode: Vec<Vec<u8>>,
    if_true: Vec<i64>,
    if_false: Vec<i64>,
    missing: Vec<i64>,
    leaf_tree: Vec<i64>,
    leaf_node: Vec<i64>,
    leaf_output: Vec<i64>,
    leaf_value: Vec<f32>,
}

impl Ensemble {
    /// Appends a tree that adds to `output`: its nodes under their own numbers, then its leaves.
    fn add(&mut self, tree: &Tree, output: i64, places: &Places) {
        if tree.nodes.is_empty() && tree.leaves.iter().all(|&leaf| leaf == 0.0) {
            return;
        }
        let number = |branch| match branch {
            Branch::Node(node) => i64::from(node),
            Branch::Leaf(leaf) => tree.nodes.len() as i64 + i64::from(leaf),
        };
        for (index, node) in tree.nodes.iter().enumerate() {
            let (feature, threshold, missing) = places.test(node);
            self.push(index as i64, feature as i64, threshold, b"BRANCH_LEQ", i64::from(missing));
            self.if_true.push(number(node.left));
            self.if_false.push(number(node.right));
        }
        for (leaf, &value) in tree.leaves.iter().enumerate() {
            let index = (tree.nodes.len() + leaf) as i64;
            self.push(index, 0, 0.0, b"LEAF", 0);
            self.if_true.push(0);
            self.if_false.push(0);
            self.leaf_tree.push(self.trees);
            self.leaf_node.push(index);
            self.leaf_output.push(output);
            self.leaf_value.push(value);
        }
        self.trees += 1;
    }

    fn push(&mut self, node: i64, feature: i64, value: f32, mode: &[u8], missing: i64) {
        self.tree.push(self.trees);
        self.node.push(node);
        self.feature.push(feature);
        self.value.push(value);
        self.mode.push(mode.to_vec());
        self.missing.push(missing);
    }

    fn attributes(self, start: Vec<f32>) -> Vec<(&'static str, Attribute)> {
        vec![
            ("aggregate_function", Attribute::Text("SUM")),
            ("post_transform", Attribute::Text("NONE")),
            ("n_targets", Attribute::Int(start.len() as i64)),
            ("base_values", Attribute::Floats(start)),
            ("nodes_treeids", Attribute::Ints(self.tree)),
            ("nodes_nodeids", Attribute::Ints(self.node)),
            ("nodes_featureids", Attribute::Ints(self.feature)),
            ("nodes_values", Attribute::Floats(self.value)),
            ("nodes_modes", Attribute::Texts(self.mode)),
            ("nodes_truenodeids", Attribute::Ints(self.if_true)),
            ("nodes_falsenodeids", Attribute::Ints(self.if_false)),
            ("nodes_missing_value_tracks_true", Attribute::Ints(self.missing)),
            ("target_treeids", Attribute::Ints(self.leaf_tree)),
            ("target_nodeids", Attribute::Ints(self.leaf_node)),
            ("target_ids", Attribute::Ints(self.leaf_output)),
            ("target_weights", Attribute::Floats(self.leaf_value)),
        ]
    }
}
