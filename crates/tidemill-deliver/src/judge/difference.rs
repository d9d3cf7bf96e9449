//! A difference between two arms against limits, for shares and for means of any values.

use serde::{Deserialize, Serialize};
use tidemill_stats::sequential::{Counts, Law, Way, ln_evidence};

use super::sample::{Moments, Sample};
use super::spec::{Amount, Better};

/// Requests of each arm before a normal approximation is trusted.
pub(super) const BURN_IN: f64 = 100.0;
/// Events of both arms, and requests without one, before a share is judged.
const BURN_IN_EVENTS: u64 = 10;
/// How far the variance of an arm's values is drawn towards the other arm's where that is larger.
///
/// Where values are skewed, a mean that is far off by luck comes with a variance that is far too small, so a statistic made of both is
/// beyond a bound more often than a normal one (N. Johnson, Modified t tests and confidence intervals for asymmetrical populations,
/// 1978). Cochran's rule asks for 25 times the squared skewness until that no longer matters (Sampling Techniques, 1977, chapter 2;
/// R. Sugden, T. Smith and R. Jones, Cochran's rule for simple random sampling, 2000): a thousand values of an arm where they are
/// log-normal of sd 1, 28,000 where the sd is 1.5. Waiting for them would be slow where nothing is skewed, and of sums no skewness is known.
/// But the other arm has its own luck, and most candidates vary about as much as the baseline. One that really varies less is proven
/// later for it. A quarter, as for shares of requests, was just enough in simulations of log-normal values up to sd 2; this leaves room for
/// long rollouts and small shares.
const DRAWN: f64 = 0.4;
/// Prior weight of effects four times as large as expected, as in the grid of the exact tests.
const WIDE_SHARE: f64 = 0.15;
const WIDE: f64 = 4.0;

/// What is tested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) share: bool,
    pub(crate) better: Better,
    pub(crate) tolerate: Amount,
    pub(crate) reject: Amount,
    pub(crate) effect: Amount,
}

/// What was seen so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Per stratum of traffic, in which shares did not change: baseline and candidate.
    strata: Vec<(u32, Moments, Moments)>,
    /// Requests and events of candidate and baseline that no exact test has taken up yet.
    pending: [(u64, u64); 2],
    /// Exact tests of a share against the limit zero, once there are enough events to know their scale.
    above: Option<Counts>,
    below: Option<Counts>,
}

impl Difference {
    pub(crate) fn update(&mut self, question: Question, stratum: u32, candidate: &Sample, baseline: &Sample) {
        let at = match self.strata.iter().position(|(name, ..)| *name == stratum) {
            Some(at) => at,
            None => {
                self.strata.push((stratum, Moments::default(), Moments::default()));
                self.strata.len() - 1
            }
        };
        self.strata[at].1.add(baseline);
        self.strata[at].2.add(candidate);
        if question.share {
            self.update_exact(question, candidate, baseline);
        }
    }

    /// The logarithms of the evidence that harm is above `tolerate`, and that it is below `reject`.
    pub(crate) fn ln_evidence(&self, question: Question) -> (f64, f64) {
        let exact = |limit: Amount, test: &Option<Counts>| {
            (question.share && limit.number() == 0.0).then(|| test.as_ref().map_or(0.0, Counts::ln_evidence))
        };
        let (harm, safe) = match question.better {
            Better::Lower => (&self.above, &self.below),
            Better::Higher => (&self.below, &self.above),
        };
        let above =
            exact(question.tolerate, harm).unwrap_or_else(|| self.normal(question, question.tolerate, 1.0));
        let below =
            exact(question.reject, safe).unwrap_or_else(|| self.normal(question, question.reject, -1.0));
        (above, below)
    }

    /// Harm and its standard error, all strata together.
    pub(crate) fn harm(&self, question: Question) -> Option<(f64, f64)> {
        let (harm, variance, _) = self.estimate(question, Amount::Absolute(0.0), 1.0)?;
        Some((harm, libm::sqrt(variance)))
    }

    /// Harm, its variance and the expected effect, all strata together.
    pub(crate) fn spread(&self, question: Question) -> Option<(f64, f64, f64)> {
        self.estimate(question, Amount::Absolute(0.0), 1.0)
    }

    /// The size of the baseline's mean, all strata together: what relative limits are parts of.
    pub(crate) fn level(&self) -> f64 {
        let (n, sum) = self.strata.iter().fold((0.0, 0.0), |(n, sum), (_, baseline, _)| {
            (n + baseline.n, sum + baseline.n * baseline.mean)
        });
        if n > 0.0 { (sum / n).abs() } else { 0.0 }
    }

    fn update_exact(&mut self, question: Question, candidate: &Sample, baseline: &Sample) {
        let [c, b] = &mut self.pending;
        *c = (c.0 + candidate.n(), c.1 + candidate.events());
        *b = (b.0 + baseline.n(), b.1 + baseline.events());
        let (requests, events) = (c.0 + b.0, c.1 + b.1);
        if c.0 == 0 || b.0 == 0 {
            return;
        }
        if self.above.is_none() {
            if events < BURN_IN_EVENTS || requests - events < BURN_IN_EVENTS {
                return;
            }
            // The scale comes from the total of both arms alone, on which the tests are conditional anyway.
            let scale = ln_odds_scale(question.effect, events as f64 / requests as f64);
            self.above = Some(Counts::new(Law::Hypergeometric, Way::Above, 1.0, scale));
            self.below = Some(Counts::new(Law::Hypergeometric, Way::Below, 1.0, scale));
        }
        let (candidate, baseline) = (*c, *b);
        self.pending = Default::default();
        for test in [&mut self.above, &mut self.below].into_iter().flatten() {
            test.update(candidate, baseline);
        }
    }

    fn normal(&self, question: Question, limit: Amount, side: f64) -> f64 {
        let Some((beyond, variance, effect)) = self.estimate(question, limit, side) else { return 0.0 };
        ln_mixture(side * beyond, variance, effect)
    }

    /// Harm beyond a limit, the variance of that, and the expected effect; strata weigh by their precision.
    fn estimate(&self, question: Question, limit: Amount, side: f64) -> Option<(f64, f64, f64)> {
        let sign = question.better.sign();
        let (mut weights, mut harm, mut effects) = (0.0, 0.0, 0.0);
        let (mut n_b, mut n_c, mut events, mut expected) = (0.0, 0.0, 0.0, 0.0);
        for (_, baseline, candidate) in &self.strata {
            n_b += baseline.n;
            n_c += candidate.n;
            if baseline.n < 2.0 || candidate.n < 2.0 {
                continue;
            }
            let (allowed, slope) = match limit {
                Amount::Absolute(limit) => (limit, sign),
                Amount::Relative(part) => (part * baseline.mean.abs(), sign + part * baseline.mean.signum()),
            };
            let effect = match question.effect {
                Amount::Absolute(effect) => effect,
                Amount::Relative(part) => part * baseline.mean.abs(),
            };
            let variance = if question.share {
                events += baseline.n * baseline.mean + candidate.n * candidate.mean;
                let at_limit = (baseline.mean + sign * allowed).clamp(0.0, 1.0);
                expected += candidate.n * at_limit;
                // Only for passing: harm that is found by luck has more variance anyway.
                let least = if side < 0.0 { at_limit.min(0.5) } else { 0.0 };
                candidate.variance_of_share(least) + slope * slope * baseline.variance_of_share(0.0)
            } else {
                let grown = slope * slope;
                let (c, b) = (candidate.variance(), grown * baseline.variance());
                // Where harm is a part of the mean, a candidate at the limit is the baseline in a larger unit.
                let (like_b, like_c) = (baseline.variance() * grown.max(1.0), c * grown.max(1.0));
                drawn(c, like_b) / candidate.n + drawn(b, like_c) / baseline.n
            };
            if !(variance > 0.0 && variance.is_finite()) {
                continue;
            }
            let weight = 1.0 / variance;
            weights += weight;
            harm += weight * (sign * (candidate.mean - baseline.mean) - allowed);
            effects += weight * effect;
        }
        // A candidate without a single event can only pass, and only once it would have had enough of them at the limit.
        let enough = !question.share
            || events >= BURN_IN_EVENTS as f64
            || (side < 0.0 && expected >= 2.0 * BURN_IN_EVENTS as f64);
        (n_b >= BURN_IN && n_c >= BURN_IN && weights > 0.0 && enough)
            .then(|| (harm / weights, 1.0 / weights, effects / weights))
    }
}

/// A variance, drawn towards the other arm's where that is larger.
fn drawn(own: f64, other: f64) -> f64 {
    own + DRAWN * (other - own).max(0.0)
}

/// Evidence that something normal is above zero, for effects about as large as expected and for much larger ones.
pub(crate) fn ln_mixture(beyond: f64, variance: f64, effect: f64) -> f64 {
    // Where nothing can be said there is neither evidence for harm nor against it.
    let evidence = |tau: f64| libm::exp(ln_evidence(beyond, variance, tau).unwrap_or(0.0).min(600.0));
    libm::log((1.0 - WIDE_SHARE) * evidence(effect) + WIDE_SHARE * evidence(WIDE * effect))
}

/// An effect on a share, in units of the logarithm of the odds at that share.
fn ln_odds_scale(effect: Amount, share: f64) -> f64 {
    let share = share.clamp(1e-9, 1.0 - 1e-9);
    let moved = match effect {
        Amount::Absolute(effect) => share + effect,
        Amount::Relative(part) => share * (1.0 + part),
    }
    .min(0.5 * (1.0 + share));
    let ln_odds = |p: f64| libm::log(p / (1.0 - p));
    (ln_odds(moved) - ln_odds(share)).clamp(1e-4, 3.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_smaller_variance_is_drawn() {
        assert!((drawn(1.0, 101.0) - 41.0).abs() < 1e-12);
        assert_eq!(drawn(100.0, 1.0), 100.0);
    }

    /// Of `n` values one half is `spread` above the mean and one half as much below.
    fn around(mean: f64, spread: f64, n: u64) -> Sample {
        Sample::Values(vec![(mean - spread, n / 2), (mean + spread, n - n / 2)])
    }

    fn variance_of_mean(sample: &Sample) -> f64 {
        let mut moments = Moments::default();
        moments.add(sample);
        moments.variance_of_mean()
    }

    fn seen(question: Question, candidate: &Sample, baseline: &Sample) -> Difference {
        let mut difference = Difference::default();
        difference.update(question, 0, candidate, baseline);
        difference
    }

    #[test]
    fn a_candidate_that_is_better_and_steadier_by_luck_is_not_certified_by_its_steadiness() {
        let (tolerate, reject) = (Amount::Relative(0.1), Amount::Relative(0.1));
        let effect = Amount::Relative(0.05);
        let question = Question { share: false, better: Better::Lower, tolerate, reject, effect };
        let baseline = around(100.0, 130.0, 900);
        let needed = libm::log(20.0);
        let lucky = around(80.0, 40.0, 100);
        let believed = variance_of_mean(&lucky) + 1.1 * 1.1 * variance_of_mean(&baseline);
        assert!(ln_mixture(110.0 - 80.0, believed, 5.0) > 2.0 * needed, "it would be if it were believed");
        let safe = seen(question, &lucky, &baseline).ln_evidence(question).1;
        assert!(safe < needed, "{safe}");
        // The same for harm that would be found because the baseline looks good and steady.
        let harm = seen(question, &baseline, &lucky).ln_evidence(question).0;
        assert!(harm < needed, "{harm}");
    }

    #[test]
    fn a_limit_that_is_all_of_the_mean_has_a_variance() {
        let all = Amount::Relative(1.0);
        let question =
            Question { share: false, better: Better::Higher, tolerate: all, reject: all, effect: all };
        let difference = seen(question, &around(10.0, 5.0, 200), &around(10.0, 5.0, 200));
        let (beyond, variance, _) = difference.estimate(question, all, -1.0).unwrap();
        assert!((beyond + 10.0).abs() < 1e-9 && variance > 0.0 && variance < 1.0, "{beyond} {variance}");
    }
}
