//! Count, mean and central power sums to the fourth, of values and of pairs of values, merged pairwise.
//!
//! Formulas: Chan, Golub and LeVeque (1979) for the second power, Pébay, "Formulas for robust, one-pass parallel
//! computation of covariances and arbitrary-order statistical moments" (Sandia report SAND2008-6212) for the others.

/// Count, mean and sums of powers of deviations of finite numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Moments {
    pub(super) count: u64,
    pub(super) mean: f64,
    /// Σ (x − mean)².
    pub(super) m2: f64,
    /// Σ (x − mean)³.
    pub(super) m3: f64,
    /// Σ (x − mean)⁴.
    pub(super) m4: f64,
}

impl Moments {
    /// Of `values`, each as often as `counts` says.
    pub(super) fn of(values: &[f64], counts: &[u32]) -> Self {
        let count: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        if count == 0 {
            return Self::default();
        }
        let n = count as f64;
        let [sum] = sums(values, counts, |value, count| [value * count]);
        let mean = if sum.is_finite() {
            let rough = sum / n;
            let [rest] = sums(values, counts, |value, count| [(value - rough) * count]);
            rough + rest / n
        } else {
            // Shares before sums, so that the mean of the largest numbers does not overflow.
            let [rough] = sums(values, counts, |value, count| [value * (count / n)]);
            let [rest] = sums(values, counts, |value, count| [(value - rough) * (count / n)]);
            rough + rest
        };
        let [m2, m3, m4] = sums(values, counts, |value, count| {
            let d = value - mean;
            let square = d * d;
            [count * square, count * square * d, count * square * square]
        });
        Self { count, mean, m2, m3, m4 }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let n = a + b;
        let d = other.mean - self.mean;
        let (shift, both) = (d / n, a * b / n);
        let m2 = self.m2 + other.m2 + d * d * both;
        let m3 =
            self.m3 + other.m3 + d * d * shift * both * (a - b) + 3.0 * shift * (a * other.m2 - b * self.m2);
        let m4 = self.m4
            + other.m4
            + d * shift * d * shift * both * (a * a - a * b + b * b)
            + 6.0 * shift * shift * (a * a * other.m2 + b * b * self.m2)
            + 4.0 * shift * (a * other.m3 - b * self.m3);
        *self = Self { count: self.count + other.count, mean: self.mean + shift * b, m2, m3, m4 };
    }

    /// Sample standard deviation (n − 1).
    pub(super) fn std(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.m2 / (self.count - 1) as f64).sqrt())
    }

    /// m₃ / m₂^1.5 of the population, as `scipy.stats.skew`.
    pub(super) fn skewness(&self) -> Option<f64> {
        let n = self.count as f64;
        self.varies().then(|| n.sqrt() * self.m3 / self.m2.powf(1.5))
    }

    /// m₄ / m₂² − 3 of the population, as `scipy.stats.kurtosis`.
    pub(super) fn kurtosis(&self) -> Option<f64> {
        let n = self.count as f64;
        self.varies().then(|| n * self.m4 / (self.m2 * self.m2) - 3.0)
    }

    /// Whether the values differ by more than the rounding of their mean.
    fn varies(&self) -> bool {
        self.count > 1 && self.m2.is_finite() && beyond_rounding(self.m2, self.mean, self.count)
    }
}

/// Sums over all values with their counts, in lanes: additions of one lane wait for each other, those of several do not.
fn sums<const N: usize>(values: &[f64], counts: &[u32], of: impl Fn(f64, f64) -> [f64; N]) -> [f64; N] {
    const LANES: usize = 4;
    let mut lanes = [[0.0; N]; LANES];
    let ((values, few_values), (counts, few_counts)) =
        (values.as_chunks::<LANES>(), counts.as_chunks::<LANES>());
    for (values, counts) in values.iter().zip(counts) {
        for (lane, (&value, &count)) in lanes.iter_mut().zip(values.iter().zip(counts)) {
            for (sum, more) in lane.iter_mut().zip(of(value, f64::from(count))) {
                *sum += more;
            }
        }
    }
    for (&value, &count) in few_values.iter().zip(few_counts) {
        for (sum, more) in lanes[0].iter_mut().zip(of(value, f64::from(count))) {
            *sum += more;
        }
    }
    std::array::from_fn(|at| lanes.iter().map(|lane| lane[at]).sum())
}

/// Whether a sum of squared deviations is more than the rounding of the mean that was taken off.
fn beyond_rounding(squares: f64, mean: f64, count: u64) -> bool {
    let noise = f64::EPSILON * mean.abs();
    squares > count as f64 * noise * noise
}

/// The same for pairs: rows in which both values are finite numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CoMoments {
    pub(super) count: u64,
    pub(super) means: [f64; 2],
    /// Σ of squared deviations of either.
    pub(super) squares: [f64; 2],
    /// Σ of products of deviations.
    pub(super) product: f64,
}

impl CoMoments {
    pub(super) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let n = a + b;
        let d = [other.means[0] - self.means[0], other.means[1] - self.means[1]];
        for (side, d) in d.iter().enumerate() {
            self.squares[side] += other.squares[side] + d * d * a * b / n;
            self.means[side] += d * b / n;
        }
        self.product += other.product + d[0] * d[1] * a * b / n;
        self.count += other.count;
    }

    /// Pearson's r, where both vary.
    pub(super) fn correlation(&self) -> Option<f64> {
        let varies = |side: usize| beyond_rounding(self.squares[side], self.means[side], self.count);
        let r = self.product / (self.squares[0].sqrt() * self.squares[1].sqrt());
        (self.count > 1 && varies(0) && varies(1) && r.is_finite()).then(|| r.clamp(-1.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_parts_are_the_whole() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 37) * 1.5 + f64::from(i) * 0.01).collect();
        let ones = vec![1; 1000];
        let whole = Moments::of(&values, &ones);
        let mut merged = Moments::default();
        for part in [0..1, 1..10, 10..600, 600..600, 600..1000] {
            merged.merge(&Moments::of(&values[part.clone()], &ones[part]));
        }
        for (a, b) in
            [(whole.mean, merged.mean), (whole.m2, merged.m2), (whole.m3, merged.m3), (whole.m4, merged.m4)]
        {
            assert!((a - b).abs() <= 1e-9 * a.abs(), "{a} {b}");
        }
        assert_eq!(whole.count, merged.count);
    }

    #[test]
    fn what_does_not_vary_has_no_shape() {
        let same = Moments::of(&[1e300], &[5]);
        assert_eq!((same.std(), same.skewness(), same.kurtosis()), (Some(0.0), None, None));
        assert_eq!(Moments::default().std(), None);
        let wide = Moments::of(&[-1.7e308, 1.7e308], &[1, 1]);
        assert_eq!((wide.mean, wide.skewness()), (0.0, None));
    }
}
