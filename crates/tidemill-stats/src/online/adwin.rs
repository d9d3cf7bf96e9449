//! ADWIN: a window that grows while its mean holds and drops its old part when it does not.
//!
//! A. Bifet, R. Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007. The guarantee is on
//! false alarms at every cut, for values with a bounded range. Memory and time per value grow with the logarithm of
//! the window.

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
    /// Sum of what the values stand for.
    #[serde(default)]
    carried: f64,
}

impl Bucket {
    const EMPTY: Self = Self { count: 0.0, sum: 0.0, squares: 0.0, carried: 0.0 };

    fn mean(&self) -> f64 {
        self.sum / self.count
    }

    fn join(self, other: Self) -> Self {
        if self.count == 0.0 || other.count == 0.0 {
            return if self.count == 0.0 { other } else { self };
        }
        let count = self.count + other.count;
        let between = self.count * other.count * (self.mean() - other.mean()).powi(2) / count;
        Self {
            count,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares + between,
            carried: self.carried + other.carried,
        }
    }

    /// Mean of what the values stand for.
    fn level(&self) -> f64 {
        self.carried / self.count
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

    /// Mean of what the values of the window stand for.
    pub fn level(&self) -> Option<f64> {
        let window = self.window();
        (window.count > 0.0).then(|| window.level())
    }

    /// Takes the next value, which must be finite; others are passed over. On a change the old part of the window is
    /// dropped.
    pub fn update(&mut self, value: f64) -> Option<Change> {
        self.update_for(value, value)
    }

    /// Takes the next value, and what it stands for: changes are looked for among values and told in means of the latter. So a
    /// value may be one of a bounded range, of which alone the guarantee holds.
    pub fn update_for(&mut self, value: f64, carried: f64) -> Option<Change> {
        if !value.is_finite() || !carried.is_finite() {
            return None;
        }
        self.seen += 1;
        self.insert(Bucket { count: 1.0, sum: value, squares: 0.0, carried });
        if !self.seen.is_multiple_of(CLOCK) {
            return None;
        }
        if !self.has_cut() {
            return None;
        }
        // Whole buckets are dropped, and the oldest are long, so the time of the change comes from the cuts.
        let change = self.dated();
        while self.has_cut() {
            self.drop_oldest();
        }
        change
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

    fn drop_oldest(&mut self) {
        if let Some(row) = self.rows.iter_mut().rev().find(|row| !row.is_empty()) {
            row.pop_back();
        }
        while self.rows.last().is_some_and(|row| row.is_empty()) {
            self.rows.pop();
        }
    }

    /// The change at the cut that explains most of the variance: the largest n₀·n₁·(μ₀−μ₁)²/n.
    fn dated(&self) -> Option<Change> {
        let cuts = self.cuts().filter(|(old, new)| old.count > 0.0 && new.count > 0.0);
        let explained =
            |(old, new): &(Bucket, Bucket)| old.count * new.count * (old.mean() - new.mean()).powi(2);
        let (old, new) = cuts.max_by(|a, b| explained(a).total_cmp(&explained(b)))?;
        Some(Change {
            noticed: self.seen,
            began: self.seen + 1 - new.count as u64,
            direction: if new.mean() > old.mean() { Direction::Up } else { Direction::Down },
            before: old.level(),
            after: new.level(),
        })
    }

    /// The window before and after each end of a bucket, the oldest first. Of the newer part all but the squares is right.
    fn cuts(&self) -> impl Iterator<Item = (Bucket, Bucket)> {
        let window = self.window();
        let buckets = self.rows.iter().rev().flat_map(|row| row.iter().rev());
        buckets.scan(Bucket::EMPTY, move |old, bucket| {
            *old = old.join(*bucket);
            let new = Bucket {
                count: window.count - old.count,
                sum: window.sum - old.sum,
                squares: 0.0,
                carried: window.carried - old.carried,
            };
            Some((*old, new))
        })
    }

    /// Whether some cut of the window has means that differ by more than
    /// √(2·σ²·ln(2·ln n/δ)/m) + ⅔·ln(2·ln n/δ)/m with 1/m = 1/(n₀−4) + 1/(n₁−4).
    fn has_cut(&self) -> bool {
        let window = self.window();
        if window.count <= LEAST_WINDOW {
            return false;
        }
        let variance = window.squares / window.count;
        let surprise = (2.0 * window.count.ln() / self.delta).ln();
        self.cuts().filter(|(old, new)| old.count >= LEAST_SIDE && new.count >= LEAST_SIDE).any(
            |(old, new)| {
                let inverse = 1.0 / (old.count - LEAST_SIDE + 1.0) + 1.0 / (new.count - LEAST_SIDE + 1.0);
                let limit = (2.0 * inverse * variance * surprise).sqrt() + 2.0 / 3.0 * surprise * inverse;
                (old.mean() - new.mean()).abs() > limit
            },
        )
    }
}
