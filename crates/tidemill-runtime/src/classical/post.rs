//! What turns raw scores into answers: the `post_transform` of classifiers and regressors.

use crate::onnx::Attributes;

use super::kernel::{Outcome, Refusal};

/// `post_transform`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PostTransform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

impl PostTransform {
    /// The attribute of a node.
    pub(crate) fn read(attributes: &Attributes) -> Result<Self, Refusal> {
        Ok(match attributes.text("post_transform")?.unwrap_or("NONE") {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            other => return Err(Refusal::Malformed(format!("post_transform `{other}`"))),
        })
    }

    /// The number that newer operators use.
    pub(crate) fn from_number(number: i64) -> Outcome<Self> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Softmax,
            2 => Self::Logistic,
            3 => Self::SoftmaxZero,
            4 => Self::Probit,
            other => return Err(format!("post_transform {other}")),
        })
    }

    /// Transforms the scores of one row of two or more classes or targets.
    pub(crate) fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
            Self::Softmax => softmax(scores),
            Self::SoftmaxZero => softmax_zero(scores),
        }
    }
}

/// `1 / (1 + exp(-x))` without overflow, in the form that ONNX Runtime computes it.
pub(crate) fn logistic(x: f32) -> f32 {
    let positive = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - positive } else { positive }
}

/// The inverse of the normal distribution's function, by the approximation that ONNX Runtime uses.
pub(crate) fn probit(x: f32) -> f32 {
    std::f32::consts::SQRT_2 * inverse_erf(2.0 * x - 1.0)
}

/// Winitzki's approximation with a = 0.147; the constants are part of the answer.
#[expect(
    clippy::approx_constant,
    reason = "ONNX Runtime's constant for pi, whose error is part of the answer"
)]
fn inverse_erf(x: f32) -> f32 {
    let sign = if x < 0.0 { -1.0_f32 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let first = 2.0 / (3.14159_f32 * 0.147) + 0.5 * log;
    let second = 1.0 / 0.147 * log;
    sign * (-first + (first * first - second).sqrt()).sqrt()
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::MIN, |a, b| if b > a { b } else { a });
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Zeros stay zeros.
fn softmax_zero(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::MIN, |a, b| if b > a { b } else { a });
    let factor = (-largest).exp();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > 0.000_000_1 {
            *score = (*score - largest).exp();
            sum += *score;
        } else {
            *score *= factor;
        }
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}
