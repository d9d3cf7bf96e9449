//! Cholesky factorisation of a symmetric matrix that may lack rank.

use rayon::prelude::*;

/// Below this share of its diagonal entry a pivot is rounding noise, and its column depends on earlier ones.
const RANK: f64 = 1e-11;
/// Multiplications in one column of the factor from which on its rows are spread over threads.
const PARALLEL: usize = 1 << 17;

/// The lower factor of a symmetric positive semi-definite matrix. Dependent columns are left out: their part of every
/// solution is 0.
pub(super) struct Cholesky {
    size: usize,
    /// Row by row; the part above the diagonal is meaningless.
    lower: Vec<f64>,
    kept: Vec<bool>,
}

impl Cholesky {
    /// Factorises a matrix given by its lower triangle, row by row.
    pub(super) fn new(mut matrix: Vec<f64>, size: usize) -> Self {
        let mut kept = vec![true; size];
        let diagonal: Vec<f64> = (0..size).map(|i| matrix[i * size + i]).collect();
        for j in 0..size {
            let (done, below) = matrix.split_at_mut((j + 1) * size);
            let row = &mut done[j * size..];
            let pivot = row[j] - dot(&row[..j], &row[..j]);
            kept[j] = pivot > RANK * diagonal[j] && pivot > 0.0;
            let root = if kept[j] { pivot.sqrt() } else { 0.0 };
            row[j] = root;
            let row = &*row;
            // Each entry is computed by one thread in a fixed order, so the factor does not depend on the threads.
            let entry = |other: &mut [f64]| {
                other[j] = if root > 0.0 { (other[j] - dot(&other[..j], &row[..j])) / root } else { 0.0 };
            };
            if (size - j) * j > PARALLEL {
                below.par_chunks_mut(size).with_min_len(16).for_each(entry);
            } else {
                below.chunks_mut(size).for_each(entry);
            }
        }
        Self { size, lower: matrix, kept }
    }

    /// Solves `A x = b` in place.
    pub(super) fn solve(&self, b: &mut [f64]) {
        let n = self.size;
        for i in 0..n {
            let row = &self.lower[i * n..(i + 1) * n];
            b[i] = if self.kept[i] { (b[i] - dot(&row[..i], &b[..i])) / row[i] } else { 0.0 };
        }
        for i in (0..n).rev() {
            if self.kept[i] {
                let row = &self.lower[i * n..(i + 1) * n];
                b[i] /= row[i];
                let x = b[i];
                b[..i].iter_mut().zip(row).for_each(|(b, l)| *b -= x * l);
            }
        }
    }
}

/// The dot product in eight lanes, in a fixed order.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_and_leaves_out_dependent_columns() {
        let full = Cholesky::new(vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 0.0, 3.0, 6.0], 3);
        let mut b = [8.0, 21.0, 24.0];
        full.solve(&mut b);
        for (found, expected) in b.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-14, "{b:?}");
        }
        // The second column is twice the first one.
        let lacking = Cholesky::new(vec![1.0, 0.0, 2.0, 4.0], 2);
        let mut b = [3.0, 6.0];
        lacking.solve(&mut b);
        assert_eq!(b, [3.0, 0.0]);
    }
}
