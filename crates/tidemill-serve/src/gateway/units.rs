//! Sticky keys of an endpoint's requests, each counted once, at the arm that it was drawn to.
//!
//! Requests of one key stay together, so counts of requests say nothing of how arms were drawn; counts of keys do. A key counts when it
//! is first answered, and not again: where it goes later is settled by then. A request without the key is drawn by its id and counts
//! by itself. What a rule leads was not drawn and does not count.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keys that are told apart: at eight bytes each and half of the table empty, 16 MB. From there on nothing more is counted, which a check
/// of shares can do without: with so many a tenth of a point shows.
const MOST: usize = 1_000_000;

/// Counters of keys by arm.
#[derive(Debug)]
pub struct Units {
    /// For whom they are counted.
    owner: u64,
    most: usize,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    seen: HashSet<u64>,
    /// By the revision of the declaration that drew them, which they may outlast.
    arms: HashMap<u64, HashMap<Arc<str>, u64>>,
}

impl Units {
    /// Counters that have counted nothing.
    pub(super) fn new(owner: u64) -> Self {
        Self { owner, most: MOST, counted: Mutex::default() }
    }

    /// For whom keys are counted.
    pub fn owner(&self) -> u64 {
        self.owner
    }

    /// A request with the key of this hash was answered by an arm that a declaration of the endpoint drew it to.
    pub(super) fn count(&self, unit: u64, revision: u64, arm: &Arc<str>) {
        let mut counted = self.lock();
        if counted.seen.len() >= self.most || !counted.seen.insert(unit) {
            return;
        }
        let arms = counted.arms.entry(revision).or_default();
        match arms.get_mut(arm) {
            Some(count) => *count += 1,
            None => {
                arms.insert(Arc::clone(arm), 1);
            }
        }
    }

    /// Keys that this revision of the endpoint drew to an arm that answered them first.
    pub fn counted(&self, revision: u64, arm: &str) -> u64 {
        self.lock().arms.get(&revision).and_then(|arms| arms.get(arm)).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_once_and_where_it_was_first() {
        let units = Units { most: 3, ..Units::new(7) };
        let (old, new): (Arc<str>, Arc<str>) = ("old".into(), "new".into());
        for (unit, arm) in [(1, &old), (1, &old), (2, &new), (2, &old)] {
            units.count(unit, 5, arm);
        }
        // What came by the table before is not of the one after.
        units.count(3, 6, &old);
        units.count(1, 6, &new);
        units.count(4, 6, &new);
        let counted = |revision| ["old", "new", "none"].map(|arm| units.counted(revision, arm));
        assert_eq!((counted(5), counted(6)), ([1, 1, 0], [1, 0, 0]), "the fourth is one too many");
        assert_eq!(units.owner(), 7);
    }
}
