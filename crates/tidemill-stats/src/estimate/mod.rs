//! How good a classifier probably is while the labels are not there yet: confidence-based performance estimation (CBPE).

mod isotonic;

use serde::{Deserialize, Serialize};

pub use isotonic::Isotonic;

use crate::quality::Confusion;

/// What must hold for the estimates to be right. To be shown with every one of them.
pub const ASSUMPTION: &str = "assumes that the chance of the label given the features is unchanged: the estimate sees a change of \
     the mix of rows, never a change of the concept";

/// Estimated figures of a two-class decision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Expected weights of rows by truth and answer.
    pub expected: Confusion,
    /// Expected accuracy.
    pub accuracy: f64,
    /// Standard deviation of the accuracy that these rows would show if the probabilities were right: √(Σ p(1−p))/n.
    pub accuracy_deviation: f64,
    /// Expected true positives over rows said positive. `None` if none were.
    pub precision: Option<f64>,
    /// Expected true positives over expected positives. `None` if none are expected.
    pub recall: Option<f64>,
    /// From the expected counts.
    pub f1: Option<f64>,
    /// Area under the expected curve. `None` if one class is not expected.
    pub auc: Option<f64>,
}

/// Estimates performance from calibrated probabilities (see [`Isotonic`]), the scores that order the rows (ties count
/// as half), and the answers that were given (J. Białek et al., Estimating model performance under covariate shift
/// without labels, <https://arxiv.org/abs/2401.08348>, section 3). `None` without rows, with lengths that differ, a
/// NaN, or a probability outside of [0, 1].
pub fn cbpe(calibrated: &[f64], scores: &[f64], said: &[bool]) -> Option<Estimate> {
    let rows = calibrated.len();
    let fits = rows > 0 && scores.len() == rows && said.len() == rows;
    if !fits || !calibrated.iter().all(|p| (0.0..=1.0).contains(p)) || scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let mut expected = Confusion::default();
    let mut variance = 0.0;
    for (p, said) in calibrated.iter().zip(said) {
        expected.add(true, *said, *p);
        expected.add(false, *said, 1.0 - p);
        variance += p * (1.0 - p);
    }
    Some(Estimate {
        accuracy: expected.accuracy()?,
        accuracy_deviation: variance.sqrt() / rows as f64,
        precision: expected.precision(),
        recall: expected.recall(),
        f1: expected.f1(),
        auc: expected_auc(calibrated, scores),
        expected,
    })
}

/// Area under the curve when row i counts as positive with weight p_i and as negative with weight 1 − p_i.
fn expected_auc(calibrated: &[f64], scores: &[f64]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let (mut area, mut negatives, mut positives) = (0.0, 0.0, 0.0);
    let mut from = 0;
    while from < order.len() {
        let (mut tied_positive, mut tied_negative, mut to) = (0.0, 0.0, from);
        while to < order.len() && scores[order[to]] == scores[order[from]] {
            tied_positive += calibrated[order[to]];
            tied_negative += 1.0 - calibrated[order[to]];
            to += 1;
        }
        area += tied_positive * (negatives + 0.5 * tied_negative);
        negatives += tied_negative;
        positives += tied_positive;
        from = to;
    }
    (positives > 0.0 && negatives > 0.0).then(|| area / (positives * negatives))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain_rows_give_the_plain_figures() {
        let found = cbpe(&[1.0, 1.0, 0.0, 0.0], &[0.9, 0.4, 0.6, 0.1], &[true, false, true, false]).unwrap();
        assert_eq!((found.accuracy, found.accuracy_deviation), (0.5, 0.0));
        assert_eq!((found.precision, found.recall, found.f1), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!(found.auc, Some(0.75));
        assert!(cbpe(&[], &[], &[]).is_none() && cbpe(&[1.5], &[0.1], &[true]).is_none());
        assert_eq!(cbpe(&[0.0], &[0.1], &[false]).unwrap().auc, None);
    }
}
