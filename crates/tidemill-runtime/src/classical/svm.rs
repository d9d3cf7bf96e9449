//! `SVMClassifier` and `SVMRegressor`.

use super::kernel::{Built, Call, Kernel, Outcome, Refusal, Surroundings, floats, rows_and_width};
use super::labels::Labels;
use super::matrix::Packed;
use super::post::{PostTransform, logistic, probit};
use crate::onnx::Attributes;
use crate::{Tensor, Values};

/// What compares a row with a support vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KernelType {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

/// Support vectors and the function that compares rows with them.
#[derive(Debug)]
struct Comparison {
    kind: KernelType,
    gamma: f32,
    offset: f32,
    degree: f32,
    /// For dot products: one column for each vector.
    columns: Packed<f32>,
    /// For distances: one vector after another.
    vectors: Vec<f32>,
}

impl Comparison {
    fn new(
        attributes: &Attributes,
        vectors: &[f32],
        count: usize,
        force_linear: bool,
    ) -> Result<Self, Refusal> {
        let kind = match attributes.text("kernel_type")?.unwrap_or("LINEAR") {
            _ if force_linear => KernelType::Linear,
            "LINEAR" => KernelType::Linear,
            "POLY" => KernelType::Poly,
            "RBF" => KernelType::Rbf,
            "SIGMOID" => KernelType::Sigmoid,
            other => return Err(Refusal::Malformed(format!("kernel_type `{other}`"))),
        };
        if count == 0 || !vectors.len().is_multiple_of(count) {
            return Err(Refusal::Malformed(format!("{} numbers for {count} vectors", vectors.len())));
        }
        let (gamma, offset, degree) = match attributes.floats("kernel_params")? {
            [] => (0.0, 0.0, 0.0),
            [gamma, offset, degree, ..] => (*gamma, *offset, *degree),
            _ => return Err(Refusal::Malformed("kernel_params are not three numbers".to_owned())),
        };
        let features = vectors.len() / count;
        let columns = if kind == KernelType::Rbf {
            Packed::new(features, 0, |_, _| 0.0)
        } else {
            Packed::new(features, count, |k, n| vectors[n * features + k])
        };
        let vectors = if kind == KernelType::Rbf { vectors.to_vec() } else { Vec::new() };
        Ok(Self { kind, gamma, offset, degree, columns, vectors })
    }

    fn features(&self) -> usize {
        self.columns.depth()
    }

    /// Rows × vectors.
    fn compare(&self, call: &Call<'_>, x: &Tensor, vectors: usize) -> Outcome<(Vec<f32>, usize)> {
        let (rows, width) = rows_and_width(x)?;
        if width != self.features() {
            return Err(format!("the model takes {} features and was given {width}", self.features()));
        }
        let x = floats(x)?;
        let mut values = vec![0.0; call.bounded(&[rows, vectors])?];
        let (gamma, offset) = (self.gamma, self.offset);
        match self.kind {
            KernelType::Rbf => self.distances(&x, &mut values, vectors),
            _ => self.columns.multiply(&x, &mut values),
        }
        match self.kind {
            KernelType::Linear => {}
            KernelType::Poly => {
                let degree = self.degree;
                values.iter_mut().for_each(|value| *value = (gamma * *value + offset).powf(degree));
            }
            KernelType::Sigmoid => {
                values.iter_mut().for_each(|value| *value = (gamma * *value + offset).tanh());
            }
            KernelType::Rbf => values.iter_mut().for_each(|value| *value = (-gamma * *value).exp()),
        }
        Ok((values, rows))
    }

    /// Squared distances, rows × vectors.
    fn distances(&self, x: &[f32], out: &mut [f32], vectors: usize) {
        let width = self.features();
        if width == 0 || vectors == 0 {
            return;
        }
        for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(vectors)) {
            for (vector, out) in self.vectors.chunks_exact(width).zip(out) {
                *out = squared_distance(row, vector);
            }
        }
    }

    fn memory_bytes(&self) -> u64 {
        self.columns.memory_bytes() + self.vectors.len() as u64 * 4
    }
}

/// The squared distance of two vectors of the same length.
pub(crate) fn squared_distance(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 4];
    let ((lefts, left_rest), (rights, right_rest)) = (left.as_chunks::<4>(), right.as_chunks::<4>());
    for (left, right) in lefts.iter().zip(rights) {
        for ((sum, x), y) in sums.iter_mut().zip(left).zip(right) {
            *sum += (x - y) * (x - y);
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(x, y)| (x - y) * (x - y)).sum();
    let [a, b, c, d] = sums;
    (a + c) + (b + d) + rest
}

#[derive(Debug)]
struct Regressor {
    comparison: Comparison,
    coefficients: Packed<f32>,
    rho: f32,
    one_class: bool,
    post: PostTransform,
}

/// Builds `SVMRegressor`. Without support vectors the coefficients are those of a linear model.
pub(crate) fn regressor(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let supports = attributes.int("n_supports")?.unwrap_or(0);
    let supports = usize::try_from(supports).map_err(|_| format!("{supports} support vectors"))?;
    let coefficients = attributes.floats("coefficients")?;
    let vectors = if supports == 0 { coefficients } else { attributes.floats("support_vectors")? };
    let comparison = Comparison::new(attributes, vectors, supports.max(1), supports == 0)?;
    if supports > 0 && coefficients.len() < supports {
        let why = format!("{} coefficients for {supports} support vectors", coefficients.len());
        return Err(Refusal::Malformed(why));
    }
    let Some(rho) = attributes.floats("rho")?.first().copied() else {
        return Err(Refusal::Malformed("no rho".to_owned()));
    };
    Ok(Box::new(Regressor {
        comparison,
        coefficients: Packed::new(supports, 1, |k, _| coefficients[k]),
        rho,
        one_class: attributes.int("one_class")?.unwrap_or(0) != 0,
        post: PostTransform::read(attributes)?,
    }))
}

impl Kernel for Regressor {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let supports = self.coefficients.depth();
        let (compared, rows) = self.comparison.compare(call, call.tensor(0)?, supports.max(1))?;
        let mut scores = compared;
        if supports > 0 {
            let mut sums = vec![0.0; rows];
            self.coefficients.multiply(&scores, &mut sums);
            scores = sums;
        }
        for score in &mut scores {
            *score += self.rho;
            if self.one_class {
                *score = if *score > 0.0 { 1.0 } else { -1.0 };
            } else if self.post == PostTransform::Probit {
                *score = probit(*score);
            }
        }
        call.give(vec![rows, 1], Values::F32(scores))
    }

    fn memory_bytes(&self) -> u64 {
        self.comparison.memory_bytes() + self.coefficients.memory_bytes()
    }
}

#[derive(Debug)]
struct Classifier {
    comparison: Comparison,
    /// Classes − 1 rows, one column for each vector.
    coefficients: Vec<f32>,
    rho: Vec<f32>,
    prob_a: Vec<f32>,
    prob_b: Vec<f32>,
    /// First vector and one past the last of each class; empty for a linear model.
    vectors: Vec<(usize, usize)>,
    labels: Labels,
    positive: bool,
    post: PostTransform,
}

/// Builds `SVMClassifier`.
pub(crate) fn classifier(around: &Surroundings<'_>) -> Built {
    let attributes = &around.node.attributes;
    let labels = Labels::read(attributes, "classlabels_strings", "classlabels_ints")?;
    let classes = labels.len();
    let coefficients = attributes.floats("coefficients")?.to_vec();
    let (rho, prob_a) = (attributes.floats("rho")?.to_vec(), attributes.floats("prob_a")?.to_vec());
    let prob_b = attributes.floats("prob_b")?.to_vec();
    let mut vectors = Vec::new();
    let mut count = 0_usize;
    for own in attributes.ints("vectors_per_class")? {
        let own = usize::try_from(*own).map_err(|_| format!("{own} vectors of a class"))?;
        let end = count.checked_add(own).ok_or_else(|| "too many vectors".to_owned())?;
        vectors.push((count, end));
        count = end;
    }
    let linear = count == 0;
    let pairs = classes * classes.saturating_sub(1) / 2;
    let complete = if linear {
        vectors.clear();
        classes > 0 && !rho.is_empty()
    } else {
        let supports = attributes.floats("support_vectors")?;
        classes > 1
            && vectors.len() == classes
            && supports.len() >= count
            && (classes - 1).checked_mul(count).is_some_and(|needed| coefficients.len() >= needed)
            && rho.len() >= pairs
            && prob_a.len() == prob_b.len()
            && (prob_a.is_empty() || prob_a.len() >= pairs)
    };
    if !complete || coefficients.is_empty() || classes > 65_535 {
        return Err(Refusal::Malformed("lists of different lengths".to_owned()));
    }
    let comparison = if linear {
        Comparison::new(attributes, &coefficients, classes, true)?
    } else {
        Comparison::new(attributes, attributes.floats("support_vectors")?, count, false)?
    };
    let positive = coefficients.iter().all(|value| *value >= 0.0);
    let post = PostTransform::read(attributes)?;
    Ok(Box::new(Classifier {
        comparison,
        coefficients,
        rho,
        prob_a,
        prob_b,
        vectors,
        labels,
        positive,
        post,
    }))
}

impl Kernel for Classifier {
    fn run(&self, call: &mut Call<'_>) -> Outcome {
        let classes = self.labels.len();
        if self.vectors.is_empty() {
            let (mut scores, rows) = self.comparison.compare(call, call.tensor(0)?, classes)?;
            let rho = self.rho.first().copied().unwrap_or_default();
            scores.iter_mut().for_each(|score| *score += rho);
            let mut places = Vec::with_capacity(rows);
            for row in scores.chunks_exact_mut(classes) {
                let place = first_largest(row);
                places.push(self.choose(place, row[place]));
                self.post.apply(row);
            }
            call.give(vec![rows], self.labels.pick(&places))?;
            return call.give(vec![rows, classes], Values::F32(scores));
        }
        let count = self.vectors.last().map_or(0, |(_, end)| *end);
        let (compared, rows) = self.comparison.compare(call, call.tensor(0)?, count)?;
        let pairs = classes * (classes - 1) / 2;
        let with_probabilities = !self.prob_a.is_empty();
        let width = if with_probabilities { classes } else { pairs.max(2) };
        let mut answers = vec![0.0; call.bounded(&[rows, width])?];
        let mut places = Vec::with_capacity(rows);
        let mut scores = vec![0.0; pairs];
        let mut votes = vec![0_u32; classes];
        let mut scratch = Coupling::new(if with_probabilities { classes } else { 0 });
        for (kernels, answer) in compared.chunks_exact(count).zip(answers.chunks_exact_mut(width)) {
            self.duels(kernels, &mut scores, &mut votes);
            let place = first_largest(&votes);
            if with_probabilities {
                scratch.couple(&scores, &self.prob_a, &self.prob_b, answer);
                self.post.apply(answer);
            } else if let [score] = scores.as_slice() {
                let pair =
                    if self.post == PostTransform::None { [-*score, *score] } else { [1.0 - *score, *score] };
                answer.copy_from_slice(&pair);
            } else {
                answer.copy_from_slice(&scores);
                self.post.apply(answer);
            }
            places.push(self.choose(place, 0.0));
        }
        call.give(vec![rows], self.labels.pick(&places))?;
        call.give(vec![rows, width], Values::F32(answers))
    }

    fn memory_bytes(&self) -> u64 {
        self.comparison.memory_bytes() + self.coefficients.len() as u64 * 4 + self.labels.memory_bytes()
    }
}

impl Classifier {
    /// Every class against every other: scores of the pairs, and how often each class won.
    fn duels(&self, kernels: &[f32], scores: &mut [f32], votes: &mut [u32]) {
        let count = kernels.len();
        votes.fill(0);
        let mut pair = 0;
        for (i, (i_start, i_end)) in self.vectors.iter().enumerate() {
            for (j, (j_start, j_end)) in self.vectors.iter().enumerate().skip(i + 1) {
                let mut sum = 0.0_f64;
                let of_i = &self.coefficients[count * (j - 1)..count * j];
                let of_j = &self.coefficients[count * i..count * (i + 1)];
                for (coefficient, kernel) in of_i[*i_start..*i_end].iter().zip(&kernels[*i_start..*i_end]) {
                    sum += f64::from(coefficient * kernel);
                }
                for (coefficient, kernel) in of_j[*j_start..*j_end].iter().zip(&kernels[*j_start..*j_end]) {
                    sum += f64::from(coefficient * kernel);
                }
                sum += f64::from(self.rho[pair]);
                scores[pair] = sum as f32;
                votes[if sum > 0.0 { i } else { j }] += 1;
                pair += 1;
            }
        }
    }

    /// The label's place. With two classes and no probabilities the score of the winner counts too.
    fn choose(&self, place: usize, largest: f32) -> usize {
        if self.labels.len() != 2 || !self.prob_a.is_empty() {
            return place;
        }
        let second = if self.positive { largest >= 0.5 } else { largest > 0.0 };
        if second { 1 } else { place }
    }
}

fn first_largest<T: PartialOrd + Copy>(values: &[T]) -> usize {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = place;
        }
    }
    best
}

/// Probabilities of classes from those of pairs: the second method of Wu, Lin and Weng, as in libsvm.
struct Coupling {
    classes: usize,
    pairs: Vec<f32>,
    q: Vec<f32>,
    qp: Vec<f32>,
}

impl Coupling {
    fn new(classes: usize) -> Self {
        let square = classes * classes;
        Self { classes, pairs: vec![0.0; square], q: vec![0.0; square], qp: vec![0.0; classes] }
    }

    fn couple(&mut self, scores: &[f32], prob_a: &[f32], prob_b: &[f32], p: &mut [f32]) {
        let n = self.classes;
        let mut pair = 0;
        for i in 0..n {
            for j in i + 1..n {
                let probability = 1.0 - logistic(scores[pair] * prob_a[pair] + prob_b[pair]);
                // Written so that NaN stays NaN.
                let probability = if probability < 1.0e-7 { 1.0e-7 } else { probability };
                let probability = if probability > 1.0 - 1.0e-7 { 1.0 - 1.0e-7 } else { probability };
                self.pairs[i * n + j] = probability;
                self.pairs[j * n + i] = 1.0 - probability;
                pair += 1;
            }
        }
        let (r, q) = (&self.pairs, &mut self.q);
        q.fill(0.0);
        for i in 0..n {
            p[i] = 1.0 / n as f32;
            for j in 0..n {
                if j != i {
                    q[i * n + i] += r[j * n + i] * r[j * n + i];
                    q[i * n + j] = if j < i { q[j * n + i] } else { -r[j * n + i] * r[i * n + j] };
                }
            }
        }
        let enough = 0.005 / n as f32;
        for _ in 0..100 {
            let mut total = 0.0;
            for i in 0..n {
                self.qp[i] = (0..n).map(|j| q[i * n + j] * p[j]).sum();
                total += p[i] * self.qp[i];
            }
            let error = self.qp.iter().map(|value| (value - total).abs()).fold(0.0, f32::max);
            if error < enough {
                break;
            }
            for i in 0..n {
                let step = (-self.qp[i] + total) / q[i * n + i];
                p[i] += step;
                total =
                    (total + step * (step * q[i * n + i] + 2.0 * self.qp[i])) / (1.0 + step) / (1.0 + step);
                for j in 0..n {
                    self.qp[j] = (self.qp[j] + step * q[i * n + j]) / (1.0 + step);
                    p[j] /= 1.0 + step;
                }
            }
        }
    }
}
