//! Areas under receiver operating characteristics with their variances: DeLong's, in Sun and Xu's fast form.
//!
//! E. DeLong, D. DeLong, D. Clarke-Pearson, Biometrics 44 (1988); X. Sun, W. Xu, IEEE Signal Process. Lett. 21
//! (2014): all components come from mid-ranks, so the cost is that of sorting.

use serde::{Deserialize, Serialize};

use crate::correlation::mean_ranks;
use crate::interval::{Interval, factor};
use crate::special::normal_two_sided;

/// An area under the curve with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Auc {
    /// Probability that a positive row is scored higher than a negative one, ties as half.
    pub area: f64,
    /// DeLong's standard error; zero when the classes are separated.
    pub error: f64,
}

impl Auc {
    /// Interval at `level` on the logit scale, which stays inside of (0, 1). With a separated sample, where that is not
    /// defined, both ends are the area.
    pub fn interval(&self, level: f64) -> Interval {
        let spread = self.area * (1.0 - self.area);
        if spread <= 0.0 || self.error <= 0.0 {
            return Interval { estimate: self.area, low: self.area, high: self.area };
        }
        let logit = (self.area / (1.0 - self.area)).ln();
        let width = factor(level) * self.error / spread;
        let back = |x: f64| 1.0 / (1.0 + (-x).exp());
        Interval { estimate: self.area, low: back(logit - width), high: back(logit + width) }
    }
}

/// Two areas on the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AucDifference {
    /// Area of the first score.
    pub first: Auc,
    /// Area of the second score.
    pub second: Auc,
    /// First minus second.
    pub difference: f64,
    /// Standard error of the difference, with the covariance of both.
    pub error: f64,
    /// Two-sided p-value of no difference; one when the scores order the rows alike.
    pub p: f64,
}

impl AucDifference {
    /// Interval of the difference at `level`.
    pub fn interval(&self, level: f64) -> Interval {
        let width = factor(level) * self.error;
        Interval { estimate: self.difference, low: self.difference - width, high: self.difference + width }
    }
}

/// Area of `scores` for rows that are positive or not. `None` unless there are at least two rows of each class, as many
/// scores as rows, and no NaN among them.
pub fn auc(positive: &[bool], scores: &[f64]) -> Option<Auc> {
    let components = components(positive, scores)?;
    let (area, ..) = components;
    Some(Auc { area, error: covariance(&components, &components).max(0.0).sqrt() })
}

/// Compares two scores of the same rows. `None` as for [`auc`].
pub fn auc_difference(positive: &[bool], first: &[f64], second: &[f64]) -> Option<AucDifference> {
    let (a, b) = (components(positive, first)?, components(positive, second)?);
    let (own_a, own_b, shared) = (covariance(&a, &a), covariance(&b, &b), covariance(&a, &b));
    let error = (own_a + own_b - 2.0 * shared).max(0.0).sqrt();
    let difference = a.0 - b.0;
    let p = if error > 0.0 {
        normal_two_sided(difference / error)
    } else {
        f64::from(u8::from(difference == 0.0))
    };
    let of = |area: f64, variance: f64| Auc { area, error: variance.max(0.0).sqrt() };
    Some(AucDifference { first: of(a.0, own_a), second: of(b.0, own_b), difference, error, p })
}

/// The area, and for each positive and each negative row the share of the other class that it is on the right side of.
type Components = (f64, Vec<f64>, Vec<f64>);

fn components(positive: &[bool], scores: &[f64]) -> Option<Components> {
    if positive.len() != scores.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let of = |class: bool| -> Vec<f64> {
        positive.iter().zip(scores).filter(|(p, _)| **p == class).map(|(_, score)| *score).collect()
    };
    let (positives, negatives) = (of(true), of(false));
    let (m, n) = (positives.len() as f64, negatives.len() as f64);
    if m < 2.0 || n < 2.0 {
        return None;
    }
    let all = mean_ranks(scores);
    let (own_positive, own_negative) = (mean_ranks(&positives), mean_ranks(&negatives));
    let (mut above, mut below) = (Vec::with_capacity(positives.len()), Vec::with_capacity(negatives.len()));
    for (is_positive, rank) in positive.iter().zip(all) {
        if *is_positive {
            above.push((rank - own_positive[above.len()]) / n);
        } else {
            below.push(1.0 - (rank - own_negative[below.len()]) / m);
        }
    }
    let area = above.iter().sum::<f64>() / m;
    Some((area, above, below))
}

fn covariance(a: &Components, b: &Components) -> f64 {
    let of = |x: &[f64], y: &[f64]| {
        let count = x.len() as f64;
        let sum: f64 = x.iter().zip(y).map(|(x, y)| (x - a.0) * (y - b.0)).sum();
        sum / (count - 1.0) / count
    };
    of(&a.1, &b.1) + of(&a.2, &b.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand() {
        let truth = [true, true, false, false];
        assert_eq!(auc(&truth, &[0.9, 0.8, 0.2, 0.1]).unwrap(), Auc { area: 1.0, error: 0.0 });
        assert_eq!(auc(&truth, &[0.5; 4]).unwrap().area, 0.5);
        assert_eq!(auc(&truth, &[0.9, 0.2, 0.3, 0.1]).unwrap().area, 0.75);
        assert!(auc(&[true, false, false], &[0.1; 3]).is_none());
        assert!(auc(&truth, &[f64::NAN; 4]).is_none() && auc(&truth, &[0.1]).is_none());
    }

    #[test]
    fn scores_that_order_alike_do_not_differ() {
        let truth = [true, false, true, false, true, false];
        let scores = [0.9, 0.4, 0.3, 0.2, 0.8, 0.5];
        let found = auc_difference(&truth, &scores, &scores.map(|s: f64| s * s)).unwrap();
        assert_eq!((found.difference, found.error, found.p), (0.0, 0.0, 1.0));
    }
}
