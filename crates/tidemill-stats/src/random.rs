//! Seeded random numbers that are the same on every machine and in every version: xoshiro256++.
//!
//! D. Blackman, S. Vigna: Scrambled linear pseudorandom number generators, ACM TOMS 47 (2021). A bootstrap of a large
//! sample draws hundreds of millions of indexes, so the generator is a few instructions that are compiled with their
//! caller. Not for secrets.

mod draw;

use serde::{Deserialize, Serialize};

/// A generator with 256 bits of state, which can be stored and continued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Random([u64; 4]);

impl Random {
    /// The generator of `item` (a resample, a column, a repetition) under `seed`. What one item draws never shifts what
    /// another draws.
    pub fn new(seed: u64, item: u64) -> Self {
        // SplitMix64, as the authors of the generator advise for filling its state.
        let mut state = seed ^ mix(item.wrapping_add(0x9E37_79B9_7F4A_7C15));
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(state)
        }))
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let answer = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        answer
    }

    /// A number in `[0, 1)` with 53 random bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// A number below `bound` (above 0), each equally likely: Lemire's multiplication with rejection
    /// (<https://arxiv.org/abs/1805.10941>).
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        let mut wide = (self.bits() >> 32) * u64::from(bound);
        if (wide as u32) < bound {
            let least = bound.wrapping_neg() % bound;
            while (wide as u32) < least {
                wide = (self.bits() >> 32) * u64::from(bound);
            }
        }
        (wide >> 32) as u32
    }

    /// A standard normal number (Marsaglia's polar method, whose second number is not kept).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let s = x * x + y * y;
            if s > 0.0 && s < 1.0 {
                return x * (-2.0 * s.ln() / s).sqrt();
            }
        }
    }

    /// Fills `index` with positions below its own length, drawn with replacement: one resample.
    pub fn resample(&mut self, index: &mut [u32]) {
        let bound = index.len() as u32;
        for position in index {
            *position = self.below(bound);
        }
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs of the authors' xoshiro256plusplus.c for the state 1, 2, 3, 4.
        let mut random = Random([1, 2, 3, 4]);
        let first: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut seen = std::collections::BTreeMap::new();
        for item in 0..6_000 {
            let mut order = [0, 1, 2];
            Random::new(1, item).shuffle(&mut order);
            *seen.entry(order).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|count| (860..1140).contains(count)), "{seen:?}");
    }

    #[test]
    fn moments_of_the_draws_are_right() {
        let mut random = Random::new(3, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.015 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        let unit = (0..100_000).map(|_| random.unit()).sum::<f64>() / 1e5;
        assert!((unit - 0.5).abs() < 0.005, "{unit}");
    }
}
