//! Whether a value fits the like windows before it: the same hour of the week, or the last few windows.
//!
//! Median and median absolute deviation, so that one bad week among eight does not widen the band.

use serde::{Deserialize, Serialize};

use crate::sample::{linear_quantile, sorted};

/// Makes the median absolute deviation an estimate of the standard deviation of normal values: 1/Φ⁻¹(¾).
const CONSISTENT: f64 = 1.482_602_218_505_602;

/// How a band is made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Windows in a season, for example 168 for hours of the week; one compares with the windows just before.
    pub period: usize,
    /// How many like windows count.
    pub windows: usize,
    /// Width in deviations to each side.
    pub width: f64,
    /// Least number of like windows.
    pub least: usize,
    /// The deviation is at least this share of the median's size, so that a series that never varied does not alarm
    /// at once.
    pub relative_floor: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { period: 168, windows: 8, width: 4.0, least: 4, relative_floor: 0.01 }
    }
}

/// The band and where the newest value lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Median of the like windows.
    pub median: f64,
    /// Their scaled median absolute deviation, at least the floor.
    pub deviation: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Distance of the value from the median in deviations; `None` if the deviation is zero.
    pub score: Option<f64>,
    /// Value over median; `None` if that is zero.
    pub ratio: Option<f64>,
    /// Whether the value lies outside.
    pub outside: bool,
    /// Like windows used.
    pub windows: usize,
}

/// Judges the last of `series` (one value a window, NaN where there is none, the newest last) by the windows a whole
/// number of periods before it. `None` if it is NaN, or with fewer than `rule.least` like windows.
pub fn band(series: &[f64], rule: Rule) -> Option<Band> {
    let (value, earlier) = series.split_last()?;
    let period = rule.period.max(1);
    let like: Vec<f64> = earlier
        .iter()
        .rev()
        .skip(period - 1)
        .step_by(period)
        .copied()
        .filter(|x| x.is_finite())
        .take(rule.windows)
        .collect();
    if !value.is_finite() || like.len() < rule.least.max(1) {
        return None;
    }
    let windows = like.len();
    let like = sorted(like);
    let median = linear_quantile(&like, 0.5);
    let distances = sorted(like.iter().map(|x| (x - median).abs()).collect());
    let deviation =
        (CONSISTENT * linear_quantile(&distances, 0.5)).max(rule.relative_floor.max(0.0) * median.abs());
    let width = rule.width * deviation;
    Some(Band {
        median,
        deviation,
        low: median - width,
        high: median + width,
        score: (deviation > 0.0).then(|| (value - median) / deviation),
        ratio: (median != 0.0).then(|| value / median),
        outside: (value - median).abs() > width,
        windows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten days of four windows with a daily pattern and a little noise.
    fn days(last: f64) -> Vec<f64> {
        let mut series: Vec<f64> = (0..40)
            .map(|at| [10.0, 50.0, 100.0, 20.0][at % 4] + f64::from((at * 7 % 5) as u8) - 2.0)
            .collect();
        series.push(last);
        series
    }

    #[test]
    fn like_is_compared_with_like() {
        let rule = Rule { period: 4, ..Rule::default() };
        assert!(!band(&days(11.0), rule).unwrap().outside);
        // Fifty is usual a window later, and the mean of a day is 45.
        let found = band(&days(50.0), rule).unwrap();
        assert!(found.outside && found.windows == 8 && found.ratio.unwrap() > 4.0, "{found:?}");
        assert!(!band(&days(45.0), Rule { period: 1, ..Rule::default() }).unwrap().outside);
    }

    #[test]
    fn one_bad_week_does_not_widen_the_band() {
        let rule = Rule { period: 1, relative_floor: 0.0, ..Rule::default() };
        let calm = band(&[10.0, 11.0, 9.0, 10.0, 10.0, 11.0, 9.0, 10.0, 10.0], rule).unwrap();
        let bad = band(&[10.0, 11.0, 9.0, 10.0, 900.0, 11.0, 9.0, 10.0, 10.0], rule).unwrap();
        assert!(bad.high < calm.high + 5.0);
    }

    #[test]
    fn too_little_history_is_no_verdict() {
        let rule = Rule { period: 1, ..Rule::default() };
        assert!(band(&[1.0, 1.0, 1.0, 1.0], rule).is_none());
        assert!(band(&[1.0, f64::NAN, 1.0, 1.0, 1.0, 5.0], rule).is_some_and(|found| found.outside));
        assert!(band(&[1.0, 1.0, 1.0, 1.0, f64::NAN], rule).is_none() && band(&[], rule).is_none());
        // A series of zeros has no deviation; any other value is outside.
        let zeros = band(&[0.0, 0.0, 0.0, 0.0, 0.1], rule).unwrap();
        assert_eq!((zeros.outside, zeros.score, zeros.ratio), (true, None, None));
    }
}
