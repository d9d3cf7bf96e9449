//! Rare bad events: which arm the next one belongs to, given that there is one.
//!
//! Given an event, it is the candidate's with chance ρ·m/(n + ρ·m), where n and m are the requests of control and
//! candidate and ρ is the ratio of their rates. So neither rate has to be known. The evidence against "ρ at most ρ₀"
//! (or at least) is a mixture of likelihood ratios over a grid of other ratios, each a product over events, hence
//! valid at any time. Exact for events so rare that two at once do not matter.

use serde::{Deserialize, Serialize};

/// Points of the mixture.
const POINTS: usize = 32;
/// The grid reaches this factor away from the limit.
const REACH: f64 = 16.0;

/// Which side of the limit is doubted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The hypothesis is "the ratio is at most the limit"; evidence speaks for harm.
    AtMost,
    /// The hypothesis is "the ratio is at least the limit"; evidence certifies.
    AtLeast,
}

/// Evidence against a limit on the ratio of two rates of rare events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RareEvents {
    side: Side,
    limit: f64,
    /// Log-likelihood ratio of every ratio of the grid to the limit.
    points: Vec<f64>,
    ln_largest: f64,
}

impl RareEvents {
    /// Starts with nothing seen. `limit` is above zero, for example 1.25 for [`Side::AtMost`], 2 for [`Side::AtLeast`].
    pub fn new(side: Side, limit: f64) -> Self {
        Self { side, limit, points: vec![0.0; POINTS], ln_largest: 0.0 }
    }

    /// Adds a block: bad events and requests of each arm since the last one.
    pub fn add(&mut self, control: (u64, u64), candidate: (u64, u64)) {
        let (n, m) = (control.1 as f64, candidate.1 as f64);
        if n == 0.0 || m == 0.0 {
            // With one arm only an event says nothing about the ratio.
            return;
        }
        let share = |ratio: f64| ratio * m / (n + ratio * m);
        let limit = share(self.limit);
        let step = REACH.ln() / POINTS as f64;
        for (place, sum) in self.points.iter_mut().enumerate() {
            let away = ((place + 1) as f64 * step).exp();
            let other = share(match self.side {
                Side::AtMost => self.limit * away,
                Side::AtLeast => self.limit / away,
            });
            *sum += candidate.0 as f64 * (other / limit).ln()
                + control.0 as f64 * ((1.0 - other) / (1.0 - limit)).ln();
        }
        self.ln_largest = self.ln_largest.max(self.ln_evidence());
    }

    /// Natural logarithm of the evidence now: of the mean of the likelihood ratios.
    pub fn ln_evidence(&self) -> f64 {
        let top = self.points.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.points.iter().map(|point| (point - top).exp()).sum();
        top + (sum / POINTS as f64).ln()
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
    fn evidence_follows_the_ratio() {
        let run = |side, limit, candidate| {
            let mut test = RareEvents::new(side, limit);
            for _ in 0..20 {
                test.add((18, 9_000), (candidate, 1_000));
            }
            test.p()
        };
        assert!(run(Side::AtMost, 1.25, 10) < 0.01 && run(Side::AtMost, 1.25, 2) == 1.0);
        assert!(run(Side::AtLeast, 2.0, 2) < 0.01 && run(Side::AtLeast, 2.0, 6) == 1.0);
        let mut alone = RareEvents::new(Side::AtMost, 1.0);
        alone.add((0, 0), (50, 100));
        assert!(alone.ln_evidence().abs() < 1e-12);
    }
}
