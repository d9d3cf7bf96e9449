//! Answers of a linear model.

use rayon::prelude::*;

use super::{LinearModel, Link, Term};
use crate::frame::{ColumnData, Frame, NO_LEVEL};
use crate::model::{Predictor, Scores};

/// Rows that one task answers.
const BLOCK: usize = 4_096;

impl Predictor for LinearModel {
    fn scores(&self, frame: &Frame) -> Scores {
        let outputs = self.outputs();
        let width = if self.link == Link::Logistic { 2 } else { outputs };
        let mut values = vec![0.0; frame.rows() * width];
        values.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, answers)| {
            let rows = answers.len() / width;
            let mut raw = self.intercepts.repeat(rows);
            for (term, column) in self.terms.iter().zip(frame.columns()) {
                term.add(&column.data, block * BLOCK, &mut raw, outputs);
            }
            for (answer, score) in answers.chunks_exact_mut(width).zip(raw.chunks_exact(outputs)) {
                self.link.answer(score, answer);
            }
        });
        Scores { values, width }
    }
}

impl Term {
    /// Adds the column's part to the scores of the rows from `first` on, `outputs` numbers a row.
    fn add(&self, column: &ColumnData, first: usize, scores: &mut [f64], outputs: usize) {
        let rows = scores.len() / outputs;
        match (self, column) {
            (Self::Numeric { mean, scale, coefficients }, ColumnData::Numeric(values)) => {
                for (value, score) in values[first..first + rows].iter().zip(scores.chunks_exact_mut(outputs))
                {
                    if !value.is_nan() {
                        let standard = (value - mean) / scale;
                        score.iter_mut().zip(coefficients).for_each(|(s, c)| *s += standard * c);
                    }
                }
            }
            (Self::Categorical { .. }, ColumnData::Category { codes, .. }) => {
                for (code, score) in codes[first..first + rows].iter().zip(scores.chunks_exact_mut(outputs)) {
                    score.iter_mut().zip(self.of_level(*code)).for_each(|(s, c)| *s += c);
                }
            }
            // `TrainedModel` reads frames by the schema that the terms were fitted to, so kinds always agree.
            _ => debug_assert!(false, "a frame of another schema"),
        }
    }

    /// The coefficients of a level, [`NO_LEVEL`] for a missing value; none for a numeric column.
    pub fn of_level(&self, code: u32) -> &[f64] {
        match self {
            Self::Categorical { missing, .. } if code == NO_LEVEL => missing,
            Self::Categorical { levels, coefficients, other, .. } => {
                levels.binary_search(&code).map_or(other, |at| &coefficients[at])
            }
            Self::Numeric { .. } => &[],
        }
    }
}

impl Link {
    /// Turns the scores of one row into its answer: one number, or the probability of each class.
    fn answer(self, scores: &[f64], answer: &mut [f64]) {
        match self {
            Self::Identity => answer.copy_from_slice(scores),
            Self::Logistic => {
                let p = sigmoid(scores[0]);
                answer[0] = 1.0 - p;
                answer[1] = p;
            }
            Self::Softmax => {
                answer.copy_from_slice(scores);
                softmax(answer);
            }
        }
    }
}

/// `1 / (1 + exp(-x))` without overflow.
pub(super) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// Turns scores into probabilities and returns the logarithm of the sum of their exponentials.
pub(super) fn softmax(scores: &mut [f64]) -> f64 {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in &mut *scores {
        *score = (*score - most).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
    most + sum.ln()
}
