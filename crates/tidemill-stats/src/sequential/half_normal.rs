//! The one-sided half-normal mixture for means: an asymptotic confidence sequence.

use crate::special::ln_normal_below;

/// Natural logarithm of the one-sided half-normal mixture evidence that a difference is above zero (H. Robbins, Ann.
/// Math. Stat. 41, 1970; I. Waudby-Smith et al., Time-uniform central limit theory and asymptotic confidence
/// sequences, <https://arxiv.org/abs/2103.06476>):
///
/// ln 2 + ½·ln(V/(V+τ²)) + τ²d²/(2V(V+τ²)) + ln Φ(τd/√(V(V+τ²)))
///
/// with the difference `d` in the direction of harm minus the margin, its `variance` V, and the effect of interest `tau`.
/// `None` unless `variance` and `tau` are above zero.
pub fn ln_evidence(d: f64, variance: f64, tau: f64) -> Option<f64> {
    let good = variance > 0.0 && tau > 0.0 && variance.is_finite() && tau.is_finite() && d.is_finite();
    good.then(|| {
        let square = tau * tau;
        let sum = variance + square;
        std::f64::consts::LN_2
            + 0.5 * libm::log(variance / sum)
            + square * d * d / (2.0 * variance * sum)
            + ln_normal_below(tau * d / libm::sqrt(variance * sum))
    })
}

/// The difference at which [`ln_evidence`] reaches ln(1/`alpha`): half of the width of the confidence sequence.
/// `None` as there.
pub fn radius(variance: f64, tau: f64, alpha: f64) -> Option<f64> {
    let wanted = -alpha.ln();
    let mut high = variance.sqrt();
    while ln_evidence(high, variance, tau)? < wanted {
        high *= 2.0;
        if !high.is_finite() {
            return None;
        }
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if ln_evidence(middle, variance, tau)? < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_and_radius_agree() {
        for (variance, tau, alpha) in [(1e-4, 0.01, 0.05), (1e-8, 0.5, 0.001), (4.0, 0.1, 0.01)] {
            let width = radius(variance, tau, alpha).unwrap();
            let at = ln_evidence(width, variance, tau).unwrap();
            assert!((at + f64::ln(alpha)).abs() < 1e-9, "{variance} {tau} {alpha}: {at}");
        }
        assert!(ln_evidence(1.0, 0.0, 1.0).is_none() && ln_evidence(f64::NAN, 1.0, 1.0).is_none());
        assert!(radius(0.0, 1.0, 0.05).is_none());
        // Far on the other side the evidence is small but a number.
        assert!(ln_evidence(-50.0, 1e-4, 0.1).unwrap() < -2.0);
    }

    /// The integral that the closed form stands for, by the midpoint rule.
    fn integrated(d: f64, v: f64, tau: f64) -> f64 {
        const STEPS: u32 = 200_000;
        let width = 12.0 * tau / f64::from(STEPS);
        let sum: f64 = (0..STEPS)
            .map(|i| {
                let effect = (f64::from(i) + 0.5) * width;
                let prior =
                    2.0 / (tau * (2.0 * std::f64::consts::PI).sqrt()) * (-0.5 * (effect / tau).powi(2)).exp();
                prior * (effect * d / v - 0.5 * effect * effect / v).exp()
            })
            .sum();
        (sum * width).ln()
    }

    #[test]
    fn the_closed_form_is_the_integral() {
        for (d, v, tau) in [(0.02, 1e-4, 0.02), (-0.03, 1e-4, 0.02), (0.0, 4.0, 1.0), (0.5, 0.01, 0.3)] {
            let (closed, integral) = (ln_evidence(d, v, tau).unwrap(), integrated(d, v, tau));
            assert!((closed - integral).abs() < 1e-6, "{d} {v} {tau}: {closed} {integral}");
        }
    }

    #[test]
    fn the_radius_is_where_the_evidence_reaches_the_level() {
        let bound = 0.05 - radius(1e-4, 0.02, 0.05).unwrap();
        assert!((ln_evidence(0.05 - bound, 1e-4, 0.02).unwrap() - 20.0_f64.ln()).abs() < 1e-9);
    }
}
