//! Percentile intervals from seeded resampling of rows (Efron 1979).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Measure;
use crate::random::{Purpose, Random};

/// How many resamples are drawn where the rows allow it.
const MOST: usize = 1_000;
/// Never fewer, however many rows there are.
const LEAST: usize = 200;
/// Rows drawn over all resamples. Beyond it the interval is so narrow that fewer resamples tell it well enough.
const BUDGET: usize = 400_000_000;

/// A percentile interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The 2.5 % percentile.
    pub lower: f64,
    /// The 97.5 % percentile.
    pub upper: f64,
}

/// How many resamples are drawn for so many rows: 1,000; fewer, but at least 200, above 400,000 rows.
pub fn resamples(rows: usize) -> usize {
    (BUDGET / rows.max(1)).clamp(LEAST, MOST)
}

/// The 95 % interval of each measure: rows are drawn with replacement, as many as there are, each keeping its weight.
/// All measures see the same resamples. `None` where a measure was not defined on half of them or more.
pub fn intervals(measures: &[Measure], weights: &[f64], seed: u64) -> Vec<Option<Interval>> {
    intervals_between(measures, weights, seed, (0.025, 0.975))
}

/// The same from one percentile, as a share, to another.
pub(crate) fn intervals_between(
    measures: &[Measure],
    weights: &[f64],
    seed: u64,
    (low, high): (f64, f64),
) -> Vec<Option<Interval>> {
    let rows = weights.len();
    if rows == 0 {
        return vec![None; measures.len()];
    }
    let count = resamples(rows);
    let values: Vec<Vec<Option<f64>>> = (0..count)
        .into_par_iter()
        .map_init(
            || vec![0.0; rows],
            |drawn, item| {
                resample(drawn, weights, Random::new(seed, Purpose::Bootstrap, item as u64));
                measures.iter().map(|measure| measure.value(drawn)).collect()
            },
        )
        .collect();
    (0..measures.len())
        .map(|measure| {
            let mut known: Vec<f64> = values.iter().filter_map(|row| row[measure]).collect();
            known.sort_unstable_by(f64::total_cmp);
            (2 * known.len() > count)
                .then(|| Interval { lower: percentile(&known, low), upper: percentile(&known, high) })
        })
        .collect()
}

/// Sets `drawn` to each row's weight times how often it was drawn.
pub(super) fn resample(drawn: &mut [f64], weights: &[f64], mut random: Random) {
    drawn.fill(0.0);
    for _ in 0..weights.len() {
        let row = random.below(weights.len() as u32) as usize;
        drawn[row] += weights[row];
    }
}

/// The quantile of sorted values with linear interpolation, as NumPy's default. `sorted` must not be empty.
pub(super) fn percentile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, share) = (at.floor() as usize, at.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + share * (sorted[above] - sorted[below])
}
