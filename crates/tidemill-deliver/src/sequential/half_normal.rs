//! The one-sided half-normal mixture for means: an asymptotic confidence sequence.

use std::f64::consts::LN_2;

use super::ln_normal_cdf;

/// `ln Λ`: the evidence that a mean is above zero, from its estimate `d`, the variance `v` of that estimate and the expected effect
/// `tau`, all in the same units. Zero where nothing can be said.
///
/// `ln 2 + ½ ln(v/(v+τ²)) + τ²d²/(2v(v+τ²)) + ln Φ(τd/√(v(v+τ²)))`, the integral of the likelihood ratio over a half-normal prior of scale
/// `τ` (Robbins 1970; for estimated variances Waudby-Smith and others 2024).
pub fn ln_half_normal(d: f64, v: f64, tau: f64) -> f64 {
    if !(v > 0.0 && tau > 0.0 && d.is_finite() && v.is_finite() && tau.is_finite()) {
        return 0.0;
    }
    let square = tau * tau;
    let sum = v + square;
    LN_2 + 0.5 * libm::log(v / sum)
        + square * d * d / (2.0 * v * sum)
        + ln_normal_cdf(tau * d / libm::sqrt(v * sum))
}

/// The lower end of the confidence sequence of level `1 − alpha`: the largest value that is refuted as an upper bound of the mean.
pub fn lower_bound(d: f64, v: f64, tau: f64, alpha: f64) -> Option<f64> {
    if !(v > 0.0 && tau > 0.0 && alpha > 0.0 && alpha < 1.0 && d.is_finite()) {
        return None;
    }
    let target = -libm::log(alpha);
    let (mut below, mut above) = (0.0, libm::sqrt(v));
    while ln_half_normal(above, v, tau) < target {
        below = above;
        above *= 2.0;
        if !above.is_finite() {
            return None;
        }
    }
    for _ in 0..100 {
        let middle = 0.5 * (below + above);
        if ln_half_normal(middle, v, tau) < target {
            below = middle;
        } else {
            above = middle;
        }
    }
    Some(d - above)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let (closed, integral) = (ln_half_normal(d, v, tau), integrated(d, v, tau));
            assert!((closed - integral).abs() < 1e-6, "{d} {v} {tau}: {closed} {integral}");
        }
    }

    #[test]
    fn the_lower_bound_is_where_the_evidence_reaches_the_level() {
        let bound = lower_bound(0.05, 1e-4, 0.02, 0.05).unwrap();
        assert!((ln_half_normal(0.05 - bound, 1e-4, 0.02) - 20.0_f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_said_without_a_variance() {
        assert_eq!(ln_half_normal(1.0, 0.0, 0.1), 0.0);
        assert_eq!(ln_half_normal(f64::NAN, 1.0, 0.1), 0.0);
        assert_eq!(lower_bound(1.0, 0.0, 0.1, 0.05), None);
    }
}
