//! Small documents of the store that pages read again and again: what a digest names never changes, so it is read once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidemill_core::{Digest, Evidence};

use super::evidence::Planned;

/// Documents of a kind that are kept; with one more all are forgotten.
const KEPT: usize = 1_000;
/// Bytes up to which one is kept. A plan of fifty steps has about 30 KB.
const LARGEST: usize = 64 << 10;

/// What was read of the store.
#[derive(Default)]
pub(crate) struct Documents {
    pub(super) plans: Kept<Planned>,
    pub(super) tests: Kept<Evidence>,
}

/// Documents of one kind.
pub(super) struct Kept<T>(Mutex<HashMap<Digest, Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T> Kept<T> {
    pub(super) fn find(&self, digest: Digest) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned()
    }

    /// Keeps a document that was read from so many bytes, unless it is a large one.
    pub(super) fn put(&self, digest: Digest, bytes: usize, document: T) -> Arc<T> {
        let document = Arc::new(document);
        if bytes <= LARGEST {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(digest, Arc::clone(&document));
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_documents_are_kept_up_to_a_number() {
        let (kept, digest) = (Kept::default(), |n: usize| Digest::of(&n.to_le_bytes()));
        assert_eq!(*kept.put(digest(0), LARGEST + 1, 0), 0);
        assert!(kept.find(digest(0)).is_none());
        for n in 0..KEPT {
            kept.put(digest(n), 1, n);
        }
        assert_eq!(kept.find(digest(7)).as_deref(), Some(&7));
        kept.put(digest(KEPT), 1, KEPT);
        assert!(kept.find(digest(7)).is_none());
        assert_eq!(kept.find(digest(KEPT)).as_deref(), Some(&KEPT));
    }
}
