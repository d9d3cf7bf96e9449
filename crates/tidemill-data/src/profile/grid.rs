//! A histogram whose bins lie on multiples of a power of two, so that histograms of any two parts add up exactly.
//!
//! The bins are as narrow as they can be while [`BINS`] of them cover the range. Where the range grows, neighbours are
//! joined; which bins there are depends on the least and the greatest value alone, not on order or parts.

/// Most bins.
pub(super) const BINS: usize = 64;
/// Bins are no narrower than 2 to this power, and no wider than [`WIDEST`].
pub(super) const NARROWEST: i32 = -900;
pub(super) const WIDEST: i32 = 1022;
/// Bits of the bin's number that a float's mantissa still tells apart.
const PRECISION: i32 = 50;

/// Counts of finite numbers in bins [i·w, (i+1)·w) with w = 2^exponent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Grid {
    pub(super) exponent: i32,
    /// The number of the first bin.
    pub(super) first: i64,
    pub(super) counts: Vec<u64>,
}

impl Grid {
    /// Adds ascending finite values, each as often as `counts` says.
    pub(super) fn insert(&mut self, values: &[f64], counts: &[u32]) {
        let (Some(&low), Some(&high)) = (values.first(), values.last()) else { return };
        let mut exponent = narrowest(low).max(narrowest(high));
        while exponent < WIDEST && !fits(bin(low, exponent), bin(high, exponent)) {
            exponent += 1;
        }
        if self.counts.is_empty() {
            self.exponent = exponent;
            self.first = bin(low, exponent);
        } else {
            self.cover(exponent, bin(low, exponent), bin(high, exponent));
        }
        let reach = (bin(high, self.exponent) - self.first) as usize + 1;
        if reach > self.counts.len() {
            self.counts.resize(reach, 0);
        }
        let scale = (-self.exponent_f64()).exp2();
        for (&value, &count) in values.iter().zip(counts) {
            self.counts[(floor(value * scale) - self.first) as usize] += u64::from(count);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.counts.is_empty() {
            return;
        }
        if self.counts.is_empty() {
            *self = other.clone();
            return;
        }
        let last = other.first + other.counts.len() as i64 - 1;
        self.cover(other.exponent, other.first, last);
        let steps = (self.exponent - other.exponent).min(63);
        let reach = ((last >> steps) - self.first) as usize + 1;
        if reach > self.counts.len() {
            self.counts.resize(reach, 0);
        }
        for (place, &count) in other.counts.iter().enumerate() {
            self.counts[(((other.first + place as i64) >> steps) - self.first) as usize] += count;
        }
    }

    /// Widens the bins until they reach from `low` to `high`, numbers of bins at `exponent`, and begins with the lower
    /// of the first bins.
    fn cover(&mut self, exponent: i32, low: i64, high: i64) {
        let own_last = self.first + self.counts.len() as i64 - 1;
        let mut to = self.exponent.max(exponent);
        let ends = |to: i32| {
            let (mine, theirs) = ((to - self.exponent).min(63), (to - exponent).min(63));
            ((self.first >> mine).min(low >> theirs), (own_last >> mine).max(high >> theirs))
        };
        while to < WIDEST && !fits(ends(to).0, ends(to).1) {
            to += 1;
        }
        let (first, _) = ends(to);
        let steps = (to - self.exponent).min(63);
        let start = ((self.first >> steps) - first) as usize;
        let mut counts = vec![0; start + ((own_last >> steps) - (self.first >> steps)) as usize + 1];
        for (place, &count) in self.counts.iter().enumerate() {
            counts[(((self.first + place as i64) >> steps) - first) as usize] += count;
        }
        *self = Self { exponent: to, first, counts };
    }

    fn exponent_f64(&self) -> f64 {
        f64::from(self.exponent)
    }

    /// The bins as (lower edge, upper edge, count), at most `most` of them.
    pub(super) fn bins(&self, most: usize) -> Vec<(f64, f64, u64)> {
        if self.counts.is_empty() {
            return Vec::new();
        }
        let mut shown = self.clone();
        while shown.counts.len() > most.max(2) {
            let (first, last) = (shown.first, shown.first + shown.counts.len() as i64 - 1);
            shown.cover(shown.exponent + 1, first >> 1, last >> 1);
        }
        let width = shown.exponent_f64().exp2();
        let edge = |place: usize| (shown.first + place as i64) as f64 * width;
        shown.counts.iter().enumerate().map(|(i, &count)| (edge(i), edge(i + 1), count)).collect()
    }
}

/// The greatest whole number that is not above `x`, for |x| < 2⁶³. Without newer instructions than all processors have, `f64::floor` is a call.
fn floor(x: f64) -> i64 {
    let toward_zero = x as i64;
    toward_zero - i64::from(toward_zero as f64 > x)
}

fn fits(low: i64, high: i64) -> bool {
    high - low < BINS as i64
}

fn bin(value: f64, exponent: i32) -> i64 {
    (value * f64::from(-exponent).exp2()).floor() as i64
}

/// The least exponent at which a value's bin has an exact number.
fn narrowest(value: f64) -> i32 {
    let magnitude = ((value.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    (magnitude - PRECISION).max(NARROWEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Grid {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let mut grid = Grid::default();
        grid.insert(&values, &vec![1; values.len()]);
        grid
    }

    #[test]
    fn bins_are_round() {
        let grid = of(&(0..100).map(f64::from).collect::<Vec<_>>());
        let bins = grid.bins(BINS);
        assert_eq!((bins.len(), bins[0], bins[49]), (50, (0.0, 2.0, 2), (98.0, 100.0, 2)));
        assert_eq!(grid.bins(16).len(), 13);
        assert_eq!(of(&[7.0, 7.0]).counts, [2]);
        assert!(of(&[]).bins(5).is_empty());
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(
            parts in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![
                    -1e3..1e3, -1e-3..1e-3, Just(0.0), Just(1e300), Just(-1e300), Just(5e-324), Just(f64::MAX),
                ], 0..20),
                1..6,
            ),
        ) {
            let whole = of(&parts.concat());
            let mut merged = Grid::default();
            for part in parts.iter().rev() {
                merged.merge(&of(part));
            }
            prop_assert_eq!(&merged, &whole);
            let total: u64 = whole.bins(BINS).iter().map(|(_, _, count)| count).sum();
            prop_assert_eq!(total as usize, parts.concat().len());
            // And the same when fed bit by bit.
            let mut fed = Grid::default();
            for part in &parts {
                let mut part = part.clone();
                part.sort_by(f64::total_cmp);
                fed.insert(&part, &vec![1; part.len()]);
            }
            prop_assert_eq!(&fed, &whole);
        }
    }
}
