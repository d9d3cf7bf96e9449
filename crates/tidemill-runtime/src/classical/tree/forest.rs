//! Trees as one flat array, and the way down to the leaves.

use super::Real;

/// Set in a node's feature where missing values go the way of those that fulfil the condition.
const MISSING: u32 = 1 << 31;
/// Set where the condition is `==` instead of `<=`.
const EQUAL: u32 = 1 << 30;
/// The rest is the feature's number.
const FEATURE: u32 = EQUAL - 1;
/// Trees that are walked side by side, so that the processor waits for several loads at once.
const LANES: usize = 16;
/// Rows whose features stay in the cache while all trees see them.
const BLOCK: usize = 256;

/// A node: `row[feature] <= threshold` leads to `next[0]`, otherwise to `next[1]`. A leaf leads to itself, which is
/// how walks end without a branch for each node, and `threshold` is its first weight.
#[derive(Clone, Copy, Debug)]
struct Node<T> {
    threshold: T,
    feature: u32,
    next: [u32; 2],
}

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

/// All trees of an ensemble.
#[derive(Clone, Debug)]
pub(crate) struct Forest<T> {
    nodes: Vec<Node<T>>,
    roots: Vec<u32>,
    /// For each node where its weights start and how many there are; nothing for inner nodes. Empty where `only` is known.
    ranges: Vec<(u32, u32)>,
    weights: Vec<(u32, T)>,
    /// The target of all weights, where each leaf has one weight and all are of one target. The leaves hold all of them then.
    only: Option<u32>,
    /// Features that a row must have.
    width: usize,
    any_equal: bool,
    any_missing: bool,
}

impl<T: Real> Forest<T> {
    /// A forest without trees, with room for so many nodes.
    pub(super) fn with_room(nodes: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(nodes),
            roots: Vec::new(),
            ranges: Vec::with_capacity(nodes),
            weights: Vec::new(),
            only: None,
            width: 1,
            any_equal: false,
            any_missing: false,
        }
    }

    /// Adds a node whose ways are set later.
    pub(super) fn branch(&mut self, condition: &Condition<T>) -> Result<u32, String> {
        let feature = u32::try_from(condition.feature).ok().filter(|feature| *feature < FEATURE);
        let Some(mut feature) = feature else {
            return Err(format!("feature {} is beyond what trees may use", condition.feature));
        };
        self.width = self.width.max(condition.feature + 1);
        if condition.equal {
            feature |= EQUAL;
            self.any_equal = true;
        }
        if condition.missing {
            feature |= MISSING;
            self.any_missing = true;
        }
        self.push(Node { threshold: condition.threshold, feature, next: [0, 0] }, (0, 0))
    }

    /// Adds a leaf.
    pub(super) fn leaf(&mut self, weights: &[(u32, T)]) -> Result<u32, String> {
        let start = self.weights.len() as u32;
        self.weights.extend_from_slice(weights);
        let first = weights.first().map_or(T::ZERO, |(_, weight)| *weight);
        let own = self.nodes.len() as u32;
        self.push(Node { threshold: first, feature: 0, next: [own, own] }, (start, weights.len() as u32))
    }

    fn push(&mut self, node: Node<T>, range: (u32, u32)) -> Result<u32, String> {
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

    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Features that a row must have at least.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Keeps no more than walks need, once all trees are there.
    pub(super) fn finished(mut self) -> Self {
        let only = self.weights.first().map(|(target, _)| *target);
        let each_has_one = self.leaves().all(|(at, _)| self.ranges[at as usize].1 == 1);
        if each_has_one && self.weights.iter().all(|(target, _)| Some(*target) == only) {
            self.only = only;
            (self.ranges, self.weights) = (Vec::new(), Vec::new());
        }
        self.nodes.shrink_to_fit();
        self.roots.shrink_to_fit();
        self.ranges.shrink_to_fit();
        self.weights.shrink_to_fit();
        self
    }

    /// Leaves with their places.
    fn leaves(&self) -> impl Iterator<Item = (u32, &Node<T>)> {
        (0..).zip(&self.nodes).filter(|(at, node): &(u32, _)| node.next == [*at; 2])
    }

    /// All weights with their targets.
    pub(super) fn weights(&self) -> impl Iterator<Item = (u32, T)> {
        let of_leaves = self
            .only
            .into_iter()
            .flat_map(|target| self.leaves().map(move |(_, leaf)| (target, leaf.threshold)));
        of_leaves.chain(self.weights.iter().copied())
    }

    /// The target that weights are of where all are of one, and the first weight's where not.
    pub(super) fn first_target(&self) -> Option<u32> {
        self.only.or_else(|| self.weights.first().map(|(target, _)| *target))
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        (self.nodes.len() * size_of::<Node<T>>()
            + self.ranges.len() * size_of::<(u32, u32)>()
            + self.weights.len() * size_of::<(u32, T)>()
            + self.roots.len() * size_of::<u32>()) as u64
    }

    /// Adds the first weight of each row's leaves to that row's sum, tree by tree. `x` has `sums.len()` rows of
    /// `width` features, at least [`width`](Self::width).
    pub(super) fn add_first_weights(&self, x: &[T], width: usize, sums: &mut [T]) {
        self.each_leaf(x, width, |row, node| sums[row] += self.nodes[node as usize].threshold);
    }

    /// Shows the weights of each row's leaves, tree by tree for each row.
    pub(super) fn each_weights(&self, x: &[T], width: usize, mut visit: impl FnMut(usize, &[(u32, T)])) {
        if let Some(target) = self.only {
            let weight = |node: u32| self.nodes[node as usize].threshold;
            return self.each_leaf(x, width, |row, node| visit(row, &[(target, weight(node))]));
        }
        self.each_leaf(x, width, |row, node| {
            let (start, count) = self.ranges[node as usize];
            visit(row, &self.weights[start as usize..(start + count) as usize]);
        });
    }

    /// Shows each row's leaves in the order of the trees.
    fn each_leaf(&self, x: &[T], width: usize, mut visit: impl FnMut(usize, u32)) {
        for (block, rows) in x.chunks(width * BLOCK).enumerate() {
            let first = block * BLOCK;
            // Most rows miss nothing, and then no node has to look for it.
            let missing = self.any_missing && rows.iter().any(|x| x.is_missing());
            match (missing, self.any_equal, self.any_missing) {
                (false, false, false) => self.walk::<false, false, false>(rows, width, first, &mut visit),
                (false, false, true) => self.walk::<false, false, true>(rows, width, first, &mut visit),
                (true, false, _) => self.walk::<true, false, true>(rows, width, first, &mut visit),
                (false, true, _) => self.walk::<false, true, true>(rows, width, first, &mut visit),
                (true, true, _) => self.walk::<true, true, true>(rows, width, first, &mut visit),
            }
        }
    }

    /// Walks down all trees with a block of rows, of which the first has this number. `M`: values may be missing; `E`: nodes may compare
    /// with `==`; `F`: features have flags, which both need.
    fn walk<const M: bool, const E: bool, const F: bool>(
        &self,
        rows: &[T],
        width: usize,
        first: usize,
        visit: &mut impl FnMut(usize, u32),
    ) {
        let (groups, rest) = self.roots.as_chunks::<LANES>();
        for group in groups {
            for (index, row) in rows.chunks_exact(width).enumerate() {
                let leaves = self.descend::<M, E, F, LANES>(|_| row, *group);
                for leaf in leaves {
                    visit(first + index, leaf);
                }
            }
        }
        for root in rest {
            // Few trees: rows side by side instead.
            let mut bundles = rows.chunks_exact(width * LANES);
            let mut index = first;
            for bundle in &mut bundles {
                let row = |lane: usize| &bundle[lane * width..(lane + 1) * width];
                for leaf in self.descend::<M, E, F, LANES>(row, [*root; LANES]) {
                    visit(index, leaf);
                    index += 1;
                }
            }
            for row in bundles.remainder().chunks_exact(width) {
                let [leaf] = self.descend::<M, E, F, 1>(|_| row, [*root]);
                visit(index, leaf);
                index += 1;
            }
        }
    }

    /// From nodes to leaves, all lanes in step. Trees have no cycles, so each lane comes to a leaf and stays there.
    #[inline(always)]
    fn descend<'a, const M: bool, const E: bool, const F: bool, const L: usize>(
        &self,
        row: impl Fn(usize) -> &'a [T],
        mut at: [u32; L],
    ) -> [u32; L]
    where
        T: 'a,
    {
        loop {
            for (lane, at) in at.iter_mut().enumerate() {
                *at = self.step::<M, E, F>(row(lane), *at);
            }
            let mut moved = 0;
            for (lane, at) in at.iter_mut().enumerate() {
                let next = self.step::<M, E, F>(row(lane), *at);
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                return at;
            }
        }
    }

    #[inline(always)]
    fn step<const M: bool, const E: bool, const F: bool>(&self, row: &[T], at: u32) -> u32 {
        let node = &self.nodes[at as usize];
        let feature = if F { node.feature & FEATURE } else { node.feature };
        let x = row[feature as usize];
        let mut fulfilled = x <= node.threshold;
        if E && node.feature & EQUAL != 0 {
            fulfilled = x == node.threshold;
        }
        if M {
            fulfilled |= x.is_missing() & (node.feature & MISSING != 0);
        }
        node.next[usize::from(!fulfilled)]
    }
}
