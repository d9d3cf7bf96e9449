//! Growing one tree, always cutting the leaf that gains most.
//!
//! Only the smaller child of a cut is counted; the larger one is the parent minus it. Which leaf is cut next, and all
//! sums, are independent of the number of threads.

use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

use rayon::prelude::*;
use tidemill_core::Progress;

use super::bins::{Binned, GROUP};
use super::histogram::{EMPTY, GroupHistogram, LeafRows, Scale, Sums, add, fill, subtract_all};
use super::partition::partition;
use super::split::{Bounds, Leaf, Limits, Rule, Shape, Split, holds};
use crate::{Error, Result};

/// Memory for histograms of leaves that wait to be cut; beyond it they are counted again when needed.
const HISTOGRAM_BYTES: usize = 1 << 30;

/// Rows of one piece of row-wise work.
const CHUNK: usize = 1 << 15;

/// A tree over bins.
#[derive(Clone, Debug, Default)]
pub(super) struct Grown {
    pub(super) nodes: Vec<GrownNode>,
    /// The value of each leaf, before shrinkage.
    pub(super) values: Vec<f64>,
}

/// A cut.
#[derive(Clone, Debug)]
pub(super) struct GrownNode {
    /// Index into the binned columns.
    pub(super) column: usize,
    pub(super) rule: Rule,
    /// The bins that go left.
    pub(super) set: [u64; 4],
    /// Left and right child.
    pub(super) children: [Child; 2],
}

/// Where a cut leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Node(u32),
    Leaf(u16),
}

impl Grown {
    /// The leaf of a row of `binned`.
    pub(super) fn leaf_of(&self, binned: &Binned, row: usize) -> usize {
        let mut at = if self.nodes.is_empty() { Child::Leaf(0) } else { Child::Node(0) };
        loop {
            match at {
                Child::Leaf(leaf) => return usize::from(leaf),
                Child::Node(node) => {
                    let node = &self.nodes[node as usize];
                    let left = holds(&node.set, binned.by_column[node.column][row]);
                    at = node.children[usize::from(!left)];
                }
            }
        }
    }
}

/// What trees are allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shaping {
    pub(super) limits: Limits,
    pub(super) max_leaves: usize,
    /// 0 is unbounded.
    pub(super) max_depth: u32,
}

/// Derivatives of all rows, and which rows and columns a tree may use.
pub(super) struct Task<'a> {
    pub(super) derivatives: &'a [Sums],
    pub(super) scale: Scale,
    /// Rows in rising order; `None` for all.
    pub(super) rows: Option<&'a [u32]>,
    /// For each binned column.
    pub(super) columns: &'a [bool],
}

/// Grows trees on the same rows, one after the other, keeping its buffers.
pub(super) struct Grower<'a> {
    binned: &'a Binned,
    shapes: &'a [Shape],
    shaping: Shaping,
    rows: Vec<u32>,
    scratch: Vec<u32>,
    ordered: Vec<Sums>,
    pool: Vec<Vec<GroupHistogram>>,
    leaf_of: Vec<AtomicU16>,
}

struct OpenLeaf {
    span: Range<usize>,
    depth: u32,
    sums: Sums,
    bounds: Bounds,
    best: Option<(usize, Split)>,
    histogram: Option<Vec<GroupHistogram>>,
    /// The cut above and the side; `None` for the root.
    parent: Option<(usize, usize)>,
}

impl<'a> Grower<'a> {
    pub(super) fn new(binned: &'a Binned, shapes: &'a [Shape], shaping: Shaping) -> Self {
        Self {
            binned,
            shapes,
            shaping,
            rows: Vec::with_capacity(binned.rows),
            scratch: vec![0; binned.rows],
            ordered: vec![EMPTY; binned.rows],
            pool: Vec::new(),
            leaf_of: (0..binned.rows).map(|_| AtomicU16::new(0)).collect(),
        }
    }

    /// The leaf that the last tree put each row into.
    pub(super) fn leaf_of(&self) -> &[AtomicU16] {
        &self.leaf_of
    }

    pub(super) fn grow(&mut self, task: &Task<'_>, progress: &dyn Progress) -> Result<Grown> {
        self.rows.clear();
        match task.rows {
            Some(rows) => self.rows.extend_from_slice(rows),
            None => self.rows.extend(0..self.binned.rows as u32),
        }
        let mut tree = Grown::default();
        let mut leaves = vec![self.root(task)];
        while leaves.len() < self.shaping.max_leaves {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let Some(index) = most_gaining(&leaves) else { break };
            let (left, right) = self.cut(task, &mut leaves[index], &mut tree);
            let last = leaves.len() + 1 == self.shaping.max_leaves;
            let (left, right) = if last { (left, right) } else { self.open(task, left, right) };
            leaves[index] = left;
            leaves.push(right);
            self.bound_memory(&mut leaves);
        }
        self.close(task, leaves, &mut tree);
        Ok(tree)
    }

    fn root(&mut self, task: &Task<'_>) -> OpenLeaf {
        let rows = self.rows.len();
        let sums = match task.rows {
            Some(rows) => rows.par_iter().map(|&row| task.derivatives[row as usize]).reduce(|| EMPTY, add),
            None => task.derivatives.par_iter().copied().reduce(|| EMPTY, add),
        };
        let mut root = OpenLeaf {
            span: 0..rows,
            depth: 0,
            sums,
            bounds: Bounds::NONE,
            best: None,
            histogram: None,
            parent: None,
        };
        if self.may_cut(&root) {
            self.count_and_search(task, &mut root);
        }
        root
    }

    fn may_cut(&self, leaf: &OpenLeaf) -> bool {
        let deep = self.shaping.max_depth > 0 && leaf.depth >= self.shaping.max_depth;
        !deep && leaf.span.len() as u64 >= 2 * self.shaping.limits.min_rows && !self.shapes.is_empty()
    }

    /// Cuts a leaf: its rows are put in order, its cut becomes a node, its histogram goes to the left child.
    fn cut(&mut self, task: &Task<'_>, leaf: &mut OpenLeaf, tree: &mut Grown) -> (OpenLeaf, OpenLeaf) {
        let Some((column, split)) = leaf.best.take() else {
            unreachable!("only leaves with a split are cut")
        };
        let set = split.rule.set();
        let span = leaf.span.clone();
        let left_rows = partition(
            &mut self.rows[span.clone()],
            &mut self.scratch[span.clone()],
            &self.binned.by_column[column],
            &set,
        );
        let node = tree.nodes.len();
        if let Some((above, side)) = leaf.parent {
            tree.nodes[above].children[side] = Child::Node(node as u32);
        }
        tree.nodes.push(GrownNode { column, rule: split.rule, set, children: [Child::Leaf(0); 2] });

        let judged = self.judged(task, leaf);
        let (mut low, mut high) = (leaf.bounds, leaf.bounds);
        if let Shape::Numeric { monotone, .. } = self.shapes[column]
            && monotone != 0
        {
            let middle =
                f64::midpoint(judged.value(split.left, leaf.bounds), judged.value(split.right, leaf.bounds));
            low.high = low.high.min(middle);
            high.low = high.low.max(middle);
            if monotone < 0 {
                std::mem::swap(&mut low, &mut high);
            }
        }
        let middle = span.start + left_rows;
        let child = |span, sums, bounds, side, histogram| OpenLeaf {
            span,
            depth: leaf.depth + 1,
            sums,
            bounds,
            best: None,
            histogram,
            parent: Some((node, side)),
        };
        let histogram = leaf.histogram.take();
        let left = child(span.start..middle, split.left, low, 0, histogram);
        let right = child(middle..span.end, split.right, high, 1, None);
        (left, right)
    }

    /// Counts and searches two new leaves as far as they may be cut.
    fn open(&mut self, task: &Task<'_>, left: OpenLeaf, right: OpenLeaf) -> (OpenLeaf, OpenLeaf) {
        let left_is_small = left.span.len() <= right.span.len();
        let (mut small, mut large) = if left_is_small { (left, right) } else { (right, left) };
        let inherited = small.histogram.take().or_else(|| large.histogram.take());
        match (self.may_cut(&large), inherited) {
            (false, inherited) => {
                self.pool.extend(inherited);
                if self.may_cut(&small) {
                    self.count_and_search(task, &mut small);
                }
            }
            (true, Some(mut parent)) => {
                self.gather(task, &small.span);
                let mut own = self.blank();
                let search_small = self.may_cut(&small);
                let rows = self.leaf_rows(task, &small.span);
                let parts = self.parts(rows.derivatives.len());
                let (judged_small, judged_large) = (self.judged(task, &small), self.judged(task, &large));
                let found: Vec<_> = own
                    .par_iter_mut()
                    .zip(&mut parent)
                    .enumerate()
                    .map(|(group, (own, parent))| {
                        if !self.is_active(task, group) {
                            return (None, None);
                        }
                        fill(own, self.binned, group, rows, parts);
                        subtract_all(parent, own);
                        let of_small =
                            if search_small { self.search(task, group, own, &judged_small) } else { None };
                        (of_small, self.search(task, group, parent, &judged_large))
                    })
                    .collect();
                small.best = best_of(found.iter().map(|pair| pair.0));
                large.best = best_of(found.iter().map(|pair| pair.1));
                self.keep(&mut small, own);
                self.keep(&mut large, parent);
            }
            (true, None) => {
                self.count_and_search(task, &mut large);
                if self.may_cut(&small) {
                    self.count_and_search(task, &mut small);
                }
            }
        }
        if left_is_small { (small, large) } else { (large, small) }
    }

    fn keep(&mut self, leaf: &mut OpenLeaf, histogram: Vec<GroupHistogram>) {
        if leaf.best.is_some() {
            leaf.histogram = Some(histogram);
        } else {
            self.pool.push(histogram);
        }
    }

    fn count_and_search(&mut self, task: &Task<'_>, leaf: &mut OpenLeaf) {
        let whole = leaf.parent.is_none() && task.rows.is_none();
        if !whole {
            self.gather(task, &leaf.span);
        }
        let mut own = self.blank();
        let rows = if whole {
            LeafRows { rows: None, derivatives: task.derivatives }
        } else {
            self.leaf_rows(task, &leaf.span)
        };
        let parts = self.parts(rows.derivatives.len());
        let judged = self.judged(task, leaf);
        let found: Vec<_> = own
            .par_iter_mut()
            .enumerate()
            .map(|(group, own)| {
                if !self.is_active(task, group) {
                    return None;
                }
                fill(own, self.binned, group, rows, parts);
                self.search(task, group, own, &judged)
            })
            .collect();
        leaf.best = best_of(found.into_iter());
        self.keep(leaf, own);
    }

    fn judged(&self, task: &Task<'_>, leaf: &OpenLeaf) -> Leaf {
        Leaf { sums: leaf.sums, bounds: leaf.bounds, scale: task.scale, limits: self.shaping.limits }
    }

    fn is_active(&self, task: &Task<'_>, group: usize) -> bool {
        task.columns[group * GROUP..].iter().take(GROUP).any(|&active| active)
    }

    fn search(
        &self,
        task: &Task<'_>,
        group: usize,
        histogram: &GroupHistogram,
        leaf: &Leaf,
    ) -> Option<(usize, Split)> {
        let columns = group * GROUP..self.shapes.len().min((group + 1) * GROUP);
        best_of(columns.zip(histogram).filter(|(column, _)| task.columns[*column]).map(
            |(column, histogram)| {
                leaf.best_split(histogram, self.shapes[column]).map(|split| (column, split))
            },
        ))
    }

    /// In how many parts the rows of a leaf are counted, so that few groups still keep all threads busy.
    fn parts(&self, rows: usize) -> usize {
        let (groups, threads) = (self.binned.groups.len(), rayon::current_num_threads());
        if rows < 2 * CHUNK || groups % threads == 0 || groups > 4 * threads { 1 } else { 2 * threads }
    }

    /// Brings the derivatives of the rows of a leaf into their order.
    fn gather(&mut self, task: &Task<'_>, span: &Range<usize>) {
        let gather = |to: &mut [Sums], rows: &[u32]| {
            for (to, &row) in to.iter_mut().zip(rows) {
                *to = task.derivatives[row as usize];
            }
        };
        let (to, rows) = (&mut self.ordered[..span.len()], &self.rows[span.clone()]);
        if rows.len() < CHUNK {
            gather(to, rows);
        } else {
            to.par_chunks_mut(CHUNK / 4)
                .zip(rows.par_chunks(CHUNK / 4))
                .for_each(|(to, rows)| gather(to, rows));
        }
    }

    fn leaf_rows(&self, _: &Task<'_>, span: &Range<usize>) -> LeafRows<'_> {
        LeafRows { rows: Some(&self.rows[span.clone()]), derivatives: &self.ordered[..span.len()] }
    }

    fn blank(&mut self) -> Vec<GroupHistogram> {
        let groups = self.binned.groups.len();
        self.pool.pop().unwrap_or_else(|| vec![[[EMPTY; 256]; GROUP]; groups])
    }

    /// Gives up the histograms of the least promising leaves when too many wait.
    fn bound_memory(&mut self, leaves: &mut [OpenLeaf]) {
        let one = self.binned.groups.len() * size_of::<GroupHistogram>();
        let most = (HISTOGRAM_BYTES / one.max(1)).max(2);
        while leaves.iter().filter(|leaf| leaf.histogram.is_some()).count() > most {
            let least = leaves
                .iter_mut()
                .filter(|leaf| leaf.histogram.is_some())
                .min_by(|a, b| gain(a).total_cmp(&gain(b)));
            if let Some(histogram) = least.and_then(|leaf| leaf.histogram.take()) {
                self.pool.push(histogram);
            }
        }
    }

    /// Numbers the leaves, values them, and notes the leaf of every row.
    fn close(&mut self, task: &Task<'_>, leaves: Vec<OpenLeaf>, tree: &mut Grown) {
        let mut pieces = Vec::new();
        for (number, mut leaf) in leaves.into_iter().enumerate() {
            self.pool.extend(leaf.histogram.take());
            if let Some((above, side)) = leaf.parent {
                tree.nodes[above].children[side] = Child::Leaf(number as u16);
            }
            tree.values.push(self.judged(task, &leaf).value(leaf.sums, leaf.bounds));
            pieces.extend(self.rows[leaf.span].chunks(CHUNK).map(|rows| (number as u16, rows)));
        }
        pieces.into_par_iter().for_each(|(number, rows)| {
            for &row in rows {
                self.leaf_of[row as usize].store(number, Ordering::Relaxed);
            }
        });
        if let Some(rows) = task.rows {
            let mut inside = vec![false; self.binned.rows];
            rows.iter().for_each(|&row| inside[row as usize] = true);
            inside.par_iter().enumerate().with_min_len(1024).filter(|(_, inside)| !**inside).for_each(
                |(row, _)| {
                    let leaf = tree.leaf_of(self.binned, row) as u16;
                    self.leaf_of[row].store(leaf, Ordering::Relaxed);
                },
            );
        }
    }
}

fn gain(leaf: &OpenLeaf) -> f64 {
    leaf.best.as_ref().map_or(f64::NEG_INFINITY, |best| best.1.gain)
}

/// The leaf with the largest gain; the first among equals.
fn most_gaining(leaves: &[OpenLeaf]) -> Option<usize> {
    let mut found: Option<(usize, f64)> = None;
    for (index, leaf) in leaves.iter().enumerate().filter(|(_, leaf)| leaf.best.is_some()) {
        if found.is_none_or(|(_, most)| gain(leaf) > most) {
            found = Some((index, gain(leaf)));
        }
    }
    found.map(|(index, _)| index)
}

/// The split with the largest gain; the first among equals.
fn best_of(splits: impl Iterator<Item = Option<(usize, Split)>>) -> Option<(usize, Split)> {
    splits.flatten().reduce(|best, next| if next.1.gain > best.1.gain { next } else { best })
}
