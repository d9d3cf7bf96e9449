//! The KLL quantile sketch: Karnin, Lang and Liberty, "Optimal quantile approximation in streams" (FOCS 2016).
//!
//! Levels of values, each level twice the weight of the one below. A full level is sorted and every other value
//! moves up. Which half moves is drawn from a fixed sequence, so that equal input gives an equal sketch.

use serde::{Deserialize, Serialize};

/// Size of the top level. The rank error that holds with 99 % confidence is [`RANK_ERROR`].
const K: usize = 1024;
/// 2.296 / K^0.9021, as Apache DataSketches measured for this family of sketches.
pub(super) const RANK_ERROR: f64 = 0.0044;
const SHRINK: f64 = 2.0 / 3.0;
const SMALLEST: usize = 8;

/// Quantiles of a stream of numbers that are not NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kll {
    levels: Vec<Vec<f64>>,
    count: u64,
    coin: u64,
}

impl Default for Kll {
    fn default() -> Self {
        Self { levels: vec![Vec::new()], count: 0, coin: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl Kll {
    pub(super) fn extend(&mut self, values: impl Iterator<Item = f64>) {
        for value in values {
            self.levels[0].push(value);
            self.count += 1;
            if self.levels[0].len() >= self.capacity(0) {
                self.compress();
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for (level, values) in other.levels.iter().enumerate() {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].extend_from_slice(values);
        }
        self.compress();
    }

    /// Whether every value is still there.
    pub(super) fn is_exact(&self) -> bool {
        self.levels.len() == 1
    }

    /// The values at `probabilities`, each the smallest whose share of values at or below it reaches it.
    pub(super) fn quantiles(&self, probabilities: &[f64]) -> Option<Vec<f64>> {
        let mut weighted: Vec<(f64, u64)> = Vec::new();
        for (level, values) in self.levels.iter().enumerate() {
            weighted.extend(values.iter().map(|&value| (value, 1_u64 << level)));
        }
        weighted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let total: u64 = weighted.iter().map(|(_, weight)| weight).sum();
        let last = weighted.last()?.0;
        let at = |probability: f64| {
            let rank = (probability * total as f64).ceil().max(1.0) as u64;
            let mut below = 0;
            weighted.iter().find(|(_, weight)| {
                below += weight;
                below >= rank
            })
        };
        Some(probabilities.iter().map(|&probability| at(probability).map_or(last, |found| found.0)).collect())
    }

    /// How many values `level` may hold before half of them move up.
    fn capacity(&self, level: usize) -> usize {
        let depth = (self.levels.len() - 1 - level) as i32;
        // The lowest levels share a floor; while there is one level, it holds all that the sketch may.
        let size =
            if self.levels.len() == 1 { 3 * K } else { (K as f64 * SHRINK.powi(depth)).ceil() as usize };
        size.max(SMALLEST)
    }

    fn compress(&mut self) {
        let mut level = 0;
        while level < self.levels.len() {
            if self.levels[level].len() < self.capacity(level) {
                level += 1;
                continue;
            }
            if level + 1 == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let mut values = std::mem::take(&mut self.levels[level]);
            values.sort_unstable_by(f64::total_cmp);
            // An odd value stays behind.
            let kept = if values.len() % 2 == 1 { values.pop() } else { None };
            let offset = usize::from(self.flip());
            self.levels[level + 1].extend(values.iter().skip(offset).step_by(2));
            self.levels[level].extend(kept);
            level += 1;
        }
    }

    /// The next bit of a xorshift sequence.
    fn flip(&mut self) -> bool {
        self.coin ^= self.coin << 13;
        self.coin ^= self.coin >> 7;
        self.coin ^= self.coin << 17;
        self.coin >> 63 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(sketch: &Kll, n: u64) -> f64 {
        // The values are 0..n in some order, so that a value is its own rank.
        let probabilities: Vec<f64> = (1..100).map(|i| f64::from(i) / 100.0).collect();
        let found = sketch.quantiles(&probabilities).unwrap();
        probabilities.iter().zip(found).map(|(p, value)| (value / n as f64 - p).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn few_values_are_exact() {
        let mut sketch = Kll::default();
        sketch.extend([3.0, 1.0, 2.0, 5.0, 4.0].into_iter());
        assert!(sketch.is_exact());
        assert_eq!(sketch.quantiles(&[0.0, 0.2, 0.5, 1.0]), Some(vec![1.0, 1.0, 3.0, 5.0]));
        assert_eq!(Kll::default().quantiles(&[0.5]), None);
    }

    #[test]
    fn the_rank_error_holds_for_streams_in_any_order_and_for_merges() {
        let n = 1_000_000_u64;
        for stride in [1, 999_983, 7, 500_001] {
            let mut whole = Kll::default();
            whole.extend((0..n).map(|i| (i * stride % n) as f64));
            assert!(worst(&whole, n) < RANK_ERROR, "stride {stride}: {}", worst(&whole, n));
            assert_eq!(whole.levels.iter().enumerate().map(|(l, v)| (v.len() as u64) << l).sum::<u64>(), n);
            assert!(whole.levels.iter().map(Vec::len).sum::<usize>() < 4 * K);
        }
        let mut merged = Kll::default();
        for part in 0..20 {
            let mut sketch = Kll::default();
            sketch.extend((0..n / 20).map(|i| (i * 20 + part) as f64));
            merged.merge(&sketch);
        }
        assert!(worst(&merged, n) < RANK_ERROR, "{}", worst(&merged, n));
    }
}
