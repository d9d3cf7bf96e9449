//! Whether a value fits the like windows before it: the same hour of the week, or the last few windows.
//!
//! Median and median absolute deviation, so that one bad week among eight does not widen the band.

use serde::{Deserialize, Serialize};

use crate::sample::{linear_quantile, sorted};
use crate::special::student_quantile;

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

/// What the next value of a series probably is, by the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Mean of the like windows.
    pub mean: f64,
    /// Standard deviation of a window from what it is expected to be.
    pub deviation: f64,
    /// A value is below with the chance that was asked for.
    pub low: f64,
    /// A value is above with the chance that was asked for.
    pub high: f64,
    /// Like windows used.
    pub windows: usize,
}

/// Degrees of freedom from which on there is a forecast.
const FREEDOM: usize = 3;

/// The interval of one more value like `like`, outside of which it is on either side with chance `alpha` each: Student's prediction
/// interval, which is exact where values differ from the mean of their place in the season by independent normal noise. `others` are the
/// windows at other places of the season: their noise is the same, and tells how wide it is. The deviation is at least `floor` times the
/// size of the mean, so that a series that never varied does not alarm at once. `None` where there is too little.
pub fn forecast<'a>(
    like: &[f64],
    others: impl IntoIterator<Item = &'a [f64]>,
    alpha: f64,
    floor: f64,
) -> Option<Forecast> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let squares = |values: &[f64]| {
        let mean = mean(values);
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    if like.len() < 2 {
        return None;
    }
    let (mut sum, mut freedom) = (squares(like), like.len() - 1);
    for other in others.into_iter().filter(|other| other.len() > 1) {
        (sum, freedom) = (sum + squares(other), freedom + other.len() - 1);
    }
    if freedom < FREEDOM || !sum.is_finite() {
        return None;
    }
    let mean = mean(like);
    let deviation = (sum / freedom as f64).sqrt().max(floor.max(0.0) * mean.abs());
    let width =
        student_quantile(1.0 - alpha, freedom as f64) * deviation * (1.0 + 1.0 / like.len() as f64).sqrt();
    Some(Forecast { mean, deviation, low: mean - width, high: mean + width, windows: like.len() })
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

    #[test]
    fn a_forecast_is_students_and_the_season_is_taken_out() {
        // scipy.stats.t.ppf(0.999, 4) * np.std([1, 2, 3, 4, 5], ddof=1) * (1 + 1 / 5) ** 0.5 = 12.4243955...
        let found = forecast(&[1.0, 2.0, 3.0, 4.0, 5.0], [], 0.001, 0.0).unwrap();
        assert!((found.mean, found.windows) == (3.0, 5));
        assert!(
            (found.high - 3.0 - 12.424_395).abs() < 1e-3 && (found.low + found.high - 6.0).abs() < 1e-9,
            "{found:?}"
        );
        // Two weekends and the days of two weeks: the noise is that of all, the level that of weekends.
        let days: Vec<Vec<f64>> =
            (0..5).map(|day| vec![100.0 + f64::from(day), 102.0 + f64::from(day)]).collect();
        let found = forecast(&[20.0, 22.0], days.iter().map(Vec::as_slice), 0.01, 0.0).unwrap();
        assert!((found.mean, found.deviation) == (21.0, 2.0_f64.sqrt()), "{found:?}");
        assert!(found.high < 30.0);
        assert!(forecast(&[20.0, 22.0], [], 0.01, 0.0).is_none() && forecast(&[], [], 0.01, 0.0).is_none());
        assert!((forecast(&[10.0; 8], [], 0.01, 0.01).unwrap().deviation - 0.1).abs() < 1e-12);
    }
}
