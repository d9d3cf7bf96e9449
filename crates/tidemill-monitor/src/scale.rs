//! In which unit a detector sees the values of a stream.
//!
//! ADWIN's promise is one for values of a bounded range. Shares and chances have one; of other values it sees the rank among the
//! first hundred, which is from 0 to 1 whatever they are distributed like: a stream with a heavy tail, or of nearly all zeros, does not
//! alarm more often than another. Page and Hinkley's test counts in standard deviations of the first hundred.

use serde::{Deserialize, Serialize};
use tidemill_stats::sequential::Tally;

/// Values that make a scale.
const SCALED_BY: usize = 100;

/// The unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scale {
    /// Values as they are.
    Plain,
    /// The rank among the first values, which are sorted once they are there.
    Ranks(Vec<f64>),
    /// Distances from the mean of the first values in their standard deviations.
    Deviations(Tally),
}

impl Scale {
    /// What the detector sees of a value; nothing while the scale is made of it.
    pub(crate) fn see(&mut self, value: f64) -> Option<f64> {
        match self {
            Self::Plain => Some(value),
            Self::Ranks(first) if first.len() < SCALED_BY => {
                first.push(value);
                if first.len() == SCALED_BY {
                    first.sort_unstable_by(f64::total_cmp);
                }
                None
            }
            Self::Ranks(first) => {
                // Ties count half, so that a stream of zeros is in the middle.
                let below =
                    first.partition_point(|one| *one < value) + first.partition_point(|one| *one <= value);
                Some(below as f64 / (2 * first.len()) as f64)
            }
            Self::Deviations(first) => {
                let Some((mean, deviation)) = moments(first) else {
                    first.add(value);
                    return None;
                };
                Some((value - mean) / deviation)
            }
        }
    }

    /// A mean of what the detector of distances saw, as a mean of values.
    pub(crate) fn level(&self, mean: f64) -> f64 {
        match self {
            Self::Deviations(first) => {
                moments(first).map_or(mean, |(from, deviation)| from + mean * deviation)
            }
            Self::Plain | Self::Ranks(_) => mean,
        }
    }

    /// How many values made it.
    pub(crate) fn made_of(&self) -> u64 {
        match self {
            Self::Plain => 0,
            Self::Ranks(first) => first.len() as u64,
            Self::Deviations(first) => first.count(),
        }
    }
}

/// Mean and standard deviation of the first values; none as long as these are too few or all the same.
fn moments(first: &Tally) -> Option<(f64, f64)> {
    let deviation = first.variance().filter(|variance| *variance > 0.0)?.sqrt();
    (first.count() >= SCALED_BY as u64).then_some((first.mean()?, deviation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_bounded_and_ties_are_in_the_middle() {
        let mut scale = Scale::Ranks(Vec::new());
        assert!((0..100).rev().all(|value| scale.see(f64::from(value)).is_none()));
        assert_eq!(scale.made_of(), 100);
        let mut rank = |value: f64| scale.see(value).unwrap();
        assert_eq!((rank(-1e300), rank(1e300), rank(49.5), rank(0.0)), (0.0, 1.0, 0.5, 0.005));
        let mut zeros = Scale::Ranks(vec![0.0; 100]);
        assert_eq!((zeros.see(0.0), zeros.see(0.1)), (Some(0.5), Some(1.0)));
    }
}
