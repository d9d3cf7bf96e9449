//! The chart of exponentially weighted moving averages for a known mean and deviation.
//!
//! S. Roberts, Technometrics 1 (1959), with the exact variance of the first values.

use serde::{Deserialize, Serialize};

use crate::online::{Change, Direction};

/// The detector. After a change the average starts anew from the mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ewma {
    mean: f64,
    deviation: f64,
    weight: f64,
    width: f64,
    seen: u64,
    since: u64,
    average: f64,
    /// Values since the average was last on the other side of the mean.
    run: u64,
}

impl Ewma {
    /// For a stream with `mean` and `deviation` (above zero) while all is well. `weight` in (0, 1] is what the newest
    /// value counts; limits are `width` deviations of the average. 0.2 and 3 are usual.
    pub fn new(mean: f64, deviation: f64, weight: f64, width: f64) -> Self {
        Self { mean, deviation, weight, width, seen: 0, since: 0, average: mean, run: 0 }
    }

    /// The current average.
    pub fn average(&self) -> f64 {
        self.average
    }

    /// How far from the mean the average may be after the values since the last change:
    /// L·σ·√(λ/(2−λ)·(1−(1−λ)^{2t})).
    pub fn limit(&self) -> f64 {
        let steps = 2.0 * self.since as f64;
        let share = self.weight / (2.0 - self.weight) * (1.0 - (1.0 - self.weight).powf(steps));
        self.width * self.deviation * share.sqrt()
    }

    /// Takes the next value, which must be finite; others are passed over.
    pub fn update(&mut self, value: f64) -> Option<Change> {
        if !value.is_finite() {
            return None;
        }
        self.seen += 1;
        self.since += 1;
        let before = self.average - self.mean;
        self.average += self.weight * (value - self.average);
        let distance = self.average - self.mean;
        self.run = if before * distance > 0.0 { self.run + 1 } else { 1 };
        if distance.abs() <= self.limit() {
            return None;
        }
        let change = Change {
            noticed: self.seen,
            began: self.seen + 1 - self.run,
            direction: if distance > 0.0 { Direction::Up } else { Direction::Down },
            before: self.mean,
            after: self.average,
        };
        (self.average, self.since, self.run) = (self.mean, 0, 0);
        Some(change)
    }
}
