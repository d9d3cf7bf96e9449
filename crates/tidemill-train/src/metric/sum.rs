//! Weighted sums in a fixed order, several lanes wide: fast, and the same on every run.

const LANES: usize = 8;

/// `(sum of weights * values, sum of weights)`.
pub(super) fn weighted(values: &[f64], weights: &[f64]) -> (f64, f64) {
    debug_assert_eq!(values.len(), weights.len());
    let (mut sums, mut totals) = ([0.0; LANES], [0.0; LANES]);
    let (value_blocks, value_rest) = values.as_chunks::<LANES>();
    let (weight_blocks, weight_rest) = weights.as_chunks::<LANES>();
    for (value, weight) in value_blocks.iter().zip(weight_blocks) {
        for lane in 0..LANES {
            sums[lane] += value[lane] * weight[lane];
            totals[lane] += weight[lane];
        }
    }
    for (lane, (value, weight)) in value_rest.iter().zip(weight_rest).enumerate() {
        sums[lane] += value * weight;
        totals[lane] += weight;
    }
    (sums.iter().sum(), totals.iter().sum())
}

/// The weighted mean; `None` where all weights are zero.
pub(super) fn mean(values: &[f64], weights: &[f64]) -> Option<f64> {
    let (sum, total) = weighted(values, weights);
    (total > 0.0).then(|| sum / total)
}
