//! Sorting numbers as 32-bit keys, in time proportional to their count.

const DIGIT: u32 = 11;
const BUCKETS: usize = 1 << DIGIT;

/// A key with the order of the numbers (not for NaN); -0 and 0 are one key.
fn key_of(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The number of a key.
pub(super) fn value_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// The keys of all values but NaN, rising: least significant digit first, three passes.
pub(super) fn sorted_keys(values: &[f64]) -> Vec<u32> {
    let mut keys: Vec<u32> =
        values.iter().filter(|value| !value.is_nan()).map(|&value| key_of(value as f32)).collect();
    if keys.len() < BUCKETS {
        keys.sort_unstable();
        return keys;
    }
    let mut other = vec![0_u32; keys.len()];
    for pass in 0..3 {
        let digit = |key: u32| (key >> (pass * DIGIT)) as usize & (BUCKETS - 1);
        let mut starts = vec![0_usize; BUCKETS];
        for &key in &keys {
            starts[digit(key)] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += std::mem::replace(start, sum);
        }
        for &key in &keys {
            let place = &mut starts[digit(key)];
            other[*place] = key;
            *place += 1;
        }
        std::mem::swap(&mut keys, &mut other);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_like_the_standard_library() {
        let mut state = 1_u64;
        let values: Vec<f64> = (0..10_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                f64::from(f32::from_bits((state >> 32) as u32))
            })
            .collect();
        let mut expected: Vec<f32> = values.iter().map(|&v| v as f32).filter(|v| !v.is_nan()).collect();
        expected.sort_by(f32::total_cmp);
        let sorted: Vec<f32> = sorted_keys(&values).into_iter().map(value_of).collect();
        assert_eq!(sorted, expected);
    }
}
