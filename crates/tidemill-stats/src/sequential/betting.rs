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
/// Each bet puts the same part of its money on every value; the evidence is the mean of their fortunes (Waudby-Smith and Ramdas 2024,
/// Estimating means of bounded random variables by betting). Where the mean is at most zero, no way to bet gains in expectation: each
/// fortune is multiplied by `1 + stake·value`, whose expected value given the past is at most one, so that their mean is a supermartingale
/// that begins at one.
///
/// What bets have at the start grows with the root of the stake. The best stake is the mean over the variance, so with values in a range
/// of 1 it takes no less than some 30 over its square values to decide with it: whoever needs small stakes waits for hundreds of
/// thousands of values anyway, and everybody else would have paid for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Betting {
    /// Logarithm of each bet's fortune, in units of the mean of what all begin with. Earlier versions began with the same for each;
    /// such a state goes on with what its bets have.
    #[serde(with = "exact::numbers")]
    fortunes: Vec<f64>,
}

impl Default for Betting {
    fn default() -> Self {
        let money: Vec<f64> = stakes().map(libm::sqrt).collect();
        let mean = money.iter().sum::<f64>() / f64::from(BETS);
        Self { fortunes: money.into_iter().map(|money| libm::log(money / mean)).collect() }
    }
}

/// The part of what can be lost that each bet puts on a value, evenly apart as logarithms.
fn stakes() -> impl Iterator<Item = f64> {
    let step = libm::log(LARGEST / SMALLEST) / f64::from(BETS - 1);
    (0..BETS).map(move |bet| SMALLEST * libm::exp(step * f64::from(bet)))
}

impl Betting {
    /// Takes up a value that was seen `count` times; values are never below `-lowest`, where `lowest` is positive and may change from
    /// look to look, but not with the values of the look itself.
    pub fn update(&mut self, value: f64, count: u64, lowest: f64) {
        if count == 0 || !(value.is_finite() && lowest > 0.0) {
            return;
        }
        let part = value.max(-lowest) / lowest;
        for (fortune, stake) in self.fortunes.iter_mut().zip(stakes()) {
            *fortune += count as f64 * libm::log1p(stake * part);
        }
    }

    /// Takes up all values of two arms in one look, as evidence that the mean of `worse` is more than `margin` above that of `other`.
    /// Values outside of the range count as its ends.
    ///
    /// Values of the arm that has fewer are each set against the mean of `g` values of the other arm, as many as there are for every
    /// one, and bets are on these differences. Whichever values are set against which, each bet's fortune is multiplied by
    ///
    /// `E(π) = Π (1 + λ·(xᵢ − mean of the group that π gives to i − margin))`
    ///
    /// with `λ` the stake over what can be lost (`x` from the worse arm; with the sign turned where the other arm has fewer). Where values
    /// are independent and the means are at most `margin` apart, each factor has an expected value of at most one, and so has the
    /// product, for every `π` that is chosen without looking at the values; hence also the mean of `E(π)` over all `π`. The logarithm is
    /// concave, so
    ///
    /// `exp(mean over π of ln E(π)) ≤ mean over π of E(π)`
    ///
    /// (Jensen): the left side has an expected value of at most one too, and it does not hang on the order of values, which is not known.
    /// It is bounded from below, which keeps that: with `a` the factor of `x` against the mean of all values of the other arm, and `z` what
    /// the mean of its group `ȳ` is away from that in units of `a`, a factor is `a·(1 − z)`, and
    ///
    /// `ln(1 − z) ≥ −z − k·z²`, where `k = (−ln(1 − t) − t)/t²` and `z ≤ t < 1`,
    ///
    /// as `(−ln(1 − z) − z)/z²` grows with `z`. Over all groups `z` is zero in the mean, and the mean of its square is the variance of the mean
    /// of `g` out of `n` values without replacement, `s²/g·(1 − g/n)`, times `λ²/a²`. No `z` is above what it is for the most extreme
    /// single value, which is `t`.
    pub fn compare(
        &mut self,
        worse: &[(f64, u64)],
        other: &[(f64, u64)],
        (least, most): (f64, f64),
        margin: f64,
    ) {
        let inside = |values: &[(f64, u64)]| -> Vec<(f64, f64)> {
            let seen = values.iter().filter(|(value, count)| !value.is_nan() && *count > 0);
            seen.map(|(value, count)| (value.clamp(least, most), *count as f64)).collect()
        };
        let number = |values: &[(f64, f64)]| values.iter().map(|(_, count)| count).sum::<f64>();
        let (worse, other) = (inside(worse), inside(other));
        // Against groups of the worse arm everything is turned round.
        let (few, many, sign) =
            if number(&worse) <= number(&other) { (worse, other, 1.0) } else { (other, worse, -1.0) };
        let (singles, n) = (number(&few), number(&many));
        let lowest = (most - least) + margin.max(0.0);
        if singles == 0.0 || !(lowest > 0.0 && margin.is_finite()) {
            return;
        }
        let group = libm::floor(n / singles);
        let mean = many.iter().map(|(value, count)| value * count).sum::<f64>() / n;
        let squares: f64 = many.iter().map(|(value, count)| count * (value - mean) * (value - mean)).sum();
        let variance = squares / (n - 1.0).max(1.0) / group * (1.0 - group / n);
        let furthest = many.iter().map(|(value, _)| sign * (value - mean)).fold(0.0, f64::max);
        for (fortune, stake) in self.fortunes.iter_mut().zip(stakes()) {
            let stake = stake / lowest;
            for (value, count) in &few {
                let against_all = 1.0 + stake * (sign * (value - mean) - margin);
                let unit = stake / against_all;
                let lost = curve(unit * furthest) * unit * unit * variance;
                *fortune += count * (libm::log(against_all) - lost);
            }
        }
    }

    /// The logarithm of the evidence.
    pub fn ln_evidence(&self) -> f64 {
        ln_sum_exp(self.fortunes.iter().copied()) - libm::log(f64::from(BETS))
    }
}

/// `(−ln(1 − t) − t)/t²`, for `t` from 0 and below 1.
fn curve(t: f64) -> f64 {
    // Further down the difference is lost in rounding.
    const SMALL: f64 = 1e-4;
    if t < SMALL { 0.5 + t / 3.0 + t * t / 4.0 } else { (-libm::log1p(-t) - t) / (t * t) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_seen_is_no_evidence() {
        let none = Betting::default().ln_evidence();
        assert!(none.abs() < 1e-12, "{none}");
    }

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

    /// A state as it was stored when all bets began with the same, after a fair coin fell well three times.
    #[test]
    fn a_state_of_an_earlier_version_goes_on_with_what_it_has() {
        let fortunes: Vec<f64> = stakes().map(|stake| 3.0 * libm::log1p(stake)).collect();
        let texts: Vec<String> = fortunes.iter().map(f64::to_string).collect();
        let mut read: Betting =
            serde_json::from_str(&format!(r#"{{"fortunes":"{}"}}"#, texts.join(" "))).unwrap();
        let had = read.ln_evidence();
        let mean = fortunes.iter().map(|ln| ln.exp()).sum::<f64>() / 28.0;
        assert!((had - mean.ln()).abs() < 1e-12);
        let mut also = read.clone();
        read.update(1.0, 1, 1.0);
        also.update(-1.0, 1, 1.0);
        let next = 0.5 * (read.ln_evidence().exp() + also.ln_evidence().exp());
        assert!((next - had.exp()).abs() < 1e-12, "a fair game keeps what it had");
    }

    type Chances<'a> = &'a [(f64, f64)];

    /// All samples of `n` values, each with its chance.
    fn samples(chances: Chances<'_>, n: u32) -> Vec<(Vec<(f64, u64)>, f64)> {
        (0..n).fold(vec![(Vec::new(), 1.0)], |samples, _| {
            let longer = |(sample, chance): &(Vec<(f64, u64)>, f64)| {
                let (sample, chance) = (sample.clone(), *chance);
                chances.iter().map(move |(value, p)| {
                    let mut sample = sample.clone();
                    sample.push((*value, 1));
                    (sample, chance * p)
                })
            };
            samples.iter().flat_map(longer).collect()
        })
    }

    fn mean(chances: Chances<'_>) -> f64 {
        chances.iter().map(|(value, chance)| value * chance).sum()
    }

    const NASTY: [Chances<'static>; 5] = [
        &[(0.0, 0.5), (1.0, 0.5)],
        &[(0.0, 0.97), (0.2, 0.01), (1.0, 0.02)],
        &[(0.0, 0.02), (0.9, 0.01), (1.0, 0.97)],
        &[(0.45, 0.7), (0.5, 0.3)],
        &[(0.0, 0.3), (0.6, 0.4), (1.0, 0.3)],
    ];

    #[test]
    fn arms_that_are_as_far_apart_as_the_margin_gain_nothing_in_expectation() {
        for worse in NASTY {
            for other in NASTY {
                let margin = mean(worse) - mean(other);
                for (n, m) in [(1, 1), (2, 2), (3, 2), (2, 3), (1, 4), (4, 1), (2, 4), (5, 2), (3, 3)] {
                    for past in [0, 3] {
                        // Bets that have won before are bets on large stakes.
                        let mut begun = Betting::default();
                        begun.update(0.8, past, 1.0);
                        let mut expected = 0.0;
                        for (x, p) in samples(worse, n) {
                            for (y, q) in samples(other, m) {
                                let mut test = begun.clone();
                                test.compare(&x, &y, (0.0, 1.0), margin);
                                expected += p * q * test.ln_evidence().exp();
                            }
                        }
                        let had = begun.ln_evidence().exp();
                        assert!(expected <= had * (1.0 + 1e-12), "{worse:?} {other:?} {n}:{m}: {expected}");
                        // It is no empty promise either: little is lost by the bound.
                        assert!(expected > 0.6 * had, "{worse:?} {other:?} {n}:{m}: {expected}");
                    }
                }
            }
        }
    }

    /// All orders of so many places.
    fn orders(n: usize) -> Vec<Vec<usize>> {
        if n == 0 {
            return vec![Vec::new()];
        }
        let shorter = orders(n - 1);
        (0..n)
            .flat_map(|at| {
                shorter.iter().map(move |order| {
                    let mut order = order.clone();
                    order.insert(at, n - 1);
                    order
                })
            })
            .collect()
    }

    #[test]
    fn no_bet_gains_more_than_it_does_in_the_mean_over_all_groups() {
        let (few, many, margin) = ([0.9, 0.1], [0.0, 0.2, 0.2, 0.7, 1.0], 0.1);
        let counted = |values: &[f64]| values.iter().map(|value| (*value, 1)).collect::<Vec<_>>();
        for is_worse in [true, false] {
            let (mut test, sign) = (Betting::default(), if is_worse { 1.0 } else { -1.0 });
            let before = test.fortunes.clone();
            let (worse, other) = if is_worse { (&few[..], &many[..]) } else { (&many[..], &few[..]) };
            test.compare(&counted(worse), &counted(other), (0.0, 1.0), margin);
            for (bet, stake) in stakes().enumerate() {
                let all = orders(many.len());
                let gain = |order: &Vec<usize>| -> f64 {
                    let against = |at: usize| 0.5 * (many[order[2 * at]] + many[order[2 * at + 1]]);
                    (0..2).map(|at| (stake / 1.1 * (sign * (few[at] - against(at)) - margin)).ln_1p()).sum()
                };
                let mean = all.iter().map(gain).sum::<f64>() / all.len() as f64;
                let found = test.fortunes[bet] - before[bet];
                assert!(found <= mean + 1e-12, "stake {stake}: {found} instead of at most {mean}");
                assert!(found > mean - 0.1, "stake {stake}: {found} is far below {mean}");
            }
        }
    }

    #[test]
    fn the_order_of_values_and_what_is_no_value_do_not_matter() {
        let range = (0.0, 10.0);
        let (mut one, mut two) = (Betting::default(), Betting::default());
        one.compare(&[(0.0, 3), (9.0, 2)], &[(0.0, 7), (4.0, 1)], range, 0.5);
        let other = [(f64::NAN, 9), (4.0, 1), (-3.0, 7), (8.0, 0)];
        two.compare(&[(99.0, 1), (9.0, 1), (0.0, 1), (0.0, 2)], &other, range, 0.5);
        assert!((one.ln_evidence() - two.ln_evidence()).abs() > 1e-6, "99 counts as 10, not as 9");
        let mut two = Betting::default();
        two.compare(&[(9.0, 1), (0.0, 1), (9.0, 1), (0.0, 2)], &other, range, 0.5);
        assert!((one.ln_evidence() - two.ln_evidence()).abs() < 1e-12);
        let before = two.clone();
        two.compare(&[], &[(1.0, 5)], range, 0.5);
        two.compare(&[(1.0, 5)], &[(1.0, 0)], range, 0.5);
        assert_eq!(two, before, "an arm without values says nothing");
    }

    #[test]
    fn the_curve_is_smooth_where_its_formula_changes() {
        assert!((curve(0.999_9e-4) - curve(1.000_1e-4)).abs() < 1e-7);
        assert_eq!(curve(0.0), 0.5);
        assert!((curve(0.5) - 4.0 * (std::f64::consts::LN_2 - 0.5)).abs() < 1e-12);
    }
}
