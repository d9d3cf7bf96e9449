//! Trees against an interpreter that follows the definition node by node and knows nothing of layouts.

use std::collections::HashMap;

use proptest::prelude::*;

use super::build::{Branch, Draft, Mode};

const FEATURES: usize = 4;
const MODES: [Mode; 7] = [
    Mode::LessOrEqual,
    Mode::Less,
    Mode::GreaterOrEqual,
    Mode::Greater,
    Mode::Equal,
    Mode::NotEqual,
    Mode::Member,
];

/// Values that thresholds and inputs share, so that equality happens.
fn number() -> impl Strategy<Value = f32> {
    prop::sample::select(vec![
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.0,
        2.0,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ])
}

/// A complete tree of some depth; a node's ways are at `2i + 1` and `2i + 2`.
#[derive(Clone, Debug)]
struct Tree {
    depth: u32,
    branches: Vec<(usize, usize, f32, bool, Vec<f32>)>,
    leaves: Vec<f32>,
}

fn tree() -> impl Strategy<Value = Tree> {
    (0..5_u32).prop_flat_map(|depth| {
        let inner = (1_usize << depth) - 1;
        let members = prop::collection::vec(number().prop_filter("ends a set", |x| !x.is_nan()), 0..3);
        let branch = (0..MODES.len(), 0..FEATURES, number(), any::<bool>(), members);
        let leaves = prop::collection::vec(-8_i32..8, 1 << depth);
        (prop::collection::vec(branch, inner), leaves).prop_map(move |(branches, leaves)| Tree {
            depth,
            branches,
            leaves: leaves.into_iter().map(|x| x as f32 / 4.0).collect(),
        })
    })
}

impl Tree {
    fn answer(&self, row: &[f32]) -> f32 {
        let mut at = 0;
        for _ in 0..self.depth {
            let (mode, feature, threshold, missing, members) = &self.branches[at];
            let x = row[*feature];
            let holds = match MODES[*mode] {
                Mode::LessOrEqual => x <= *threshold,
                Mode::Less => x < *threshold,
                Mode::GreaterOrEqual => x >= *threshold,
                Mode::Greater => x > *threshold,
                Mode::Equal => x == *threshold,
                Mode::NotEqual => x != *threshold,
                Mode::Member => members.contains(&x),
                Mode::Leaf => unreachable!(),
            };
            at = 2 * at + if holds || *missing && x.is_nan() { 1 } else { 2 };
        }
        self.leaves[at - self.branches.len()]
    }
}

fn draft(trees: &[Tree]) -> Draft<f32> {
    let mut draft = Draft { nodes: vec![], weights: vec![], members: HashMap::new(), roots: vec![] };
    for tree in trees {
        let first = draft.nodes.len();
        draft.roots.push(first);
        for (index, (mode, feature, threshold, missing, members)) in tree.branches.iter().enumerate() {
            let (mode, feature, threshold, missing) = (MODES[*mode], *feature, *threshold, *missing);
            let ways = [first + 2 * index + 1, first + 2 * index + 2];
            draft.members.insert(first + index, members.clone());
            draft.nodes.push(Branch { mode, feature, threshold, missing, ways });
            draft.weights.push(vec![]);
        }
        for leaf in &tree.leaves {
            let ways = [0, 0];
            draft.nodes.push(Branch { mode: Mode::Leaf, feature: 0, threshold: 0.0, missing: false, ways });
            draft.weights.push(vec![(0, *leaf)]);
        }
    }
    draft
}

proptest! {
    #[test]
    fn every_row_comes_to_the_leaf_of_the_definition(
        trees in prop::collection::vec(tree(), 1..20),
        rows in prop::collection::vec(prop::collection::vec(number(), FEATURES), 0..20),
    ) {
        let forest = draft(&trees).build().unwrap();
        let x: Vec<f32> = rows.concat();
        let mut sums = vec![0.0; rows.len()];
        forest.add_first_weights(&x, FEATURES, &mut sums);
        let wanted: Vec<f32> = rows.iter().map(|row| trees.iter().map(|tree| tree.answer(row)).sum()).collect();
        prop_assert_eq!(&sums, &wanted);
        let mut visited = vec![vec![]; rows.len()];
        forest.each_weights(&x, FEATURES, |row, weights| visited[row].extend(weights.iter().map(|(_, w)| *w)));
        let wanted: Vec<Vec<f32>> =
            rows.iter().map(|row| trees.iter().map(|tree| tree.answer(row)).collect()).collect();
        prop_assert_eq!(visited, wanted);
    }
}

#[test]
fn ways_that_form_no_tree_are_refused() {
    let branch = |ways| Branch { mode: Mode::Less, feature: 0, threshold: 0.0, missing: false, ways };
    let circle = Draft {
        nodes: vec![branch([1, 1]), branch([0, 0])],
        weights: vec![vec![], vec![]],
        members: HashMap::new(),
        roots: vec![0],
    };
    assert!(circle.build().unwrap_err().contains("not a tree"));
    let nowhere =
        Draft { nodes: vec![branch([7, 7])], weights: vec![vec![]], members: HashMap::new(), roots: vec![0] };
    assert!(nowhere.build().unwrap_err().contains("does not exist"));
}
