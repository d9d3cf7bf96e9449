//! Counts of events in two arms, judged by how the events fall to the arms: exact also where events are rare.
//!
//! Given the number of events of both arms together, the share of them that falls to the candidate depends on the ratio alone and not on
//! how often events happen. So no rate has to be known, and a rate that moves for both arms alike, or a share of traffic that is raised
//! between looks, biases nothing.

use serde::{Deserialize, Serialize};

use super::mixture::{effect_grid, ln_choose, ln_sum_exp};
use crate::exact;

/// How events fall to the arms, given their total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Binomial: for rates of events, where the ratio is of the two rates.
    Binomial,
    /// Fisher's noncentral hypergeometric: for shares of requests that are not small, where the ratio is of the two odds.
    Hypergeometric,
}

/// Which hypothesis is refuted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// That the ratio is at most the limit.
    Above,
    /// That the ratio is at least the limit.
    Below,
}

/// Evidence on one side of a limit of the ratio candidate : baseline.
///
/// A mixture over ratios beyond the limit of the likelihood ratio against the limit itself. The likelihood ratio is monotone in the
/// candidate's count, so it is valid for the whole hypothesis and not at the limit only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    law: Law,
    way: Way,
    #[serde(with = "exact::number")]
    ln_limit: f64,
    #[serde(with = "exact::number")]
    scale: f64,
    /// Logarithm of the likelihood ratio so far, per point of the mixture.
    #[serde(with = "exact::numbers")]
    ln_likelihoods: Vec<f64>,
}

impl Counts {
    /// A test against `limit` where effects of about `scale` beyond it, in units of the logarithm of the ratio, are expected.
    pub fn new(law: Law, way: Way, limit: f64, scale: f64) -> Self {
        let ln_likelihoods = vec![0.0; effect_grid().len()];
        Self { law, way, ln_limit: libm::log(limit), scale, ln_likelihoods }
    }

    /// Takes up requests and events of the candidate and of the baseline since the last look.
    pub fn update(&mut self, candidate: (u64, u64), baseline: (u64, u64)) {
        let events = candidate.1 + baseline.1;
        if candidate.0 == 0 || baseline.0 == 0 || events == 0 {
            return;
        }
        let (n_c, n_b, x) = (candidate.0 as f64, baseline.0 as f64, events as f64);
        let hits = candidate.1 as f64;
        let normal = |ln_ratio: f64| match self.law {
            Law::Binomial => x * libm::log(n_b + n_c * libm::exp(ln_ratio)),
            Law::Hypergeometric => ln_hypergeometric_sum(n_c, n_b, x, ln_ratio),
        };
        let at_limit = normal(self.ln_limit);
        let step = match self.way {
            Way::Above => self.scale,
            Way::Below => -self.scale,
        };
        for (ln_likelihood, (u, _)) in self.ln_likelihoods.iter_mut().zip(effect_grid()) {
            let ln_ratio = self.ln_limit + step * u;
            *ln_likelihood += hits * (ln_ratio - self.ln_limit) - (normal(ln_ratio) - at_limit);
        }
    }

    /// The logarithm of the evidence against the hypothesis.
    pub fn ln_evidence(&self) -> f64 {
        ln_sum_exp(
            self.ln_likelihoods
                .iter()
                .zip(effect_grid())
                .map(|(ln_likelihood, (_, ln_weight))| ln_weight + ln_likelihood),
        )
    }
}

/// `ln Σⱼ C(n_c, j) C(n_b, x−j) exp(j·ln_ratio)`, summed outwards from its largest term until terms no longer count.
fn ln_hypergeometric_sum(n_c: f64, n_b: f64, x: f64, ln_ratio: f64) -> f64 {
    const NEGLIGIBLE: f64 = 1e-17;
    let ratio = libm::exp(ln_ratio);
    let (least, most) = ((x - n_b).max(0.0), x.min(n_c));
    // The largest term is where the quotient of neighbours passes 1: the smaller root of a quadratic (Liao and Rosen 2001).
    let (a, b) = (ratio - 1.0, (n_c + x + 2.0) * ratio + n_b - x);
    let c = ratio * (n_c + 1.0) * (x + 1.0);
    let root = 2.0 * c / (b + libm::sqrt((b * b - 4.0 * a * c).max(0.0)));
    let mode = libm::floor(root).clamp(least, most);
    let ln_top = ln_choose(n_c, mode) + ln_choose(n_b, x - mode) + mode * ln_ratio;
    let mut sum = 1.0;
    let (mut term, mut j) = (1.0, mode);
    while j < most && term > NEGLIGIBLE * sum {
        term *= ratio * (n_c - j) * (x - j) / ((j + 1.0) * (n_b - x + j + 1.0));
        sum += term;
        j += 1.0;
    }
    (term, j) = (1.0, mode);
    while j > least && term > NEGLIGIBLE * sum {
        term *= j * (n_b - x + j) / (ratio * (n_c - j + 1.0) * (x - j + 1.0));
        sum += term;
        j -= 1.0;
    }
    ln_top + libm::log(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_terms(n_c: f64, n_b: f64, x: f64, ln_ratio: f64) -> f64 {
        let (least, most) = ((x - n_b).max(0.0) as u64, x.min(n_c) as u64);
        let term = |j: u64| ln_choose(n_c, j as f64) + ln_choose(n_b, x - j as f64) + j as f64 * ln_ratio;
        ln_sum_exp((least..=most).map(term))
    }

    #[test]
    fn the_sum_from_its_largest_term_is_the_whole_sum() {
        for (n_c, n_b, x) in [
            (10.0, 90.0, 7.0),
            (500.0, 500.0, 990.0),
            (3.0, 1.0, 4.0),
            (100.0, 900.0, 0.0),
            (1e4, 1e4, 900.0),
        ] {
            for ln_ratio in [-3.0, -0.2, 0.0, 0.4, 3.0] {
                let (got, expected) =
                    (ln_hypergeometric_sum(n_c, n_b, x, ln_ratio), all_terms(n_c, n_b, x, ln_ratio));
                assert!((got - expected).abs() < 1e-8, "{n_c} {n_b} {x} {ln_ratio}: {got} {expected}");
            }
        }
    }

    /// The expectation of one look's factor at the limit is 1: what makes the product a martingale.
    #[test]
    fn a_fair_look_leaves_the_evidence_as_it_is() {
        for law in [Law::Binomial, Law::Hypergeometric] {
            for way in [Way::Above, Way::Below] {
                let (n_c, n_b, x): (u64, u64, u64) = (20, 60, 9);
                let limit: f64 = 1.25;
                let mean: f64 = (0..=x)
                    .map(|hits| {
                        let ln_chance = match law {
                            Law::Binomial => {
                                let share = n_c as f64 * limit / (n_c as f64 * limit + n_b as f64);
                                ln_choose(x as f64, hits as f64)
                                    + hits as f64 * share.ln()
                                    + (x - hits) as f64 * (1.0 - share).ln()
                            }
                            Law::Hypergeometric => {
                                ln_choose(n_c as f64, hits as f64)
                                    + ln_choose(n_b as f64, (x - hits) as f64)
                                    + hits as f64 * limit.ln()
                                    - all_terms(n_c as f64, n_b as f64, x as f64, limit.ln())
                            }
                        };
                        let mut test = Counts::new(law, way, limit, 0.5);
                        test.update((n_c, hits), (n_b, x - hits));
                        (ln_chance + test.ln_evidence()).exp()
                    })
                    .sum();
                assert!((mean - 1.0).abs() < 1e-9, "{law:?} {way:?}: {mean}");
            }
        }
    }

    #[test]
    fn evidence_follows_the_ratio() {
        // Always-valid p-value: one over the largest evidence so far.
        let run = |way, limit, candidate| {
            let mut test = Counts::new(Law::Binomial, way, limit, 0.5);
            let mut largest: f64 = 0.0;
            for _ in 0..20 {
                test.update((1_000, candidate), (9_000, 18));
                largest = largest.max(test.ln_evidence());
            }
            (-largest).exp()
        };
        assert!(run(Way::Above, 1.25, 10) < 0.01 && run(Way::Above, 1.25, 2) == 1.0);
        assert!(run(Way::Below, 2.0, 2) < 0.01 && run(Way::Below, 2.0, 6) == 1.0);
    }

    #[test]
    fn a_look_without_events_or_without_an_arm_says_nothing() {
        let mut test = Counts::new(Law::Hypergeometric, Way::Above, 1.0, 0.2);
        let before = test.ln_evidence();
        for (candidate, baseline) in [((10, 0), (10, 0)), ((0, 0), (10, 3)), ((10, 4), (0, 0))] {
            test.update(candidate, baseline);
            assert_eq!(test.ln_evidence(), before);
        }
    }

    #[test]
    fn a_whole_look_of_millions_is_quick_and_finite() {
        let mut test = Counts::new(Law::Hypergeometric, Way::Above, 1.0, 0.1);
        test.update((5_000_000, 600_000), (45_000_000, 5_000_000));
        assert!(test.ln_evidence() > 1000.0);
    }
}
