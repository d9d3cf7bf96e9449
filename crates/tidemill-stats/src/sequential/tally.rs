//! What is kept of an arm: enough for means and variances, mergeable.

use serde::{Deserialize, Serialize};

/// Count, mean and squared distances of the values of one arm. Tallies of parts add up to the tally of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    count: u64,
    mean: f64,
    squares: f64,
    /// Whether all values were 0 or 1.
    binary: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self { count: 0, mean: 0.0, squares: 0.0, binary: true }
    }
}

impl Tally {
    /// Of `hits` ones among `count` zeros and ones. `None` with more hits than values.
    pub fn binary(hits: u64, count: u64) -> Option<Self> {
        if hits > count {
            return None;
        }
        let (k, n) = (hits as f64, count as f64);
        let mean = if count > 0 { k / n } else { 0.0 };
        Some(Self { count, mean, squares: k * (1.0 - mean), binary: true })
    }

    /// Adds a value (Welford); one that is not finite is passed over.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.count += 1;
            let distance = value - self.mean;
            self.mean += distance / self.count as f64;
            self.squares += distance * (value - self.mean);
            self.binary &= value == 0.0 || value == 1.0;
        }
    }

    /// Adds the values of another tally (T. Chan et al. 1979).
    pub fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if count == 0 {
            return;
        }
        let (n, m, all) = (self.count as f64, other.count as f64, count as f64);
        let distance = other.mean - self.mean;
        self.squares += other.squares + distance * distance * n * m / all;
        self.mean += distance * m / all;
        self.count = count;
        self.binary &= other.binary;
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Variance of the values as they are: their squared distances over their number; `None` without values.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 0).then(|| self.squares / self.count as f64)
    }

    /// Number of ones, if all values were 0 or 1.
    pub fn hits(&self) -> Option<u64> {
        self.binary.then(|| (self.mean * self.count as f64).round() as u64)
    }

    /// Variance of the mean: s²/n, and for 0/1 values p̃(1−p̃)/n with p̃ = (x+2)/(n+4), which is not zero without
    /// hits. `None` below two values.
    pub fn variance_of_mean(&self) -> Option<f64> {
        let n = self.count as f64;
        if self.count < 2 {
            return None;
        }
        Some(match self.hits() {
            Some(hits) => {
                let share = (hits as f64 + 2.0) / (n + 4.0);
                share * (1.0 - share) / n
            }
            None => self.squares / (n - 1.0) / n,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let values = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0];
        let of = |values: &[f64]| {
            let mut tally = Tally::default();
            values.iter().for_each(|x| tally.add(*x));
            tally
        };
        let (whole, mut first) = (of(&values), of(&values[..2]));
        first.merge(&of(&values[2..]));
        assert_eq!(first.count(), 6);
        assert!((first.mean - whole.mean).abs() < 1e-15 && (first.squares - whole.squares).abs() < 1e-12);
        assert!(whole.hits().is_none() && whole.variance_of_mean().unwrap() > 0.0);
        let mut empty = Tally::default();
        empty.merge(&Tally::default());
        assert_eq!((empty.mean(), empty.variance_of_mean()), (None, None));
    }

    #[test]
    fn zeros_and_ones_are_counted_alike() {
        let mut one_by_one = Tally::default();
        for at in 0..1_000 {
            one_by_one.add(f64::from(u8::from(at % 50 == 0)));
        }
        let counted = Tally::binary(20, 1_000).unwrap();
        assert_eq!(one_by_one.hits(), Some(20));
        assert!((one_by_one.variance_of_mean().unwrap() - counted.variance_of_mean().unwrap()).abs() < 1e-18);
        assert!((one_by_one.squares - counted.squares).abs() < 1e-9);
        assert!(Tally::binary(2, 1).is_none());
    }
}
