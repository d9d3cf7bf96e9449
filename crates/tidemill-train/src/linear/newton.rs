//! Logistic and softmax regression by Newton's method with conjugate gradients (Dembo, Eisenstat and Steihaug 1982).
//!
//! The Hessian is never formed. The conjugate gradients are preconditioned with the factor of `X' W X`, which bounds
//! every Hessian up to a factor (Böhning 1992) and takes away most of what correlated columns cost.

use tidemill_core::declare::LinearParams;

use super::Convergence;
use super::cholesky::{Cholesky, dot};
use super::design::Design;
use super::score::{sigmoid, softmax};

/// The gradient has vanished when no part of it exceeds this times the sum of weights.
const TOLERANCE: f64 = 1e-12;
/// A gradient that can no longer be lowered counts as vanished below this.
const STALLED: f64 = 1e-8;
/// Most steps of one conjugate-gradient solution.
const CG_STEPS: usize = 250;

struct Problem<'a> {
    design: &'a Design,
    codes: &'a [u32],
    outputs: usize,
    weights: &'a [f64],
    l2: f64,
}

/// Loss, gradient and the probabilities of each row (one for a single output, that of class 1).
struct Point {
    loss: f64,
    gradient: Vec<f64>,
    probabilities: Vec<f64>,
}

/// The coefficients of each output over the columns of the design, intercept first. Intercepts of softmax add up to 0.
pub(super) fn solve(
    design: &Design,
    codes: &[u32],
    outputs: usize,
    weights: &[f64],
    params: &LinearParams,
) -> (Vec<Vec<f64>>, Convergence) {
    let problem = Problem { design, codes, outputs, weights, l2: params.l2 };
    let total: f64 = weights.iter().sum();
    let shares = problem.shares(total);
    let preconditioner = Preconditioner::new(&problem, &shares);
    let mut beta = problem.start(&shares);
    let mut point = problem.evaluate(&beta);
    let first = norm(&point.gradient).max(f64::MIN_POSITIVE);
    let mut convergence = Convergence { iterations: 0, converged: false };
    loop {
        convergence.converged = largest(&point.gradient) <= TOLERANCE * total;
        if convergence.converged || convergence.iterations == params.max_iterations {
            break;
        }
        convergence.iterations += 1;
        let relative = norm(&point.gradient) / first;
        let step = problem.newton_step(&point, &preconditioner, relative.min(0.1));
        let Some((moved, next)) = problem.line_search(&beta, &point, &step) else {
            convergence.converged = largest(&point.gradient) <= STALLED * total;
            break;
        };
        beta = moved;
        point = next;
    }
    let mut solution: Vec<Vec<f64>> = beta.chunks_exact(design.width).map(<[f64]>::to_vec).collect();
    if outputs > 1 {
        let mean = solution.iter().map(|output| output[0]).sum::<f64>() / outputs as f64;
        solution.iter_mut().for_each(|output| output[0] -= mean);
    }
    (solution, convergence)
}

impl Problem<'_> {
    /// The share of weight of each output's class, kept away from 0 and 1.
    fn shares(&self, total: f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.outputs.max(2)];
        for (code, weight) in self.codes.iter().zip(self.weights) {
            sums[*code as usize] += weight;
        }
        let share = |sum: &f64| (sum / total).clamp(1e-6, 1.0 - 1e-6);
        if self.outputs == 1 { vec![share(&sums[1])] } else { sums.iter().map(share).collect() }
    }

    /// No coefficients and the intercepts that answer with the shares.
    fn start(&self, shares: &[f64]) -> Vec<f64> {
        let mut beta = vec![0.0; self.outputs * self.design.width];
        for (output, share) in shares.iter().enumerate() {
            beta[output * self.design.width] =
                if self.outputs == 1 { (share / (1.0 - share)).ln() } else { share.ln() };
        }
        beta
    }

    fn evaluate(&self, beta: &[f64]) -> Point {
        let (width, outputs) = (self.design.width, self.outputs);
        let length = outputs * width;
        let probabilities = self.probabilities(beta);
        // The loss rides along as one more number.
        let mut gradient = self.design.sum_over_rows(length + 1, |rows, sums| {
            for row in rows {
                let (p, weight, class) =
                    (&probabilities[row * outputs..(row + 1) * outputs], self.weights[row], self.codes[row]);
                for (output, p) in p.iter().enumerate() {
                    let hit = class as usize == if outputs == 1 { 1 } else { output };
                    let residual = p - if hit { 1.0 } else { 0.0 };
                    self.design.add(row, weight * residual, &mut sums[output * width..(output + 1) * width]);
                }
                sums[length] += weight * self.loss(beta, row);
            }
        });
        let loss =
            gradient.pop().unwrap_or(0.0) + self.penalty(beta, |index, slope| gradient[index] += slope);
        Point { loss, gradient, probabilities }
    }

    /// The penalty; calls `add` with its slope at each penalised coefficient.
    fn penalty(&self, beta: &[f64], mut add: impl FnMut(usize, f64)) -> f64 {
        let mut squares = 0.0;
        for (index, value) in beta.iter().enumerate() {
            if index % self.design.width != 0 {
                squares += value * value;
                add(index, self.l2 * value);
            }
        }
        0.5 * self.l2 * squares
    }

    fn scores_into(&self, beta: &[f64], row: usize, scores: &mut [f64]) {
        for (score, output) in scores.iter_mut().zip(beta.chunks_exact(self.design.width)) {
            *score = self.design.score(row, output);
        }
    }

    fn probabilities(&self, beta: &[f64]) -> Vec<f64> {
        use rayon::prelude::*;
        let mut probabilities = vec![0.0; self.design.rows * self.outputs];
        probabilities.par_chunks_mut(1_024 * self.outputs).enumerate().for_each(|(block, values)| {
            for (at, row) in values.chunks_exact_mut(self.outputs).enumerate() {
                self.scores_into(beta, block * 1_024 + at, row);
                if self.outputs == 1 {
                    row[0] = sigmoid(row[0]);
                } else {
                    softmax(row);
                }
            }
        });
        probabilities
    }

    /// `-ln p` of the row's class, from scores, so that tiny probabilities keep their digits.
    fn loss(&self, beta: &[f64], row: usize) -> f64 {
        let class = self.codes[row] as usize;
        if self.outputs == 1 {
            let score = self.design.score(row, beta);
            let margin = if class == 1 { score } else { -score };
            return if margin > 0.0 { (-margin).exp().ln_1p() } else { -margin + margin.exp().ln_1p() };
        }
        let mut scores = vec![0.0; self.outputs];
        self.scores_into(beta, row, &mut scores);
        let own = scores[class];
        softmax(&mut scores) - own
    }

    /// The Hessian at a point times a vector.
    fn curvature(&self, point: &Point, vector: &[f64]) -> Vec<f64> {
        let (width, outputs) = (self.design.width, self.outputs);
        let mut product = self.design.sum_over_rows(outputs * width, |rows, sums| {
            let mut along = vec![0.0; outputs];
            for row in rows {
                let p = &point.probabilities[row * outputs..(row + 1) * outputs];
                self.scores_into(vector, row, &mut along);
                // For one output the other class has score 0, so the mean is taken over both.
                let mean = dot(p, &along);
                for output in 0..outputs {
                    let bend = if outputs == 1 {
                        p[0] * (1.0 - p[0]) * along[0]
                    } else {
                        p[output] * (along[output] - mean)
                    };
                    let factor = self.weights[row] * bend;
                    self.design.add(row, factor, &mut sums[output * width..(output + 1) * width]);
                }
            }
        });
        self.penalty(vector, |index, slope| product[index] += slope);
        product
    }

    /// The step `-H^-1 g` up to a relative residual of `accuracy`, by preconditioned conjugate gradients.
    fn newton_step(&self, point: &Point, preconditioner: &Preconditioner, accuracy: f64) -> Vec<f64> {
        let mut step = vec![0.0; point.gradient.len()];
        let mut residual: Vec<f64> = point.gradient.iter().map(|g| -g).collect();
        let goal = accuracy * norm(&residual);
        let mut direction = preconditioner.apply(&residual);
        let mut energy = dot(&residual, &direction);
        for _ in 0..CG_STEPS {
            if norm(&residual) <= goal || energy <= 0.0 {
                break;
            }
            let bent = self.curvature(point, &direction);
            let bend = dot(&direction, &bent);
            if bend <= 0.0 {
                break;
            }
            let length = energy / bend;
            step.iter_mut().zip(&direction).for_each(|(s, d)| *s += length * d);
            residual.iter_mut().zip(&bent).for_each(|(r, b)| *r -= length * b);
            let next = preconditioner.apply(&residual);
            let next_energy = dot(&residual, &next);
            let keep = next_energy / energy;
            direction.iter_mut().zip(&next).for_each(|(d, n)| *d = n + keep * *d);
            energy = next_energy;
        }
        step
    }

    /// Halves the step until the loss falls enough (Armijo). Where the loss has no digits left to fall by, the gradient
    /// decides; `None` where that does not fall either.
    fn line_search(&self, beta: &[f64], point: &Point, step: &[f64]) -> Option<(Vec<f64>, Point)> {
        let slope = dot(&point.gradient, step);
        let mut length = 1.0;
        for _ in 0..40 {
            let moved: Vec<f64> = beta.iter().zip(step).map(|(b, s)| b + length * s).collect();
            let next = self.evaluate(&moved);
            if (next.loss - point.loss).abs() <= 1e-11 * point.loss.abs() {
                return (norm(&next.gradient) < norm(&point.gradient)).then_some((moved, next));
            }
            if slope < 0.0 && next.loss <= point.loss + 1e-4 * length * slope {
                return Some((moved, next));
            }
            length *= 0.5;
        }
        None
    }
}

/// The inverse of `D (X' W X + penalty) D`, with the root of each output's share of curvature in `D`.
struct Preconditioner {
    factor: Cholesky,
    curvatures: Vec<f64>,
    width: usize,
}

impl Preconditioner {
    fn new(problem: &Problem<'_>, shares: &[f64]) -> Self {
        let width = problem.design.width;
        let curvatures: Vec<f64> = shares.iter().map(|share| share * (1.0 - share)).collect();
        let mean = curvatures.iter().sum::<f64>() / curvatures.len() as f64;
        let mut gram = problem.design.gram(problem.weights);
        for column in 1..width {
            gram[column * width + column] += problem.l2 / mean;
        }
        Self { factor: Cholesky::new(gram, width), curvatures, width }
    }

    fn apply(&self, vector: &[f64]) -> Vec<f64> {
        let mut solved = vector.to_vec();
        for (output, curvature) in solved.chunks_exact_mut(self.width).zip(&self.curvatures) {
            self.factor.solve(output);
            output.iter_mut().for_each(|value| *value /= curvature);
        }
        solved
    }
}

fn norm(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

fn largest(vector: &[f64]) -> f64 {
    vector.iter().fold(0.0, |most, value| most.max(value.abs()))
}
