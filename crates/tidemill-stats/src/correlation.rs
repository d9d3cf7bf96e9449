//! Correlations of two columns, their intervals, and whether they changed.

use serde::{Deserialize, Serialize};

use crate::special::{normal_quantile, normal_two_sided};

/// Pearson's r over the pairs in which neither number is NaN, and how many pairs there are. `None` below two pairs or
/// when a side does not vary.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<(f64, f64)> {
    let pairs = || x.iter().zip(y).filter(|(a, b)| !a.is_nan() && !b.is_nan());
    let (mut count, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
    for (a, b) in pairs() {
        count += 1.0;
        sum_x += a;
        sum_y += b;
    }
    if count < 2.0 {
        return None;
    }
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in pairs() {
        let (dx, dy) = (a - mean_x, b - mean_y);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    let r = xy / (xx.sqrt() * yy.sqrt());
    (xx > 0.0 && yy > 0.0 && r.is_finite()).then(|| (r.clamp(-1.0, 1.0), count))
}

/// Spearman's rank correlation over the pairs in which neither number is NaN (ties get their mean rank), and how many
/// pairs there are. `None` as for [`pearson`].
pub fn spearman(x: &[f64], y: &[f64]) -> Option<(f64, f64)> {
    let (x, y): (Vec<f64>, Vec<f64>) =
        x.iter().zip(y).filter(|(a, b)| !a.is_nan() && !b.is_nan()).map(|(a, b)| (*a, *b)).unzip();
    pearson(&mean_ranks(&x), &mean_ranks(&y))
}

/// Ranks from one, equal values sharing the mean of theirs: scipy's `rankdata`.
pub fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let mut to = from + 1;
        while to < order.len() && values[order[to]] == values[order[from]] {
            to += 1;
        }
        let rank = (from + to + 1) as f64 / 2.0;
        for &at in &order[from..to] {
            ranks[at] = rank;
        }
        from = to;
    }
    ranks
}

/// Interval of Pearson's r at `level` by Fisher's z-transformation. `None` below four pairs.
pub fn pearson_interval(r: f64, pairs: f64, level: f64) -> Option<(f64, f64)> {
    fisher_interval(r, (pairs > 3.0).then(|| (1.0 / (pairs - 3.0)).sqrt())?, level)
}

/// Interval of Spearman's correlation at `level`, with the standard error √((1+r²/2)/(n−3)) on the z scale (D. Bonett,
/// T. Wright, Psychometrika 65, 2000). `None` below four pairs.
pub fn spearman_interval(r: f64, pairs: f64, level: f64) -> Option<(f64, f64)> {
    fisher_interval(r, (pairs > 3.0).then(|| ((1.0 + r * r / 2.0) / (pairs - 3.0)).sqrt())?, level)
}

fn fisher_interval(r: f64, error: f64, level: f64) -> Option<(f64, f64)> {
    let width = normal_quantile(0.5 + level / 2.0) * error;
    (r.abs() <= 1.0).then(|| ((r.atanh() - width).tanh(), (r.atanh() + width).tanh()))
}

/// Comparison of two correlations by Fisher's z-transformation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorrelationChange {
    /// r of the current side minus r of the reference side.
    pub difference: f64,
    /// (atanh r_c − atanh r_r) / √(1/(n_c−3) + 1/(n_r−3)).
    pub z: f64,
    /// Two-sided p-value.
    pub p: f64,
}

/// Whether a correlation changed. `None` below four pairs a side or when r is not in [−1, 1].
pub fn correlation_change(
    (r_reference, n_reference): (f64, f64),
    (r_current, n_current): (f64, f64),
) -> Option<CorrelationChange> {
    let inside = |r: f64| (-1.0..=1.0).contains(&r);
    if n_reference <= 3.0 || n_current <= 3.0 || !inside(r_reference) || !inside(r_current) {
        return None;
    }
    // A perfect correlation is as sure as the rows allow: a half row away from one.
    let bounded = |r: f64, n: f64| r.clamp(-1.0 + 0.5 / n, 1.0 - 0.5 / n);
    let exact = |r: f64, n: f64| if r.abs() == 1.0 { bounded(r, n) } else { r };
    let error = (1.0 / (n_reference - 3.0) + 1.0 / (n_current - 3.0)).sqrt();
    let z = (exact(r_current, n_current).atanh() - exact(r_reference, n_reference).atanh()) / error;
    let z = if r_current == r_reference { 0.0 } else { z };
    Some(CorrelationChange { difference: r_current - r_reference, z, p: normal_two_sided(z) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_correlations_have_not_changed() {
        for r in [-1.0, 0.0, 1.0] {
            assert_eq!(correlation_change((r, 50.0), (r, 10.0)).unwrap().p, 1.0);
        }
        let broken = correlation_change((1.0, 500.0), (0.0, 500.0)).unwrap();
        assert!(broken.p < 1e-10 && broken.difference == -1.0);
        assert!(correlation_change((0.1, 3.0), (0.1, 100.0)).is_none());
    }

    #[test]
    fn correlations_by_hand() {
        let nan = f64::NAN;
        let (r, pairs) = pearson(&[1.0, 2.0, nan, 3.0], &[2.0, 4.0, 9.0, 6.0]).unwrap();
        assert!((r - 1.0).abs() < 1e-15 && pairs == 3.0);
        assert_eq!(pearson(&[1.0, 1.0], &[2.0, 4.0]), None);
        assert!((spearman(&[1.0, 10.0, 100.0], &[3.0, 2.0, 1.0]).unwrap().0 + 1.0).abs() < 1e-15);
        assert_eq!(mean_ranks(&[2.0, 1.0, 2.0, 5.0]), [2.5, 1.0, 2.5, 4.0]);
        assert_eq!(pearson_interval(0.5, 3.0, 0.95), None);
        assert_eq!(spearman_interval(1.0, 10.0, 0.95), Some((1.0, 1.0)));
    }
}
