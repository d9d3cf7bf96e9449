//! The best split of one column of one leaf.
//!
//! The gain of a leaf with sums `G` and `H` of first and second derivatives is `G^2 / (H + l2)`, twice what its
//! best constant takes off the loss (Chen and Guestrin 2016, equation 7). Missing values are tried on both sides.
//! Categories are put in the order of `G / (H + 10)` and cut there, from either end, which is optimal among all
//! subsets but for the smoothing (Fisher 1958; Ke et al. 2017).

use super::bins::MISSING;
use super::histogram::{ColumnHistogram, EMPTY, Scale, Sums, add, subtract};

/// Added to the second derivatives when categories are put in order, so that rare ones do not come first.
const CATEGORY_SMOOTHING: f64 = 10.0;

/// Added to `l2` when a subset of several categories is judged, since the best of many subsets flatters itself.
const CATEGORY_L2: f64 = 10.0;

/// Categories with fewer rows in a leaf are not chosen into a subset.
const LEAST_CATEGORY_ROWS: u64 = 10;

/// Most categories of a chosen subset.
const MOST_CATEGORIES: usize = 32;

/// Up to so many categories, each is tried against the others without further penalty.
const FEW_CATEGORIES: usize = 4;

/// What a leaf is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) l2: f64,
    pub(super) min_rows: u64,
    pub(super) min_hessian: f64,
}

/// Bounds that monotone constraints above put on a leaf's value, before shrinkage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Bounds {
    pub(super) const NONE: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };
}

/// What kind of column it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Numbers in so many bins; predictions may only rise (1), only fall (-1), or both (0).
    Numeric { bins: usize, monotone: i8 },
    /// Categories.
    Category,
}

/// One way to cut a leaf in two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Split {
    /// What it takes off the loss, doubled.
    pub(super) gain: f64,
    pub(super) left: Sums,
    pub(super) right: Sums,
    pub(super) rule: Rule,
}

/// Which bins go left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Bins up to and with this one, and missing values or not.
    UpTo { bin: u8, missing_left: bool },
    /// The bins of the set.
    In([u64; 4]),
}

impl Rule {
    /// The bins that go left, as a set; bin 255 is the missing values.
    pub(super) fn set(self) -> [u64; 4] {
        match self {
            Self::UpTo { bin, missing_left } => {
                let mut set = [0_u64; 4];
                for bin in (0..=bin).chain(missing_left.then_some(MISSING)) {
                    insert(&mut set, bin);
                }
                set
            }
            Self::In(set) => set,
        }
    }
}

/// Whether a set of bins holds one.
#[inline]
pub(super) fn holds(set: &[u64; 4], bin: u8) -> bool {
    set[usize::from(bin >> 6)] >> (bin & 63) & 1 == 1
}

fn insert(set: &mut [u64; 4], bin: u8) {
    set[usize::from(bin >> 6)] |= 1 << (bin & 63);
}

/// A leaf that may be cut: its sums, what its values may be, and what is required of its children.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) sums: Sums,
    pub(super) bounds: Bounds,
    pub(super) scale: Scale,
    pub(super) limits: Limits,
}

impl Leaf {
    /// The best value of a leaf with these sums, before shrinkage and within the bounds.
    pub(super) fn value(&self, sums: Sums, bounds: Bounds) -> f64 {
        let (g, h) = (self.scale.gradient_of(sums), self.scale.hessian_of(sums) + self.limits.l2);
        if h > 0.0 { (-g / h).clamp(bounds.low, bounds.high) } else { 0.0_f64.clamp(bounds.low, bounds.high) }
    }

    /// The best split of a column with this histogram; `None` if none is allowed or none gains.
    pub(super) fn best_split(&self, histogram: &ColumnHistogram, shape: Shape) -> Option<Split> {
        let own = self.gain_within(self.sums, self.limits.l2);
        let mut best = Best { leaf: self, least: own + own.abs() * 1e-12 + 1e-300, found: None };
        match shape {
            Shape::Numeric { bins, monotone } => best.search_numbers(histogram, bins, monotone),
            Shape::Category => best.search_categories(histogram),
        }
        best.found.map(|mut split| {
            split.gain -= own;
            split
        })
    }

    fn is_bounded(&self) -> bool {
        self.bounds != Bounds::NONE
    }

    /// The gain of a leaf that takes its best value within the bounds.
    fn gain_within(&self, sums: Sums, l2: f64) -> f64 {
        let (g, h) = (self.scale.gradient_of(sums), self.scale.hessian_of(sums) + l2);
        if h <= 0.0 {
            return 0.0;
        }
        if !self.is_bounded() {
            return g * g / h;
        }
        let value = (-g / h).clamp(self.bounds.low, self.bounds.high);
        -(2.0 * g + h * value) * value
    }
}

struct Best<'a> {
    leaf: &'a Leaf,
    /// What the next one must exceed.
    least: f64,
    found: Option<Split>,
}

impl Best<'_> {
    /// The sum of the children's gains, if the two are allowed.
    #[inline]
    fn judge(&self, left: Sums, right: Sums, l2: f64) -> Option<f64> {
        let (scale, limits) = (self.leaf.scale, self.leaf.limits);
        if scale.count_of(left) < limits.min_rows || scale.count_of(right) < limits.min_rows {
            return None;
        }
        let (h_left, h_right) = (scale.hessian_of(left), scale.hessian_of(right));
        if h_left < limits.min_hessian || h_right < limits.min_hessian {
            return None;
        }
        if self.leaf.is_bounded() {
            return Some(self.leaf.gain_within(left, l2) + self.leaf.gain_within(right, l2));
        }
        let (h_left, h_right) = (h_left + l2, h_right + l2);
        if h_left <= 0.0 || h_right <= 0.0 {
            return None;
        }
        let (g_left, g_right) = (scale.gradient_of(left), scale.gradient_of(right));
        Some(g_left * g_left / h_left + g_right * g_right / h_right)
    }

    #[inline]
    fn consider(&mut self, left: Sums, l2: f64, monotone: i8, rule: impl FnOnce() -> Rule) {
        let right = subtract(self.leaf.sums, left);
        let Some(gain) = self.judge(left, right, l2) else { return };
        if gain <= self.least {
            return;
        }
        if monotone != 0 {
            let value = |sums| self.leaf.value(sums, self.leaf.bounds);
            if f64::from(monotone) * (value(right) - value(left)) < 0.0 {
                return;
            }
        }
        self.least = gain;
        self.found = Some(Split { gain, left, right, rule: rule() });
    }

    fn search_numbers(&mut self, histogram: &ColumnHistogram, bins: usize, monotone: i8) {
        let l2 = self.leaf.limits.l2;
        let missing = histogram[usize::from(MISSING)];
        let has_missing = self.leaf.scale.count_of(missing) > 0;
        let scale = self.leaf.scale;
        let total = self.leaf.sums;
        let mut left = EMPTY;
        for (bin, &sums) in histogram[..bins].iter().enumerate() {
            if scale.count_of(sums) == 0 {
                continue;
            }
            left = add(left, sums);
            let bin = bin as u8;
            if has_missing {
                self.consider(left, l2, monotone, || Rule::UpTo { bin, missing_left: false });
                self.consider(add(left, missing), l2, monotone, || Rule::UpTo { bin, missing_left: true });
            } else {
                self.consider(left, l2, monotone, || {
                    // Missing values, of which there are none to learn from, go with most rows.
                    let missing_left = 2 * scale.count_of(left) > scale.count_of(total);
                    Rule::UpTo { bin, missing_left }
                });
            }
        }
    }

    fn search_categories(&mut self, histogram: &ColumnHistogram) {
        let scale = self.leaf.scale;
        let mut order: Vec<(f64, u8)> = Vec::new();
        let mut absent = [0_u64; 4];
        for (bin, &sums) in (0..=MISSING).zip(histogram.iter()) {
            let count = scale.count_of(sums);
            if count == 0 {
                insert(&mut absent, bin);
            } else if count >= LEAST_CATEGORY_ROWS.min(self.leaf.limits.min_rows.max(1)) {
                let key = scale.gradient_of(sums) / (scale.hessian_of(sums) + CATEGORY_SMOOTHING);
                order.push((key, bin));
            }
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let l2 = self.leaf.limits.l2 + if order.len() > FEW_CATEGORIES { CATEGORY_L2 } else { 0.0 };
        let most = order.len().div_ceil(2).min(MOST_CATEGORIES);
        let total = scale.count_of(self.leaf.sums);
        for from_end in [false, true] {
            let (mut left, mut set) = (EMPTY, [0_u64; 4]);
            for step in 0..most {
                let (_, bin) = order[if from_end { order.len() - 1 - step } else { step }];
                left = add(left, histogram[usize::from(bin)]);
                insert(&mut set, bin);
                self.consider(left, l2, 0, || {
                    let mut all = set;
                    if 2 * scale.count_of(left) > total {
                        all.iter_mut().zip(absent).for_each(|(set, absent)| *set |= absent);
                    }
                    Rule::In(all)
                });
            }
        }
    }
}
