//! Many figures against one limit: which are beyond it and not by luck, with all that were looked at accounted for.

use crate::interval::{Interval, factor};
use crate::multiple::benjamini_hochberg;
use crate::special::{binomial_below, normal_above};

/// A figure, with what is known of its chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Estimate {
    /// Hits among independent trials; tested exactly.
    Share {
        /// Trials that hit.
        hits: u64,
        /// All trials.
        trials: u64,
    },
    /// Any figure with an interval. The side of the interval that looks at the limit tells its standard error.
    Within {
        /// The figure with both ends.
        interval: Interval,
        /// Level of the interval.
        level: f64,
    },
}

/// What a figure comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beyond {
    /// One-sided p-value of lying within the limits; doubled where there are two.
    pub p: f64,
    /// After Benjamini and Hochberg over all figures.
    pub p_adjusted: f64,
    /// Whether the figure itself lies outside.
    pub is_outside: bool,
    /// Outside, and not by luck.
    pub is_flagged: bool,
}

impl Estimate {
    fn value(&self) -> f64 {
        match self {
            Self::Share { hits, trials } => *hits as f64 / (*trials).max(1) as f64,
            Self::Within { interval, .. } => interval.estimate,
        }
    }

    /// p-value of a figure of at least `limit`.
    fn p_least(&self, limit: f64) -> f64 {
        match *self {
            Self::Share { hits, trials } => share_below(hits, trials, limit),
            Self::Within { interval, level } => {
                normal(limit - interval.estimate, interval.high - interval.estimate, level)
            }
        }
    }

    /// p-value of a figure of at most `limit`.
    fn p_most(&self, limit: f64) -> f64 {
        match *self {
            // As many trials that miss, of the opposite chance.
            Self::Share { hits, trials } => share_below(trials.saturating_sub(hits), trials, 1.0 - limit),
            Self::Within { interval, level } => {
                normal(interval.estimate - limit, interval.estimate - interval.low, level)
            }
        }
    }
}

/// Chance of at most so many hits where each trial hits with `chance`.
fn share_below(hits: u64, trials: u64, chance: f64) -> f64 {
    if chance <= 0.0 || hits >= trials {
        return 1.0;
    }
    if chance >= 1.0 { 0.0 } else { binomial_below(hits, trials, chance).min(1.0) }
}

/// Share of a normal distribution beyond a `distance` whose half interval at `level` is `half`.
fn normal(distance: f64, half: f64, level: f64) -> f64 {
    if half > 0.0 {
        return normal_above(distance / half * factor(level));
    }
    if distance > 0.0 { 0.0 } else { 1.0 }
}

/// Judges figures of which each should be at least `min` and at most `max`, at a false discovery rate of `alpha` over all of them.
pub fn beyond(figures: &[Estimate], min: Option<f64>, max: Option<f64>, alpha: f64) -> Vec<Beyond> {
    let sides = f64::from(u8::from(min.is_some()) + u8::from(max.is_some()));
    let p: Vec<f64> = figures
        .iter()
        .map(|figure| {
            let low = min.map_or(1.0, |min| figure.p_least(min));
            let high = max.map_or(1.0, |max| figure.p_most(max));
            (low.min(high) * sides.max(1.0)).min(1.0)
        })
        .collect();
    let adjusted = benjamini_hochberg(&p);
    figures
        .iter()
        .zip(p)
        .zip(adjusted)
        .map(|((figure, p), p_adjusted)| {
            let value = figure.value();
            let is_outside = min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max);
            Beyond { p, p_adjusted, is_outside, is_flagged: is_outside && p_adjusted <= alpha }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.max(1e-3), "{found} {expected}");
    }

    #[test]
    fn shares_are_tested_as_scipy_does() {
        let share = |hits, trials| Estimate::Share { hits, trials };
        let figures = [80, 84, 86, 95].map(|hits| share(hits, 100));
        let found = beyond(&figures, Some(0.9), None, 0.05);
        // binomtest(k, 100, 0.9, alternative="less").pvalue, and false_discovery_control of them.
        let p = [
            0.001_978_560_865_771_225,
            0.039_890_527_111_083_35,
            0.123_876_792_599_329_95,
            0.976_288_917_336_523_2,
        ];
        let adjusted = [
            0.007_914_243_463_084_9,
            0.079_781_054_222_166_7,
            0.165_169_056_799_106_6,
            0.976_288_917_336_523_2,
        ];
        for ((found, p), adjusted) in found.iter().zip(p).zip(adjusted) {
            close(found.p, p);
            close(found.p_adjusted, adjusted);
        }
        let verdicts: Vec<_> = found.iter().map(|found| (found.is_outside, found.is_flagged)).collect();
        assert_eq!(verdicts, [(true, true), (true, false), (true, false), (false, false)]);
        // binomtest(30, 100, 0.2, alternative="greater")
        close(beyond(&[share(30, 100)], None, Some(0.2), 0.05)[0].p, 0.011_248_978_720_991_648);
        close(beyond(&[share(30, 100)], Some(0.1), Some(0.2), 0.05)[0].p, 2.0 * 0.011_248_978_720_991_648);
    }

    #[test]
    fn one_of_fifty_slices_needs_more_than_luck() {
        let mut figures = vec![Estimate::Share { hits: 90, trials: 100 }; 50];
        figures[0] = Estimate::Share { hits: 84, trials: 100 };
        let found = beyond(&figures, Some(0.9), None, 0.05)[0];
        // Alone it would be significant; false_discovery_control over all fifty gives this.
        assert!(found.p < 0.05 && !found.is_flagged);
        close(found.p_adjusted, 0.548_709_834_557_995_9);
        close(beyond(&figures[..1], Some(0.9), None, 0.05)[0].p_adjusted, 0.039_890_527_111_083_35);
    }

    #[test]
    fn intervals_tell_the_standard_error() {
        let figure = |estimate, low, high| Estimate::Within {
            interval: Interval { estimate, low, high },
            level: 0.95,
        };
        // norm.sf((0.6 - 0.52) / (0.58 - 0.52) * norm.ppf(0.975))
        close(beyond(&[figure(0.52, 0.47, 0.58)], Some(0.6), None, 0.05)[0].p, 0.004_483_820_229_776_51);
        close(beyond(&[figure(0.52, 0.46, 0.57)], None, Some(0.44), 0.05)[0].p, 0.004_483_820_229_776_51);
        let sure = beyond(&[figure(0.5, 0.5, 0.5), figure(0.7, 0.7, 0.7)], Some(0.6), None, 0.05);
        assert_eq!([sure[0].p, sure[1].p], [0.0, 1.0]);
        assert!(beyond(&[], Some(0.6), None, 0.05).is_empty());
    }
}
