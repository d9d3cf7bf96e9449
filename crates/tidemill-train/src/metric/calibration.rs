//! Whether probabilities mean what they say: the calibration table and the expected calibration error.

use serde::{Deserialize, Serialize};

/// Bins of the calibration table.
pub const BINS: usize = 10;

/// One bin of probabilities of equal width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower edge; belongs to the bin only for the first.
    pub lower: f64,
    /// Upper edge; belongs to the bin.
    pub upper: f64,
    /// Rows in it.
    pub rows: u64,
    /// Their share of all weight.
    pub share: f64,
    /// Weighted mean of the probabilities; `None` for an empty bin.
    pub mean_probability: Option<f64>,
    /// Weighted share of the rows where it came true; `None` for an empty bin.
    pub observed: Option<f64>,
}

/// Rows with a probability and whether it came true. For two classes it is the positive class, for more the class
/// that was answered.
pub(super) struct Calibration {
    probability: Vec<f64>,
    came_true: Vec<bool>,
    bin: Vec<u8>,
}

impl Calibration {
    pub(super) fn new(probability: Vec<f64>, came_true: Vec<bool>) -> Self {
        let bin = probability.iter().map(|p| bin_of(*p)).collect();
        Self { probability, came_true, bin }
    }

    /// Per bin: sums of weight, of weighted probability, and of weight where it came true.
    fn sums(&self, weights: &[f64]) -> [[f64; 3]; BINS] {
        let mut sums = [[0.0; 3]; BINS];
        for (row, weight) in weights.iter().enumerate() {
            let bin = &mut sums[self.bin[row] as usize];
            bin[0] += weight;
            bin[1] += weight * self.probability[row];
            bin[2] += if self.came_true[row] { *weight } else { 0.0 };
        }
        sums
    }

    /// Sum over bins of the bin's share of weight times |observed share - mean probability|
    /// (Naeini, Cooper and Hauskrecht 2015, AAAI).
    pub(super) fn error(&self, weights: &[f64]) -> Option<f64> {
        let sums = self.sums(weights);
        let total: f64 = sums.iter().map(|bin| bin[0]).sum();
        (total > 0.0).then(|| sums.iter().map(|bin| (bin[2] - bin[1]).abs()).sum::<f64>() / total)
    }

    pub(super) fn table(&self, weights: &[f64]) -> Vec<CalibrationBin> {
        let sums = self.sums(weights);
        let total: f64 = sums.iter().map(|bin| bin[0]).sum();
        let mut rows = [0; BINS];
        self.bin.iter().for_each(|bin| rows[*bin as usize] += 1);
        (0..BINS)
            .map(|bin| {
                let [weight, probability, came_true] = sums[bin];
                let within = |sum: f64| (weight > 0.0).then(|| sum / weight);
                CalibrationBin {
                    lower: edge(bin),
                    upper: edge(bin + 1),
                    rows: rows[bin],
                    share: if total > 0.0 { weight / total } else { 0.0 },
                    mean_probability: within(probability),
                    observed: within(came_true),
                }
            })
            .collect()
    }
}

fn edge(bin: usize) -> f64 {
    bin as f64 / BINS as f64
}

/// The bin with `lower < p <= upper`; the first also has 0.
fn bin_of(p: f64) -> u8 {
    let guess = ((p * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
    // The product may round across an edge; compare with the edges themselves.
    if guess > 0 && p <= edge(guess) {
        guess as u8 - 1
    } else if guess + 1 < BINS && p > edge(guess + 1) {
        guess as u8 + 1
    } else {
        guess as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_belong_to_the_bin_below() {
        for (p, bin) in [(0.0, 0), (0.1, 0), (0.100_000_1, 1), (0.3, 2), (0.7, 6), (0.95, 9), (1.0, 9)] {
            assert_eq!(bin_of(p), bin, "{p}");
        }
        for bin in 1..BINS {
            assert_eq!(usize::from(bin_of(edge(bin))), bin - 1);
            assert_eq!(usize::from(bin_of(edge(bin).next_up())), bin);
        }
    }
}
