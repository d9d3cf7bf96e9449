//! Resampling with replacement, for any statistic of rows.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;
use crate::random::Random;
use crate::sample::linear_quantile;
use crate::special::{normal_below, normal_quantile};

/// The values that a statistic takes on resamples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The statistic of the rows themselves.
    pub estimate: f64,
    /// Its finite values on resamples, sorted.
    values: Vec<f64>,
    /// Its finite values with one row left out at a time.
    left_out: Vec<f64>,
}

/// Evaluates `statistic` on `resamples` samples of `rows` positions drawn with replacement, the same ones for the
/// same `seed`. It gets positions and may be asked for repeated ones; a result that is not finite (one class only in
/// a resample) leaves that resample out. `None` without rows or when the statistic of the rows themselves is not
/// finite.
///
/// Nothing is allocated per resample. For BCa intervals call [`Bootstrap::with_left_out`].
pub fn bootstrap(
    rows: u32,
    resamples: u32,
    seed: u64,
    mut statistic: impl FnMut(&[u32]) -> f64,
) -> Option<Bootstrap> {
    let mut index: Vec<u32> = (0..rows).collect();
    let estimate = (rows > 0).then(|| statistic(&index)).filter(|value| value.is_finite())?;
    let mut values = Vec::with_capacity(resamples as usize);
    for resample in 0..resamples {
        Random::new(seed, u64::from(resample)).resample(&mut index);
        let value = statistic(&index);
        if value.is_finite() {
            values.push(value);
        }
    }
    values.sort_unstable_by(f64::total_cmp);
    Some(Bootstrap { estimate, values, left_out: Vec::new() })
}

impl Bootstrap {
    /// Adds the statistic on all rows but one, for every row, which the acceleration of [`Self::bca`] needs.
    #[must_use]
    pub fn with_left_out(mut self, rows: u32, mut statistic: impl FnMut(&[u32]) -> f64) -> Self {
        // Position i holds i + 1 from the row that is left out on; moving on changes one entry.
        let mut index: Vec<u32> = (1..rows).collect();
        self.left_out.clear();
        for gone in 0..rows {
            let value = statistic(&index);
            if value.is_finite() {
                self.left_out.push(value);
            }
            if let Some(entry) = index.get_mut(gone as usize) {
                *entry = gone;
            }
        }
        self
    }

    /// The resampled values, sorted.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Standard error: the deviation of the resampled values (`ddof=1`). `None` below two values.
    pub fn error(&self) -> Option<f64> {
        Some(crate::sample::Moments::of(&self.values)?.sample_variance()?.sqrt())
    }

    /// The interval between the quantiles (1−level)/2 and (1+level)/2 of the resampled values. `None` without any.
    pub fn percentile(&self, level: f64) -> Option<Interval> {
        self.between((1.0 - level) / 2.0, f64::midpoint(1.0, level))
    }

    /// The bias-corrected and accelerated interval (B. Efron, JASA 82, 1987), as scipy computes it. `None` where it
    /// is not defined: without left-out values, or with all resampled values on one side of the estimate.
    pub fn bca(&self, level: f64) -> Option<Interval> {
        let count = self.values.len() as f64;
        if self.left_out.len() < 2 || count == 0.0 {
            return None;
        }
        // Half of the values that equal the estimate count as below it.
        let below = self.values.partition_point(|value| *value < self.estimate) as f64;
        let upto = self.values.partition_point(|value| *value <= self.estimate) as f64;
        let bias = normal_quantile((below + upto) / (2.0 * count));
        let mean = self.left_out.iter().sum::<f64>() / self.left_out.len() as f64;
        let (mut squares, mut cubes) = (0.0, 0.0);
        for value in &self.left_out {
            let distance = mean - value;
            squares += distance * distance;
            cubes += distance * distance * distance;
        }
        let acceleration = if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 };
        if !bias.is_finite() {
            return None;
        }
        let moved = |tail: f64| {
            let z = bias + normal_quantile(tail);
            normal_below(bias + z / (1.0 - acceleration * z))
        };
        self.between(moved((1.0 - level) / 2.0), moved(f64::midpoint(1.0, level)))
    }

    fn between(&self, low: f64, high: f64) -> Option<Interval> {
        let end =
            |q: f64| (!self.values.is_empty() && q.is_finite()).then(|| linear_quantile(&self.values, q));
        Some(Interval { estimate: self.estimate, low: end(low)?, high: end(high)? })
    }

    /// Share of resampled values at or below `value`: a one-sided bootstrap p-value of "the statistic is larger",
    /// never zero.
    pub fn share_upto(&self, value: f64) -> f64 {
        let upto = self.values.partition_point(|x| *x <= value) as f64;
        (upto + 1.0) / (self.values.len() as f64 + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_out_visits_every_row_once() {
        let rows = [1.0, 2.0, 4.0, 8.0];
        let sum = |index: &[u32]| index.iter().map(|at| rows[*at as usize]).sum::<f64>();
        let found = bootstrap(4, 100, 1, sum).unwrap().with_left_out(4, sum);
        assert_eq!(found.left_out, [14.0, 13.0, 11.0, 7.0]);
        assert_eq!(found.estimate, 15.0);
        assert!(found.values().iter().all(|value| (4.0..=32.0).contains(value)));
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let mean = |index: &[u32]| index.iter().map(|at| f64::from(*at)).sum::<f64>() / index.len() as f64;
        let run = |seed| bootstrap(50, 500, seed, mean).unwrap().percentile(0.9).unwrap();
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!(bootstrap(0, 10, 1, mean).is_none());
        assert!(bootstrap(5, 10, 1, |_| f64::NAN).is_none());
        let constant = bootstrap(5, 10, 1, |_| 1.0).unwrap().with_left_out(5, |_| 1.0);
        assert_eq!(constant.bca(0.9).map(|i| (i.low, i.high)), Some((1.0, 1.0)));
    }
}
