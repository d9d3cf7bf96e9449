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
    /// Number of rows.
    pub rows: f64,
    /// Mean probability.
    pub said: f64,
    /// Share of positive rows.
    pub happened: f64,
}

/// Calibration of probabilities over `bins` bins of equal mass: rows sorted by probability and cut into as equal
/// parts as numpy's `array_split` does (the first parts are one row longer). Rows of one probability that a cut would
/// divide are taken in the order given. `None` without rows, without bins, or with a probability outside of [0, 1].
pub fn calibration(positive: &[bool], probabilities: &[f64], bins: usize) -> Option<Calibration> {
    let rows = probabilities.len();
    let good = rows > 0 && bins > 0 && positive.len() == rows;
    if !good || !probabilities.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let (small, longer) = (rows / bins, rows % bins);
    let (mut from, mut found) = (0, Vec::with_capacity(bins.min(rows)));
    let (mut ece, mut largest) = (0.0, 0.0_f64);
    for bin in 0..bins.min(rows) {
        let count = small + usize::from(bin < longer);
        let part = &order[from..from + count];
        from += count;
        let said = part.iter().map(|row| probabilities[*row]).sum::<f64>() / count as f64;
        let happened = part.iter().filter(|row| positive[**row]).count() as f64 / count as f64;
        let distance = (said - happened).abs();
        ece += distance * count as f64 / rows as f64;
        largest = largest.max(distance);
        found.push(Bin { rows: count as f64, said, happened });
    }
    let brier =
        positive.iter().zip(probabilities).map(|(y, p)| (p - f64::from(u8::from(*y))).powi(2)).sum::<f64>()
            / rows as f64;
    Some(Calibration { ece, largest, brier, bins: found })
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
/// do not vary, or they separate the classes so that there is no finite maximum.
pub fn slope(positive: &[bool], probabilities: &[f64]) -> Option<Slope> {
    if positive.len() != probabilities.len() || !probabilities.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
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
        for (x, y) in x.iter().zip(positive) {
            let fitted: f64 = 1.0 / (1.0 + (-(intercept + slope * x)).exp());
            let (rest, weight) = (f64::from(u8::from(*y)) - fitted, fitted * (1.0 - fitted));
            g0 += rest;
            g1 += rest * x;
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
        let before = likelihood(&x, positive, intercept, slope);
        let mut part = 1.0;
        while part > 1e-9
            && likelihood(&x, positive, intercept + part * steps.0, slope + part * steps.1)
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
            return Some(Slope {
                slope,
                slope_error: (h00 / determinant).sqrt(),
                intercept,
                intercept_error: (h11 / determinant).sqrt(),
            });
        }
    }
    None
}

/// The logarithm of the likelihood of a calibration line.
fn likelihood(x: &[f64], positive: &[bool], intercept: f64, slope: f64) -> f64 {
    let terms = x.iter().zip(positive).map(|(x, positive)| {
        let logit = intercept + slope * x;
        // ln(1 + exp(logit)), for large ones as well.
        let normalizer = logit.max(0.0) + (-logit.abs()).exp().ln_1p();
        if *positive { logit - normalizer } else { -normalizer }
    });
    terms.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_by_hand() {
        let truth = [false, true, true, true];
        let found = calibration(&truth, &[0.0, 0.5, 0.5, 1.0], 2).unwrap();
        assert_eq!((found.ece, found.largest, found.brier), (0.25, 0.25, 0.125));
        assert_eq!(found.bins.len(), 2);
        // More bins than rows: one row each.
        assert_eq!(calibration(&truth, &[0.1, 0.2, 0.3, 0.4], 15).unwrap().bins.len(), 4);
        assert!(
            calibration(&[], &[], 15).is_none() && calibration(&truth, &[0.1, 0.2, 0.3, 1.4], 15).is_none()
        );
    }

    #[test]
    fn no_line_through_separated_classes() {
        // Far too sure, and wrong in a third of all cases: whole steps of Newton's method run away from here.
        let wrong = |n: u32| n.is_multiple_of(3);
        let sure: Vec<f64> =
            (0..600_u32).map(|n| if n % 2 == 0 { 1e-9 } else { 1.0 - 1e-6 * f64::from(1 + n % 7) }).collect();
        let truth: Vec<bool> = (0..600_u32).map(|n| (n % 2 == 1) != wrong(n)).collect();
        let found = slope(&truth, &sure).unwrap();
        assert!(found.slope > 0.0 && found.slope < 0.1, "{found:?}");
        assert!(slope(&[false, false, true, true], &[0.1, 0.2, 0.8, 0.9]).is_none());
        assert!(slope(&[false, true, true], &[0.5, 0.5, 0.5]).is_none());
        assert!(slope(&[true, true, true], &[0.2, 0.5, 0.6]).is_none());
    }
}
