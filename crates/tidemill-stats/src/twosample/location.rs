//! Tests of where two samples lie: Mann-Whitney's by ranks, Welch's by means.

use serde::{Deserialize, Serialize};

use crate::sample::{Moments, Sample};
use crate::special::{normal_above, student_quantile, student_two_sided};

/// The two-sided Mann-Whitney test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MannWhitney {
    /// U of the first sample: pairs in which it is the larger, ties counted as half.
    pub statistic: f64,
    /// Probability that a value of the first sample is larger than one of the second, ties as half: U/(n·m).
    pub larger_share: f64,
    /// p-value by the normal approximation with correction for ties and continuity; exact when a side has at most 8
    /// values and there are no ties. These are the rules of scipy's `mannwhitneyu(method="auto")`.
    pub p: f64,
}

/// Mann and Whitney's test. `None` if a side is empty. Samples must be exact.
pub fn mann_whitney(first: Sample<'_>, second: Sample<'_>) -> Option<MannWhitney> {
    let Ranked { statistic, pairs, variance, has_ties, .. } = ranked(first, second)?;
    let (n, m) = (first.values().len(), second.values().len());
    let larger = statistic.max(pairs - statistic);
    let p = if !has_ties && n.min(m) <= 8 && n.max(m) <= 1_000 {
        exact(n, m, larger as usize)
    } else if variance > 0.0 {
        2.0 * normal_above((larger - pairs / 2.0 - 0.5) / variance.sqrt())
    } else {
        1.0
    };
    Some(MannWhitney { statistic, larger_share: statistic / pairs, p: p.clamp(0.0, 1.0) })
}

/// The ranks of two samples among each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked {
    /// U of the first sample.
    pub(crate) statistic: f64,
    /// How many pairs of a value of either side there are.
    pub(crate) pairs: f64,
    /// Variance of the statistic where both sides are alike, corrected for ties.
    pub(crate) variance: f64,
    /// Whether a value comes more than once.
    has_ties: bool,
    /// Share of all values that the most frequent one has.
    pub(crate) tied: f64,
}

/// Ranks two samples in one walk. `None` if a side is empty. Samples must be exact.
pub(crate) fn ranked(first: Sample<'_>, second: Sample<'_>) -> Option<Ranked> {
    let (a, b) = (first.values(), second.values());
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j) = (0, 0);
    let (mut doubled, mut tie_sum, mut most) = (0_u128, 0.0, 0.0_f64);
    while i < a.len() || j < b.len() {
        let value = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(*y),
            (Some(x), None) | (None, Some(x)) => *x,
            (None, None) => break,
        };
        let (start_i, start_j) = (i, j);
        while i < a.len() && a[i] <= value {
            i += 1;
        }
        while j < b.len() && b[j] <= value {
            j += 1;
        }
        let (in_a, in_b) = (i - start_i, j - start_j);
        // Twice the pairs, so that halves stay whole.
        doubled += in_a as u128 * (2 * start_j as u128 + in_b as u128);
        let tied = (in_a + in_b) as f64;
        tie_sum += tied * (tied * tied - 1.0);
        most = most.max(tied);
    }
    let total = n + m;
    Some(Ranked {
        statistic: doubled as f64 / 2.0,
        pairs: n * m,
        variance: n * m / 12.0 * (total + 1.0 - tie_sum / (total * (total - 1.0))),
        has_ties: tie_sum > 0.0,
        tied: most / total,
    })
}

/// 2·P(U ≥ `u`): coefficients of the Gaussian binomial (n+m choose n), built factor by factor.
fn exact(n: usize, m: usize, u: usize) -> f64 {
    let (short, long) = (n.min(m), n.max(m));
    let top = short * long;
    let mut ways = vec![0.0; top + 1];
    ways[0] = 1.0;
    for k in 1..=short {
        for at in (long + k..=top).rev() {
            ways[at] -= ways[at - long - k];
        }
        for at in k..=top {
            ways[at] += ways[at - k];
        }
    }
    let all: f64 = ways.iter().sum();
    // By symmetry the upper tail is the lower one, whose coefficients are found without loss.
    2.0 * ways[..=top - u].iter().sum::<f64>() / all
}

/// Welch's test of equal means with unequal variances.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welch {
    /// Mean of the first minus mean of the second.
    pub difference: f64,
    /// Standard error of the difference.
    pub error: f64,
    /// t = difference / error.
    pub statistic: f64,
    /// Degrees of freedom by Welch and Satterthwaite.
    pub degrees: f64,
    /// Two-sided p-value, scipy's `ttest_ind(equal_var=False)`.
    pub p: f64,
}

impl Welch {
    /// The two-sided interval of the difference at `level` (for example 0.95).
    pub fn interval(&self, level: f64) -> (f64, f64) {
        let width = student_quantile(0.5 + level / 2.0, self.degrees) * self.error;
        (self.difference - width, self.difference + width)
    }

    /// p-value of "the first mean is larger".
    pub fn p_greater(&self) -> f64 {
        crate::special::student_above(self.statistic, self.degrees)
    }
}

/// Welch's test from the moments of both sides. `None` below two values a side or when neither side varies.
pub fn welch(first: Moments, second: Moments) -> Option<Welch> {
    let a = first.sample_variance()? / first.count;
    let b = second.sample_variance()? / second.count;
    let square = a + b;
    if square.is_nan() || square <= 0.0 {
        return None;
    }
    let difference = first.mean - second.mean;
    let degrees = square * square / (a * a / (first.count - 1.0) + b * b / (second.count - 1.0));
    let error = square.sqrt();
    let statistic = difference / error;
    Some(Welch { difference, error, statistic, degrees, p: student_two_sided(statistic, degrees) })
}
