//! Measures of how well scores put positives before negatives: ROC AUC and average precision.

/// Rows in falling order of score, with equal scores as one step.
///
/// Sorting once lets a thousand resamples be measured by one pass each.
pub(super) struct Ranking {
    /// Row numbers, best score first.
    order: Vec<u32>,
    /// Whether the row at this place of the order is positive.
    positive: Vec<bool>,
    /// Whether the row at this place is the last one with its score.
    last: Vec<bool>,
}

impl Ranking {
    /// Ranks rows by `score(row)`, which must be finite.
    pub(super) fn new(rows: usize, score: impl Fn(usize) -> f64, positive: impl Fn(usize) -> bool) -> Self {
        let mut keyed: Vec<(f64, u32)> = (0..rows).map(|row| (score(row), row as u32)).collect();
        // The row number as second key makes the order, and with it every sum, the same on each run.
        keyed.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let last = (0..rows).map(|at| at + 1 == rows || keyed[at].0 != keyed[at + 1].0).collect();
        let order: Vec<u32> = keyed.into_iter().map(|(_, row)| row).collect();
        let positive = order.iter().map(|row| positive(*row as usize)).collect();
        Self { order, positive, last }
    }

    /// Area under the ROC curve with straight lines through ties; `None` without weight on both classes.
    ///
    /// The weighted probability that a positive scores above a negative, ties counting half
    /// (Hanley and McNeil 1982, Radiology 143).
    pub(super) fn roc_auc(&self, weights: &[f64]) -> Option<f64> {
        let (mut area, mut above, mut negatives) = (0.0, 0.0, 0.0);
        let (mut group_positive, mut group_negative) = (0.0, 0.0);
        for ((row, positive), last) in self.order.iter().zip(&self.positive).zip(&self.last) {
            let weight = weights[*row as usize];
            let share = if *positive { weight } else { 0.0 };
            group_positive += share;
            group_negative += weight - share;
            if *last {
                area += group_negative * (above + 0.5 * group_positive);
                above += group_positive;
                negatives += group_negative;
                (group_positive, group_negative) = (0.0, 0.0);
            }
        }
        (above > 0.0 && negatives > 0.0).then(|| area / (above * negatives))
    }

    /// Average precision: the sum over steps of the recall gained times the precision reached, without
    /// interpolation; `None` without weight on positives.
    pub(super) fn average_precision(&self, weights: &[f64]) -> Option<f64> {
        let (mut sum, mut hits, mut acted, mut gained) = (0.0, 0.0, 0.0, 0.0);
        for ((row, positive), last) in self.order.iter().zip(&self.positive).zip(&self.last) {
            let weight = weights[*row as usize];
            acted += weight;
            gained += if *positive { weight } else { 0.0 };
            if *last {
                hits += gained;
                if gained > 0.0 {
                    sum += gained * (hits / acted);
                }
                gained = 0.0;
            }
        }
        (hits > 0.0).then(|| sum / hits)
    }
}
