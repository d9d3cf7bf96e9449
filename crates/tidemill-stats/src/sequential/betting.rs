//! Means of bounded values by betting: exact whatever their distribution is.

use serde::{Deserialize, Serialize};

use super::mixture::ln_sum_exp;
use crate::exact;

/// Smallest and largest bet, as parts of what can be lost.
const SMALLEST: f64 = 0.000_3;
const LARGEST: f64 = 0.9;
const BETS: u32 = 28;

/// Evidence that the mean of bounded values is above zero.
///
/// Each bet puts the same part of its money on every value; the evidence is the mean of their fortunes (Waudby-Smith and Ramdas 2024).
/// Where the mean is at most zero, no way to bet gains in expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Betting {
    /// Logarithm of each bet's fortune.
    #[serde(with = "exact::numbers")]
    fortunes: Vec<f64>,
}

impl Default for Betting {
    fn default() -> Self {
        Self { fortunes: vec![0.0; BETS as usize] }
    }
}

impl Betting {
    /// Takes up a value that was seen `count` times; values are never below `-lowest`, where `lowest` is positive and may change from
    /// look to look, but not with the values of the look itself.
    pub fn update(&mut self, value: f64, count: u64, lowest: f64) {
        if count == 0 || !(value.is_finite() && lowest > 0.0) {
            return;
        }
        let part = value.max(-lowest) / lowest;
        let step = libm::log(LARGEST / SMALLEST) / f64::from(BETS - 1);
        for (bet, fortune) in self.fortunes.iter_mut().enumerate() {
            let stake = SMALLEST * libm::exp(step * bet as f64);
            *fortune += count as f64 * libm::log1p(stake * part);
        }
    }

    /// The logarithm of the evidence.
    pub fn ln_evidence(&self) -> f64 {
        ln_sum_exp(self.fortunes.iter().copied()) - libm::log(f64::from(BETS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_below_zero_never_gain() {
        let mut test = Betting::default();
        for _ in 0..1000 {
            test.update(-0.2, 1, 1.0);
            assert!(test.ln_evidence() < 0.0);
        }
    }

    #[test]
    fn a_fair_coin_has_expectation_one() {
        let (mut up, mut down) = (Betting::default(), Betting::default());
        up.update(1.0, 1, 1.0);
        down.update(-1.0, 1, 1.0);
        assert!((0.5 * (up.ln_evidence().exp() + down.ln_evidence().exp()) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn so_many_at_once_are_so_many_one_by_one() {
        let (mut once, mut many) = (Betting::default(), Betting::default());
        once.update(0.3, 50, 2.0);
        (0..50).for_each(|_| many.update(0.3, 1, 2.0));
        assert!((once.ln_evidence() - many.ln_evidence()).abs() < 1e-9);
    }
}
