//! What is kept for a few keys: the most recently used of those that come often.

use std::borrow::Borrow;

/// A key earns its place when it has come so often without one.
const EARNED: u32 = 32;
/// A place is taken from a key only where that has not come in so many calls: keys that take turns do not drive each other out.
const IDLE: u64 = 256;
/// Stands for the count of a key that can have no value.
const REFUSED: u32 = u32::MAX;
/// Keys without a place that are counted; the one that came longest ago is forgotten.
const COUNTED: usize = 64;

/// At most so many values by their keys. Costs a look at each key, of which there are few.
pub(super) struct Kept<K, V> {
    room: usize,
    /// Calls so far.
    now: u64,
    /// When each came last. The most recently used stands last.
    values: Vec<(K, V, u64)>,
    /// How often keys without a value came. The one that came last stands last.
    counts: Vec<(K, u32)>,
}

impl<K, V> Kept<K, V> {
    /// Nothing yet, with room for so many values.
    pub(super) fn new(room: usize) -> Self {
        Self { room, now: 0, values: Vec::new(), counts: Vec::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The value of a key, which is now the most recently used.
    pub(super) fn find<Q>(&mut self, key: &Q) -> Option<&V>
    where
        Q: Eq + ?Sized,
        K: Borrow<Q>,
    {
        self.now += 1;
        let at = self.values.iter().position(|(known, ..)| is(known, key))?;
        let mut entry = self.values.remove(at);
        entry.2 = self.now;
        self.values.push(entry);
        self.values.last().map(|(_, value, _)| value)
    }

    /// Counts a key that has no value; whether one is to be made for it.
    pub(super) fn missed<Q>(&mut self, key: &Q) -> bool
    where
        Q: Eq + ToOwned<Owned = K> + ?Sized,
        K: Borrow<Q>,
    {
        let before = self.counts.iter().position(|(known, _)| is(known, key));
        let (owned, count) = before.map_or_else(|| (key.to_owned(), 0), |at| self.counts.remove(at));
        if self.counts.len() >= COUNTED {
            self.counts.remove(0);
        }
        let count = if count == REFUSED { REFUSED } else { (count + 1).min(EARNED) };
        self.counts.push((owned, count));
        count == EARNED && self.has_place()
    }

    /// Keeps a value, in the place of the least recently used one where there is no other.
    pub(super) fn keep(&mut self, key: K, value: V)
    where
        K: Eq,
    {
        self.counts.retain(|(known, _)| *known != key);
        if self.values.len() >= self.room.max(1) {
            self.values.remove(0);
        }
        self.values.push((key, value, self.now));
    }

    /// There can be no value for a key; it is not to be tried again while it is counted.
    pub(super) fn refuse<Q>(&mut self, key: &Q)
    where
        Q: Eq + ?Sized,
        K: Borrow<Q>,
    {
        if let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| is(known, key)) {
            *count = REFUSED;
        }
    }

    /// Whether a value could be kept without taking the place of one that is in use.
    fn has_place(&self) -> bool {
        self.values.len() < self.room
            || self.values.first().is_some_and(|(.., last)| self.now.saturating_sub(*last) >= IDLE)
    }
}

fn is<K: Borrow<Q>, Q: Eq + ?Sized>(known: &K, key: &Q) -> bool {
    let known: &Q = known.borrow();
    known == key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for each key in turn, so many rounds, and gives how many values were made.
    fn ask(kept: &mut Kept<String, u32>, keys: &[&str], rounds: usize) -> usize {
        let mut made = 0;
        for key in keys.iter().cycle().take(keys.len() * rounds) {
            if kept.find(*key).is_none() && kept.missed(*key) {
                kept.keep((*key).to_owned(), 1);
                made += 1;
            }
        }
        made
    }

    #[test]
    fn a_key_earns_its_place_and_keeps_it_while_it_comes() {
        let mut kept = Kept::new(2);
        assert_eq!(ask(&mut kept, &["a", "b", "c"], 31), 0);
        assert_eq!(
            ask(&mut kept, &["a", "b", "c"], 1_000),
            2,
            "three keys for two places, and none is driven out"
        );
        assert!(kept.find("a").is_some() && kept.find("b").is_some() && kept.find("c").is_none());
        assert_eq!(ask(&mut kept, &["c"], 200), 0, "the others came a moment ago");
        assert_eq!(ask(&mut kept, &["c"], 100), 1);
        assert!(kept.find("a").is_none(), "the least recently used one goes");
        assert!(kept.find("b").is_some());
        assert_eq!(kept.len(), 2);
    }

    #[test]
    fn keys_without_a_place_are_counted_within_bounds() {
        let mut kept: Kept<String, u32> = Kept::new(1);
        for n in 0..10_000 {
            let key = n.to_string();
            assert!(kept.find(key.as_str()).is_none() && !kept.missed(key.as_str()));
        }
        assert_eq!(kept.counts.len(), COUNTED);
        for _ in 0..EARNED - 1 {
            assert!(!kept.missed("often"));
        }
        assert!(kept.missed("often"));
        kept.refuse("often");
        assert!((0..100).all(|_| !kept.missed("often")));
    }
}
