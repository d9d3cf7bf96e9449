//! Inputs that are almost right: a generator that is the same everywhere, and the damage that any bytes can take.

/// SplitMix64 (Steele, Lea and Flood 2014): enough to scatter mutations, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    /// A place in `input` and a length of at most 15 behind it.
    pub fn place(&mut self, input: &[u8]) -> (usize, usize) {
        let at = self.below(input.len() + 1);
        (at, self.below(16.min(input.len() - at) + 1))
    }

    /// Does what needs no knowledge of a format at a place: 0 turns a bit, 1 sets a byte, 2 removes, 3 cuts off,
    /// 4 repeats. `false` where that cannot be done there, and for other numbers.
    pub fn damage(&mut self, input: &mut Vec<u8>, (at, length): (usize, usize), way: usize) -> bool {
        match way {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256) as u8,
            2 => drop(input.drain(at..at + length)),
            3 => input.truncate(at),
            4 => {
                let copied = input[at..at + length].to_vec();
                input.splice(at..at, copied);
            }
            _ => return false,
        }
        true
    }
}
