//! Page and Hinkley's test with a running mean and forgetting: quick where the scale of values is known.
//!
//! E. Page, Biometrika 41 (1954); the form with a drift allowance and a forgetting factor of J. Gama et al., A survey
//! on concept drift adaptation, ACM Comput. Surv. 46 (2014).

use serde::{Deserialize, Serialize};

use crate::online::{Change, Direction};

/// Settings. The defaults are those of the literature, for values of about unit scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Changes of the mean smaller than this are allowed.
    pub allowance: f64,
    /// The sum at which it alarms.
    pub threshold: f64,
    /// What one step leaves of the sums.
    pub forgetting: f64,
    /// Least number of values before an alarm.
    pub least: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { allowance: 0.005, threshold: 50.0, forgetting: 0.9999, least: 30 }
    }
}

/// The detector. After a change it starts anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    settings: Settings,
    /// Values before the last restart.
    offset: u64,
    count: u64,
    mean: f64,
    up: Side,
    down: Side,
}

/// One direction: the sum, its extreme, and where that was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Side {
    sum: f64,
    extreme: f64,
    extreme_at: u64,
    /// Mean of all values up to the extreme.
    mean_there: f64,
}

impl Side {
    const START: Self = Self { sum: 0.0, extreme: 0.0, extreme_at: 0, mean_there: 0.0 };

    fn update(&mut self, step: f64, forgetting: f64, count: u64, mean: f64) {
        self.sum = forgetting * self.sum + step;
        if count == 1 || self.sum < self.extreme {
            *self = Self { sum: self.sum, extreme: self.sum, extreme_at: count, mean_there: mean };
        }
    }

    fn risen(&self) -> f64 {
        self.sum - self.extreme
    }
}

impl PageHinkley {
    /// Starts with nothing seen.
    pub fn new(settings: Settings) -> Self {
        Self { settings, offset: 0, count: 0, mean: 0.0, up: Side::START, down: Side::START }
    }

    /// Mean since the last change; `None` before the first value.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Values since the last change.
    pub fn values(&self) -> u64 {
        self.count
    }

    /// Takes the next value, which must be finite; others are passed over.
    pub fn update(&mut self, value: f64) -> Option<Change> {
        if !value.is_finite() {
            return None;
        }
        self.count += 1;
        self.mean += (value - self.mean) / self.count as f64;
        let distance = value - self.mean;
        let Settings { allowance, threshold, forgetting, least } = self.settings;
        self.up.update(distance - allowance, forgetting, self.count, self.mean);
        self.down.update(-distance - allowance, forgetting, self.count, self.mean);
        let (up, down) = (self.up.risen(), self.down.risen());
        if self.count < least || up.max(down) <= threshold {
            return None;
        }
        let (side, direction) =
            if up >= down { (self.up, Direction::Up) } else { (self.down, Direction::Down) };
        // The mean since the extreme follows from both running means.
        let since = (self.count - side.extreme_at).max(1) as f64;
        let after = (self.mean * self.count as f64 - side.mean_there * side.extreme_at as f64) / since;
        let change = Change {
            noticed: self.offset + self.count,
            began: self.offset + side.extreme_at + 1,
            direction,
            before: side.mean_there,
            after,
        };
        let seen = self.offset + self.count;
        *self = Self { offset: seen, ..Self::new(self.settings) };
        Some(change)
    }
}
