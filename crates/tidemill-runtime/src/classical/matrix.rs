//! Matrix products. The inner loops are compiled for the instruction sets that processors may have, and the best one
//! is chosen when the program runs.

use std::ops::{Add, Mul};

use pulp::{Arch, Simd, WithSimd};

/// Rows of the left matrix that are handled together.
const ROWS: usize = 4;
/// Columns of the right matrix that are handled together where it has many.
const WIDE: usize = 16;
/// The same where it has a few.
const NARROW: usize = 4;

/// Numbers that matrices are made of.
pub(crate) trait Number:
    Copy + Default + Add<Output = Self> + Mul<Output = Self> + Send + Sync + std::fmt::Debug + 'static
{
    /// `self * factor + sum`, rounded once.
    fn fused(self, factor: Self, sum: Self) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn fused(self, factor: Self, sum: Self) -> Self {
        self.mul_add(factor, sum)
    }
}

impl Number for f64 {
    #[inline(always)]
    fn fused(self, factor: Self, sum: Self) -> Self {
        self.mul_add(factor, sum)
    }
}

/// The right matrix of a product, laid out for it: panels of columns, each row by row.
#[derive(Clone, Debug)]
pub(crate) struct Packed<T> {
    panels: Vec<T>,
    /// Rows, which are the columns of the left matrix.
    depth: usize,
    columns: usize,
    /// Columns of a panel; the last one is filled up with zeros.
    panel: usize,
}

impl<T: Number> Packed<T> {
    /// Packs a matrix whose element in row `k` and column `n` is `at(k, n)`.
    pub(crate) fn new(depth: usize, columns: usize, at: impl Fn(usize, usize) -> T) -> Self {
        let panel = match columns {
            0..=2 => 1,
            3..=8 => NARROW,
            _ => WIDE,
        };
        let mut panels = Vec::with_capacity(columns.div_ceil(panel) * panel * depth);
        for first in (0..columns).step_by(panel) {
            for k in 0..depth {
                for n in first..first + panel {
                    panels.push(if n < columns { at(k, n) } else { T::default() });
                }
            }
        }
        Self { panels, depth, columns, panel }
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        (self.panels.len() * size_of::<T>()) as u64
    }

    /// `out = left × self`; `left` has `depth` columns and as many rows as `out`, which has `columns` columns.
    pub(crate) fn multiply(&self, left: &[T], out: &mut [T]) {
        if self.depth == 0 {
            out.fill(T::default());
        } else if self.columns > 0 {
            Arch::new().dispatch(Product { left, right: self, out });
        }
    }
}

struct Product<'a, T> {
    left: &'a [T],
    right: &'a Packed<T>,
    out: &'a mut [T],
}

impl<T: Number> WithSimd for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if S::IS_SCALAR {
            // Without the instruction, rounding once is a slow call.
            self.run::<false>();
        } else {
            self.run::<true>();
        }
    }
}

impl<T: Number> Product<'_, T> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        match self.right.panel {
            1 => self.dots::<FUSED>(),
            NARROW => self.panels::<FUSED, NARROW>(),
            _ => self.panels::<FUSED, WIDE>(),
        }
    }

    /// One or two columns: each element is a dot product.
    #[inline(always)]
    fn dots<const FUSED: bool>(self) {
        let Packed { panels, depth, columns, .. } = self.right;
        for (row, out) in self.left.chunks_exact(*depth).zip(self.out.chunks_exact_mut(*columns)) {
            for (column, out) in panels.chunks_exact(*depth).zip(out) {
                *out = dot::<T, FUSED>(row, column);
            }
        }
    }

    #[inline(always)]
    fn panels<const FUSED: bool, const W: usize>(self) {
        let Packed { panels, depth, columns, .. } = self.right;
        let mut blocks = self.left.chunks_exact(depth * ROWS);
        let mut outs = self.out.chunks_exact_mut(columns * ROWS);
        for (left, out) in (&mut blocks).zip(&mut outs) {
            block::<T, FUSED, W, ROWS>(left, panels, *depth, *columns, out);
        }
        let rest = blocks.remainder().chunks_exact(*depth);
        for (left, out) in rest.zip(outs.into_remainder().chunks_exact_mut(*columns)) {
            block::<T, FUSED, W, 1>(left, panels, *depth, *columns, out);
        }
    }
}

/// `R` rows times all panels.
#[inline(always)]
fn block<T: Number, const FUSED: bool, const W: usize, const R: usize>(
    left: &[T],
    panels: &[T],
    depth: usize,
    columns: usize,
    out: &mut [T],
) {
    let mut rows = [left; R];
    for (row, part) in rows.iter_mut().zip(left.chunks_exact(depth)) {
        *row = part;
    }
    for (index, panel) in panels.chunks_exact(depth * W).enumerate() {
        let mut sums = [[T::default(); W]; R];
        for (k, line) in panel.as_chunks::<W>().0.iter().enumerate() {
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let x = row[k];
                for (sum, y) in sums.iter_mut().zip(line) {
                    *sum = add_product::<T, FUSED>(x, *y, *sum);
                }
            }
        }
        let first = index * W;
        let width = W.min(columns - first);
        for (sums, out) in sums.iter().zip(out.chunks_exact_mut(columns)) {
            out[first..first + width].copy_from_slice(&sums[..width]);
        }
    }
}

/// The dot product of two vectors of the same length, in eight sums.
#[inline(always)]
fn dot<T: Number, const FUSED: bool>(left: &[T], right: &[T]) -> T {
    let mut sums = [T::default(); 8];
    let ((lefts, left_rest), (rights, right_rest)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    for (left, right) in lefts.iter().zip(rights) {
        for ((sum, x), y) in sums.iter_mut().zip(left).zip(right) {
            *sum = add_product::<T, FUSED>(*x, *y, *sum);
        }
    }
    let mut rest = T::default();
    for (x, y) in left_rest.iter().zip(right_rest) {
        rest = add_product::<T, FUSED>(*x, *y, rest);
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h)) + rest
}

#[inline(always)]
fn add_product<T: Number, const FUSED: bool>(x: T, y: T, sum: T) -> T {
    if FUSED { x.fused(y, sum) } else { x * y + sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_all_shapes_are_those_of_the_definition() {
        for (rows, depth, columns) in [
            (1, 1, 1),
            (3, 7, 2),
            (5, 9, 3),
            (4, 30, 8),
            (9, 5, 17),
            (64, 33, 16),
            (2, 0, 4),
            (0, 3, 5),
            (7, 65, 1),
        ] {
            let left: Vec<f64> = (0..rows * depth).map(|i| (i * 7 % 13) as f64 - 6.0).collect();
            let right: Vec<f64> = (0..depth * columns).map(|i| (i * 5 % 11) as f64 - 5.0).collect();
            let packed = Packed::new(depth, columns, |k, n| right[k * columns + n]);
            let mut out = vec![f64::NAN; rows * columns];
            packed.multiply(&left, &mut out);
            for row in 0..rows {
                for column in 0..columns {
                    let wanted: f64 =
                        (0..depth).map(|k| left[row * depth + k] * right[k * columns + column]).sum();
                    assert_eq!(
                        out[row * columns + column],
                        wanted,
                        "{rows}x{depth}x{columns} at {row},{column}"
                    );
                }
            }
        }
    }
}
