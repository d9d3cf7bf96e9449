//! An exact test of two failure rates that may be looked at any time: the safe e-process for 2 × 2 tables.
//!
//! R. Turner, A. Ly, P. Grünwald, Generic E-variables for exact sequential k-sample tests that allow for optional
//! stopping, <https://arxiv.org/abs/2106.02693>. For metrics of which fewer than about 50 failures are expected,
//! where the normal approximation of the mixture test is not good.

use serde::{Deserialize, Serialize};

/// Pseudo-counts of hits and of misses that an arm starts with, the value that the paper found best.
const PRIOR: f64 = 0.18;

/// Evidence that the candidate fails more often than the control.
///
/// Every block of requests is judged against rates estimated from earlier blocks only: its likelihood under those two
/// rates over its likelihood under their mean weighted by the requests of the block. Its expected value is at most
/// one whenever the candidate fails at most as often, whatever the rates, so the product may be looked at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TwoByTwo {
    ln_evidence: f64,
    ln_largest: f64,
    control: (u64, u64),
    candidate: (u64, u64),
}

impl TwoByTwo {
    /// Starts with nothing seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a block: failures and requests of each arm since the last one. How long blocks are must not depend on
    /// their failures (a fixed time or number is fine). Blocks with more failures than requests are passed over.
    pub fn add(&mut self, control: (u64, u64), candidate: (u64, u64)) {
        if control.0 > control.1 || candidate.0 > candidate.1 {
            return;
        }
        let rate = |(hits, count): (u64, u64)| (hits as f64 + PRIOR) / (count as f64 + 2.0 * PRIOR);
        let (a, b) = (rate(self.control), rate(self.candidate));
        let (n, m) = (control.1 as f64, candidate.1 as f64);
        // Only a bet on harm is valid against "at most as often".
        if b > a && n > 0.0 && m > 0.0 {
            let both = (n * a + m * b) / (n + m);
            let gain = |rate: f64, (hits, count): (u64, u64)| {
                hits as f64 * (rate / both).ln() + (count - hits) as f64 * ((1.0 - rate) / (1.0 - both)).ln()
            };
            self.ln_evidence += gain(a, control) + gain(b, candidate);
            self.ln_largest = self.ln_largest.max(self.ln_evidence);
        }
        self.control = (self.control.0 + control.0, self.control.1 + control.1);
        self.candidate = (self.candidate.0 + candidate.0, self.candidate.1 + candidate.1);
    }

    /// Natural logarithm of the evidence now.
    pub fn ln_evidence(&self) -> f64 {
        self.ln_evidence
    }

    /// Always-valid p-value: one over the largest evidence so far.
    pub fn p(&self) -> f64 {
        (-self.ln_largest).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_comes_only_from_later_blocks() {
        let mut test = TwoByTwo::new();
        test.add((0, 100), (50, 100));
        assert_eq!((test.ln_evidence(), test.p()), (0.0, 1.0));
        test.add((0, 100), (50, 100));
        assert!(test.p() < 1e-12);
        let mut better = TwoByTwo::new();
        for _ in 0..20 {
            better.add((50, 100), (0, 100));
        }
        assert_eq!(better.p(), 1.0);
        better.add((5, 1), (0, 1));
        assert_eq!(better.control, (1_000, 2_000));
    }

    #[test]
    fn one_block_has_an_expected_value_of_at_most_one() {
        // All outcomes of a block of 3 and 2 requests, after a past that bets on harm.
        let mut past = TwoByTwo::new();
        past.add((1, 20), (6, 20));
        let choose = |n: u64, k: u64| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
        for (control, candidate) in [(0.1, 0.1), (0.5, 0.5), (0.3, 0.1), (0.9, 0.2), (0.9, 0.9)] {
            let mut mean = 0.0;
            for x in 0..=3_u64 {
                for y in 0..=2_u64 {
                    let mut test = past;
                    test.add((x, 3), (y, 2));
                    let chance = |k: u64, n: u64, p: f64| {
                        choose(n, k) * f64::powi(p, k as i32) * f64::powi(1.0 - p, (n - k) as i32)
                    };
                    mean += chance(x, 3, control) * chance(y, 2, candidate) * test.ln_evidence().exp();
                }
            }
            assert!(mean <= 1.0 + 1e-12, "{control} {candidate}: {mean}");
        }
    }
}
