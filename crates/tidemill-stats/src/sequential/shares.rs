//! Whether arms got the share of requests that they were meant to get. When they did not, nothing else is worth testing.

use serde::{Deserialize, Serialize};

use crate::special::chi_square_above;

/// Below this p-value a comparison is refused (R. Kohavi et al., Trustworthy Online Controlled Experiments, 2020,
/// chapter 21).
pub const REFUSE: f64 = 0.0005;

/// The check of shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareCheck {
    /// Pearson's statistic.
    pub chi2: f64,
    /// Its p-value with one degree less than there are arms.
    pub p: f64,
    /// Whether `p` is at least [`REFUSE`].
    pub fine: bool,
}

/// Compares the units that arms got with the shares that they should get, in any unit. `None` below two arms, when
/// lengths differ, a share is not above zero, or nothing was counted.
pub fn sample_ratio(counts: &[u64], shares: &[f64]) -> Option<ShareCheck> {
    let units = counts.iter().sum::<u64>() as f64;
    let all: f64 = shares.iter().sum();
    let good = shares.iter().all(|share| *share > 0.0 && share.is_finite());
    if counts.len() < 2 || counts.len() != shares.len() || !good || units <= 0.0 {
        return None;
    }
    let distance = |(count, share): (&u64, &f64)| {
        let expected = units * share / all;
        (*count as f64 - expected).powi(2) / expected
    };
    let chi2: f64 = counts.iter().zip(shares).map(distance).sum();
    let p = chi_square_above(chi2, (counts.len() - 1) as f64);
    Some(ShareCheck { chi2, p, fine: p >= REFUSE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_are_off_are_refused() {
        assert!(sample_ratio(&[9_050, 950], &[90.0, 10.0]).unwrap().fine);
        assert!(!sample_ratio(&[9_200, 800], &[90.0, 10.0]).unwrap().fine);
        assert!(sample_ratio(&[1], &[1.0]).is_none() && sample_ratio(&[0, 0], &[0.5, 0.5]).is_none());
        assert!(sample_ratio(&[1, 1], &[1.0, 0.0]).is_none());
    }
}
