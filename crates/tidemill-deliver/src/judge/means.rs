//! A difference between the means of two arms whose values cannot leave a range: exact whatever their distribution is.
//!
//! A look with more values than all before it is judged by setting values of the two arms against each other
//! ([`Betting::compare`]): nothing has to be known for that. Every other look weighs each value by one over the chance of its arm, so
//! that it counts also where the other arm has none, and centres it at the baseline's mean as it was known before the look, so that the
//! level of the values adds no noise. On a first look, whose centre would be a guess, that noise is what a verdict would wait for.
//!
//! Which way a look goes hangs on how many values it has in both arms and on earlier looks: neither says which arm they fell to, nor what
//! they are. So given the past, each look multiplies every fortune by a number whose expected value is at most one where the hypothesis
//! is true, and the fortunes stay a supermartingale (Waudby-Smith and Ramdas 2024).

use serde::{Deserialize, Serialize};
use tidemill_stats::sequential::Betting;

use super::sample::{Moments, Sample};
use super::spec::Better;

/// What is tested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) better: Better,
    /// The least and the largest value.
    pub(super) range: (f64, f64),
    pub(super) tolerate: f64,
    pub(super) reject: f64,
}

/// What was seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Means {
    above: Betting,
    /// None where only harm is looked for.
    below: Option<Betting>,
    baseline: Moments,
    candidate: Moments,
}

impl Means {
    pub(super) fn new(proves_safety: bool) -> Self {
        Self {
            above: Betting::default(),
            below: proves_safety.then(Betting::default),
            baseline: Moments::default(),
            candidate: Moments::default(),
        }
    }

    /// Takes up one look, of whose requests this share was to go to the candidate; without one it says nothing.
    pub(super) fn update(
        &mut self,
        limits: Limits,
        share: Option<f64>,
        candidate: &Sample,
        baseline: &Sample,
    ) {
        let Some(share) = share.filter(|share| *share > 0.0 && *share < 1.0) else { return };
        if (candidate.n() + baseline.n()) as f64 > self.baseline.n + self.candidate.n {
            self.compare(limits, candidate, baseline);
        } else {
            self.weigh(limits, share, candidate, baseline);
        }
        self.baseline.add(baseline);
        self.candidate.add(candidate);
    }

    fn compare(&mut self, limits: Limits, candidate: &Sample, baseline: &Sample) {
        let (Sample::Values(candidate), Sample::Values(baseline)) = (candidate, baseline) else { return };
        let Limits { better, range, tolerate, reject } = limits;
        let (worse, other) = match better {
            Better::Lower => (candidate, baseline),
            Better::Higher => (baseline, candidate),
        };
        self.above.compare(worse, other, range, tolerate);
        if let Some(below) = &mut self.below {
            below.compare(other, worse, range, -reject);
        }
    }

    fn weigh(&mut self, limits: Limits, share: f64, candidate: &Sample, baseline: &Sample) {
        let Limits { better, range: (least, most), tolerate, reject } = limits;
        let centre = if self.baseline.n > 0.0 { self.baseline.mean } else { f64::midpoint(least, most) };
        let reach = (most - least) / share.min(1.0 - share);
        for (sample, weight) in [(candidate, 1.0 / share), (baseline, -1.0 / (1.0 - share))] {
            let Sample::Values(values) = sample else { continue };
            for (value, count) in values {
                let harm = better.sign() * weight * (value.clamp(least, most) - centre);
                self.above.update(harm - tolerate, *count, reach + tolerate.max(0.0));
                if let Some(below) = &mut self.below {
                    below.update(reject - harm, *count, reach + (-reject).max(0.0));
                }
            }
        }
    }

    /// The logarithms of the evidence that harm is above `tolerate`, and that it is below `reject`.
    pub(super) fn ln_evidence(&self) -> (f64, f64) {
        (self.above.ln_evidence(), self.below.as_ref().map_or(0.0, Betting::ln_evidence))
    }

    /// Harm and its standard error.
    pub(super) fn harm(&self, better: Better) -> Option<(f64, f64)> {
        let Self { baseline, candidate, .. } = self;
        (baseline.n >= 2.0 && candidate.n >= 2.0).then(|| {
            let variance = baseline.variance_of_mean() + candidate.variance_of_mean();
            (better.sign() * (candidate.mean - baseline.mean), libm::sqrt(variance))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a request may come to, and the chance of that: its value, if it went to the candidate.
    type Outcomes = Vec<(bool, f64, f64)>;

    /// All ways in which so many requests may come out: the samples of both arms, and the chance.
    fn looks(outcomes: &Outcomes, requests: u32) -> Vec<([Sample; 2], f64)> {
        (0..requests)
            .fold(vec![([Vec::new(), Vec::new()], 1.0)], |looks, _| {
                let longer = |(arms, chance): &([Vec<(f64, u64)>; 2], f64)| {
                    let (arms, chance) = (arms.clone(), *chance);
                    outcomes.iter().map(move |(is_candidate, value, p)| {
                        let mut arms = arms.clone();
                        arms[usize::from(!is_candidate)].push((*value, 1));
                        (arms, chance * p)
                    })
                };
                looks.iter().flat_map(longer).collect()
            })
            .into_iter()
            .map(|(arms, chance)| (arms.map(Sample::Values), chance))
            .collect()
    }

    const MANY_SMALL: [(f64, f64); 3] = [(0.0, 0.9), (15.0, 0.08), (120.0, 0.02)];
    const MANY_LARGE: [(f64, f64); 3] = [(0.0, 0.1), (60.0, 0.2), (120.0, 0.7)];

    #[test]
    fn a_candidate_at_a_limit_gains_no_evidence_in_expectation_over_two_looks() {
        let mean = |values: [(f64, f64); 3]| values.iter().map(|(value, p)| value * p).sum::<f64>();
        for (candidate, baseline) in
            [(MANY_SMALL, MANY_SMALL), (MANY_SMALL, MANY_LARGE), (MANY_LARGE, MANY_SMALL)]
        {
            for (share, better) in [(0.1, Better::Lower), (0.1, Better::Higher), (0.7, Better::Lower)] {
                let harm = better.sign() * (mean(candidate) - mean(baseline));
                let limits = Limits { better, range: (0.0, 120.0), tolerate: harm, reject: harm };
                let arm = |is_candidate: bool, chance: f64, values: [(f64, f64); 3]| {
                    values.map(|(value, p)| (is_candidate, value, chance * p))
                };
                let outcomes =
                    [arm(true, share, candidate), arm(false, 1.0 - share, baseline)].as_flattened().to_vec();
                // The second look has fewer values than the first, so that values are weighed there.
                let (mut expected, seconds) = ([0.0, 0.0], looks(&outcomes, 2));
                for ([c, b], chance) in looks(&outcomes, 3) {
                    let mut first = Means::new(true);
                    first.update(limits, Some(share), &c, &b);
                    for ([c, b], then) in &seconds {
                        let mut second = first.clone();
                        second.update(limits, Some(share), c, b);
                        let (above, below) = second.ln_evidence();
                        expected[0] += chance * then * above.exp();
                        expected[1] += chance * then * below.exp();
                    }
                }
                let case = format!("{candidate:?} {baseline:?} {share} {better:?}: {expected:?}");
                assert!(expected.iter().all(|expected| *expected <= 1.0 + 1e-12), "{case}");
                assert!(expected.iter().all(|expected| *expected > 0.5), "{case}");
            }
        }
    }

    #[test]
    fn without_a_share_nothing_is_said() {
        let mut means = Means::new(true);
        let limits = Limits { better: Better::Lower, range: (0.0, 1.0), tolerate: 0.0, reject: 0.1 };
        let sample = Sample::Values(vec![(1.0, 10)]);
        means.update(limits, None, &sample, &sample);
        assert_eq!(means, Means::new(true));
    }
}
