//! Histograms of derivatives: for each bin of each column, sums over rows.
//!
//! Derivatives are fixed-point integers. Integer sums are exact, so they do not depend on the order of rows or on how
//! work is shared among threads, and the histogram of one child is exactly the parent's minus the other's.
//! This module adds up; what the sums mean is [`Scale`]'s to say, what to do with them is in `split`.

use rayon::prelude::*;

use super::bins::{Binned, GROUP};

/// Two packed sums: first derivatives; second derivatives above the count of rows in the low bits.
pub(super) type Sums = [i64; 2];

/// The histogram of one column, by bin.
pub(super) type ColumnHistogram = [Sums; 256];

/// The histograms of the columns of one group.
pub(super) type GroupHistogram = [ColumnHistogram; GROUP];

/// Rows whose bins are loaded together.
const AHEAD: usize = 32;

/// No rows.
pub(super) const EMPTY: Sums = [0; 2];

/// What one unit of each sum is worth, and where the count ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// Units in a first derivative of 1; a power of two.
    pub(super) gradient: f64,
    /// Units in a second derivative of 1; a power of two.
    pub(super) hessian: f64,
    /// Bits of the count.
    pub(super) count_bits: u32,
    gradient_unit: f64,
    hessian_unit: f64,
}

impl Scale {
    /// Units so fine that sums over all rows just fit: `weight` is the sum of all weights, and no first derivative
    /// exceeds `gradient` times its row's weight, no second one `hessian` times it. `largest` is the largest weight.
    pub(super) fn new(rows: usize, weight: f64, largest: f64, gradient: f64, hessian: f64) -> Self {
        let count_bits = usize::BITS - rows.leading_zeros();
        let units = |bits: u32, bound: f64| {
            // Half a unit of rounding a row is covered by the spare bit.
            let total = exponent_above(weight * bound);
            let single = exponent_above(largest * bound);
            2.0_f64.powi((bits as i32 - total).min(50 - single).clamp(-1000, 1000))
        };
        let (gradient, hessian) = (units(61, gradient), units(61 - count_bits, hessian));
        Self { gradient, hessian, count_bits, gradient_unit: 1.0 / gradient, hessian_unit: 1.0 / hessian }
    }

    /// The first derivatives.
    #[inline]
    pub(super) fn gradient_of(self, sums: Sums) -> f64 {
        sums[0] as f64 * self.gradient_unit
    }

    /// The second derivatives.
    #[inline]
    pub(super) fn hessian_of(self, sums: Sums) -> f64 {
        (sums[1] >> self.count_bits) as f64 * self.hessian_unit
    }

    /// The number of rows.
    #[inline]
    pub(super) fn count_of(self, sums: Sums) -> u64 {
        sums[1] as u64 & ((1 << self.count_bits) - 1)
    }
}

/// The least `e` with `|x| < 2^e`.
fn exponent_above(x: f64) -> i32 {
    let bits = x.abs().max(f64::MIN_POSITIVE).to_bits();
    (bits >> 52) as i32 - 1022
}

/// Adds `b` to `a`.
#[inline]
pub(super) fn add(a: Sums, b: Sums) -> Sums {
    [a[0].wrapping_add(b[0]), a[1].wrapping_add(b[1])]
}

/// Takes `b` from `a`.
#[inline]
pub(super) fn subtract(a: Sums, b: Sums) -> Sums {
    [a[0].wrapping_sub(b[0]), a[1].wrapping_sub(b[1])]
}

/// Rows of one leaf and their derivatives in the same order.
#[derive(Clone, Copy)]
pub(super) struct LeafRows<'a> {
    /// Row numbers; `None` for all rows in order.
    pub(super) rows: Option<&'a [u32]>,
    pub(super) derivatives: &'a [Sums],
}

/// Fills the histograms of group `group` from the rows of a leaf, on several threads if `parts` is above 1.
pub(super) fn fill(
    into: &mut GroupHistogram,
    binned: &Binned,
    group: usize,
    leaf: LeafRows<'_>,
    parts: usize,
) {
    let bins = &binned.groups[group];
    let width = (binned.columns.len() - group * GROUP).min(GROUP);
    for column in into.iter_mut().take(width) {
        column.fill(EMPTY);
    }
    if parts <= 1 {
        return accumulate(into, bins, leaf, width);
    }
    let size = leaf.derivatives.len().div_ceil(parts).max(1);
    let partial: Vec<Box<GroupHistogram>> = (0..leaf.derivatives.len().div_ceil(size))
        .into_par_iter()
        .map(|part| {
            let span = part * size..((part + 1) * size).min(leaf.derivatives.len());
            let mut own = Box::new([[EMPTY; 256]; GROUP]);
            match leaf.rows {
                Some(rows) => {
                    let rows = Some(&rows[span.clone()]);
                    accumulate(
                        &mut own,
                        bins,
                        LeafRows { rows, derivatives: &leaf.derivatives[span] },
                        width,
                    );
                }
                None => {
                    let derivatives = &leaf.derivatives[span.clone()];
                    accumulate(&mut own, &bins[span], LeafRows { rows: None, derivatives }, width);
                }
            }
            own
        })
        .collect();
    for own in partial {
        for (column, more) in into.iter_mut().zip(own.iter()).take(width) {
            for (sums, more) in column.iter_mut().zip(more) {
                *sums = add(*sums, *more);
            }
        }
    }
}

fn accumulate(into: &mut GroupHistogram, bins: &[[u8; GROUP]], leaf: LeafRows<'_>, width: usize) {
    match width {
        1 => accumulate_width::<1>(into, bins, leaf),
        2 => accumulate_width::<2>(into, bins, leaf),
        3 => accumulate_width::<3>(into, bins, leaf),
        4 => accumulate_width::<4>(into, bins, leaf),
        5 => accumulate_width::<5>(into, bins, leaf),
        6 => accumulate_width::<6>(into, bins, leaf),
        7 => accumulate_width::<7>(into, bins, leaf),
        _ => accumulate_width::<GROUP>(into, bins, leaf),
    }
}

fn accumulate_width<const WIDTH: usize>(into: &mut GroupHistogram, bins: &[[u8; GROUP]], leaf: LeafRows<'_>) {
    match leaf.rows {
        Some(rows) => {
            // Rows of a leaf lie far apart. Loading a few of them at once lets the cache misses overlap.
            for (rows, derivatives) in rows.chunks(AHEAD).zip(leaf.derivatives.chunks(AHEAD)) {
                let mut near = [[0_u8; GROUP]; AHEAD];
                for (near, &row) in near.iter_mut().zip(rows) {
                    *near = bins[row as usize];
                }
                for (row, &derivatives) in near.iter().zip(derivatives) {
                    add_row::<WIDTH>(into, row, derivatives);
                }
            }
        }
        None => {
            for (row, &derivatives) in bins.iter().zip(leaf.derivatives) {
                add_row::<WIDTH>(into, row, derivatives);
            }
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "the innermost step of training, four instructions a column")]
fn add_row<const WIDTH: usize>(into: &mut GroupHistogram, bins: &[u8; GROUP], derivatives: Sums) {
    for column in 0..WIDTH {
        let sums = &mut into[column][usize::from(bins[column])];
        *sums = add(*sums, derivatives);
    }
}

/// `parent` becomes `parent - child`.
pub(super) fn subtract_all(parent: &mut GroupHistogram, child: &GroupHistogram) {
    for (column, less) in parent.iter_mut().zip(child) {
        for (sums, less) in column.iter_mut().zip(less) {
            *sums = subtract(*sums, *less);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_sums_fit() {
        for (rows, largest, gradient, hessian) in [
            (1, 1.0, 1.0, 0.25),
            (1_000_000, 1.0, 1.0, 0.25),
            (1 << 24, 3.0, 1e9, 1.0),
            (5, 1e-9, 1e-30, 1.0),
        ] {
            let weight = rows as f64 * largest;
            let scale = Scale::new(rows, weight, largest, gradient, hessian);
            let q = [largest * gradient * scale.gradient, largest * hessian * scale.hessian];
            assert!(q[0] <= 2.0_f64.powi(50) && q[1] <= 2.0_f64.powi(50));
            assert!((q[0] + 0.5) * rows as f64 <= 2.0_f64.powi(62));
            assert!((q[1] + 0.5) * rows as f64 <= 2.0_f64.powi(62 - scale.count_bits as i32));
            assert!(q[0] * rows as f64 >= 2.0_f64.powi(59) || q[0] >= 2.0_f64.powi(48));
            assert!((rows as u64) < 1 << scale.count_bits);
        }
    }
}
