//! The losses: where boosting starts, first and second derivatives, and mean loss.
//!
//! Squared error (halved), logistic loss, and softmax cross entropy with a diagonal of second derivatives scaled by
//! `K / (K - 1)`, as LightGBM has it.

use rayon::prelude::*;

use super::exp::{ROUNDER, exp, sigmoid};
use super::histogram::{Scale, Sums};
use crate::frame::Target;

/// Rows whose losses are added up as one; fixed, so that the sum is the same for any number of threads.
const BLOCK: usize = 4096;

/// Probabilities are taken to be at least this where their logarithm is needed.
const LEAST_PROBABILITY: f64 = 1e-15;

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Squared,
    Logistic,
    Softmax { classes: usize },
}

/// Targets and weights as losses read them.
pub(super) struct Observed {
    /// The number, or the class.
    values: Vec<f64>,
    weights: Option<Vec<f64>>,
    /// Sum of weights; the number of rows where all weigh 1.
    pub(super) weight: f64,
    largest_weight: f64,
}

impl Observed {
    pub(super) fn new(target: &Target, weights: Option<&[f64]>) -> Self {
        let values = match target {
            Target::Regression(values) => values.clone(),
            Target::Classes { codes, .. } => codes.iter().map(|&code| f64::from(code)).collect(),
        };
        let weight = weights.map_or(values.len() as f64, exact_sum);
        let largest_weight = weights.map_or(1.0, |weights| weights.iter().copied().fold(0.0, f64::max));
        Self { values, weights: weights.map(<[f64]>::to_vec), weight, largest_weight }
    }

    fn weight_of(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row])
    }

    fn weighted(&self, value: impl Fn(f64) -> f64) -> f64 {
        let terms: Vec<f64> =
            self.values.iter().enumerate().map(|(row, &y)| self.weight_of(row) * value(y)).collect();
        exact_sum(&terms)
    }
}

/// A sum that does not depend on the order: fixed-point with 62 bits above the largest term.
fn exact_sum(terms: &[f64]) -> f64 {
    let largest = terms.iter().fold(0.0_f64, |largest, term| largest.max(term.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let scale = 2.0_f64.powi((61 - largest.log2().ceil() as i32).clamp(-1000, 1000));
    let sum: i128 = terms.iter().map(|term| (term * scale) as i128).sum();
    sum as f64 / scale
}

impl Loss {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Regression(_) => Self::Squared,
            Target::Classes { classes, .. } if classes.len() <= 2 => Self::Logistic,
            Target::Classes { classes, .. } => Self::Softmax { classes: classes.len() },
        }
    }

    /// Raw scores a row.
    pub(super) fn outputs(self) -> usize {
        match self {
            Self::Squared | Self::Logistic => 1,
            Self::Softmax { classes } => classes,
        }
    }

    /// The best constant raw scores.
    pub(super) fn start(self, observed: &Observed) -> Vec<f64> {
        let share = |class: usize| {
            let hits = observed.weighted(|y| f64::from(u8::from(y == class as f64)));
            (hits / observed.weight).clamp(1e-6, 1.0 - 1e-6)
        };
        match self {
            Self::Squared => vec![observed.weighted(|y| y) / observed.weight],
            Self::Logistic => {
                let p = share(1);
                vec![(p / (1.0 - p)).ln()]
            }
            Self::Softmax { classes } => (0..classes).map(|class| share(class).ln()).collect(),
        }
    }

    /// The step of leaf values: sums of raw scores that are multiples of it are exact in 32-bit floats up to 2^24
    /// steps, so that any runtime adds up the same score in any order.
    pub(super) fn step(self, observed: &Observed, start: &[f64]) -> f64 {
        let Self::Squared = self else { return 2.0_f64.powi(-20) };
        let centre = start[0];
        let spread = (observed.weighted(|y| (y - centre) * (y - centre)) / observed.weight).sqrt();
        let furthest = observed.values.iter().fold(0.0_f64, |far, y| far.max((y - centre).abs()));
        let range = centre.abs() + furthest.min(32.0 * spread);
        if range > 0.0 { 2.0_f64.powi((range.log2().ceil() as i32 - 23).clamp(-1000, 1000)) } else { 1.0 }
    }

    /// A bound on first derivatives of unit weight at these scores.
    pub(super) fn steepest(self, observed: &Observed, scores: &[Vec<f64>]) -> f64 {
        match self {
            Self::Logistic | Self::Softmax { .. } => 1.0,
            Self::Squared => {
                let furthest = |(s, y): (&f64, &f64)| (s - y).abs();
                scores[0].par_iter().zip(&observed.values).map(furthest).reduce(|| 0.0, f64::max)
            }
        }
    }

    /// The units of derivatives, no first one of which exceeds `steepest`.
    pub(super) fn scale(self, observed: &Observed, steepest: f64) -> Scale {
        let hessian = match self {
            Self::Squared => 1.0,
            Self::Logistic => 0.25,
            Self::Softmax { classes } => 0.25 * classes as f64 / (classes as f64 - 1.0),
        };
        Scale::new(observed.values.len(), observed.weight, observed.largest_weight, steepest, hessian)
    }

    /// Fills in the derivatives of all rows, for each output, at these scores.
    pub(super) fn derive(
        self,
        observed: &Observed,
        scores: &[Vec<f64>],
        scale: Scale,
        into: &mut [Vec<Sums>],
    ) {
        let pack = Pack::new(scale);
        match (self, &observed.weights) {
            (Self::Squared, None) => {
                each_row(&mut into[0], &scores[0], observed, |s, y, _| pack.of(s - y, 1.0));
            }
            (Self::Squared, Some(_)) => {
                each_row(&mut into[0], &scores[0], observed, |s, y, w| pack.of(w * (s - y), w));
            }
            (Self::Logistic, None) => each_row(&mut into[0], &scores[0], observed, |s, y, _| {
                let p = sigmoid(s);
                pack.of(p - y, p * (1.0 - p))
            }),
            (Self::Logistic, Some(_)) => each_row(&mut into[0], &scores[0], observed, |s, y, w| {
                let p = sigmoid(s);
                pack.of(w * (p - y), w * p * (1.0 - p))
            }),
            (Self::Softmax { classes }, _) => {
                let factor = classes as f64 / (classes as f64 - 1.0);
                let normalisers = softmax_normalisers(scores);
                for (class, (into, scores)) in into.iter_mut().zip(scores).enumerate() {
                    into.par_iter_mut().enumerate().with_min_len(BLOCK).for_each(|(row, into)| {
                        let (most, inverse) = normalisers[row];
                        let p = exp(scores[row] - most) * inverse;
                        let y = f64::from(u8::from(observed.values[row] == class as f64));
                        let w = observed.weight_of(row);
                        *into = pack.of(w * (p - y), w * factor * p * (1.0 - p));
                    });
                }
            }
        }
    }

    /// The mean loss of every `stride`th row: the mean squared error, or the negative mean log likelihood.
    pub(super) fn mean(self, observed: &Observed, scores: &[Vec<f64>], stride: usize) -> f64 {
        let rows = observed.values.len();
        let blocks: Vec<(f64, f64)> = (0..rows.div_ceil(BLOCK * stride))
            .into_par_iter()
            .map(|block| {
                let (mut loss, mut weight) = (0.0, 0.0);
                let span = block * BLOCK * stride..((block + 1) * BLOCK * stride).min(rows);
                for row in span.step_by(stride) {
                    weight += observed.weight_of(row);
                    loss += observed.weight_of(row) * self.one(observed, scores, row);
                }
                (loss, weight)
            })
            .collect();
        let (loss, weight) = blocks.iter().fold((0.0, 0.0), |sum, block| (sum.0 + block.0, sum.1 + block.1));
        if weight > 0.0 { loss / weight } else { 0.0 }
    }

    fn one(self, observed: &Observed, scores: &[Vec<f64>], row: usize) -> f64 {
        let y = observed.values[row];
        match self {
            Self::Squared => (scores[0][row] - y) * (scores[0][row] - y),
            Self::Logistic => {
                let p = sigmoid(if y == 1.0 { scores[0][row] } else { -scores[0][row] });
                -p.max(LEAST_PROBABILITY).ln()
            }
            Self::Softmax { .. } => {
                let most = scores.iter().fold(f64::NEG_INFINITY, |most, s| most.max(s[row]));
                let sum: f64 = scores.iter().map(|s| exp(s[row] - most)).sum();
                let p = exp(scores[y as usize][row] - most) / sum;
                -p.max(LEAST_PROBABILITY).ln()
            }
        }
    }

    /// Raw scores of one row to answers, in place: a number as it is, or probabilities. `row` holds the raw scores
    /// first and has room for the answers.
    pub(super) fn answer(self, row: &mut [f64]) {
        match self {
            Self::Squared => {}
            Self::Logistic => {
                let p = sigmoid(row[0]);
                row[0] = 1.0 - p;
                row[1] = p;
            }
            Self::Softmax { .. } => {
                let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                row.iter_mut().for_each(|s| *s = exp(*s - most));
                let sum: f64 = row.iter().sum();
                row.iter_mut().for_each(|s| *s /= sum);
            }
        }
    }
}

/// Rounds derivatives to units and packs them.
#[derive(Clone, Copy)]
struct Pack {
    scale: Scale,
}

impl Pack {
    fn new(scale: Scale) -> Self {
        Self { scale }
    }

    #[inline]
    fn of(self, gradient: f64, hessian: f64) -> Sums {
        let whole = |x: f64| (x + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i64;
        let (g, h) = (whole(gradient * self.scale.gradient), whole(hessian * self.scale.hessian));
        [g, (h << self.scale.count_bits) + 1]
    }
}

fn each_row(
    into: &mut [Sums],
    scores: &[f64],
    observed: &Observed,
    derive: impl Fn(f64, f64, f64) -> Sums + Sync + Send,
) {
    let blocks =
        into.par_chunks_mut(BLOCK).zip(scores.par_chunks(BLOCK)).zip(observed.values.par_chunks(BLOCK));
    match &observed.weights {
        None => blocks.for_each(|((into, scores), values)| {
            for ((into, &s), &y) in into.iter_mut().zip(scores).zip(values) {
                *into = derive(s, y, 1.0);
            }
        }),
        Some(weights) => {
            blocks.zip(weights.par_chunks(BLOCK)).for_each(|(((into, scores), values), weights)| {
                for (((into, &s), &y), &w) in into.iter_mut().zip(scores).zip(values).zip(weights) {
                    *into = derive(s, y, w);
                }
            });
        }
    }
}

/// The largest score and the inverse of the sum of exponentials above it, for each row.
fn softmax_normalisers(scores: &[Vec<f64>]) -> Vec<(f64, f64)> {
    (0..scores[0].len())
        .into_par_iter()
        .with_min_len(BLOCK)
        .map(|row| {
            let most = scores.iter().fold(f64::NEG_INFINITY, |most, s| most.max(s[row]));
            (most, 1.0 / scores.iter().map(|s| exp(s[row] - most)).sum::<f64>())
        })
        .collect()
}
