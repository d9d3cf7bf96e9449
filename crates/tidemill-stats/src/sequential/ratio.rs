//! Whether traffic was split as it should have been: a test that may be looked at after every batch.

use serde::{Deserialize, Serialize};

use super::mixture::ln_beta;
use crate::exact;

/// Evidence that the candidate did not get the share that it should have got.
///
/// A beta mixture around the planned share against that share (Lindon and Malek 2022), one factor per look, so that the share may change
/// between looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleRatio {
    strata: Vec<Stratum>,
}

/// Requests under one planned share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stratum {
    #[serde(with = "exact::number")]
    share: f64,
    candidate: u64,
    baseline: u64,
}

/// How certain the mixture is of the plan, in requests: departures by some percent of the share are what is looked for.
const CERTAINTY: f64 = 1000.0;

impl SampleRatio {
    /// Takes up requests of a look under a planned share of the candidate, strictly between 0 and 1; other shares say nothing.
    pub fn update(&mut self, share: f64, candidate: u64, baseline: u64) {
        if !(share > 0.0 && share < 1.0) {
            return;
        }
        match self.strata.iter_mut().find(|stratum| stratum.share == share) {
            Some(stratum) => {
                stratum.candidate += candidate;
                stratum.baseline += baseline;
            }
            None => self.strata.push(Stratum { share, candidate, baseline }),
        }
    }

    /// The logarithm of the evidence against the plan.
    pub fn ln_evidence(&self) -> f64 {
        self.strata
            .iter()
            .map(|stratum| {
                let (a, b) = (CERTAINTY * stratum.share, CERTAINTY * (1.0 - stratum.share));
                let (c, r) = (stratum.candidate as f64, stratum.baseline as f64);
                ln_beta(a + c, b + r)
                    - ln_beta(a, b)
                    - c * libm::log(stratum.share)
                    - r * libm::log(1.0 - stratum.share)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_planned_share_is_no_evidence_and_another_is() {
        let mut fair = SampleRatio::default();
        fair.update(0.1, 1_000, 9_000);
        assert!(fair.ln_evidence() < 0.0);
        let mut unfair = SampleRatio::default();
        unfair.update(0.1, 1_300, 8_700);
        assert!(unfair.ln_evidence() > 2000.0_f64.ln());
    }

    #[test]
    fn the_expectation_at_the_planned_share_is_one() {
        let requests = 12;
        let mean: f64 = (0..=requests)
            .map(|c| {
                let mut test = SampleRatio::default();
                test.update(0.3, c, requests - c);
                let ln_chance = super::super::mixture::ln_choose(requests as f64, c as f64)
                    + c as f64 * 0.3_f64.ln()
                    + (requests - c) as f64 * 0.7_f64.ln();
                (ln_chance + test.ln_evidence()).exp()
            })
            .sum();
        assert!((mean - 1.0).abs() < 1e-9);
    }
}
