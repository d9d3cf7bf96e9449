//! What a fitted linear model is: plain numbers over the columns of a frame. Fitting and scoring are elsewhere.

use serde::{Deserialize, Serialize};

/// How scores become answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// The score is the answer (ridge regression; one output).
    Identity,
    /// `1 / (1 + exp(-score))` is the probability of the positive class, index 1 (one output).
    Logistic,
    /// `exp(score_k) / sum_j exp(score_j)` is the probability of class k (one output a class, three or more).
    Softmax,
}

/// A linear model: `score_k = intercept_k + sum over columns of the column's term for output k`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearModel {
    /// How scores become answers.
    pub link: Link,
    /// One term for each column of the frame, in the frame's order.
    pub terms: Vec<Term>,
    /// One for each output: a single one for identity and logistic, one a class for softmax.
    pub intercepts: Vec<f64>,
}

/// What one column of the frame adds to the scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// `coefficients[k] * (x - mean) / scale`; nothing where `x` is missing, which equals taking the mean.
    Numeric {
        /// Weighted mean over the training rows that have a value; 0 where none has.
        mean: f64,
        /// Weighted population standard deviation after missing values took the mean; 1 for a constant column.
        scale: f64,
        /// One for each output, for the standardised column; 0 for a constant column.
        coefficients: Vec<f64>,
    },
    /// `coefficients[k]` of the level that the row has.
    Categorical {
        /// Codes of the levels with coefficients of their own, in rising order; codes index the levels of the
        /// column in the frame's schema.
        levels: Vec<u32>,
        /// One row for each of `levels`, with one value for each output.
        coefficients: Vec<Vec<f64>>,
        /// For a missing value; zeros where the training rows had none.
        missing: Vec<f64>,
        /// For every other level, also those never seen; zeros where each training level has its own.
        other: Vec<f64>,
    },
}

impl LinearModel {
    /// Number of outputs: 1, or the number of classes for softmax.
    pub fn outputs(&self) -> usize {
        self.intercepts.len()
    }
}
