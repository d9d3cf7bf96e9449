//! Seeded random numbers that are the same on every machine and for every number of threads.
//!
//! One ChaCha8 generator per purpose and item: the seed fixes the key, the purpose and the item fix the stream, so
//! what one part draws never shifts what another draws. Not for secrets.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What numbers are drawn for; each has streams of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Which rows are held out for testing.
    Split = 1,
    /// Which rows a fold validates.
    Fold = 2,
    /// Which training rows choose the threshold or stop the boosting.
    Validation = 3,
    /// Which parameters a random search tries.
    Search = 4,
    /// The orders of permutation importance.
    Importance = 5,
    /// The resamples of intervals.
    Bootstrap = 6,
    /// The resamples of the comparison of two models.
    Paired = 7,
    /// The rows that a boosting round learns from.
    Rows = 8,
    /// The columns that a boosting round may use.
    Columns = 9,
}

/// A generator for one item of one purpose.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    /// The generator of `item` (a fold, a repeat, a resample; below 2^48) under `seed`.
    pub(crate) fn new(seed: u64, purpose: Purpose, item: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(((purpose as u64) << 48) | item);
        Self(generator)
    }

    /// 32 random bits.
    pub(crate) fn word(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number below `bound` (above 0), each equally likely: Lemire's multiplication with rejection
    /// (<https://arxiv.org/abs/1805.10941>).
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let mut wide = u64::from(self.0.next_u32()) * u64::from(bound);
        if (wide as u32) < bound {
            let least = bound.wrapping_neg() % bound;
            while (wide as u32) < least {
                wide = u64::from(self.0.next_u32()) * u64::from(bound);
            }
        }
        (wide >> 32) as u32
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut seen = std::collections::BTreeMap::new();
        for item in 0..6_000 {
            let mut order = [0, 1, 2];
            Random::new(1, Purpose::Split, item).shuffle(&mut order);
            *seen.entry(order).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|count| (860..1140).contains(count)), "{seen:?}");
    }

    #[test]
    fn purposes_and_items_do_not_share_numbers() {
        let draw = |purpose, item| Random::new(7, purpose, item).below(u32::MAX);
        assert_eq!(draw(Purpose::Fold, 3), draw(Purpose::Fold, 3));
        assert_ne!(draw(Purpose::Fold, 3), draw(Purpose::Fold, 4));
        assert_ne!(draw(Purpose::Fold, 3), draw(Purpose::Split, 3));
    }
}
