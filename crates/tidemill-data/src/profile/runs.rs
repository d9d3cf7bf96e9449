//! The numbers of a batch in ascending order, equal ones together: what every numeric statistic is fed with.
//!
//! Sorting a batch once is cheaper than what it saves: quantiles take evenly spaced values of it, histograms and bins
//! walk along it, and a repeated value is hashed and looked up once.

use arrow::array::{Array, Float64Array, Int64Array};

/// Ranges up to this width are counted, not sorted.
const COUNTED: u64 = 1 << 13;
/// Values that a bucket holds where they are spread evenly.
const BUCKET: usize = 4;
/// Fewer values are sorted without buckets.
const FEW: usize = 256;

/// Buffers that are used again for every batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// The different values, ascending: whole numbers, or floats as their ordered bits.
    pub(super) keys: Vec<i64>,
    /// How often each occurs.
    pub(super) counts: Vec<u32>,
    /// The different values as floats.
    pub(super) values: Vec<f64>,
    sorted: Vec<i64>,
    table: Vec<u32>,
    scattered: Vec<i64>,
}

impl Scratch {
    /// Takes the whole numbers that are not null.
    pub(super) fn ints(&mut self, array: &Int64Array) {
        self.sorted.clear();
        if array.null_count() == 0 {
            self.sorted.extend_from_slice(array.values());
        } else {
            self.sorted.extend(array.iter().flatten());
        }
        self.runs(|key| key as f64);
    }

    /// Takes the floats that are neither null nor NaN, with one zero; tells how many are NaN.
    pub(super) fn floats(&mut self, array: &Float64Array) -> u64 {
        self.sorted.clear();
        let mut nan = 0;
        let mut take = |value: f64| {
            if value.is_nan() {
                nan += 1;
            } else {
                self.sorted.push(ordered(value + 0.0));
            }
        };
        if array.null_count() == 0 {
            array.values().iter().for_each(|&value| take(value));
        } else {
            array.iter().flatten().for_each(&mut take);
        }
        self.runs(unordered);
        nan
    }

    /// Takes small counts such as lengths of texts.
    pub(super) fn lengths(&mut self, lengths: impl Iterator<Item = i64>) {
        self.sorted.clear();
        self.sorted.extend(lengths);
        self.runs(|key| key as f64);
    }

    /// Takes truth values.
    pub(super) fn truths(&mut self, no: u64, yes: u64) {
        self.keys.clear();
        self.counts.clear();
        self.values.clear();
        for (key, count) in [(0, no), (1, yes)] {
            if count > 0 {
                self.keys.push(key);
                self.counts.push(count as u32);
                self.values.push(key as f64);
            }
        }
    }

    /// Turns what was taken into runs; `float` is the value of a key.
    fn runs(&mut self, float: impl Fn(i64) -> f64) {
        self.run_lengths(&float);
        self.values.clear();
        self.values.extend(self.keys.iter().map(|&key| float(key)));
    }

    /// Sorts what was taken: into buckets of equal width between the least and the greatest value, as floats, and then each bucket.
    /// Values that are spread evenly are sorted in linear time, and others not much slower than without.
    fn sort(&mut self, (low, high): (i64, i64), float: impl Fn(i64) -> f64) {
        let buckets = self.sorted.len() / BUCKET;
        let start = float(low);
        let scale = (buckets as f64 - 1.0) / (float(high) - start);
        if self.sorted.len() < FEW || !scale.is_finite() {
            return self.sorted.sort_unstable();
        }
        // Both a difference and a product are rounded in order, so that no greater value is in a lower bucket.
        let bucket = |key: i64| ((float(key) - start) * scale) as usize;
        self.table.clear();
        self.table.resize(buckets + 1, 0);
        for &key in &self.sorted {
            self.table[bucket(key)] += 1;
        }
        let mut begin = 0;
        for count in &mut self.table {
            begin += std::mem::replace(count, begin);
        }
        self.scattered.clear();
        self.scattered.resize(self.sorted.len(), 0);
        for &key in &self.sorted {
            let place = &mut self.table[bucket(key)];
            self.scattered[*place as usize] = key;
            *place += 1;
        }
        std::mem::swap(&mut self.sorted, &mut self.scattered);
        let mut begin = 0;
        for &end in &self.table {
            self.sorted[begin as usize..end as usize].sort_unstable();
            begin = end;
        }
    }

    fn run_lengths(&mut self, float: impl Fn(i64) -> f64) {
        self.keys.clear();
        self.counts.clear();
        let (Some(&low), Some(&high)) = (self.sorted.iter().min(), self.sorted.iter().max()) else { return };
        let width = high.wrapping_sub(low) as u64;
        if width < COUNTED {
            self.table.clear();
            self.table.resize(width as usize + 1, 0);
            for &value in &self.sorted {
                self.table[value.wrapping_sub(low) as usize] += 1;
            }
            for (place, &count) in self.table.iter().enumerate() {
                if count > 0 {
                    self.keys.push(low + place as i64);
                    self.counts.push(count);
                }
            }
            return;
        }
        self.sort((low, high), float);
        let mut rest = self.sorted.as_slice();
        while let Some(&value) = rest.first() {
            let end = rest.iter().position(|&next| next != value).unwrap_or(rest.len());
            self.keys.push(value);
            self.counts.push(end as u32);
            rest = &rest[end..];
        }
    }
}

/// A whole number in the order of floats.
pub(crate) fn ordered(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The float of [`ordered`].
pub(super) fn unordered(key: i64) -> f64 {
    f64::from_bits((key ^ ((key >> 63) as u64 >> 1) as i64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_their_order() {
        let values = [f64::NEG_INFINITY, -1e300, -1.0, -f64::MIN_POSITIVE, 0.0, 1e-300, 2.5, f64::INFINITY];
        for pair in values.windows(2) {
            assert!(ordered(pair[0]) < ordered(pair[1]), "{pair:?}");
        }
        for value in values {
            assert_eq!(unordered(ordered(value)), value);
        }
    }

    proptest::proptest! {
        #[test]
        fn numbers_of_any_spread_are_sorted(
            floats in proptest::collection::vec(proptest::prelude::any::<f64>(), 0..700),
            even in proptest::collection::vec(-1.0..1e4, 0..700),
            ints in proptest::collection::vec(proptest::prelude::any::<i64>(), 0..700),
        ) {
            let mut scratch = Scratch::default();
            for values in [floats, even] {
                scratch.floats(&Float64Array::from(values.clone()));
                let mut wanted: Vec<f64> = values.into_iter().filter(|x| !x.is_nan()).map(|x| x + 0.0).collect();
                wanted.sort_by(f64::total_cmp);
                wanted.dedup();
                proptest::prop_assert_eq!(&scratch.values, &wanted);
            }
            let mut wanted = ints.clone();
            scratch.ints(&Int64Array::from(ints));
            wanted.sort_unstable();
            wanted.dedup();
            proptest::prop_assert_eq!(&scratch.keys, &wanted);
        }
    }

    #[test]
    fn equal_values_are_together() {
        let mut scratch = Scratch::default();
        let nan =
            scratch.floats(&Float64Array::from(vec![Some(2.0), None, Some(-0.0), Some(f64::NAN), Some(0.0)]));
        assert_eq!((nan, &*scratch.values, &*scratch.counts), (1, &[0.0, 2.0][..], &[2, 1][..]));
        // Narrow ranges are counted, wide ones sorted; the ends of the range do not overflow.
        scratch.ints(&Int64Array::from(vec![5, 3, 5]));
        assert_eq!((&*scratch.keys, &*scratch.counts), (&[3, 5][..], &[1, 2][..]));
        scratch.ints(&Int64Array::from(vec![i64::MAX, i64::MIN, i64::MAX]));
        assert_eq!((&*scratch.keys, &*scratch.counts), (&[i64::MIN, i64::MAX][..], &[1, 2][..]));
        scratch.ints(&Int64Array::from(Vec::<i64>::new()));
        assert!(scratch.keys.is_empty() && scratch.values.is_empty());
    }
}
