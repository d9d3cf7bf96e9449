//! Reading a tensor in another order: broadcasting, transposing and slicing are the same thing with other strides.

use super::super::kernel::Outcome;

/// Strides of a row-major tensor.
pub(crate) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1_isize; shape.len()];
    let mut product = 1_isize;
    for (stride, size) in strides.iter_mut().zip(shape).rev() {
        *stride = product;
        product = product.saturating_mul(*size as isize);
    }
    strides
}

/// The shape that two tensors have together: sizes are equal, or one of them is 1.
pub(crate) fn broadcast_shape(left: &[usize], right: &[usize]) -> Outcome<Vec<usize>> {
    let rank = left.len().max(right.len());
    let size = |shape: &[usize], index: usize| {
        (index + shape.len()).checked_sub(rank).map_or(1, |place| shape[place])
    };
    (0..rank)
        .map(|index| match (size(left, index), size(right, index)) {
            (same, other) if same == other => Ok(same),
            (1, other) | (other, 1) => Ok(other),
            _ => Err(format!("shapes {left:?} and {right:?} do not fit together")),
        })
        .collect()
}

/// Strides that read a tensor of `shape` as one of the larger shape `to`: dimensions of size 1 stand still.
pub(crate) fn broadcast_strides(shape: &[usize], to: &[usize]) -> Vec<isize> {
    let mut all = vec![0; to.len() - shape.len()];
    all.extend(strides(shape).iter().zip(shape).map(|(stride, size)| if *size == 1 { 0 } else { *stride }));
    all
}

/// Elements in the order of `shape` and `strides`, from `offset` on. The caller has checked that all places exist.
pub(crate) fn read<T: Clone>(values: &[T], shape: &[usize], strides: &[isize], offset: isize) -> Vec<T> {
    let count = shape.iter().product();
    let mut out = Vec::with_capacity(count);
    each_run(shape, strides, offset, |start, length, step| {
        if step == 1 {
            out.extend_from_slice(&values[start as usize..start as usize + length]);
        } else {
            out.extend((0..length as isize).map(|index| values[(start + index * step) as usize].clone()));
        }
    });
    out
}

/// Shows the runs along the last dimension: where each starts, its length, and the distance of its elements.
pub(crate) fn each_run(
    shape: &[usize],
    strides: &[isize],
    offset: isize,
    mut visit: impl FnMut(isize, usize, isize),
) {
    let (Some((&length, outer)), Some((&step, outer_strides))) = (shape.split_last(), strides.split_last())
    else {
        visit(offset, 1, 1);
        return;
    };
    if shape.contains(&0) {
        return;
    }
    let mut at = vec![0_usize; outer.len()];
    let mut start = offset;
    loop {
        visit(start, length, step);
        let mut dim = outer.len();
        loop {
            if dim == 0 {
                return;
            }
            dim -= 1;
            at[dim] += 1;
            start += outer_strides[dim];
            if at[dim] < outer[dim] {
                break;
            }
            start -= outer_strides[dim] * outer[dim] as isize;
            at[dim] = 0;
        }
    }
}

/// A shape around one of its dimensions: elements before, of, and behind it.
pub(crate) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    let before = shape[..axis].iter().product();
    let behind = shape[axis + 1..].iter().product();
    (before, shape[axis], behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_transpose_broadcast_and_reverse() {
        let values = [1, 2, 3, 4, 5, 6];
        assert_eq!(read(&values, &[3, 2], &[1, 3], 0), [1, 4, 2, 5, 3, 6]);
        assert_eq!(read(&values, &[2, 3], &[0, 1], 0), [1, 2, 3, 1, 2, 3]);
        assert_eq!(read(&values, &[2, 2], &[3, -2], 2), [3, 1, 6, 4]);
        assert_eq!(read(&values, &[], &[], 4), [5]);
        assert!(read(&values, &[2, 0], &[3, 1], 0).is_empty());
        assert_eq!(broadcast_shape(&[3, 1], &[4]).unwrap(), [3, 4]);
        assert_eq!(broadcast_strides(&[3, 1], &[2, 3, 4]), [0, 1, 0]);
        assert!(broadcast_shape(&[3], &[4]).is_err());
    }
}
