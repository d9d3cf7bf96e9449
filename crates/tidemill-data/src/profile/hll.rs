//! A HyperLogLog sketch for the number of different values, with the estimator of Ertl, "New cardinality
//! estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284), which needs no bias table.

/// Bits of a hash that choose the register.
const BITS: u32 = 14;
pub(super) const REGISTERS: usize = 1 << BITS;
/// Values that the bits behind the register's index can take, and 1.
const LONGEST: usize = (64 - BITS) as usize + 1;
/// Relative standard error: 1.04 / √registers.
pub(super) const RELATIVE_ERROR: f64 = 0.0081;

/// Counts different hashes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hll {
    registers: Vec<u8>,
}

impl Default for Hll {
    fn default() -> Self {
        Self { registers: vec![0; REGISTERS] }
    }
}

impl Hll {
    pub(super) fn insert(&mut self, hash: u64) {
        let register = (hash >> (64 - BITS)) as usize;
        let rank = ((hash << BITS) | (1 << (BITS - 1))).leading_zeros() as u8 + 1;
        let kept = &mut self.registers[register];
        *kept = (*kept).max(rank);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.registers.iter_mut().zip(&other.registers) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// The registers, as they are stored.
    pub(super) fn registers(&self) -> &[u8] {
        &self.registers
    }

    /// From stored registers, if they can be such.
    pub(super) fn from_registers(registers: Vec<u8>) -> Option<Self> {
        let fits = registers.len() == REGISTERS
            && registers.iter().all(|&register| usize::from(register) <= LONGEST);
        fits.then_some(Self { registers })
    }

    pub(super) fn estimate(&self) -> u64 {
        let mut counts = [0_u64; LONGEST + 1];
        for &register in &self.registers {
            counts[usize::from(register).min(LONGEST)] += 1;
        }
        let m = REGISTERS as f64;
        let mut z = m * tau(1.0 - counts[LONGEST] as f64 / m);
        for &count in counts[1..LONGEST].iter().rev() {
            z = 0.5 * (z + count as f64);
        }
        z += m * sigma(counts[0] as f64 / m);
        (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }
}

/// Σ x^(2^k) 2^(k−1) over k ≥ 1, and x.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// (1 − x − Σ (1 − x^(2^−k))² 2^−k) / 3 over k ≥ 1.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::word;

    #[test]
    fn estimates_stay_within_four_standard_errors() {
        let mut sketch = Hll::default();
        let mut next = 0_u64;
        for n in [0, 1, 100, 10_000, 40_000, 80_000, 1_000_000, 5_000_000] {
            while next < n {
                sketch.insert(word(next, 3));
                sketch.insert(word(next, 3));
                next += 1;
            }
            let error = (sketch.estimate() as f64 - n as f64).abs() / (n as f64).max(1.0);
            assert!(error <= 4.0 * RELATIVE_ERROR, "{n}: {}", sketch.estimate());
        }
    }

    #[test]
    fn a_merge_is_the_union() {
        let (mut a, mut b, mut both) = (Hll::default(), Hll::default(), Hll::default());
        for i in 0..50_000 {
            a.insert(word(i, 1));
            b.insert(word(i + 30_000, 1));
            both.insert(word(i, 1));
            both.insert(word(i + 30_000, 1));
        }
        a.merge(&b);
        assert_eq!(a, both);
    }
}
