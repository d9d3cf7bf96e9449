//! How sure a figure of a model is: intervals of proportions, areas under curves and any statistic, and paired
//! comparisons.

mod bootstrap;
mod delong;
mod paired;

use serde::{Deserialize, Serialize};

pub use bootstrap::{Bootstrap, bootstrap};
pub use delong::{Auc, AucDifference, auc, auc_difference};
pub use paired::{
    Conclusion, McNemar, NonInferiority, PairedDifference, mcnemar, non_inferiority, paired_difference,
};

use crate::special::{beta_quantile, normal_quantile};

/// Two ends with the figure between them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure itself.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies inside, the ends included.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// The two-sided standard normal factor of a level: 1.96 for 0.95.
pub(crate) fn factor(level: f64) -> f64 {
    normal_quantile(0.5 + level / 2.0)
}

/// Wilson's score interval of a proportion at `level` (JASA 22, 1927), without continuity correction. `None` without
/// trials or with more hits than trials. Counts may be weighted.
pub fn wilson(hits: f64, trials: f64, level: f64) -> Option<Interval> {
    if trials.is_nan() || trials <= 0.0 || !(0.0..=trials).contains(&hits) {
        return None;
    }
    let z = factor(level);
    let share = hits / trials;
    let square = z * z / trials;
    let middle = (share + square / 2.0) / (1.0 + square);
    let width = z / (1.0 + square) * (share * (1.0 - share) / trials + square / (4.0 * trials)).sqrt();
    // Without a hit or without a miss the end is exactly the share, whatever rounding says.
    let low = if hits == 0.0 { 0.0 } else { (middle - width).max(0.0) };
    let high = if hits == trials { 1.0 } else { (middle + width).min(1.0) };
    Some(Interval { estimate: share, low, high })
}

/// Clopper and Pearson's exact interval of a proportion at `level` (Biometrika 26, 1934): never too narrow. `None` as for
/// [`wilson`].
pub fn clopper_pearson(hits: u64, trials: u64, level: f64) -> Option<Interval> {
    if trials == 0 || hits > trials {
        return None;
    }
    let tail = (1.0 - level) / 2.0;
    let (k, n) = (hits as f64, trials as f64);
    let low = if hits == 0 { 0.0 } else { beta_quantile(tail, k, n - k + 1.0) };
    // The upper end from the other side, so that the small tail keeps its digits.
    let high = if hits == trials { 1.0 } else { 1.0 - beta_quantile(tail, n - k, k + 1.0) };
    Some(Interval { estimate: k / n, low, high })
}

/// Newcombe's interval of the difference of two independent proportions `first` − `second`, each as hits and trials
/// (Stat. Med. 17, 1998, method 10: Wilson's intervals squared and added). `None` as for [`wilson`].
pub fn newcombe(first: (f64, f64), second: (f64, f64), level: f64) -> Option<Interval> {
    let (a, b) = (wilson(first.0, first.1, level)?, wilson(second.0, second.1, level)?);
    let estimate = a.estimate - b.estimate;
    let low = ((a.estimate - a.low).powi(2) + (b.high - b.estimate).powi(2)).sqrt();
    let high = ((a.high - a.estimate).powi(2) + (b.estimate - b.low).powi(2)).sqrt();
    Some(Interval { estimate, low: estimate - low, high: estimate + high })
}

/// Interval of the ratio of two independent proportions `first` / `second` by the delta method on the logarithm (D.
/// Katz et al., Biometrics 34, 1978). `None` as for [`wilson`], or when a side has no hit.
pub fn ratio(first: (f64, f64), second: (f64, f64), level: f64) -> Option<Interval> {
    let (a, b) = (wilson(first.0, first.1, level)?, wilson(second.0, second.1, level)?);
    if first.0 <= 0.0 || second.0 <= 0.0 {
        return None;
    }
    let estimate = a.estimate / b.estimate;
    let error = (1.0 / first.0 - 1.0 / first.1 + 1.0 / second.0 - 1.0 / second.1).max(0.0).sqrt();
    let stretch = (factor(level) * error).exp();
    Some(Interval { estimate, low: estimate / stretch, high: estimate * stretch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_at_their_ends() {
        let none = wilson(0.0, 50.0, 0.95).unwrap();
        assert!(none.low == 0.0 && (none.high - 0.071_348).abs() < 1e-5, "{none:?}");
        assert_eq!(wilson(50.0, 50.0, 0.95).unwrap().high, 1.0);
        // The rule of three.
        let exact = clopper_pearson(0, 300, 0.9).unwrap();
        assert!(exact.low == 0.0 && (exact.high - 0.009_936).abs() < 1e-5, "{exact:?}");
        assert_eq!(clopper_pearson(7, 7, 0.95).unwrap().high, 1.0);
        assert!(wilson(1.0, 0.0, 0.95).is_none() && wilson(2.0, 1.0, 0.95).is_none());
        assert!(clopper_pearson(0, 0, 0.95).is_none());
    }

    #[test]
    fn differences_and_ratios_contain_their_estimate() {
        let difference = newcombe((8.0, 10.0), (3.0, 10.0), 0.95).unwrap();
        assert!(difference.contains(0.5) && !difference.contains(0.0), "{difference:?}");
        let quotient = ratio((80.0, 100.0), (50.0, 100.0), 0.95).unwrap();
        assert!(quotient.contains(1.6) && !quotient.contains(1.0), "{quotient:?}");
        assert!(ratio((0.0, 10.0), (5.0, 10.0), 0.95).is_none());
    }
}
