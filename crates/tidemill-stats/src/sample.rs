//! One side of a comparison of numbers: sorted values, or what a quantile sketch keeps of them.

use serde::{Deserialize, Serialize};

/// Count, mean and variance, enough for every test that compares means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Number of values.
    pub count: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Population variance: the mean of squared distances from the mean (numpy's `ddof=0`).
    pub variance: f64,
}

impl Moments {
    /// Of plain values, in two passes. `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let mean = pairwise_sum(values, &|x| x) / count;
        let variance = pairwise_sum(values, &|x| (x - mean) * (x - mean)) / count;
        Some(Self { count, mean, variance })
    }

    /// Variance with `count − 1` in the denominator; `None` below two values.
    pub fn sample_variance(&self) -> Option<f64> {
        (self.count > 1.0).then(|| self.variance * self.count / (self.count - 1.0))
    }

    /// Population standard deviation.
    pub fn deviation(&self) -> f64 {
        self.variance.sqrt()
    }
}

/// Sum of `of(x)` by halves, whose rounding error grows with the logarithm of the length only.
pub(crate) fn pairwise_sum(values: &[f64], of: &impl Fn(f64) -> f64) -> f64 {
    if values.len() <= 128 {
        return values.iter().fold(0.0, |sum, &x| sum + of(x));
    }
    let (left, right) = values.split_at(values.len() / 2);
    pairwise_sum(left, of) + pairwise_sum(right, of)
}

/// Drops NaN and sorts, as every function on sorted values wants it.
pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.retain(|x| !x.is_nan());
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Sorted values of one side, each with weight one or with the weight that a sketch gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    values: &'a [f64],
    weights: Option<&'a [f64]>,
    total: f64,
    rows: f64,
    rank_error: f64,
}

impl<'a> Sample<'a> {
    /// All values of one side, sorted, without NaN. Order is the caller's promise (see [`sorted`]); debug builds
    /// check it.
    pub fn exact(values: &'a [f64]) -> Self {
        debug_assert!(values.is_sorted(), "values are sorted and have no NaN");
        let rows = values.len() as f64;
        Self { values, weights: None, total: rows, rows, rank_error: 0.0 }
    }

    /// What a quantile sketch keeps: sorted values with their weights, standing for `rows` values, with ranks wrong
    /// by at most `rank_error` (a share of all rows). `None` if lengths differ, a weight is negative or not finite,
    /// or all are zero although there are values.
    pub fn sketch(values: &'a [f64], weights: &'a [f64], rows: u64, rank_error: f64) -> Option<Self> {
        debug_assert!(values.is_sorted(), "values are sorted and have no NaN");
        let good = values.len() == weights.len()
            && weights.iter().all(|w| *w >= 0.0 && w.is_finite())
            && (0.0..1.0).contains(&rank_error);
        let total = weights.iter().sum::<f64>();
        (good && (total > 0.0 || values.is_empty())).then_some(Self {
            values,
            weights: Some(weights),
            total,
            rows: if values.is_empty() { 0.0 } else { rows as f64 },
            rank_error,
        })
    }

    /// How many values the sample stands for.
    pub fn rows(&self) -> f64 {
        self.rows
    }

    /// The values that are held, sorted.
    pub fn values(&self) -> &'a [f64] {
        self.values
    }

    /// The weights of the values, if it is a sketch.
    pub(crate) fn weights(&self) -> Option<&'a [f64]> {
        self.weights
    }

    /// Sum of all weights.
    pub(crate) fn total(&self) -> f64 {
        self.total
    }

    /// By how much a rank may be wrong, as a share of all rows; zero for exact values.
    pub fn rank_error(&self) -> f64 {
        self.rank_error
    }

    /// Whether there is nothing to compare.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Moments of what is held: exact, or as good as the sketch.
    pub fn moments(&self) -> Option<Moments> {
        let Some(weights) = self.weights else { return Moments::of(self.values) };
        if self.values.is_empty() {
            return None;
        }
        let pairs = || self.values.iter().zip(weights);
        let mean = pairs().map(|(x, w)| x * w).sum::<f64>() / self.total;
        let variance = pairs().map(|(x, w)| w * (x - mean) * (x - mean)).sum::<f64>() / self.total;
        Some(Moments { count: self.rows, mean, variance })
    }

    /// The value with share `q` of the sample below it: numpy's `linear` for exact values, for a sketch the first value
    /// whose cumulative weight reaches `q` (numpy's `inverted_cdf`).
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        let Some(weights) = self.weights else { return Some(linear_quantile(self.values, q)) };
        let wanted = q * self.total;
        let mut sum = 0.0;
        for (value, weight) in self.values.iter().zip(weights) {
            sum += weight;
            if sum >= wanted && *weight > 0.0 {
                return Some(*value);
            }
        }
        Some(self.values[last])
    }

    /// Share of the sample at or below each of the ascending `edges`.
    pub fn shares_below(&self, edges: &[f64]) -> Vec<f64> {
        self.cumulate(edges, |value, edge| value <= edge)
    }

    /// Share of the sample strictly below `low` or strictly above `high`.
    pub fn share_outside(&self, low: f64, high: f64) -> f64 {
        if self.values.is_empty() {
            return 0.0;
        }
        let below = self.values.partition_point(|&x| x < low);
        let above = self.values.partition_point(|&x| x <= high).max(below);
        match self.weights {
            None => (below + self.values.len() - above) as f64 / self.total,
            Some(w) => (w[..below].iter().sum::<f64>() + w[above..].iter().sum::<f64>()) / self.total,
        }
    }

    fn cumulate(&self, edges: &[f64], within: impl Fn(f64, f64) -> bool) -> Vec<f64> {
        let (mut at, mut sum) = (0, 0.0);
        edges
            .iter()
            .map(|&edge| {
                let next = at + self.values[at..].partition_point(|&x| within(x, edge));
                sum += self.weights.map_or((next - at) as f64, |w| w[at..next].iter().sum());
                at = next;
                if self.total > 0.0 { sum / self.total } else { 0.0 }
            })
            .collect()
    }
}

/// numpy's `quantile(..., method="linear")` of sorted, non-empty values, to the last bit.
pub(crate) fn linear_quantile(values: &[f64], q: f64) -> f64 {
    let place = q * (values.len() - 1) as f64;
    let low = place.floor();
    let share = place - low;
    let a = values[low as usize];
    let b = values[(low as usize + 1).min(values.len() - 1)];
    if a == b {
        return a;
    }
    if share >= 0.5 { b - (b - a) * (1.0 - share) } else { a + (b - a) * share }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        let values = [1.0, 2.0, 4.0, 8.0];
        let table = [(0.0, 1.0), (0.1, 1.3), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)];
        for (q, expected) in table {
            let found = Sample::exact(&values).quantile(q).unwrap();
            assert!((found - expected).abs() < 1e-14, "{q}: {found}");
        }
        assert_eq!(Sample::exact(&[]).quantile(0.5), None);
        let sketch = Sample::sketch(&values, &[1.0, 0.0, 2.0, 1.0], 400, 0.01).unwrap();
        assert_eq!(
            [0.0, 0.25, 0.26, 0.75, 1.0].map(|q| sketch.quantile(q).unwrap()),
            [1.0, 1.0, 4.0, 4.0, 8.0]
        );
    }

    #[test]
    fn sketches_that_make_no_sense_are_refused() {
        assert!(Sample::sketch(&[1.0], &[], 1, 0.0).is_none());
        assert!(Sample::sketch(&[1.0], &[-1.0], 1, 0.0).is_none());
        assert!(Sample::sketch(&[1.0], &[0.0], 1, 0.0).is_none());
        assert!(Sample::sketch(&[1.0], &[1.0], 1, 1.0).is_none());
        assert!(Sample::sketch(&[], &[], 0, 0.0).is_some_and(|sample| sample.is_empty()));
    }

    #[test]
    fn shares_count_ties_on_the_left() {
        let sample = Sample::exact(&[1.0, 2.0, 2.0, 3.0]);
        assert_eq!(sample.shares_below(&[0.0, 2.0, 9.0]), [0.0, 0.75, 1.0]);
        assert_eq!(sample.share_outside(2.0, 2.0), 0.5);
        assert_eq!(sample.share_outside(f64::NEG_INFINITY, f64::INFINITY), 0.0);
    }
}
