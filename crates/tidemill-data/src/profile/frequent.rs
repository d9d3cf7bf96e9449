//! Frequent values in bounded memory: exact counts up to a limit of different values, then the algorithm of Misra and
//! Gries (1982) with a decrement per batch, whose counts are lower bounds with a known error.
//!
//! Merging follows Agarwal et al., "Mergeable summaries" (PODS 2012): add, then take the first count that has no room
//! off all of them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Values kept once counts are not exact any more; their error is at most the rows divided by this.
pub(super) const KEPT: usize = 1024;

/// A value as it is kept: whole numbers also for truth values, dates and times in their column's unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sample {
    Int(i64),
    Float(f64),
    Text(Box<str>),
}

impl Sample {
    /// An order of samples of one column.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}

/// Counts of values by their hashes. A batch is added value by value and closed with [`Frequent::settle`].
#[derive(Clone, Debug)]
pub(super) struct Frequent {
    counts: HashMap<u64, (u64, Sample), BuildHasherDefault<Taken>>,
    /// Most different values counted exactly.
    limit: usize,
    /// What was taken off every count; 0 while all counts are exact.
    error: u64,
    /// Hashes whose samples the batch at work has still to give, with their rows.
    pending: Vec<(u64, u32)>,
    /// Hashes of values that occur once in the batch at work and are not counted, with their keys: only once the batch is
    /// over is it known whether there is room for them, and in a column of identifiers there never is.
    singles: Vec<(u64, i64)>,
}

impl PartialEq for Frequent {
    fn eq(&self, other: &Self) -> bool {
        (self.limit, self.error, &self.counts) == (other.limit, other.error, &other.counts)
    }
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

impl Frequent {
    /// Counts up to `limit` different values exactly.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            counts: HashMap::default(),
            limit: limit.max(KEPT),
            error: 0,
            pending: Vec::new(),
            singles: Vec::new(),
        }
    }

    /// Counts `n` more of the value with this hash; `sample` is asked for a value that is not counted yet, and the
    /// answer tells whether it was.
    pub(super) fn add(&mut self, hash: u64, n: u64, sample: impl FnOnce() -> Sample) -> bool {
        let mut new = false;
        let entry = self.counts.entry(hash).or_insert_with(|| {
            new = true;
            (0, sample())
        });
        entry.0 += n;
        new
    }

    /// Counts `n` more of the value with this hash and key, which occurs in no other run of the batch; tells whether it is
    /// not counted yet. [`Frequent::settle_runs`] ends the batch.
    pub(super) fn add_run(
        &mut self,
        hash: u64,
        n: u32,
        key: i64,
        sample: impl FnOnce(i64) -> Sample,
    ) -> bool {
        if n > 1 || self.error == 0 {
            return self.add(hash, u64::from(n), || sample(key));
        }
        if let Some(kept) = self.counts.get_mut(&hash) {
            kept.0 += 1;
            return false;
        }
        self.singles.push((hash, key));
        true
    }

    /// Ends a batch of runs: forgets what there is no room for.
    pub(super) fn settle_runs(&mut self, sample: impl Fn(i64) -> Sample) {
        let mut singles = std::mem::take(&mut self.singles);
        if self.counts.len() + singles.len() <= KEPT {
            for (hash, key) in singles.drain(..) {
                self.counts.insert(hash, (1, sample(key)));
            }
            return;
        }
        // Whatever is taken off all counts, it is at least one: no value that occurs once stays.
        self.shrink_beside(singles.len());
        singles.clear();
        self.singles = singles;
    }

    /// As [`Frequent::add`], with the value left in its row of the batch until [`Frequent::settle`] asks for it: most
    /// values that occur once are forgotten before anybody counts or copies them. Once counts are not exact, a value is new with each of the
    /// batch's rows until the batch is over.
    pub(super) fn add_row(&mut self, hash: u64, row: u32) -> bool {
        if self.error == 0 {
            let new = self.add(hash, 1, || Sample::Int(0));
            if new {
                self.pending.push((hash, row));
            }
            return new;
        }
        if let Some(kept) = self.counts.get_mut(&hash) {
            kept.0 += 1;
            return false;
        }
        self.pending.push((hash, row));
        true
    }

    /// Counts the rows of a batch whose values were not counted yet; leaves those that occur once to [`Self::settle_runs`], with their rows as
    /// keys, where there may be no room for them.
    fn count_rows(&mut self) {
        let mut rows = std::mem::take(&mut self.pending);
        // The first row of each value comes first.
        rows.sort_unstable();
        for same in rows.chunk_by(|a, b| a.0 == b.0) {
            let (hash, row) = same[0];
            if same.len() > 1 {
                self.counts.insert(hash, (same.len() as u64, Sample::Int(0)));
                self.pending.push((hash, row));
            } else {
                self.singles.push((hash, i64::from(row)));
            }
        }
    }

    /// Whether [`Frequent::settle`] is about to give up exact counts.
    pub(super) fn overflows(&self) -> bool {
        self.error == 0 && self.counts.len() > self.limit
    }

    /// Ends a batch: forgets what there is no room for, and asks for the values of rows that stay.
    pub(super) fn settle(&mut self, sample: impl Fn(u32) -> Sample) {
        if self.error > 0 {
            self.count_rows();
            self.settle_runs(|row| sample(row as u32));
        } else {
            self.shrink();
        }
        self.resolve(sample);
    }

    /// Asks for the values of rows that are counted.
    pub(super) fn resolve(&mut self, sample: impl Fn(u32) -> Sample) {
        for (hash, row) in std::mem::take(&mut self.pending) {
            if let Some(kept) = self.counts.get_mut(&hash) {
                kept.1 = sample(row);
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (&hash, (count, value)) in &other.counts {
            self.counts.entry(hash).or_insert_with(|| (0, value.clone())).0 += count;
        }
        self.limit = self.limit.min(other.limit);
        self.error += other.error;
    }

    /// Ends a merge: forgets what there is no room for.
    pub(super) fn shrink(&mut self) {
        self.shrink_beside(0);
    }

    /// As [`Frequent::shrink`], where `singles` further values occur once each and are to be forgotten.
    fn shrink_beside(&mut self, singles: usize) {
        let most = if self.error == 0 { self.limit } else { KEPT };
        if self.counts.len() + singles <= most {
            return;
        }
        // The greatest count that has no room.
        let taken = match self.counts.len().checked_sub(KEPT + 1) {
            Some(place) => {
                let mut counts: Vec<u64> = self.counts.values().map(|(count, _)| *count).collect();
                *counts.select_nth_unstable(place).1
            }
            None => 1,
        };
        self.counts.retain(|_, (count, _)| {
            *count = count.saturating_sub(taken);
            *count > 0
        });
        // A table for a few entries stays in the processor's cache.
        if self.counts.capacity() > 8 * KEPT {
            self.counts.shrink_to(2 * KEPT);
        }
        self.error += taken;
    }

    /// How many different values there are, if they were all counted.
    pub(super) fn exact_distinct(&self) -> Option<u64> {
        (self.error == 0).then_some(self.counts.len() as u64)
    }

    /// How many different values are counted exactly.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// By how much counts may be too low.
    pub(super) fn error(&self) -> u64 {
        self.error
    }

    /// The `n` most frequent values with their counts, ties in the order of values. A value counts only if it is more
    /// frequent than the error: below that the counts of a column of identifiers are noise.
    pub(super) fn top(&self, n: usize) -> Vec<(&Sample, u64)> {
        let compare = |a: &(&Sample, u64), b: &(&Sample, u64)| b.1.cmp(&a.1).then_with(|| a.0.order(b.0));
        let mut all: Vec<(&Sample, u64)> = self.values().filter(|(_, count)| *count > self.error).collect();
        if all.len() > n && n > 0 {
            all.select_nth_unstable_by(n - 1, compare);
            all.truncate(n);
        }
        all.sort_unstable_by(compare);
        all
    }

    /// Every counted value, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = (&Sample, u64)> {
        self.counts.values().map(|(count, value)| (value, *count))
    }

    /// The hashes of all counted values, in no order.
    pub(super) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.counts.keys().copied()
    }

    /// Every counted value with its hash, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, &Sample, u64)> {
        self.counts.iter().map(|(&hash, (count, value))| (hash, value, *count))
    }

    /// What is stored: limit, error, and the counts in the order of their hashes.
    pub(super) fn parts(&self) -> (usize, u64, Vec<(u64, u64, &Sample)>) {
        let mut counts: Vec<_> =
            self.counts.iter().map(|(&hash, (count, value))| (hash, *count, value)).collect();
        counts.sort_unstable_by_key(|(hash, _, _)| *hash);
        (self.limit, self.error, counts)
    }

    /// From what was stored.
    pub(super) fn from_parts(limit: usize, error: u64, counts: Vec<(u64, u64, Sample)>) -> Self {
        let counts = counts.into_iter().map(|(hash, count, value)| (hash, (count, value))).collect();
        Self { counts, limit: limit.max(KEPT), error, pending: Vec::new(), singles: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::word;

    fn add(frequent: &mut Frequent, value: i64, times: u64) {
        frequent.add(word(value as u64, 0), times, || Sample::Int(value));
    }

    fn settle(frequent: &mut Frequent) {
        frequent.settle(|_| Sample::Int(0));
    }

    #[test]
    fn counts_are_exact_up_to_the_limit() {
        let mut frequent = Frequent::new(5000);
        for value in 0..5000 {
            add(&mut frequent, value, 1 + (value % 3) as u64);
        }
        settle(&mut frequent);
        assert_eq!(frequent.exact_distinct(), Some(5000));
        assert_eq!(frequent.top(2), [(&Sample::Int(2), 3), (&Sample::Int(5), 3)]);
        assert!(frequent.entries().any(|entry| entry == (word(2, 0), &Sample::Int(2), 3)));
    }

    #[test]
    fn beyond_it_counts_are_lower_bounds_and_heavy_values_stay() {
        let mut frequent = Frequent::new(5000);
        for round in 0..100 {
            add(&mut frequent, -1, 400);
            for value in 0..2000 {
                add(&mut frequent, round * 2000 + value, 1);
            }
            settle(&mut frequent);
        }
        assert_eq!(frequent.exact_distinct(), None);
        let top = frequent.top(10);
        assert_eq!(top.len(), 1, "values that occur once are not frequent");
        let count = top[0].1;
        assert!(count <= 40_000 && 40_000 <= count + frequent.error(), "{count} + {}", frequent.error());
        assert!(frequent.error() <= 240_000 / KEPT as u64, "{}", frequent.error());
    }

    #[test]
    fn rows_give_their_values_at_the_end_of_the_batch() {
        let mut frequent = Frequent::new(KEPT);
        assert!(frequent.add_row(7, 3));
        assert!(!frequent.add_row(7, 4));
        frequent.settle(|row| Sample::Int(i64::from(row)));
        assert_eq!(frequent.top(1), [(&Sample::Int(3), 2)]);
    }

    proptest::proptest! {
        #[test]
        fn values_left_out_of_a_batch_change_nothing(batches in proptest::collection::vec(
            proptest::collection::btree_map(0i64..6000, 1u32..4, 0..2500), 1..6,
        )) {
            let [mut runs, mut rows, mut plain] = std::array::from_fn(|_| Frequent::new(KEPT));
            for batch in &batches {
                let each = batch.iter().flat_map(|(&value, &count)| std::iter::repeat_n(value, count as usize));
                let mut each: Vec<i64> = each.collect();
                // Equal texts stand anywhere in a batch.
                each.sort_by_key(|value| word(*value as u64, 1));
                for (row, &value) in (0..).zip(&each) {
                    rows.add_row(word(value as u64, 0), row);
                }
                rows.settle(|row| Sample::Int(each[row as usize]));
                for (&value, &count) in batch {
                    let hash = word(value as u64, 0);
                    let new = plain.add(hash, u64::from(count), || Sample::Int(value));
                    proptest::prop_assert_eq!(runs.add_run(hash, count, value, Sample::Int), new);
                }
                plain.shrink();
                runs.settle_runs(Sample::Int);
                proptest::prop_assert_eq!(&runs, &plain);
                proptest::prop_assert_eq!(&rows, &plain);
            }
        }
    }

    #[test]
    fn merges_keep_the_bound() {
        let part = |start: i64| {
            let mut frequent = Frequent::new(KEPT);
            add(&mut frequent, -1, 500);
            for value in 0..3000 {
                add(&mut frequent, start + value, 1);
            }
            settle(&mut frequent);
            frequent
        };
        let mut merged = part(0);
        for i in 1..10 {
            merged.merge(&part(i * 3000));
            merged.shrink();
        }
        let count = merged.top(1)[0].1;
        assert!(count <= 5000 && 5000 <= count + merged.error());
        assert!(merged.error() <= 35_000 / KEPT as u64);
        let (limit, error, counts) = merged.parts();
        let counts = counts.into_iter().map(|(hash, count, value)| (hash, count, value.clone())).collect();
        assert_eq!(Frequent::from_parts(limit, error, counts), merged);
    }
}
