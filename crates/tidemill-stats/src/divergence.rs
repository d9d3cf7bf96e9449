//! Divergences between two histograms, and the bins they are computed on.
//!
//! Figures that people know from credit scoring (PSI) and from other tools (Jensen-Shannon, Hellinger). They have no
//! fixed meaning: without any drift PSI is about (1/n+1/m)·χ² with B−1 degrees of freedom, so they are shown beside
//! their null quantile and never alarm by themselves.

use serde::{Deserialize, Serialize};

use crate::sample::Sample;
use crate::special::chi_square_quantile;

/// What shares of zero become in PSI; shares are not rescaled afterwards.
pub const SHARE_FLOOR: f64 = 1e-4;

/// The distinct deciles of a sample: `unique(quantile(reference, [.1, …, .9]))`. At most nine inner edges, ascending.
pub fn decile_edges(reference: Sample<'_>) -> Vec<f64> {
    let mut edges: Vec<f64> =
        (1..10).filter_map(|tenth| reference.quantile(f64::from(tenth) / 10.0)).collect();
    edges.dedup();
    edges
}

/// Shares of a sample in the bins (−∞, e₁], (e₁, e₂], …, (e_k, ∞).
pub fn bin_shares(sample: Sample<'_>, edges: &[f64]) -> Vec<f64> {
    let mut below = sample.shares_below(edges);
    below.push(if sample.is_empty() { 0.0 } else { 1.0 });
    let mut before = 0.0;
    below
        .into_iter()
        .map(|upto| {
            let share: f64 = upto - before;
            before = upto;
            share.max(0.0)
        })
        .collect()
}

/// Counts as shares of their sum; all zero without rows.
pub fn shares(counts: &[f64]) -> Vec<f64> {
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| if total > 0.0 { count / total } else { 0.0 }).collect()
}

/// All divergences of two histograms over the same bins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Divergences {
    /// Population stability index Σ (c−r)·ln(c/r), zero shares floored to [`SHARE_FLOOR`].
    pub psi: f64,
    /// Jensen-Shannon divergence in bits, of the shares as they are; in [0, 1].
    pub js_bits: f64,
    /// √`js_bits`: the distance to base 2.
    pub js_distance: f64,
    /// √ of the divergence in nats: scipy's `jensenshannon`, in [0, √ln 2].
    pub js_distance_nats: f64,
    /// Kullback-Leibler divergence of current from reference Σ c·ln(c/r), in nats; `None` when a bin that the
    /// reference does not have makes it infinite.
    pub kl: Option<f64>,
    /// Hellinger distance √(½·Σ(√c−√r)²), in [0, 1].
    pub hellinger: f64,
}

/// Divergences of the shares `current` from `reference`. `None` if lengths differ or a side is empty.
pub fn divergences(reference: &[f64], current: &[f64]) -> Option<Divergences> {
    let some = |shares: &[f64]| shares.iter().any(|share| *share > 0.0);
    if reference.len() != current.len() || !some(reference) || !some(current) {
        return None;
    }
    let (mut psi, mut js, mut kl, mut hellinger) = (0.0, 0.0, Some(0.0), 0.0);
    for (&r, &c) in reference.iter().zip(current) {
        let floored = |share: f64| if share == 0.0 { SHARE_FLOOR } else { share };
        psi += (floored(c) - floored(r)) * (floored(c) / floored(r)).ln();
        let middle = 0.5 * (r + c);
        js += 0.5 * (relative(r, middle) + relative(c, middle));
        kl = kl.filter(|_| r > 0.0 || c == 0.0).map(|sum| sum + relative(c, r));
        hellinger += (c.sqrt() - r.sqrt()).powi(2);
    }
    let js = js.max(0.0);
    let bits = js / std::f64::consts::LN_2;
    Some(Divergences {
        psi,
        js_bits: bits,
        js_distance: bits.sqrt(),
        js_distance_nats: js.sqrt(),
        kl: kl.map(|sum| sum.max(0.0)),
        hellinger: (0.5 * hellinger).sqrt().min(1.0),
    })
}

/// p·ln(p/q), zero at p = 0.
fn relative(p: f64, q: f64) -> f64 {
    if p > 0.0 { p * (p / q).ln() } else { 0.0 }
}

/// What PSI stays below with probability `level` when nothing changed: (1/n + 1/m)·χ²_{B−1} (B. Yurdakul, Statistical
/// properties of the population stability index, 2018; <https://arxiv.org/abs/2307.11878>). Zero with a single bin.
pub fn psi_null_quantile(level: f64, bins: usize, n: f64, m: f64) -> f64 {
    if bins < 2 || n <= 0.0 || m <= 0.0 {
        return 0.0;
    }
    (1.0 / n + 1.0 / m) * chi_square_quantile(level, (bins - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_histograms_are_as_far_as_can_be() {
        let found = divergences(&[1.0, 0.0], &[0.0, 1.0]).unwrap();
        assert_eq!((found.js_bits, found.hellinger, found.kl), (1.0, 1.0, None));
        assert!((found.psi - 2.0 * (1.0 - 1e-4) * 1e4_f64.ln()).abs() < 1e-12);
        let same = divergences(&[0.5, 0.5], &[0.5, 0.5]).unwrap();
        assert_eq!((same.psi, same.js_bits, same.kl, same.hellinger), (0.0, 0.0, Some(0.0), 0.0));
        assert!(divergences(&[1.0], &[0.0]).is_none() && divergences(&[1.0], &[0.5, 0.5]).is_none());
    }

    #[test]
    fn bins_are_closed_on_the_right() {
        let reference: Vec<f64> = (1..=100).map(f64::from).collect();
        let edges = decile_edges(Sample::exact(&reference));
        assert_eq!(edges.len(), 9);
        assert_eq!(bin_shares(Sample::exact(&[0.0, edges[0], 1e9]), &edges)[0], 2.0 / 3.0);
        // A constant column has one edge and two bins, all rows in the first.
        assert_eq!(decile_edges(Sample::exact(&[7.0; 20])), [7.0]);
        assert_eq!(bin_shares(Sample::exact(&[7.0; 20]), &[7.0]), [1.0, 0.0]);
        assert!(decile_edges(Sample::exact(&[])).is_empty());
    }

    #[test]
    fn the_null_quantile_shrinks_with_rows() {
        let at = |n: f64| psi_null_quantile(0.95, 10, n, n);
        assert!((at(200.0) - 0.169_189_8).abs() < 1e-6, "{}", at(200.0));
        assert!((at(200.0) / at(20_000.0) - 100.0).abs() < 1e-9);
        assert_eq!(psi_null_quantile(0.95, 1, 10.0, 10.0), 0.0);
    }
}
