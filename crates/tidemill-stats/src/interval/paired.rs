//! Two models on the same rows: McNemar's test, the mean difference, and "no worse than".

use serde::{Deserialize, Serialize};

use crate::interval::Interval;
use crate::sample::Moments;
use crate::special::{binomial_below, binomial_chance, student_above, student_quantile};

/// McNemar's test: of the rows on which exactly one of two models is right, are they more often one's than the other's?
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Rows that only the first got right.
    pub only_first: u64,
    /// Rows that only the second got right.
    pub only_second: u64,
    /// Exact two-sided binomial p-value.
    pub p_exact: f64,
    /// Mid-p: the exact one with half of the chance of the observed outcome (M. Fagerland et al., BMC Med. Res.
    /// Methodol. 13, 2013); less cautious, closer to its level.
    pub p_mid: f64,
}

/// McNemar's test from the two counts of discordant rows.
pub fn mcnemar(only_first: u64, only_second: u64) -> McNemar {
    let total = only_first + only_second;
    let least = only_first.min(only_second);
    let (p_exact, p_mid) = if total == 0 {
        (1.0, 1.0)
    } else {
        let upto = binomial_below(least, total, 0.5);
        let here = binomial_chance(least, total, 0.5);
        // With equal counts every outcome is as extreme as this one, and half of its own chance goes.
        let mid = if only_first == only_second { 1.0 - here / 2.0 } else { 2.0 * upto - here };
        ((2.0 * upto).min(1.0), mid)
    };
    McNemar { only_first, only_second, p_exact, p_mid: p_mid.clamp(0.0, 1.0) }
}

/// The mean of differences within pairs, with Student's interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// Mean difference.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
    /// Number of pairs.
    pub pairs: f64,
}

impl PairedDifference {
    /// Two-sided interval at `level`.
    pub fn interval(&self, level: f64) -> Interval {
        let width = student_quantile(0.5 + level / 2.0, self.pairs - 1.0) * self.error;
        Interval { estimate: self.mean, low: self.mean - width, high: self.mean + width }
    }

    /// One-sided p-value of "the mean difference is above `limit`".
    pub fn p_above(&self, limit: f64) -> f64 {
        if self.error > 0.0 {
            student_above((self.mean - limit) / self.error, self.pairs - 1.0)
        } else {
            f64::from(u8::from(self.mean <= limit))
        }
    }
}

/// The mean of `differences`. `None` below two pairs or with values that are not finite.
pub fn paired_difference(differences: &[f64]) -> Option<PairedDifference> {
    let moments = Moments::of(differences)?;
    let variance = moments.sample_variance().filter(|variance| variance.is_finite())?;
    Some(PairedDifference {
        mean: moments.mean,
        error: (variance / moments.count).sqrt(),
        pairs: moments.count,
    })
}

/// What a comparison with a margin says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// The whole interval is above zero.
    Better,
    /// The whole interval is above minus the margin.
    NotWorse,
    /// The whole interval is below minus the margin.
    Worse,
    /// The interval contains minus the margin: the rows do not say. Not the same as equal.
    NoEvidence,
}

/// A comparison of a candidate with a champion by an interval of candidate − champion, where more is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NonInferiority {
    /// Interval of the difference.
    pub difference: Interval,
    /// How much worse still counts as no worse; at least zero.
    pub margin: f64,
    /// What it comes to.
    pub conclusion: Conclusion,
}

/// Concludes from an interval, wherever it comes from (paired differences, DeLong, bootstrap). A test at level α uses the
/// two-sided interval at 1 − 2α, because only its lower end decides.
pub fn non_inferiority(difference: Interval, margin: f64) -> NonInferiority {
    let conclusion = if difference.low > 0.0 {
        Conclusion::Better
    } else if difference.low > -margin {
        Conclusion::NotWorse
    } else if difference.high < -margin {
        Conclusion::Worse
    } else {
        Conclusion::NoEvidence
    };
    NonInferiority { difference, margin, conclusion }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conclusions_follow_the_interval() {
        let conclude = |low, high| {
            non_inferiority(Interval { estimate: f64::midpoint(low, high), low, high }, 0.005).conclusion
        };
        assert_eq!(conclude(0.001, 0.01), Conclusion::Better);
        assert_eq!(conclude(-0.004, 0.01), Conclusion::NotWorse);
        assert_eq!(conclude(-0.02, 0.01), Conclusion::NoEvidence);
        assert_eq!(conclude(-0.02, -0.001), Conclusion::NoEvidence);
        assert_eq!(conclude(-0.02, -0.006), Conclusion::Worse);
    }

    #[test]
    fn mcnemar_by_hand() {
        let found = mcnemar(1, 5);
        assert!(
            (found.p_exact - 14.0 / 64.0).abs() < 1e-15 && (found.p_mid - 8.0 / 64.0).abs() < 1e-15,
            "{found:?}"
        );
        assert_eq!((mcnemar(0, 0).p_exact, mcnemar(0, 0).p_mid), (1.0, 1.0));
        assert_eq!(mcnemar(3, 3).p_exact, 1.0);
    }

    #[test]
    fn differences_that_do_not_vary_are_sure() {
        let same = paired_difference(&[0.25, 0.25, 0.25]).unwrap();
        assert_eq!((same.p_above(0.0), same.p_above(0.3)), (0.0, 1.0));
        assert!(paired_difference(&[1.0]).is_none());
    }
}
