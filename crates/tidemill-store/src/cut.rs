//! Content-defined cutting (FastCDC, the 2020 variant): where a large file is divided into chunks. No IO.
//!
//! W. Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE
//! TPDS 31(9), 2020. A cut depends only on the bytes since the cut before it, which makes cutting from two different
//! starts agree soon after.

use fastcdc::v2020::{self, Normalization};
use serde::{Deserialize, Serialize};

/// Files up to this size are one object.
pub(crate) const WHOLE_FILE: u64 = 64 << 10;
/// From this size on chunks are twice as large, so that lists stay short; below, small edits stay cheap.
const LARGE_FROM: u64 = 256 << 20;
const MEAN: usize = 64 << 10;
const LARGE_MEAN: usize = 128 << 10;
/// What the mean of large files was at first.
const FORMER_LARGE_MEAN: usize = 256 << 10;

/// How files are cut; recorded in each store, so that it can never change silently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    algorithm: String,
    whole_file: u64,
    mean: u64,
    large_from: u64,
    large_mean: u64,
}

impl Parameters {
    /// The parameters of new stores.
    pub(crate) fn current() -> Self {
        Self::with_large_mean(LARGE_MEAN)
    }

    /// Whether a store that was made with these can be used. Cuts matter only where a file is added: what is stored is
    /// read by its lists, so in an older store only the next version of a large file shares nothing with the one before.
    pub(crate) fn is_known(&self) -> bool {
        *self == Self::current() || *self == Self::with_large_mean(FORMER_LARGE_MEAN)
    }

    fn with_large_mean(large_mean: usize) -> Self {
        Self {
            algorithm: "fastcdc 2020, normalization 1, min mean/4, max mean*8".into(),
            whole_file: WHOLE_FILE,
            mean: MEAN as u64,
            large_from: LARGE_FROM,
            large_mean: large_mean as u64,
        }
    }
}

/// Finds cuts with fixed bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cutter {
    min: usize,
    mean: usize,
    max: usize,
    mask_small: u64,
    mask_large: u64,
}

impl Cutter {
    /// The cutter for a file of that many bytes.
    pub(crate) fn for_size(bytes: u64) -> Self {
        Self::with_mean(if bytes < LARGE_FROM { MEAN } else { LARGE_MEAN })
    }

    fn with_mean(mean: usize) -> Self {
        let (mask_small, mask_large) = v2020::select_masks(mean, Normalization::Level1);
        Self { min: mean / 4, mean, max: mean * 8, mask_small, mask_large }
    }

    /// No chunk is longer.
    pub(crate) const fn max(&self) -> usize {
        self.max
    }

    /// The mean that is aimed at.
    pub(crate) const fn mean(&self) -> usize {
        self.mean
    }

    /// The length of the first chunk of `bytes`, which must reach to the end of the file or hold at least
    /// [`Self::max`] bytes.
    pub(crate) fn first(&self, bytes: &[u8]) -> usize {
        let (_, length) = v2020::cut(
            &bytes[..bytes.len().min(self.max)],
            self.min,
            self.mean,
            self.max,
            self.mask_small,
            self.mask_large,
            self.mask_small << 1,
            self.mask_large << 1,
        );
        length
    }
}

#[cfg(test)]
mod tests {
    use fastcdc::v2020::FastCDC;
    use proptest::prelude::*;

    use super::*;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut bytes = vec![0; length];
        blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn lengths(bytes: &[u8]) -> Vec<usize> {
        let cutter = Cutter::with_mean(MEAN);
        let mut rest = bytes;
        let mut lengths = Vec::new();
        while !rest.is_empty() {
            let length = cutter.first(rest);
            lengths.push(length);
            rest = &rest[length..];
        }
        lengths
    }

    #[test]
    fn cuts_are_those_of_the_library_s_own_iterator() {
        let bytes = noise(1, 3 << 20);
        let theirs: Vec<usize> =
            FastCDC::new(&bytes, MEAN / 4, MEAN, MEAN * 8).map(|chunk| chunk.length).collect();
        assert_eq!(lengths(&bytes), theirs);
    }

    #[test]
    fn parameters_of_format_1_never_change() {
        // Cuts of fixed bytes, so that a new version of the library cannot move them unnoticed.
        let cuts = lengths(&noise(2, 1 << 20));
        assert_eq!(cuts, LENGTHS_OF_NOISE_2);
    }

    const LENGTHS_OF_NOISE_2: [usize; 16] = [
        40_427, 25_482, 71_029, 68_813, 108_149, 97_218, 72_858, 73_859, 72_727, 88_519, 77_220, 46_676,
        82_061, 84_022, 36_859, 2_657,
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn chunks_add_up_and_keep_their_bounds(seed in any::<u64>(), length in 0..2_000_000_usize, repeat in any::<bool>()) {
            let bytes = if repeat { vec![seed as u8; length] } else { noise(seed, length) };
            let lengths = lengths(&bytes);
            prop_assert_eq!(lengths.iter().sum::<usize>(), length);
            let inner = &lengths[..lengths.len().saturating_sub(1)];
            prop_assert!(inner.iter().all(|&n| (MEAN / 4..=MEAN * 8).contains(&n)));
            prop_assert!(lengths.last().is_none_or(|&n| n <= MEAN * 8));
        }

        #[test]
        fn cuts_are_the_same_after_a_shift(seed in any::<u64>(), shift in 1..5000_usize) {
            let bytes = noise(seed, 4_000_000);
            let moved = [noise(!seed, shift), bytes.clone()].concat();
            let ends = |bytes: &[u8], offset: usize| -> std::collections::HashSet<usize> {
                lengths(bytes).iter().scan(0, |at, n| { *at += n; Some(*at) }).filter(|at| *at > offset).map(|at| at - offset).collect()
            };
            let (before, after) = (ends(&bytes, 0), ends(&moved, shift));
            let late = before.iter().filter(|at| **at > 2_000_000).count();
            let shared = before.intersection(&after).filter(|at| **at > 2_000_000).count();
            prop_assert!(late > 5 && shared == late, "{shared} of {late}");
        }
    }
}
