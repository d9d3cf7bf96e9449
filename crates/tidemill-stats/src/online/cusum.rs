//! The two-sided cumulative sum chart for a known mean and deviation.
//!
//! E. Page, Biometrika 41 (1954); D. Montgomery, Introduction to Statistical Quality Control, chapter 9.

use serde::{Deserialize, Serialize};

use crate::online::{Change, Direction};

/// The detector. After a change its sums start anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    mean: f64,
    deviation: f64,
    slack: f64,
    threshold: f64,
    seen: u64,
    up: Side,
    down: Side,
}

/// A sum that never falls below zero, since when it is above, and what came since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Side {
    sum: f64,
    run: u64,
    total: f64,
}

impl Side {
    fn update(&mut self, step: f64, value: f64) {
        self.sum += step;
        if self.sum <= 0.0 {
            *self = Self::default();
        } else {
            self.run += 1;
            self.total += value;
        }
    }
}

impl Cusum {
    /// For a stream with `mean` and `deviation` (above zero) while all is well. `slack` and `threshold` are in
    /// deviations; 0.5 and 5 find a shift of one deviation soon, with about 465 values between false alarms of normal
    /// noise.
    pub fn new(mean: f64, deviation: f64, slack: f64, threshold: f64) -> Self {
        Self { mean, deviation, slack, threshold, seen: 0, up: Side::default(), down: Side::default() }
    }

    /// Takes the next value, which must be finite; others are passed over.
    pub fn update(&mut self, value: f64) -> Option<Change> {
        let z = (value - self.mean) / self.deviation;
        if !z.is_finite() {
            return None;
        }
        self.seen += 1;
        self.up.update(z - self.slack, value);
        self.down.update(-z - self.slack, value);
        let (side, direction) = if self.up.sum >= self.down.sum {
            (self.up, Direction::Up)
        } else {
            (self.down, Direction::Down)
        };
        if side.sum <= self.threshold {
            return None;
        }
        (self.up, self.down) = (Side::default(), Side::default());
        Some(Change {
            noticed: self.seen,
            began: self.seen + 1 - side.run,
            direction,
            before: self.mean,
            after: side.total / side.run as f64,
        })
    }

    /// Both sums in deviations, the upper one first.
    pub fn sums(&self) -> (f64, f64) {
        (self.up.sum, self.down.sum)
    }
}
