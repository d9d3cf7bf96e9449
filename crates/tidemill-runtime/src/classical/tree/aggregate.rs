//! How the weights of many trees become the scores of a row.

use super::forest::Forest;
use super::{Real, rows};
use crate::Tensor;

use super::super::kernel::{Call, Outcome};
use super::super::post::{PostTransform, probit};

/// `aggregate_function`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

impl Aggregate {
    pub(super) fn from_name(name: &str) -> Outcome<Self> {
        Ok(match name {
            "SUM" => Self::Sum,
            "AVERAGE" => Self::Average,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            other => return Err(format!("aggregate_function `{other}`")),
        })
    }

    pub(super) fn from_number(number: i64) -> Outcome<Self> {
        Ok(match number {
            0 => Self::Average,
            1 => Self::Sum,
            2 => Self::Min,
            3 => Self::Max,
            other => return Err(format!("aggregate_function {other}")),
        })
    }
}

/// Trees that predict numbers.
#[derive(Debug)]
pub(super) struct Targets<T> {
    pub(super) forest: Forest<T>,
    pub(super) targets: usize,
    pub(super) aggregate: Aggregate,
    /// One for each target, or one, or none.
    pub(super) base: Vec<T>,
    pub(super) post: PostTransform,
}

impl<T: Real> Targets<T> {
    pub(super) fn check(&self) -> Outcome {
        if self.targets == 0 {
            return Err("no target".to_owned());
        }
        match self.forest.weights().find(|(target, _)| *target as usize >= self.targets) {
            Some((target, _)) => Err(format!("a weight for target {target} of {}", self.targets)),
            None => Ok(()),
        }
    }

    /// Scores of all rows, rows × targets, and how many rows there are.
    pub(super) fn scores(&self, call: &Call<'_>, x: &Tensor) -> Outcome<(Vec<T>, usize)> {
        let (values, count, width) = rows(&self.forest, x)?;
        let size = call.bounded(&[count, self.targets])?;
        let mut scores = vec![T::ZERO; size];
        match self.aggregate {
            Aggregate::Sum | Aggregate::Average if self.targets == 1 => {
                self.forest.add_first_weights(&values, width, &mut scores);
            }
            Aggregate::Sum | Aggregate::Average => {
                self.forest.each_weights(&values, width, |row, weights| {
                    for (target, weight) in weights {
                        scores[row * self.targets + *target as usize] += *weight;
                    }
                });
            }
            Aggregate::Min => self.extremes(&values, width, &mut scores, |new, old| new < old),
            Aggregate::Max => self.extremes(&values, width, &mut scores, |new, old| new > old),
        }
        if self.aggregate == Aggregate::Average {
            let trees = T::from_f64(self.forest.trees() as f64);
            scores.iter_mut().for_each(|score| *score = *score / trees);
        }
        if self.base.len() == self.targets {
            for row in scores.chunks_exact_mut(self.targets) {
                row.iter_mut().zip(&self.base).for_each(|(score, base)| *score += *base);
            }
        }
        self.transform(&mut scores);
        Ok((scores, count))
    }

    fn extremes(&self, values: &[T], width: usize, scores: &mut [T], better: impl Fn(T, T) -> bool) {
        let mut seen = vec![false; scores.len()];
        self.forest.each_weights(values, width, |row, weights| {
            for (target, weight) in weights {
                let place = row * self.targets + *target as usize;
                if !seen[place] || better(*weight, scores[place]) {
                    scores[place] = *weight;
                    seen[place] = true;
                }
            }
        });
    }

    /// ONNX Runtime transforms in 32 bits, and a single target with `PROBIT` only.
    fn transform(&self, scores: &mut [T]) {
        if self.post == PostTransform::None || scores.is_empty() {
            return;
        }
        if self.targets == 1 {
            if self.post == PostTransform::Probit {
                scores.iter_mut().for_each(|score| *score = T::from_f32(probit(score.to_f32())));
            }
            return;
        }
        let mut scratch = vec![0.0; self.targets];
        for row in scores.chunks_exact_mut(self.targets) {
            scratch.iter_mut().zip(row.iter()).for_each(|(to, from)| *to = from.to_f32());
            self.post.apply(&mut scratch);
            row.iter_mut().zip(&scratch).for_each(|(to, from)| *to = T::from_f32(*from));
        }
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.forest.memory_bytes() + (self.base.len() * size_of::<T>()) as u64
    }
}
