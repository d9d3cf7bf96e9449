//! ADWIN: a window that grows while its mean holds and drops its old part when it does not.
//!
//! A. Bifet, R. Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007. The guarantee is on false alarms at
//! every cut, for values with a bounded range. Memory and time per value grow with the logarithm of the window.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::online::{Change, Direction};

/// Buckets of one size before two of them are merged.
const BUCKETS: usize = 5;
/// Cuts are looked for after every so many values.
const CLOCK: u64 = 32;
/// Least number of values on each side of a cut.
const LEAST_SIDE: f64 = 5.0;
/// Least number of values in the window.
const LEAST_WINDOW: f64 = 10.0;

/// Some neighbouring values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Bucket {
    count: f64,
    sum: f64,
    /// Sum of squared distances from the bucket's mean.
    squares: f64,
}

impl Bucket {
    const EMPTY: Self = Self { count: 0.0, sum: 0.0, squares: 0.0 };

    fn mean(&self) -> f64 {
        self.sum / self.count
    }

    fn join(self, other: Self) -> Self {
        if self.count == 0.0 || other.count == 0.0 {
            return if self.count == 0.0 { other } else { self };
        }
        let count = self.count + other.count;
        let between = self.count * other.count * (self.mean() - other.mean()).powi(2) / count;
        Self { count, sum: self.sum + other.sum, squares: self.squares + other.squares + between }
    }
}

/// The detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    delta: f64,
    seen: u64,
    /// Row k holds buckets of 2^k values, the newest first.
    rows: Vec<VecDeque<Bucket>>,
}

impl Adwin {
    /// With chance `delta` of a false alarm at a cut; the usual value is 0.002.
    pub fn new(delta: f64) -> Self {
        Self { delta, seen: 0, rows: Vec::new() }
    }

    /// Number of values in the window.
    pub fn width(&self) -> u64 {
        self.window().count as u64
    }

    /// Mean of the window; `None` while it is empty.
    pub fn mean(&self) -> Option<f64> {
        let window = self.window();
        (window.count > 0.0).then(|| window.mean())
    }

    /// Takes the next value, which must be finite; others are passed over. On a change the old part of the window is
    /// dropped.
    pub fn update(&mut self, value: f64) -> Option<Change> {
        if !value.is_finite() {
            return None;
        }
        self.seen += 1;
        self.insert(Bucket { count: 1.0, sum: value, squares: 0.0 });
        if !self.seen.is_multiple_of(CLOCK) {
            return None;
        }
        let mut dropped = Bucket::EMPTY;
        while self.window().count > LEAST_WINDOW && self.has_cut() {
            dropped = dropped.join(self.drop_oldest()?);
        }
        let window = self.window();
        (dropped.count > 0.0).then(|| Change {
            noticed: self.seen,
            began: self.seen + 1 - window.count as u64,
            direction: if window.mean() > dropped.mean() { Direction::Up } else { Direction::Down },
            before: dropped.mean(),
            after: window.mean(),
        })
    }

    fn window(&self) -> Bucket {
        self.rows.iter().flatten().fold(Bucket::EMPTY, |all, bucket| all.join(*bucket))
    }

    fn insert(&mut self, bucket: Bucket) {
        let mut carried = Some(bucket);
        let mut row = 0;
        while let Some(bucket) = carried.take() {
            if row == self.rows.len() {
                self.rows.push(VecDeque::with_capacity(BUCKETS + 1));
            }
            let buckets = &mut self.rows[row];
            buckets.push_front(bucket);
            if buckets.len() > BUCKETS
                && let (Some(oldest), Some(next)) = (buckets.pop_back(), buckets.pop_back())
            {
                carried = Some(oldest.join(next));
            }
            row += 1;
        }
    }

    fn drop_oldest(&mut self) -> Option<Bucket> {
        let oldest = self.rows.iter_mut().rev().find_map(|row| row.pop_back());
        while self.rows.last().is_some_and(|row| row.is_empty()) {
            self.rows.pop();
        }
        oldest
    }

    /// Whether some cut of the window has means that differ by more than
    /// √(2·σ²·ln(2·ln n/δ)/m) + ⅔·ln(2·ln n/δ)/m with 1/m = 1/(n₀−4) + 1/(n₁−4).
    fn has_cut(&self) -> bool {
        let window = self.window();
        let variance = window.squares / window.count;
        let surprise = (2.0 * window.count.ln() / self.delta).ln();
        let mut old = Bucket::EMPTY;
        for bucket in self.rows.iter().rev().flat_map(|row| row.iter().rev()) {
            old = old.join(*bucket);
            let (count, sum) = (window.count - old.count, window.sum - old.sum);
            if old.count < LEAST_SIDE || count < LEAST_SIDE {
                continue;
            }
            let inverse = 1.0 / (old.count - LEAST_SIDE + 1.0) + 1.0 / (count - LEAST_SIDE + 1.0);
            let limit = (2.0 * inverse * variance * surprise).sqrt() + 2.0 / 3.0 * surprise * inverse;
            if (old.mean() - sum / count).abs() > limit {
                return true;
            }
        }
        false
    }
}
