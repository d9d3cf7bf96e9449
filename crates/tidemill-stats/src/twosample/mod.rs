//! Two samples of numbers: how far their distributions are apart, and how likely that is when nothing changed.
//!
//! Everything works on sorted values in one merge pass, so a million against a million values costs one walk through
//! both.

mod kolmogorov;
mod location;

use serde::{Deserialize, Serialize};

pub(crate) use location::ranked;
pub use location::{MannWhitney, Welch, mann_whitney, welch};

use crate::sample::Sample;

/// Up to this many values a side the exact p-value is offered, as scipy does.
pub const EXACT_LIMIT: f64 = 10_000.0;

/// The two-sided two-sample Kolmogorov-Smirnov test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KolmogorovSmirnov {
    /// D: the largest distance between the two empirical distribution functions, in [0, 1].
    pub statistic: f64,
    /// The value at which the functions are furthest apart.
    pub at: f64,
    /// Whether the current side has more of its values at or below `at`, that is, moved down there.
    pub current_is_lower: bool,
    /// p-value from the distribution of the one-sample statistic at the effective size round(n·m/(n+m)): scipy's
    /// `ks_2samp(method="asymp")`.
    pub p: f64,
    /// By how much D may be wrong because a side is a sketch: the sum of both rank errors. Zero for exact samples.
    pub error: f64,
    /// Values of the reference side.
    pub rows_reference: f64,
    /// Values of the current side.
    pub rows_current: f64,
}

impl KolmogorovSmirnov {
    /// The exact p-value, scipy's `ks_2samp(method="exact")`, when both sides are exact samples of at most
    /// [`EXACT_LIMIT`] values. Costs n·m steps at worst, so it is computed when asked for.
    pub fn exact_p(&self) -> Option<f64> {
        let (n, m) = (self.rows_reference, self.rows_current);
        if self.error > 0.0 || n > EXACT_LIMIT || m > EXACT_LIMIT {
            return None;
        }
        kolmogorov::exact_above(n as u64, m as u64, self.statistic)
    }

    /// The p-value of the smallest distance that the sketches allow, D − `error`, as if a side had at most `cap`
    /// values. Equals [`Self::p`] for exact samples within the cap.
    pub fn p_within(&self, cap: f64) -> f64 {
        let distance = (self.statistic - self.error).max(0.0);
        distance_p(distance, self.rows_reference.min(cap), self.rows_current.min(cap))
    }
}

/// Distribution distances of two samples from one walk through both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// The Kolmogorov-Smirnov test.
    pub ks: KolmogorovSmirnov,
    /// Wasserstein-1 distance ∫|F_r − F_c|, in the unit of the values: scipy's `wasserstein_distance`. `None` when an
    /// infinite value makes it infinite.
    pub wasserstein: Option<f64>,
}

/// Kolmogorov-Smirnov and Wasserstein-1 of two samples. `None` if a side is empty.
pub fn distances(reference: Sample<'_>, current: Sample<'_>) -> Option<Distances> {
    if reference.is_empty() || current.is_empty() {
        return None;
    }
    let mut top = (0.0, reference.values()[0], true);
    let mut wasserstein = 0.0;
    let mut before: Option<(f64, f64)> = None;
    walk(reference, current, |value, below_reference, below_current| {
        if let Some((last, gap)) = before {
            wasserstein += gap * (value - last);
        }
        let difference = below_reference - below_current;
        let gap = difference.abs();
        if gap > top.0 {
            top = (gap, value, difference < 0.0);
        }
        before = Some((value, gap));
    });
    let (n, m) = (reference.rows(), current.rows());
    let ks = KolmogorovSmirnov {
        statistic: top.0,
        at: top.1,
        current_is_lower: top.2,
        p: distance_p(top.0, n, m),
        error: reference.rank_error() + current.rank_error(),
        rows_reference: n,
        rows_current: m,
    };
    Some(Distances { ks, wasserstein: wasserstein.is_finite().then_some(wasserstein) })
}

/// The Kolmogorov-Smirnov test alone. `None` if a side is empty.
pub fn ks(reference: Sample<'_>, current: Sample<'_>) -> Option<KolmogorovSmirnov> {
    distances(reference, current).map(|both| both.ks)
}

/// Wasserstein-1 in units of the reference's population standard deviation. `None` where that is zero.
pub fn wasserstein_over_deviation(wasserstein: f64, reference_deviation: f64) -> Option<f64> {
    (reference_deviation > 0.0).then(|| wasserstein / reference_deviation)
}

/// The smallest D that is significant at `alpha` for sides of `n` and `m` values, from the limit distribution:
/// √(−½·ln(α/2)·(n+m)/(n·m)). For sentences and plots; tests use p-values.
pub fn critical_distance(alpha: f64, n: f64, m: f64) -> f64 {
    (-0.5 * (alpha / 2.0).ln() * (n + m) / (n * m)).sqrt()
}

/// p-value of a distance between sides of `n` and `m` values: scipy's `kstwo.sf(distance, round(n·m/(n+m)))`. One if
/// that size rounds to zero.
pub fn distance_p(distance: f64, n: f64, m: f64) -> f64 {
    let effective = (n * m / (n + m)).round_ties_even();
    kolmogorov::above(effective as u64, distance)
}

/// Calls `at` for every distinct value of both samples in ascending order, with the share of each sample at or below it.
#[inline]
fn walk(reference: Sample<'_>, current: Sample<'_>, mut at: impl FnMut(f64, f64, f64)) {
    match (reference.weights(), current.weights()) {
        (None, None) => {
            merge(reference, current, |_| 1.0, |_| 1.0, &mut at);
        }
        (left, right) => {
            let weight = |weights: Option<&[f64]>, index: usize| weights.map_or(1.0, |w| w[index]);
            merge(reference, current, |i| weight(left, i), |j| weight(right, j), &mut at);
        }
    }
}

#[inline]
fn merge(
    reference: Sample<'_>,
    current: Sample<'_>,
    weight_reference: impl Fn(usize) -> f64,
    weight_current: impl Fn(usize) -> f64,
    at: &mut impl FnMut(f64, f64, f64),
) {
    let (a, b) = (reference.values(), current.values());
    let (total_a, total_b) = (reference.total(), current.total());
    let (mut i, mut j) = (0, 0);
    let (mut sum_a, mut sum_b) = (0.0, 0.0);
    while i < a.len() && j < b.len() {
        let value = if b[j] < a[i] { b[j] } else { a[i] };
        while i < a.len() && a[i] <= value {
            sum_a += weight_reference(i);
            i += 1;
        }
        while j < b.len() && b[j] <= value {
            sum_b += weight_current(j);
            j += 1;
        }
        at(value, sum_a / total_a, sum_b / total_b);
    }
    while i < a.len() {
        sum_a += weight_reference(i);
        at(a[i], sum_a / total_a, 1.0);
        i += 1;
    }
    while j < b.len() {
        sum_b += weight_current(j);
        at(b[j], 1.0, sum_b / total_b);
        j += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: &[f64], b: &[f64]) -> (f64, f64) {
        let found = distances(Sample::exact(a), Sample::exact(b)).unwrap();
        (found.ks.statistic, found.wasserstein.unwrap())
    }

    #[test]
    fn distances_by_hand() {
        assert_eq!(distance(&[1.0], &[1.0]), (0.0, 0.0));
        assert_eq!(distance(&[0.0], &[3.0]), (1.0, 3.0));
        assert_eq!(distance(&[0.0, 0.0, 1.0], &[0.0, 1.0, 1.0]), (1.0 / 3.0, 1.0 / 3.0));
        assert_eq!(distance(&[1.0, 2.0], &[1.5]), (0.5, 0.5));
        assert!(distances(Sample::exact(&[]), Sample::exact(&[1.0])).is_none());
    }

    #[test]
    fn an_infinite_value_has_no_wasserstein_distance() {
        let found = distances(Sample::exact(&[0.0, f64::INFINITY]), Sample::exact(&[0.0, 1.0])).unwrap();
        assert_eq!((found.ks.statistic, found.wasserstein), (0.5, None));
        let both = distances(Sample::exact(&[f64::INFINITY]), Sample::exact(&[f64::INFINITY])).unwrap();
        assert_eq!((both.ks.statistic, both.wasserstein), (0.0, Some(0.0)));
    }

    #[test]
    fn weights_are_repetitions() {
        let plain = distances(Sample::exact(&[1.0, 1.0, 2.0, 5.0]), Sample::exact(&[1.0, 3.0])).unwrap();
        let sketch = Sample::sketch(&[1.0, 2.0, 5.0], &[2.0, 1.0, 1.0], 4, 0.01).unwrap();
        let weighted = distances(sketch, Sample::exact(&[1.0, 3.0])).unwrap();
        assert_eq!(plain.ks.statistic, weighted.ks.statistic);
        assert_eq!(plain.wasserstein, weighted.wasserstein);
        assert_eq!(weighted.ks.error, 0.01);
        assert!(weighted.ks.exact_p().is_none() && plain.ks.exact_p().is_some());
    }

    #[test]
    fn a_cap_and_a_sketch_make_a_distance_less_surprising() {
        let low: Vec<f64> = (0..4_000).map(f64::from).collect();
        let high: Vec<f64> = (0..4_000).map(|i| f64::from(i) + 150.0).collect();
        let found = ks(Sample::exact(&low), Sample::exact(&high)).unwrap();
        assert_eq!(found.p_within(1e5), found.p);
        assert!(found.p_within(1_000.0) > found.p);
        let weights = vec![1.0; 4_000];
        let sketched =
            ks(Sample::sketch(&low, &weights, 4_000, 0.01).unwrap(), Sample::exact(&high)).unwrap();
        assert!(sketched.p == found.p && sketched.p_within(1e5) > found.p);
    }
}
