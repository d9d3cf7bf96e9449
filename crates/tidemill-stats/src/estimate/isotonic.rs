//! Isotonic regression: the non-decreasing step function that is nearest in the least squares.

use serde::{Deserialize, Serialize};

/// A fitted non-decreasing function, linear between its points and constant beyond them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isotonic {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Isotonic {
    /// Fits by pooling adjacent violators (M. Ayer et al., Ann. Math. Stat. 26, 1955), as scikit-learn's
    /// `IsotonicRegression(out_of_bounds="clip")` does: values at equal `x` are averaged first. Rows have `weights`
    /// or one. `None` without rows, with lengths that differ, numbers that are not finite, or weights that are not
    /// above zero.
    pub fn fit(x: &[f64], y: &[f64], weights: Option<&[f64]>) -> Option<Self> {
        let fits =
            !x.is_empty() && x.len() == y.len() && weights.is_none_or(|weights| weights.len() == x.len());
        let finite = x.iter().chain(y).all(|value| value.is_finite());
        if !fits
            || !finite
            || weights.is_some_and(|weights| weights.iter().any(|w| !w.is_finite() || *w <= 0.0))
        {
            return None;
        }
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.sort_unstable_by(|&a, &b| x[a].total_cmp(&x[b]));
        // Blocks of (sum of weighted y, weight, how many distinct x); merged while they fall.
        let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
        let mut places = Vec::new();
        let mut from = 0;
        while from < order.len() {
            let here = x[order[from]];
            let (mut sum, mut weight) = (0.0, 0.0);
            while from < order.len() && x[order[from]] == here {
                let w = weights.map_or(1.0, |weights| weights[order[from]]);
                sum += w * y[order[from]];
                weight += w;
                from += 1;
            }
            places.push(here);
            let mut block = (sum, weight, 1);
            while let Some(last) = blocks.last() {
                // Means compared without dividing.
                if last.0 * block.1 < block.0 * last.1 {
                    break;
                }
                block = (block.0 + last.0, block.1 + last.1, block.2 + last.2);
                blocks.pop();
            }
            blocks.push(block);
        }
        let levels = blocks.iter().flat_map(|(sum, weight, count)| std::iter::repeat_n(sum / weight, *count));
        let mut fitted = Self { x: Vec::new(), y: Vec::new() };
        for (place, level) in places.into_iter().zip(levels) {
            // Inside of a flat part only its two ends are needed.
            let last = fitted.y.len();
            if last >= 2 && fitted.y[last - 1] == level && fitted.y[last - 2] == level {
                fitted.x[last - 1] = place;
            } else {
                fitted.x.push(place);
                fitted.y.push(level);
            }
        }
        Some(fitted)
    }

    /// The function at `x`; NaN stays NaN.
    pub fn at(&self, x: f64) -> f64 {
        let right = self.x.partition_point(|place| *place < x);
        if x.is_nan() || self.x.is_empty() {
            return f64::NAN;
        }
        if right == 0 {
            return self.y[0];
        }
        if right == self.x.len() {
            return self.y[right - 1];
        }
        let (low, high) = (self.x[right - 1], self.x[right]);
        let (from, to) = (self.y[right - 1], self.y[right]);
        from + (to - from) * ((x - low) / (high - low))
    }

    /// The function at all of `values`.
    pub fn map(&self, values: &[f64]) -> Vec<f64> {
        values.iter().map(|x| self.at(*x)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violators_are_pooled() {
        let fitted = Isotonic::fit(&[3.0, 1.0, 2.0, 4.0], &[2.0, 1.0, 3.0, 5.0], None).unwrap();
        assert_eq!(fitted.map(&[0.0, 1.0, 1.5, 2.0, 3.0, 3.5, 9.0]), [1.0, 1.0, 1.75, 2.5, 2.5, 3.75, 5.0]);
        assert!(fitted.at(f64::NAN).is_nan());
        let falling = Isotonic::fit(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0], Some(&[1.0, 1.0, 2.0])).unwrap();
        assert_eq!(falling.at(2.5), 7.0 / 4.0);
        assert!(
            Isotonic::fit(&[], &[], None).is_none() && Isotonic::fit(&[f64::NAN], &[1.0], None).is_none()
        );
    }
}
