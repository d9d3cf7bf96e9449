//! Sharing the rows of a leaf out to its two children, in place and in their order.

use rayon::prelude::*;

use super::split::holds;

/// Rows of one piece of work.
const CHUNK: usize = 1 << 15;

/// Puts the rows whose bin is in `set` first and the others behind them, both in their present order; returns how
/// many come first. `scratch` is as long as `rows`.
pub(super) fn partition(rows: &mut [u32], scratch: &mut [u32], bins: &[u8], set: &[u64; 4]) -> usize {
    let goes_left: [u8; 256] = std::array::from_fn(|bin| u8::from(holds(set, bin as u8)));
    if rows.len() < 2 * CHUNK {
        return partition_chunk(rows, scratch, bins, &goes_left);
    }
    let lefts: Vec<usize> = rows
        .par_chunks_mut(CHUNK)
        .zip(scratch.par_chunks_mut(CHUNK))
        .map(|(rows, scratch)| partition_chunk(rows, scratch, bins, &goes_left))
        .collect();
    let total: usize = lefts.iter().sum();
    let (mut left, mut right) = scratch.split_at_mut(total);
    let mut copies = Vec::with_capacity(lefts.len());
    for (chunk, &count) in rows.chunks(CHUNK).zip(&lefts) {
        let (to_left, left_rest) = left.split_at_mut(count);
        let (to_right, right_rest) = right.split_at_mut(chunk.len() - count);
        copies.push((chunk, to_left, to_right));
        (left, right) = (left_rest, right_rest);
    }
    copies.into_par_iter().for_each(|(chunk, to_left, to_right)| {
        let (lefts, rights) = chunk.split_at(to_left.len());
        to_left.copy_from_slice(lefts);
        to_right.copy_from_slice(rights);
    });
    rows.par_chunks_mut(CHUNK).zip(scratch.par_chunks(CHUNK)).for_each(|(to, from)| to.copy_from_slice(from));
    total
}

fn partition_chunk(rows: &mut [u32], scratch: &mut [u32], bins: &[u8], goes_left: &[u8; 256]) -> usize {
    let scratch = &mut scratch[..rows.len()];
    let (mut left, mut right) = (0, 0);
    for index in 0..rows.len() {
        let row = rows[index];
        let is_left = usize::from(goes_left[usize::from(bins[row as usize])]);
        rows[left] = row;
        scratch[right] = row;
        left += is_left;
        right += 1 - is_left;
    }
    rows[left..].copy_from_slice(&scratch[..right]);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_both_sides() {
        for count in [0, 1, 5, 3 * CHUNK + 17] {
            let bins: Vec<u8> = (0..count).map(|row| (row * 7 % 256) as u8).collect();
            let set = [0x5555_0000_1234_ffff, 1, 2, 3];
            let mut rows: Vec<u32> = (0..count as u32).collect();
            let (lefts, rights): (Vec<u32>, Vec<u32>) =
                rows.iter().partition(|&&row| holds(&set, bins[row as usize]));
            let left = partition(&mut rows, &mut vec![0; count], &bins, &set);
            assert_eq!(rows[..left], lefts);
            assert_eq!(rows[left..], rights);
        }
    }
}
