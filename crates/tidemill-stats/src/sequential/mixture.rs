//! Mixtures over effects, and the functions that the tests share.

use std::sync::LazyLock;

/// `ln Σ exp(xᵢ)` without overflow; minus infinity for none.
pub fn ln_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + libm::log(terms.map(|term| libm::exp(term - top)).sum::<f64>())
}

/// `ln C(n, k)`.
pub(crate) fn ln_choose(n: f64, k: f64) -> f64 {
    libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
}

/// `ln B(a, b)`.
pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// Points above zero in units of an expected effect, with the logarithms of their prior weights, which sum to 1.
///
/// Most of the weight is a half-normal of the expected effect, so that a test is nearly as quick there as one that knew the effect;
/// a share of it is four times as wide, so that large harm is found quickly too. Points are spaced by 15 %: evidence is a quarter of an
/// effect wide where a test decides, so a finer grid would change nothing.
pub(crate) fn effect_grid() -> &'static [(f64, f64)] {
    static GRID: LazyLock<Vec<(f64, f64)>> = LazyLock::new(make_effect_grid);
    &GRID
}

fn make_effect_grid() -> Vec<(f64, f64)> {
    const POINTS: u32 = 48;
    const SMALLEST: f64 = 0.02;
    const LARGEST: f64 = 16.0;
    const WIDE: f64 = 4.0;
    const WIDE_SHARE: f64 = 0.15;
    let step = libm::log(LARGEST / SMALLEST) / f64::from(POINTS - 1);
    let density = |u: f64| {
        (1.0 - WIDE_SHARE) * libm::exp(-0.5 * u * u)
            + WIDE_SHARE / WIDE * libm::exp(-0.5 * (u / WIDE) * (u / WIDE))
    };
    let points: Vec<f64> = (0..POINTS).map(|k| SMALLEST * libm::exp(step * f64::from(k))).collect();
    let total: f64 = points.iter().map(|u| u * density(*u)).sum();
    points.into_iter().map(|u| (u, libm::log(u * density(u) / total))).collect()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use super::*;

    #[test]
    fn weights_of_the_grid_sum_to_one() {
        let total: f64 = effect_grid().iter().map(|(_, ln_weight)| ln_weight.exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
    }

    #[test]
    fn sums_of_large_logarithms_do_not_overflow() {
        assert!((ln_sum_exp([1000.0, 1000.0].into_iter()) - 1000.0 - LN_2).abs() < 1e-12);
        assert_eq!(ln_sum_exp(std::iter::empty()), f64::NEG_INFINITY);
    }
}
