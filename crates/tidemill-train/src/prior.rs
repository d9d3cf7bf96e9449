//! The `prior` baseline: the mean of the target or the class frequencies, whatever the row.

use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Target};
use crate::model::{Predictor, Scores};

/// Answers every row alike: what a model must beat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorModel {
    /// The weighted mean of the target.
    Mean(f64),
    /// The weighted share of each class; they add up to 1.
    Shares(Vec<f64>),
}

impl Predictor for PriorModel {
    fn scores(&self, frame: &Frame) -> Scores {
        let answer = self.answer();
        Scores { values: answer.repeat(frame.rows()), width: answer.len() }
    }
}

impl PriorModel {
    /// The baseline for a target.
    pub fn fit(target: &Target, weights: Option<&[f64]>) -> Self {
        match target {
            Target::Regression(values) => Self::mean(values, weights),
            Target::Classes { codes, classes } => Self::shares(codes, classes.len(), weights),
        }
    }

    /// The mean of `target` under `weights` (1 each where not given).
    pub fn mean(target: &[f64], weights: Option<&[f64]>) -> Self {
        let (mut sum, mut total) = (0.0, 0.0);
        for (row, value) in target.iter().enumerate() {
            let weight = weights.map_or(1.0, |w| w[row]);
            sum += weight * value;
            total += weight;
        }
        Self::Mean(if total > 0.0 { sum / total } else { 0.0 })
    }

    /// The share of each of `classes` classes among `target`, class numbers below `classes`.
    pub fn shares(target: &[u32], classes: usize, weights: Option<&[f64]>) -> Self {
        let mut sums = vec![0.0; classes];
        for (row, class) in target.iter().enumerate() {
            sums[*class as usize] += weights.map_or(1.0, |w| w[row]);
        }
        let total: f64 = sums.iter().sum();
        if total > 0.0 {
            sums.iter_mut().for_each(|sum| *sum /= total);
        } else {
            sums.fill(1.0 / classes as f64);
        }
        Self::Shares(sums)
    }

    /// Numbers of one answer: 1 for the mean, one a class for shares.
    pub fn answer(&self) -> &[f64] {
        match self {
            Self::Mean(mean) => std::slice::from_ref(mean),
            Self::Shares(shares) => shares,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_count_as_repeated_rows() {
        let PriorModel::Mean(mean) = PriorModel::mean(&[1.0, 5.0], Some(&[3.0, 1.0])) else { panic!() };
        assert_eq!(mean, 2.0);
        assert_eq!(
            PriorModel::shares(&[0, 2, 2], 3, Some(&[1.0, 1.0, 2.0])),
            PriorModel::Shares(vec![0.25, 0.0, 0.75])
        );
    }
}
