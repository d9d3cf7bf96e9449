//! The four counts of a two-class decision and the figures made of them; the area under the curve with row weights.

use serde::{Deserialize, Serialize};

use crate::interval::{Interval, wilson};

/// Weights of rows by what was true and what was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// True and said so.
    pub true_positive: f64,
    /// Not true, and said to be.
    pub false_positive: f64,
    /// True, and said not to be.
    pub false_negative: f64,
    /// Not true and said so.
    pub true_negative: f64,
}

/// a/b, if there is something to divide by.
fn share(a: f64, b: f64) -> Option<f64> {
    (b > 0.0).then(|| a / b)
}

impl Confusion {
    /// Counts rows, each with its weight or with one. Slices must be equally long; what exceeds the shortest is left out.
    pub fn of(truth: &[bool], said: &[bool], weights: Option<&[f64]>) -> Self {
        let mut counts = Self::default();
        for (row, (truth, said)) in truth.iter().zip(said).enumerate() {
            let Some(weight) = weights.map_or(Some(1.0), |weights| weights.get(row).copied()) else { break };
            counts.add(*truth, *said, weight);
        }
        counts
    }

    /// Adds one row.
    pub fn add(&mut self, truth: bool, said: bool, weight: f64) {
        *match (truth, said) {
            (true, true) => &mut self.true_positive,
            (false, true) => &mut self.false_positive,
            (true, false) => &mut self.false_negative,
            (false, false) => &mut self.true_negative,
        } += weight;
    }

    /// Adds the counts of other rows.
    pub fn merge(&mut self, other: &Self) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
        self.true_negative += other.true_negative;
    }

    /// Weight of all rows.
    pub fn total(&self) -> f64 {
        self.positives() + self.negatives()
    }

    /// Weight of the rows that are positive.
    pub fn positives(&self) -> f64 {
        self.true_positive + self.false_negative
    }

    /// Weight of the rows that are not.
    pub fn negatives(&self) -> f64 {
        self.false_positive + self.true_negative
    }

    /// Weight of the rows that were said to be positive.
    pub fn said_positive(&self) -> f64 {
        self.true_positive + self.false_positive
    }

    /// Share of right answers.
    pub fn accuracy(&self) -> Option<f64> {
        share(self.true_positive + self.true_negative, self.total())
    }

    /// Share of right ones among those said to be positive.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positive, self.said_positive())
    }

    /// Share found among the positive ones: the true positive rate.
    pub fn recall(&self) -> Option<f64> {
        share(self.true_positive, self.positives())
    }

    /// Share of right ones among the negative ones: the true negative rate.
    pub fn specificity(&self) -> Option<f64> {
        share(self.true_negative, self.negatives())
    }

    /// Share of wrong ones among the negative ones.
    pub fn false_positive_rate(&self) -> Option<f64> {
        share(self.false_positive, self.negatives())
    }

    /// Share of rows that were said to be positive.
    pub fn selection_rate(&self) -> Option<f64> {
        share(self.said_positive(), self.total())
    }

    /// Harmonic mean of precision and recall: 2·TP / (2·TP + FP + FN).
    pub fn f1(&self) -> Option<f64> {
        share(2.0 * self.true_positive, 2.0 * self.true_positive + self.false_positive + self.false_negative)
    }

    /// Mean of recall and specificity.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some(f64::midpoint(self.recall()?, self.specificity()?))
    }

    /// Matthews' correlation of truth and answer, in [−1, 1].
    pub fn matthews(&self) -> Option<f64> {
        let said_negative = self.false_negative + self.true_negative;
        let margins = self.said_positive() * said_negative * self.positives() * self.negatives();
        let crossed = self.true_positive * self.true_negative - self.false_positive * self.false_negative;
        (margins > 0.0).then(|| crossed / margins.sqrt())
    }

    /// Wilson's interval of the accuracy. With weights that are not counts it treats their sum as the number of rows.
    pub fn accuracy_interval(&self, level: f64) -> Option<Interval> {
        wilson(self.true_positive + self.true_negative, self.total(), level)
    }
}

/// Area under the receiver operating characteristic with row weights, ties as half: scikit-learn's
/// `roc_auc_score(sample_weight=…)`. `None` if a class has no weight, lengths differ or a score is NaN.
pub fn weighted_auc(positive: &[bool], scores: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    let rows = scores.len();
    if positive.len() != rows
        || weights.is_some_and(|weights| weights.len() != rows)
        || scores.iter().any(|score| score.is_nan())
    {
        return None;
    }
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let (mut area, mut below, mut positives) = (0.0, 0.0, 0.0);
    let mut from = 0;
    while from < rows {
        let (mut tied_positive, mut tied_negative) = (0.0, 0.0);
        let mut to = from;
        while to < rows && scores[order[to]] == scores[order[from]] {
            *if positive[order[to]] { &mut tied_positive } else { &mut tied_negative } += weight(order[to]);
            to += 1;
        }
        area += tied_positive * (below + 0.5 * tied_negative);
        below += tied_negative;
        positives += tied_positive;
        from = to;
    }
    (positives > 0.0 && below > 0.0).then(|| area / (positives * below))
}
