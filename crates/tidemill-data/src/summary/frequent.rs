//! Frequent values in bounded memory: exact counts for up to [`LIMIT`] different values, then the algorithm of Misra
//! and Gries (1982) with batched decrements, whose counts are lower bounds with a known error.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

/// Most different values counted exactly.
pub(super) const LIMIT: usize = 10_000;

/// A value as it is kept: whole numbers also for truth values, dates and times in their column's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Sample {
    Int(i64),
    Float(f64),
    Text(Box<str>),
}

/// Counts of values by their hashes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(super) struct Frequent {
    counts: HashMap<u64, (u64, Sample), BuildHasherDefault<Taken>>,
    /// What was taken off every count; 0 while all counts are exact.
    error: u64,
}

/// Hashes are hashed already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken(u64);

impl Hasher for Taken {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    counts: Vec<(u64, u64, Sample)>,
    error: u64,
}

impl From<Frequent> for Stored {
    fn from(frequent: Frequent) -> Self {
        let mut counts: Vec<_> =
            frequent.counts.into_iter().map(|(hash, (count, value))| (hash, count, value)).collect();
        counts.sort_unstable_by_key(|(hash, _, _)| *hash);
        Self { counts, error: frequent.error }
    }
}

impl From<Stored> for Frequent {
    fn from(stored: Stored) -> Self {
        let counts = stored.counts.into_iter().map(|(hash, count, value)| (hash, (count, value))).collect();
        Self { counts, error: stored.error }
    }
}

impl Frequent {
    /// Counts one more of the value with this hash; `sample` is asked for a value not seen yet.
    pub(super) fn add(&mut self, hash: u64, sample: impl FnOnce() -> Sample) {
        self.counts.entry(hash).or_insert_with(|| (0, sample())).0 += 1;
        if self.counts.len() > self.most() {
            self.purge();
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (&hash, (count, value)) in &other.counts {
            self.counts.entry(hash).or_insert_with(|| (0, value.clone())).0 += count;
        }
        self.error += other.error;
        if self.counts.len() > self.most() {
            self.purge();
        }
    }

    /// How many different values there are, if they were all counted.
    pub(super) fn exact_distinct(&self) -> Option<u64> {
        (self.error == 0).then_some(self.counts.len() as u64)
    }

    /// The `n` most frequent values with their counts, and the error of all counts. Ties go by `order`.
    pub(super) fn top(
        &self,
        n: usize,
        order: impl Fn(&Sample, &Sample) -> Ordering,
    ) -> (Vec<(&Sample, u64)>, u64) {
        let compare = |a: &(&Sample, u64), b: &(&Sample, u64)| b.1.cmp(&a.1).then_with(|| order(a.0, b.0));
        let mut all: Vec<(&Sample, u64)> = self.values().collect();
        if all.len() > n && n > 0 {
            all.select_nth_unstable_by(n - 1, compare);
            all.truncate(n);
        }
        all.sort_unstable_by(compare);
        (all, self.error)
    }

    /// Every counted value, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = (&Sample, u64)> {
        self.counts.values().map(|(count, value)| (value, *count))
    }

    /// After exactness is gone, room is left so that purges stay rare.
    fn most(&self) -> usize {
        if self.error == 0 { LIMIT } else { LIMIT * 2 }
    }

    /// Takes the median count off every count and forgets what has nothing left.
    fn purge(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().map(|(count, _)| *count).collect();
        let middle = counts.len() / 2;
        let (_, &mut median, _) = counts.select_nth_unstable(middle);
        self.counts.retain(|_, (count, _)| {
            *count = count.saturating_sub(median);
            *count > 0
        });
        self.error += median;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::word;

    fn add(frequent: &mut Frequent, value: i64, times: u64) {
        for _ in 0..times {
            frequent.add(word(value as u64, 0), || Sample::Int(value));
        }
    }

    fn order(a: &Sample, b: &Sample) -> Ordering {
        match (a, b) {
            (Sample::Int(a), Sample::Int(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }

    #[test]
    fn counts_are_exact_up_to_the_limit() {
        let mut frequent = Frequent::default();
        for value in 0..LIMIT as i64 {
            add(&mut frequent, value, 1 + (value % 3) as u64);
        }
        assert_eq!(frequent.exact_distinct(), Some(LIMIT as u64));
        let (top, error) = frequent.top(2, order);
        assert_eq!((top, error), (vec![(&Sample::Int(2), 3), (&Sample::Int(5), 3)], 0));
    }

    #[test]
    fn beyond_it_counts_are_lower_bounds_and_heavy_values_stay() {
        let mut frequent = Frequent::default();
        for round in 0..100 {
            add(&mut frequent, -1, 400);
            for value in 0..2000 {
                add(&mut frequent, round * 2000 + value, 1);
            }
        }
        assert_eq!(frequent.exact_distinct(), None);
        let (top, error) = frequent.top(1, order);
        let (value, count) = top[0];
        assert_eq!(*value, Sample::Int(-1));
        assert!(count <= 40_000 && 40_000 <= count + error, "{count} + {error}");
        // 240,000 values over at least LIMIT / 2 counters.
        assert!(error <= 240_000 / (LIMIT as u64 / 2), "{error}");
    }

    #[test]
    fn stored_and_read_back() {
        let mut frequent = Frequent::default();
        add(&mut frequent, 7, 3);
        let text = serde_json::to_string(&frequent).unwrap();
        assert_eq!(serde_json::from_str::<Frequent>(&text).unwrap(), frequent);
    }
}
