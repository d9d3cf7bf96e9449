//! Gaps between groups, with intervals, under the names that Fairlearn gives them.
//!
//! A gap is the difference or ratio between the groups at the two ends. Its interval treats those two groups as if
//! they had been named beforehand; with many groups the ends are picked by chance too, so an interval that excludes a
//! limit only just is weaker evidence than its level says.

use serde::{Deserialize, Serialize};

use crate::interval::{Interval, newcombe, ratio, wilson};
use crate::quality::Confusion;

/// One group and its counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Name of the group.
    pub name: String,
    /// Its rows by truth and answer.
    pub counts: Confusion,
}

/// A rate over groups and the distance of the groups at its ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Rate of every group in the order given, with Wilson's interval; `None` for a group in which it is not defined.
    pub rates: Vec<Option<Interval>>,
    /// Position of the group with the lowest rate.
    pub lowest: usize,
    /// Position of the group with the highest rate.
    pub highest: usize,
    /// Highest minus lowest, with Newcombe's interval.
    pub difference: Interval,
    /// Lowest over highest, with Katz' interval, or without one where a rate is zero; `None` if no group has a hit.
    pub ratio: Option<Interval>,
}

impl Gap {
    /// Whether the interval of the difference lies above `limit`: the gap is too large, beyond what chance explains.
    pub fn exceeds(&self, limit: f64) -> bool {
        self.difference.low > limit
    }

    /// Whether the interval of the ratio lies below `limit` (the "80 % rule" has 0.8).
    pub fn falls_below(&self, limit: f64) -> bool {
        self.ratio.is_some_and(|ratio| ratio.high < limit)
    }
}

/// Gaps of all criteria. A criterion is `None` with fewer than two groups in which it is defined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// Demographic parity: rate of being said positive.
    pub demographic_parity: Option<Gap>,
    /// Equal opportunity: true positive rate.
    pub equal_opportunity: Option<Gap>,
    /// False positive rate, the other half of equalized odds.
    pub false_positive_rate: Option<Gap>,
    /// Accuracy.
    pub accuracy: Option<Gap>,
}

impl Fairness {
    /// Equalized odds: of the gaps of true and of false positive rates the one with the larger difference.
    pub fn equalized_odds_difference(&self) -> Option<&Gap> {
        let (a, b) = (self.equal_opportunity.as_ref()?, self.false_positive_rate.as_ref()?);
        Some(if a.difference.estimate >= b.difference.estimate { a } else { b })
    }

    /// Equalized odds: the smaller of both ratios.
    pub fn equalized_odds_ratio(&self) -> Option<Interval> {
        let (a, b) = (self.equal_opportunity.as_ref()?.ratio?, self.false_positive_rate.as_ref()?.ratio?);
        Some(if a.estimate <= b.estimate { a } else { b })
    }
}

/// Compares groups, with intervals at `level`.
pub fn fairness(groups: &[Group], level: f64) -> Fairness {
    let of = |rate: fn(&Confusion) -> (f64, f64)| {
        gap(groups.iter().map(|group| rate(&group.counts)).collect(), level)
    };
    Fairness {
        demographic_parity: of(|c| (c.said_positive(), c.total())),
        equal_opportunity: of(|c| (c.true_positive, c.positives())),
        false_positive_rate: of(|c| (c.false_positive, c.negatives())),
        accuracy: of(|c| (c.true_positive + c.true_negative, c.total())),
    }
}

/// The gap between rates given as hits and rows.
fn gap(counts: Vec<(f64, f64)>, level: f64) -> Option<Gap> {
    let rates: Vec<Option<Interval>> =
        counts.iter().map(|(hits, rows)| wilson(*hits, *rows, level)).collect();
    let defined = || rates.iter().enumerate().filter_map(|(at, rate)| rate.map(|rate| (at, rate.estimate)));
    if defined().count() < 2 {
        return None;
    }
    let (lowest, _) = defined().reduce(|a, b| if b.1 < a.1 { b } else { a })?;
    let (highest, _) = defined().reduce(|a, b| if b.1 > a.1 { b } else { a })?;
    // All groups alike: two of them stand for the comparison.
    let highest =
        if highest == lowest { defined().map(|(at, _)| at).find(|at| *at != lowest)? } else { highest };
    let difference = newcombe(counts[highest], counts[lowest], level)?;
    let top = counts[highest].0 / counts[highest].1;
    let quotient = (top > 0.0).then(|| {
        ratio(counts[lowest], counts[highest], level).unwrap_or_else(|| {
            let estimate = counts[lowest].0 / counts[lowest].1 / top;
            Interval { estimate, low: 0.0, high: f64::MAX }
        })
    });
    Some(Gap { rates, lowest, highest, difference, ratio: quotient })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, tp: f64, fp: f64, fn_: f64, tn: f64) -> Group {
        let counts =
            Confusion { true_positive: tp, false_positive: fp, false_negative: fn_, true_negative: tn };
        Group { name: name.into(), counts }
    }

    #[test]
    fn gaps_by_hand() {
        let groups = [group("a", 40.0, 10.0, 10.0, 40.0), group("b", 20.0, 5.0, 30.0, 45.0)];
        let found = fairness(&groups, 0.95);
        let parity = found.demographic_parity.as_ref().unwrap();
        assert_eq!((parity.difference.estimate, parity.ratio.unwrap().estimate), (0.25, 0.5));
        assert_eq!((parity.lowest, parity.highest), (1, 0));
        assert!(parity.exceeds(0.1) && !parity.exceeds(0.2) && parity.falls_below(0.8));
        assert_eq!(found.equalized_odds_difference().unwrap().difference.estimate, 0.8 - 0.4);
        assert_eq!(found.equalized_odds_ratio().unwrap().estimate, 0.5);
    }

    #[test]
    fn groups_without_rows_have_no_rate() {
        let groups =
            [group("a", 0.0, 1.0, 0.0, 9.0), group("b", 0.0, 1.0, 0.0, 9.0), group("c", 0.0, 0.0, 0.0, 0.0)];
        let found = fairness(&groups, 0.95);
        assert!(found.equal_opportunity.is_none());
        let parity = found.demographic_parity.unwrap();
        assert_eq!((parity.difference.estimate, parity.rates[2]), (0.0, None));
        assert!(fairness(&groups[..1], 0.95).accuracy.is_none());
    }
}
