//! Measures of labels: the confusion matrix and F1.

/// Truth and label of each row, as class numbers.
pub(super) struct Labels {
    pub(super) truth: Vec<u32>,
    pub(super) label: Vec<u32>,
    pub(super) classes: usize,
}

impl Labels {
    /// F1 of class 1 for two classes, the plain mean over classes for more.
    ///
    /// `2 tp / (2 tp + fp + fn)`; 0 for two classes without positives. A class that neither occurs nor is answered
    /// is left out of the mean.
    pub(super) fn f1(&self, weights: &[f64]) -> Option<f64> {
        let mut hits = vec![0.0; self.classes];
        let mut marks = vec![0.0; self.classes];
        for ((truth, label), weight) in self.truth.iter().zip(&self.label).zip(weights) {
            marks[*truth as usize] += weight;
            marks[*label as usize] += weight;
            if truth == label {
                hits[*truth as usize] += weight;
            }
        }
        // `marks` holds tp + fn plus tp + fp, which is F1's denominator.
        if self.classes == 2 {
            return Some(if marks[1] > 0.0 { 2.0 * hits[1] / marks[1] } else { 0.0 });
        }
        let each: Vec<f64> =
            hits.iter().zip(&marks).filter(|(_, m)| **m > 0.0).map(|(h, m)| 2.0 * h / m).collect();
        (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
    }
}

/// The confusion matrix: `matrix[truth][label]` is the sum of the rows' weights, 1 each where not given.
pub fn confusion(truth: &[u32], label: &[u32], classes: usize, weights: Option<&[f64]>) -> Vec<Vec<f64>> {
    let mut matrix = vec![vec![0.0; classes]; classes];
    for (row, (truth, label)) in truth.iter().zip(label).enumerate() {
        matrix[*truth as usize][*label as usize] += weights.map_or(1.0, |w| w[row]);
    }
    matrix
}
