//! The copies of a model, each for one call at a time, and who takes which.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Copies of a model.
#[derive(Debug)]
pub(super) struct Copies<T> {
    copies: Vec<Mutex<T>>,
    next: AtomicUsize,
}

impl<T> Copies<T> {
    pub(super) fn new(copies: impl IntoIterator<Item = T>) -> Self {
        Self { copies: copies.into_iter().map(Mutex::new).collect(), next: AtomicUsize::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.copies.len()
    }

    /// A copy that is free, or the next one in turn as soon as it is. Nobody waits for the last of several: a shadow may hang in it.
    pub(super) fn of_caller(&self) -> Option<MutexGuard<'_, T>> {
        if let Some(free) = self.copies.iter().find_map(free) {
            return Some(free);
        }
        let awaited = self.copies.len().saturating_sub(1).max(1);
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % awaited;
        self.copies.get(turn).map(|copy| copy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last copy, the only one that shadows take.
    pub(super) fn of_shadows(&self) -> Option<MutexGuard<'_, T>> {
        self.copies.last().map(|copy| copy.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn free<T>(copy: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match copy.try_lock() {
        Ok(free) => Some(free),
        // A call panicked; the model has not changed by it.
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn callers_take_what_is_free_and_shadows_the_last() {
        let copies = Copies::new([1, 2, 3]);
        let first = copies.of_caller().unwrap();
        let second = copies.of_caller().unwrap();
        let third = copies.of_caller().unwrap();
        assert_eq!((*first, *second, *third), (1, 2, 3));
        drop((first, third));
        assert_eq!(copies.of_caller().as_deref(), Some(&1));
        assert_eq!(copies.of_shadows().as_deref(), Some(&3));
        assert_eq!(Copies::new([7]).of_shadows().as_deref(), Some(&7));
    }

    #[test]
    fn no_caller_waits_for_a_copy_in_which_a_shadow_hangs() {
        let copies = Arc::new(Copies::new([1, 2]));
        let hangs = copies.of_shadows().unwrap();
        for _ in 0..4 {
            let held = copies.of_caller().unwrap();
            assert_eq!(*held, 1);
            let waits = {
                let copies = Arc::clone(&copies);
                std::thread::spawn(move || copies.of_caller().map(|copy| *copy))
            };
            // Long enough for it to find none free; where it is not, the copy is free when it comes.
            std::thread::sleep(Duration::from_millis(20));
            drop(held);
            assert_eq!(waits.join().unwrap(), Some(1));
        }
        drop(hangs);
    }

    #[test]
    fn a_copy_in_which_a_call_panicked_is_used_again() {
        let copies = Arc::new(Copies::new([1]));
        let panics = {
            let copies = Arc::clone(&copies);
            std::thread::spawn(move || {
                let _held = copies.of_caller();
                panic!("on purpose");
            })
        };
        assert!(panics.join().is_err());
        assert_eq!(copies.of_caller().as_deref(), Some(&1));
        assert_eq!(copies.of_shadows().as_deref(), Some(&1));
    }
}
