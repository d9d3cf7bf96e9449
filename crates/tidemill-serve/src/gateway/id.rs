//! Ids of requests that came without one: 16 random bytes as 32 hexadecimal digits.

use std::cell::Cell;

use tidemill_core::hex;

thread_local! {
    /// The state of the generator of this thread.
    static STATE: Cell<[u64; 2]> = Cell::new(seed());
}

/// A new id. Ids name requests, they are no secrets: a fast generator (xorshift128+, Vigna 2017, "Further
/// scramblings of Marsaglia's xorshift generators") seeded by the system is enough.
pub(super) fn fresh() -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&next().to_be_bytes());
    bytes[8..].copy_from_slice(&next().to_be_bytes());
    hex(&bytes)
}

/// A new name of a trace.
pub(super) fn trace() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&next().to_le_bytes());
    bytes[8..].copy_from_slice(&next().max(1).to_le_bytes());
    bytes
}

/// A new name of a span.
pub(super) fn span() -> [u8; 8] {
    next().max(1).to_le_bytes()
}

fn next() -> u64 {
    STATE.with(|state| {
        let [mut x, y] = state.get();
        let sum = x.wrapping_add(y);
        x ^= x << 23;
        state.set([y, x ^ y ^ (x >> 18) ^ (y >> 5)]);
        sum
    })
}

fn seed() -> [u64; 2] {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // Without the system's random numbers: where this thread's state lies, which differs between threads and
        // processes where address randomisation is on.
        let address = std::ptr::from_ref(&bytes) as u64;
        bytes[..8].copy_from_slice(&address.to_le_bytes());
    }
    let half = |from: usize| {
        let mut part = [0; 8];
        part.copy_from_slice(&bytes[from..from + 8]);
        u64::from_le_bytes(part)
    };
    // The state must not be zero.
    [half(0) | 1, half(8)]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_different_on_all_threads() {
        let make = || (0..20_000).map(|_| fresh()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(make)).collect();
        let ids: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 80_000);
    }
}
