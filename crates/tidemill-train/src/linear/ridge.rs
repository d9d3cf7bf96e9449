//! Ridge regression by the normal equations.

use super::cholesky::Cholesky;
use super::design::Design;

/// The coefficients over the columns of the design, intercept first.
///
/// The target is centred first, so that the intercept takes no digits from the rest. Columns that depend on earlier
/// ones get 0 where there is no penalty.
pub(super) fn solve(design: &Design, target: &[f64], weights: &[f64], l2: f64) -> Vec<f64> {
    let (mut sum, mut total) = (0.0, 0.0);
    for (value, weight) in target.iter().zip(weights) {
        sum += value * weight;
        total += weight;
    }
    let mean = sum / total;
    let mut gram = design.gram(weights);
    for column in 1..design.width {
        gram[column * design.width + column] += l2;
    }
    let mut solution = design.sum_over_rows(design.width, |rows, sums| {
        for row in rows {
            design.add(row, weights[row] * (target[row] - mean), sums);
        }
    });
    Cholesky::new(gram, design.width).solve(&mut solution);
    solution[0] += mean;
    solution
}
