//! Trees as one flat array, and the way down to the leaves.

use super::Real;
use super::node::{Small, Step, Wide};

/// Trees that are walked side by side, so that the processor waits for several loads at once.
const LANES: usize = 16;
/// Rows whose features stay in the cache while all trees see them.
const BLOCK: usize = 256;

/// The nodes of all trees.
#[derive(Clone, Debug)]
pub(super) enum Nodes<T> {
    Small(Vec<Small<T>>),
    Wide(Vec<Wide<T>>),
}

/// All trees of an ensemble.
#[derive(Clone, Debug)]
pub(crate) struct Forest<T> {
    pub(super) nodes: Nodes<T>,
    pub(super) roots: Vec<u32>,
    /// For each node where its weights start and how many there are; nothing for inner nodes. Empty where `only` is known.
    pub(super) ranges: Vec<(u32, u32)>,
    pub(super) weights: Vec<(u32, T)>,
    /// The target of all weights, where each leaf has one weight and all are of one target. The leaves hold all of them then.
    pub(super) only: Option<u32>,
    /// Features that a row must have.
    pub(super) width: usize,
    pub(super) any_equal: bool,
    pub(super) any_missing: bool,
}

impl<T: Real> Forest<T> {
    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Features that a row must have at least.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// What the leaves hold.
    fn leaves(&self) -> Vec<T> {
        match &self.nodes {
            Nodes::Small(nodes) => nodes.iter().filter(|node| node.is_leaf()).map(Step::threshold).collect(),
            Nodes::Wide(nodes) => {
                let leaves = (0..).zip(nodes).filter(|(at, node): &(u32, _)| node.is_leaf(*at));
                leaves.map(|(_, node)| node.threshold()).collect()
            }
        }
    }

    /// All weights with their targets.
    pub(super) fn weights(&self) -> impl Iterator<Item = (u32, T)> {
        let of_leaves = self
            .only
            .into_iter()
            .flat_map(|target| self.leaves().into_iter().map(move |weight| (target, weight)));
        of_leaves.chain(self.weights.iter().copied())
    }

    /// The target that weights are of where all are of one, and the first weight's where not.
    pub(super) fn first_target(&self) -> Option<u32> {
        self.only.or_else(|| self.weights.first().map(|(target, _)| *target))
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        let nodes = match &self.nodes {
            Nodes::Small(nodes) => size_of_val(nodes.as_slice()),
            Nodes::Wide(nodes) => size_of_val(nodes.as_slice()),
        };
        (nodes
            + self.ranges.len() * size_of::<(u32, u32)>()
            + self.weights.len() * size_of::<(u32, T)>()
            + self.roots.len() * size_of::<u32>()) as u64
    }

    /// Adds the first weight of each row's leaves to that row's sum, tree by tree. `x` has `sums.len()` rows of
    /// `width` features, at least [`width`](Self::width).
    pub(super) fn add_first_weights(&self, x: &[T], width: usize, sums: &mut [T]) {
        self.each_leaf(x, width, |row, _, first| sums[row] += first);
    }

    /// Shows the weights of each row's leaves, tree by tree for each row.
    pub(super) fn each_weights(&self, x: &[T], width: usize, mut visit: impl FnMut(usize, &[(u32, T)])) {
        if let Some(target) = self.only {
            return self.each_leaf(x, width, |row, _, first| visit(row, &[(target, first)]));
        }
        self.each_leaf(x, width, |row, node, _| {
            let (start, count) = self.ranges[node as usize];
            visit(row, &self.weights[start as usize..(start + count) as usize]);
        });
    }

    /// Shows each row's leaves, with their first weights, in the order of the trees.
    fn each_leaf(&self, x: &[T], width: usize, visit: impl FnMut(usize, u32, T)) {
        match &self.nodes {
            Nodes::Small(nodes) => self.each_leaf_of(nodes, x, width, visit),
            Nodes::Wide(nodes) => self.each_leaf_of(nodes, x, width, visit),
        }
    }

    fn each_leaf_of<N: Step<T>>(
        &self,
        nodes: &[N],
        x: &[T],
        width: usize,
        mut visit: impl FnMut(usize, u32, T),
    ) {
        let mut visit = |row, node: u32| visit(row, node, nodes[node as usize].threshold());
        for (block, rows) in x.chunks(width * BLOCK).enumerate() {
            let rows = Rows { values: rows, width, first: block * BLOCK };
            // Most rows miss nothing, and then no node has to look for it.
            let missing = self.any_missing && rows.values.iter().any(|x| x.is_missing());
            let walk = match (missing, self.any_equal, self.any_missing) {
                (false, false, false) => walk::<_, _, _, false, false, false>,
                (false, false, true) => walk::<_, _, _, false, false, true>,
                (true, false, _) => walk::<_, _, _, true, false, true>,
                (false, true, _) => walk::<_, _, _, false, true, true>,
                (true, true, _) => walk::<_, _, _, true, true, true>,
            };
            walk(nodes, &self.roots, rows, &mut visit);
        }
    }
}

/// A block of rows, of which the first has the number `first`.
#[derive(Clone, Copy)]
struct Rows<'a, T> {
    values: &'a [T],
    width: usize,
    first: usize,
}

/// Walks down all trees with a block of rows. `M`: values may be missing; `E`: nodes may compare with `==`; `F`: features have flags,
/// which both need.
fn walk<T: Real, N: Step<T>, V: FnMut(usize, u32), const M: bool, const E: bool, const F: bool>(
    nodes: &[N],
    roots: &[u32],
    Rows { values, width, first }: Rows<'_, T>,
    visit: &mut V,
) {
    let (groups, rest) = roots.as_chunks::<LANES>();
    for group in groups {
        for (index, row) in values.chunks_exact(width).enumerate() {
            let leaves = descend::<_, _, M, E, F, LANES>(nodes, |_| row, *group);
            for leaf in leaves {
                visit(first + index, leaf);
            }
        }
    }
    for root in rest {
        // Few trees: rows side by side instead.
        let mut bundles = values.chunks_exact(width * LANES);
        let mut index = first;
        for bundle in &mut bundles {
            let row = |lane: usize| &bundle[lane * width..(lane + 1) * width];
            for leaf in descend::<_, _, M, E, F, LANES>(nodes, row, [*root; LANES]) {
                visit(index, leaf);
                index += 1;
            }
        }
        for row in bundles.remainder().chunks_exact(width) {
            let [leaf] = descend::<_, _, M, E, F, 1>(nodes, |_| row, [*root]);
            visit(index, leaf);
            index += 1;
        }
    }
}

/// From nodes to leaves, all lanes in step. Trees have no cycles, so each lane comes to a leaf and stays there.
#[inline(always)]
fn descend<'a, T: Real + 'a, N: Step<T>, const M: bool, const E: bool, const F: bool, const L: usize>(
    nodes: &[N],
    row: impl Fn(usize) -> &'a [T],
    mut at: [u32; L],
) -> [u32; L] {
    loop {
        for (lane, at) in at.iter_mut().enumerate() {
            *at = step::<_, _, M, E, F>(nodes, row(lane), *at);
        }
        let mut moved = 0;
        for (lane, at) in at.iter_mut().enumerate() {
            let next = step::<_, _, M, E, F>(nodes, row(lane), *at);
            moved |= next ^ *at;
            *at = next;
        }
        if moved == 0 {
            return at;
        }
    }
}

#[inline(always)]
fn step<T: Real, N: Step<T>, const M: bool, const E: bool, const F: bool>(
    nodes: &[N],
    row: &[T],
    at: u32,
) -> u32 {
    let node = &nodes[at as usize];
    let (x, threshold) = (row[node.feature::<F>()], node.threshold());
    let mut fulfilled = x <= threshold;
    if E && node.is_equal() {
        fulfilled = x == threshold;
    }
    if M {
        fulfilled |= x.is_missing() & node.takes_missing();
    }
    node.next(at, fulfilled)
}
