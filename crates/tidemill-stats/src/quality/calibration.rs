//! Whether probabilities mean what they say.

use serde::{Deserialize, Serialize};

use crate::interval::{Interval, factor};

/// Figures of calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error: Σ share of a bin · |mean probability − share of positive rows| over the bins.
    pub ece: f64,
    /// Largest of the bins' distances.
    pub largest: f64,
    /// Brier score: mean squared distance of probability and outcome; smaller is better.
    pub brier: f64,
    /// The bins, by ascending probability.
    pub bins: Vec<Bin>,
}

/// Rows of about the same probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Number of rows; not their weight.
    pub rows: f64,
    /// Mean probability.
    pub said: f64,
    /// Share of positive rows.
    pub happened: f64,
}

/// Calibration of probabilities over `bins` bins of equal mass: rows sorted by probability and cut into as equal
/// parts as numpy's `array_split` does (the first parts are one row longer). Rows of one probability that a cut would
/// divide are taken in the order given. With `weights` bins have as equal weight as rows allow: a row is in the bin that the middle of
/// its weight falls into. `None` without rows, without bins, with a probability outside of [0, 1], or with weights that are negative,
/// not one a row or all zero.
pub fn calibration(
    positive: &[bool],
    probabilities: &[f64],
    weights: Option<&[f64]>,
    bins: usize,
) -> Option<Calibration> {
    let rows = probabilities.len();
    let good = rows > 0 && bins > 0 && positive.len() == rows;
    if !good || !probabilities.iter().all(|p| (0.0..=1.0).contains(p)) || !are_weights(weights, rows) {
        return None;
    }
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let total: f64 = (0..rows).map(weight).sum();
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let (mut found, mut ece, mut largest) = (Vec::with_capacity(bins.min(rows)), 0.0, 0.0_f64);
    for part in parts(&order, weights, bins) {
        let size: f64 = part.iter().map(|row| weight(*row)).sum();
        if size <= 0.0 {
            continue;
        }
        let said = part.iter().map(|row| weight(*row) * probabilities[*row]).sum::<f64>() / size;
        let happened = part.iter().filter(|row| positive[**row]).map(|row| weight(*row)).sum::<f64>() / size;
        let distance = (said - happened).abs();
        ece += distance * size / total;
        largest = largest.max(distance);
        found.push(Bin { rows: part.len() as f64, said, happened });
    }
    let square = |row: usize| weight(row) * (probabilities[row] - f64::from(u8::from(positive[row]))).powi(2);
    let brier = (0..rows).map(square).sum::<f64>() / total;
    Some(Calibration { ece, largest, brier, bins: found })
}

/// Rows cut into bins of equal mass.
fn parts<'o>(order: &'o [usize], weights: Option<&[f64]>, bins: usize) -> Vec<&'o [usize]> {
    let Some(weights) = weights else {
        let (small, longer) = (order.len() / bins, order.len() % bins);
        let mut rest = order;
        return (0..bins.min(order.len()))
            .map(|bin| {
                let (part, others) = rest.split_at(small + usize::from(bin < longer));
                rest = others;
                part
            })
            .collect();
    };
    let total: f64 = weights.iter().sum();
    let mut before = 0.0;
    let bin_of: Vec<usize> = order
        .iter()
        .map(|row| {
            let middle = before + weights[*row] / 2.0;
            before += weights[*row];
            ((middle / total * bins as f64) as usize).min(bins - 1)
        })
        .collect();
    let mut from = 0;
    bin_of
        .chunk_by(|a, b| a == b)
        .map(|bin| {
            let part = &order[from..from + bin.len()];
            from += bin.len();
            part
        })
        .collect()
}

/// One a row, none negative, not all zero.
fn are_weights(weights: Option<&[f64]>, rows: usize) -> bool {
    weights.is_none_or(|weights| {
        weights.len() == rows
            && weights.iter().all(|weight| *weight >= 0.0 && weight.is_finite())
            && weights.iter().sum::<f64>() > 0.0
    })
}

/// The calibration line logit P(y) = intercept + slope · logit(p) (D. Cox, Biometrika 45, 1958): slope one and
/// intercept zero are perfect, a slope below one means overconfidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// Slope.
    pub slope: f64,
    /// Its standard error.
    pub slope_error: f64,
    /// Intercept.
    pub intercept: f64,
    /// Its standard error.
    pub intercept_error: f64,
}

impl Slope {
    /// Wald's interval of the slope at `level`.
    pub fn interval(&self, level: f64) -> Interval {
        let width = factor(level) * self.slope_error;
        Interval { estimate: self.slope, low: self.slope - width, high: self.slope + width }
    }
}

/// Probabilities are kept this far from zero and one before the logit.
const LOGIT_EDGE: f64 = 1e-12;

/// Fits the calibration line by maximum likelihood (Newton's method with halved steps). `None` if a class is missing, the probabilities
/// do not vary, or they separate the classes so that there is no finite maximum. With `weights` the likelihood is weighted, and the
/// errors are those of rows that were weighted, not counted more than once (H. White, Econometrica 48, 1980: the sandwich).
pub fn slope(positive: &[bool], probabilities: &[f64], weights: Option<&[f64]>) -> Option<Slope> {
    let rows = probabilities.len();
    if positive.len() != rows
        || !probabilities.iter().all(|p| (0.0..=1.0).contains(p))
        || !are_weights(weights, rows)
    {
        return None;
    }
    let of_row = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let x: Vec<f64> = probabilities
        .iter()
        .map(|p| {
            let p = p.clamp(LOGIT_EDGE, 1.0 - LOGIT_EDGE);
            (p / (1.0 - p)).ln()
        })
        .collect();
    let (mut intercept, mut slope) = (0.0, 1.0);
    for _ in 0..100 {
        // Gradient, and the entries of the negated Hessian.
        let (mut g0, mut g1, mut h00, mut h01, mut h11) = (0.0, 0.0, 0.0, 0.0, 0.0);
        // And the sums of the squares of what each row adds to the gradient.
        let (mut m00, mut m01, mut m11) = (0.0, 0.0, 0.0);
        for (row, (x, y)) in x.iter().zip(positive).enumerate() {
            let fitted: f64 = 1.0 / (1.0 + (-(intercept + slope * x)).exp());
            let rest = of_row(row) * (f64::from(u8::from(*y)) - fitted);
            let weight = of_row(row) * fitted * (1.0 - fitted);
            g0 += rest;
            g1 += rest * x;
            m00 += rest * rest;
            m01 += rest * rest * x;
            m11 += rest * rest * x * x;
            h00 += weight;
            h01 += weight * x;
            h11 += weight * x * x;
        }
        let determinant = h00 * h11 - h01 * h01;
        if determinant.is_nan() || determinant <= 1e-12 * h00 * h11 {
            return None;
        }
        let steps = ((h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant);
        // A whole step may go too far where many probabilities are near zero or one; half of it, and so on, does not.
        let before = likelihood(&x, positive, weights, intercept, slope);
        let mut part = 1.0;
        while part > 1e-9
            && likelihood(&x, positive, weights, intercept + part * steps.0, slope + part * steps.1)
                < before - 1e-12 * before.abs()
        {
            part /= 2.0;
        }
        intercept += part * steps.0;
        slope += part * steps.1;
        if slope.abs() > 1e6 || intercept.abs() > 1e6 {
            return None;
        }
        if steps.0.abs() <= 1e-12 * (1.0 + intercept.abs()) && steps.1.abs() <= 1e-12 * (1.0 + slope.abs()) {
            let (intercept_variance, slope_variance) = match weights {
                None => (h11 / determinant, h00 / determinant),
                Some(_) => (
                    (h11 * h11 * m00 - 2.0 * h11 * h01 * m01 + h01 * h01 * m11) / determinant.powi(2),
                    (h01 * h01 * m00 - 2.0 * h00 * h01 * m01 + h00 * h00 * m11) / determinant.powi(2),
                ),
            };
            return Some(Slope {
                slope,
                slope_error: slope_variance.sqrt(),
                intercept,
                intercept_error: intercept_variance.sqrt(),
            });
        }
    }
    None
}

/// The logarithm of the likelihood of a calibration line.
fn likelihood(x: &[f64], positive: &[bool], weights: Option<&[f64]>, intercept: f64, slope: f64) -> f64 {
    let terms = x.iter().zip(positive).enumerate().map(|(row, (x, positive))| {
        let logit = intercept + slope * x;
        // ln(1 + exp(logit)), for large ones as well.
        let normalizer = logit.max(0.0) + (-logit.abs()).exp().ln_1p();
        let term = if *positive { logit - normalizer } else { -normalizer };
        weights.map_or(1.0, |weights| weights[row]) * term
    });
    terms.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_by_hand() {
        let truth = [false, true, true, true];
        let found = calibration(&truth, &[0.0, 0.5, 0.5, 1.0], None, 2).unwrap();
        assert_eq!((found.ece, found.largest, found.brier), (0.25, 0.25, 0.125));
        assert_eq!(found.bins.len(), 2);
        let weighted = |weights: &[f64]| calibration(&truth, &[0.0, 0.5, 0.5, 1.0], Some(weights), 2);
        assert_eq!(weighted(&[1.0; 4]), Some(found));
        // The last row weighs as much as the others: a bin of its own.
        let heavy = weighted(&[1.0, 1.0, 1.0, 3.0]).unwrap();
        assert_eq!((heavy.bins[0].rows, heavy.bins[1].rows), (3.0, 1.0));
        assert!(
            (heavy.ece - 1.0 / 6.0).abs() < 1e-12 && (heavy.brier - 0.5 / 6.0).abs() < 1e-12,
            "{heavy:?}"
        );
        assert!(weighted(&[1.0]).is_none() && weighted(&[0.0; 4]).is_none());
        assert!(weighted(&[-1.0, 1.0, 1.0, 1.0]).is_none());
        // More bins than rows: one row each.
        assert_eq!(calibration(&truth, &[0.1, 0.2, 0.3, 0.4], None, 15).unwrap().bins.len(), 4);
        assert!(
            calibration(&[], &[], None, 15).is_none()
                && calibration(&truth, &[0.1, 0.2, 0.3, 1.4], None, 15).is_none()
        );
    }

    #[test]
    fn no_line_through_separated_classes() {
        // Far too sure, and wrong in a third of all cases: whole steps of Newton's method run away from here.
        let wrong = |n: u32| n.is_multiple_of(3);
        let sure: Vec<f64> =
            (0..600_u32).map(|n| if n % 2 == 0 { 1e-9 } else { 1.0 - 1e-6 * f64::from(1 + n % 7) }).collect();
        let truth: Vec<bool> = (0..600_u32).map(|n| (n % 2 == 1) != wrong(n)).collect();
        let found = slope(&truth, &sure, None).unwrap();
        assert!(found.slope > 0.0 && found.slope < 0.1, "{found:?}");
        assert!(slope(&[false, false, true, true], &[0.1, 0.2, 0.8, 0.9], None).is_none());
        assert!(slope(&[false, true, true], &[0.5, 0.5, 0.5], None).is_none());
        assert!(slope(&[true, true, true], &[0.2, 0.5, 0.6], None).is_none());
    }
}
