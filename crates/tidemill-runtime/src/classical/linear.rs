//! `LinearRegressor` and `LinearClassifier`.

use super::kernel::{Built, Call, Kernel, Outcome, Refusal, Surroundings, floats, rows_and_width};
use super::labels::Labels;
use super::matrix::Packed;
use super::post::{PostTransform, logistic, probit};
use crate::{Tensor, Values};

/// `x × coefficients + intercepts`, in 32 bits as ONNX Runtime computes it whatever the input's type.
#[derive(Debug)]
struct Linear {
    coefficients: Packed<f32>,
    intercepts: Vec<f32>,
}

impl Linear {
    fn new(coefficients: &[f32], intercepts: &[f32], targets: usize) -> Outcome<Self> {
        if targets == 0 || !coefficients.len().is_multiple_of(targets) {
            return Err(format!("{} coefficients for {targets} targets", coefficients.len()));
        }
        if !(intercepts.is_empty() || intercepts.len() == targets) {
            return Err(format!("{} intercepts for {targets} targets", intercepts.len()));
        }
        let features = coefficients.len() / targets;
        let packed = Packed::new(features, targets, |k, n| coefficients[n * features + k]);
        Ok(Self { coefficients: packed, intercepts: intercepts.to_vec() })
    }

    fn scores(&self, call: &Call<'_>, x: &Tensor) -> Outcome<(Vec<f32>, usize)> {
        let (rows, width) = rows_and_width(x)?;
        let features = self.coefficients.depth();
        if width != features {
            return Err(format!("the model takes {features} features and was given {width}"));
        }
        let targets = self.coefficients.columns();
        let mut scores = vec![0.0; call.bounded(&[rows, targets])?];
        self.coefficients.multiply(&floats(x)?, &mut scores);
        if !self.intercepts.is_empty() {
            for row in scores.chunks_exact_mut(targets) {
                row.iter_mut().zip(&self.intercepts).for_each(|(score, intercept)| *score += *intercept);
            }
        }
        Ok((scores, rows))
    }

    fn memory_bytes(&self) -> u64 {
        self.coefficients.memory_bytes() + self.intercepts.len() as u64 * 4
    }
}

#[derive(Debug)]
struct Regressor {
    linear: Linear,
    post: PostTransform,
}

/// Builds `LinearRegressor`.
pub(crate) fn regressor(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let targets = attributes.int("targets")?.unwrap_or(1);
    let targets = usize::try_from(targets).map_err(|_| format!("{targets} targets"))?;
    let linear = Linear::new(attributes.floats("coefficients")?, attributes.floats("intercepts")?, targets)?;
    Ok(Box::new(Regressor { linear, post: PostTransform::read(attributes)? }))
}

impl Kernel for Regressor {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (mut scores, rows) = self.linear.scores(call, call.tensor(0)?)?;
        let targets = self.linear.coefficients.columns();
        if targets > 1 {
            scores.chunks_exact_mut(targets).for_each(|row| self.post.apply(row));
        } else if self.post == PostTransform::Probit {
            scores.iter_mut().for_each(|score| *score = probit(*score));
        }
        call.give(vec![rows, targets], Values::F32(scores))
    }

    fn memory_bytes(&self) -> u64 {
        self.linear.memory_bytes()
    }
}

#[derive(Debug)]
struct Classifier {
    linear: Linear,
    labels: Labels,
    post: PostTransform,
}

/// Builds `LinearClassifier`.
pub(crate) fn classifier(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let intercepts = attributes.floats("intercepts")?;
    let linear = Linear::new(attributes.floats("coefficients")?, intercepts, intercepts.len())?;
    let mut labels = Labels::read(attributes, "classlabels_strings", "classlabels_ints")?;
    if intercepts.len() == 1 && labels.len() != 2 {
        labels = match labels {
            Labels::Texts(_) => Labels::Texts(vec![b"0".to_vec(), b"1".to_vec()]),
            Labels::Ints(_) => Labels::Ints(vec![0, 1]),
        };
        return Ok(Box::new(Classifier { linear, labels, post: PostTransform::read(attributes)? }));
    }
    if intercepts.len() > 1 && labels.len() < intercepts.len() {
        let why = format!("{} labels for {} classes", labels.len(), intercepts.len());
        return Err(Refusal::Malformed(why));
    }
    Ok(Box::new(Classifier { linear, labels, post: PostTransform::read(attributes)? }))
}

impl Kernel for Classifier {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let (mut scores, rows) = self.linear.scores(call, call.tensor(0)?)?;
        let classes = self.linear.coefficients.columns();
        if classes == 1 {
            let places: Vec<usize> = scores.iter().map(|score| usize::from(*score > 0.0)).collect();
            call.give(vec![rows], self.labels.pick(&places))?;
            // Where nothing transforms it, a single score is taken for a probability, as ONNX Runtime does.
            let pairs: Vec<f32> = match self.post {
                PostTransform::Probit => scores.iter().flat_map(|score| [probit(*score), 0.0]).collect(),
                PostTransform::Logistic => {
                    scores.iter().flat_map(|score| [logistic(-*score), logistic(*score)]).collect()
                }
                _ => scores.iter().flat_map(|score| [1.0 - *score, *score]).collect(),
            };
            return call.give(vec![rows, 2], Values::F32(pairs));
        }
        let places: Vec<usize> = scores.chunks_exact(classes).map(largest).collect();
        call.give(vec![rows], self.labels.pick(&places))?;
        scores.chunks_exact_mut(classes).for_each(|row| self.post.apply(row));
        call.give(vec![rows, classes], Values::F32(scores))
    }

    fn memory_bytes(&self) -> u64 {
        self.linear.memory_bytes() + self.labels.memory_bytes()
    }
}

/// The place of the first largest score.
fn largest(scores: &[f32]) -> usize {
    let mut best = (0, f32::NAN);
    for (place, score) in scores.iter().enumerate() {
        if place == 0 || *score > best.1 {
            best = (place, *score);
        }
    }
    best.0
}
