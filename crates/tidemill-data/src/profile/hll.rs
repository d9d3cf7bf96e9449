//! A HyperLogLog sketch for the number of different values, with the estimator of Ertl, "New cardinality
//! estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284), which needs no bias table.

use std::borrow::Cow;

/// Bits of a hash that choose the register.
const BITS: u32 = 14;
pub(super) const REGISTERS: usize = 1 << BITS;
/// Values that the bits behind the register's index can take, and 1.
const LONGEST: usize = (64 - BITS) as usize + 1;
/// Relative standard error: 1.04 / √registers.
pub(super) const RELATIVE_ERROR: f64 = 0.0081;

/// Counts different hashes.
#[derive(Clone, Debug)]
pub(super) struct Hll {
    registers: Registers,
}

#[derive(Clone, Debug)]
enum Registers {
    All(Vec<u8>),
    /// Those that are not 0, as they were read: most sketches that are read are only added to another one.
    Few(Few),
}

/// The registers that are not 0: which ones, a bit for each, and their values.
#[derive(Clone, Debug)]
pub(super) struct Few {
    pub(super) used: Vec<u64>,
    pub(super) values: Vec<u8>,
}

impl Few {
    /// Words of the bits.
    pub(super) const WORDS: usize = REGISTERS / 64;

    /// Each register's number and value.
    fn each(&self, mut take: impl FnMut(usize, u8)) {
        let mut values = self.values.iter();
        for (word, &bits) in self.used.iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                if let Some(value) = values.next() {
                    take(word * 64 + bits.trailing_zeros() as usize, *value);
                }
                bits &= bits - 1;
            }
        }
    }

    fn spread(&self) -> Vec<u8> {
        let mut all = vec![0; REGISTERS];
        self.each(|place, value| all[place] = value);
        all
    }
}

impl Default for Hll {
    fn default() -> Self {
        Self { registers: Registers::All(vec![0; REGISTERS]) }
    }
}

impl PartialEq for Hll {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl Hll {
    pub(super) fn insert(&mut self, hash: u64) {
        let register = (hash >> (64 - BITS)) as usize;
        let rank = ((hash << BITS) | (1 << (BITS - 1))).leading_zeros() as u8 + 1;
        let kept = &mut self.all_mut()[register];
        *kept = (*kept).max(rank);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let mine = self.all_mut();
        match &other.registers {
            Registers::All(theirs) => {
                mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
            }
            Registers::Few(theirs) => theirs.each(|place, theirs| mine[place] = mine[place].max(theirs)),
        }
    }

    /// All registers.
    pub(super) fn all(&self) -> Cow<'_, [u8]> {
        match &self.registers {
            Registers::All(all) => Cow::Borrowed(all),
            Registers::Few(few) => Cow::Owned(few.spread()),
        }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        if let Registers::Few(few) = &self.registers {
            self.registers = Registers::All(few.spread());
        }
        match &mut self.registers {
            Registers::All(all) => all,
            // Was just turned into all.
            Registers::Few(_) => &mut [],
        }
    }

    /// From stored registers, if they can be such.
    pub(super) fn from_all(all: Vec<u8>) -> Option<Self> {
        let fits = all.len() == REGISTERS && all.iter().all(|&register| usize::from(register) <= LONGEST);
        fits.then_some(Self { registers: Registers::All(all) })
    }

    /// From those of the registers that are not 0, if they can be such.
    pub(super) fn from_few(few: Few) -> Option<Self> {
        let count: u32 = few.used.iter().map(|bits| bits.count_ones()).sum();
        let fits = few.used.len() == Few::WORDS
            && few.values.len() == count as usize
            && few.values.iter().all(|&value| (1..=LONGEST).contains(&usize::from(value)));
        fits.then_some(Self { registers: Registers::Few(few) })
    }

    /// Those that are not 0.
    pub(super) fn few(&self) -> Few {
        let all = self.all();
        let words = all.chunks(64).map(|word| {
            word.iter().enumerate().fold(0, |bits, (i, value)| bits | u64::from(*value > 0) << i)
        });
        Few { used: words.collect(), values: all.iter().copied().filter(|value| *value > 0).collect() }
    }

    pub(super) fn estimate(&self) -> u64 {
        let mut counts = [0_u64; LONGEST + 1];
        for &register in self.all().iter() {
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

    #[test]
    fn few_registers_are_as_good_as_all() {
        let mut all = Hll::default();
        (0..3000).for_each(|i| all.insert(word(i, 1)));
        let few = Hll::from_few(all.few()).unwrap();
        assert_eq!((&few, few.estimate()), (&all, all.estimate()));
        let mut more = few.clone();
        more.insert(word(5000, 1));
        let mut same = Hll::default();
        same.insert(word(5000, 1));
        same.merge(&few);
        assert_eq!(more, same);
        let wrong = |change: fn(&mut Few)| {
            let mut few = all.few();
            change(&mut few);
            assert_eq!(Hll::from_few(few), None);
        };
        wrong(|few| few.values.truncate(few.values.len() - 1));
        wrong(|few| few.values[0] = 0);
        wrong(|few| few.values[0] = 60);
        wrong(|few| few.used.truncate(few.used.len() - 1));
    }
}
