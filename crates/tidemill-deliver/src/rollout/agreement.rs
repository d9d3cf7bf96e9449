//! How far a candidate agreed with the incumbent on the same requests, in all shadow stages together. No outcome is needed to know that.

use serde::{Deserialize, Serialize};
use tidemill_core::Digest;

use super::state::State;
use crate::judge::{AGREEMENT, Look, SCORES_APART, Sample};

/// Differences of scores are added up in this part of one, as whole numbers, so that their order does not matter.
const UNIT: f64 = 1e-6;

/// What was seen of one candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Rows to which both decided the same.
    pub same: u64,
    /// Rows to which they decided differently.
    pub different: u64,
    /// Rows to which both gave a score.
    pub scored: u64,
    /// The sum of the differences of their scores, in millionths; a difference of one and more counts as one.
    pub apart: u64,
}

impl Agreement {
    /// The share of the same decisions; none where nothing was decided.
    pub fn share(&self) -> Option<f64> {
        let all = self.same + self.different;
        (all > 0).then(|| self.same as f64 / all as f64)
    }

    /// The mean difference of scores; none where there were none.
    pub fn distance(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.apart as f64 * UNIT / self.scored as f64)
    }

    /// In words, for example `same decision on 98.2 % of 5,000 rows; scores 0.0123 apart in the mean`.
    pub fn words(&self) -> String {
        use tidemill_core::words::{count, number};
        let decided = self.share().map(|share| {
            let rows = count(self.same + self.different);
            format!("same decision on {} % of {rows} rows", number(100.0 * share))
        });
        let scored = self.distance().map(|distance| format!("scores {} apart in the mean", number(distance)));
        decided.into_iter().chain(scored).collect::<Vec<_>>().join("; ")
    }

    fn take(&mut self, look: &Look) {
        for seen in look.observations.iter().filter(|seen| seen.slice.is_none()) {
            let (n, sum) = (seen.candidate.n(), seen.candidate.sum());
            match seen.metric.as_str() {
                AGREEMENT => {
                    let different = (sum.max(0.0).round() as u64).min(n);
                    (self.same, self.different) = (self.same + (n - different), self.different + different);
                }
                SCORES_APART => {
                    let apart = (sum.max(0.0) / UNIT).round() as u64;
                    (self.scored, self.apart) = (self.scored + n, self.apart + apart);
                }
                _ => {}
            }
        }
    }
}

impl State {
    /// How far a candidate agreed with the incumbent; none where nothing was compared.
    pub fn agreement(&self, release: Digest) -> Option<&Agreement> {
        self.agreements.iter().find(|(known, _)| *known == release).map(|(_, agreement)| agreement)
    }

    /// Takes up what a look says of it.
    pub(super) fn agree(&mut self, release: Digest, look: &Look) {
        let is_about = |metric: &str| [AGREEMENT, SCORES_APART].contains(&metric);
        if !look.observations.iter().any(|seen| is_about(&seen.metric)) {
            return;
        }
        match self.agreements.iter_mut().find(|(known, _)| *known == release) {
            Some((_, known)) => known.take(look),
            None => {
                let mut new = Agreement::default();
                new.take(look);
                self.agreements.push((release, new));
            }
        }
    }
}

/// What is seen of two answers to the same rows: so many decisions were the same and so many were not.
pub fn decided(same: u64, different: u64) -> Sample {
    let all = [(0.0, same), (1.0, different)];
    Sample::Values(all.into_iter().filter(|(_, count)| *count > 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Better, Decision, Judge, Kind, Metric, Observation, Spec, Tier, Traffic};

    fn look(same: u64, different: u64, apart: Sample) -> Look {
        let nothing = || Sample::Values(Vec::new());
        let of = |metric: &str, candidate| Observation {
            metric: metric.into(),
            slice: None,
            candidate,
            baseline: nothing(),
        };
        Look {
            traffic: Traffic { stratum: 1, share: None },
            assigned: None,
            observations: vec![of(AGREEMENT, decided(same, different)), of(SCORES_APART, apart)],
        }
    }

    #[test]
    fn agreement_adds_up_however_it_was_told() {
        let mut agreement = Agreement::default();
        assert_eq!((agreement.share(), agreement.distance(), agreement.words()), (None, None, String::new()));
        agreement.take(&look(90, 10, Sample::Values(vec![(0.0, 50), (0.01, 50)])));
        agreement.take(&look(98, 2, Sample::Moments { n: 100, sum: 1.5, sumsq: 0.1 }));
        assert_eq!(agreement.share(), Some(0.94));
        assert!((agreement.distance().unwrap() - 0.01).abs() < 1e-12);
        assert_eq!(agreement.words(), "same decision on 94 % of 200 rows; scores 0.01 apart in the mean");
    }

    /// It is judged before any outcome is known, in both directions.
    #[test]
    fn a_candidate_that_decides_otherwise_goes_back_and_one_that_agrees_is_certified() {
        let kind =
            Kind::Paired { better: Better::Lower, least: 0.0, most: 1.0, tolerate: 0.02, reject: 0.05 };
        let metric =
            Metric { name: AGREEMENT.into(), kind, tier: Tier::Behavioural, critical: true, required: true };
        let spec = Spec { error_budget: 0.01, metrics: vec![metric], slices: None };
        let tiers = std::collections::BTreeSet::from([Tier::Behavioural]);
        for (different, wanted) in [(1, Decision::Advance), (12, Decision::Rollback)] {
            let mut judge = Judge::new(spec.clone()).unwrap();
            let mut looks = 0;
            while judge.verdict(&tiers).decision == Decision::Hold {
                judge.look(&look(100 - different, different, Sample::Values(Vec::new())));
                looks += 1;
                assert!(looks < 100, "nothing is decided");
            }
            assert_eq!(judge.verdict(&tiers).decision, wanted, "{different} of 100 after {looks} looks");
        }
    }
}
