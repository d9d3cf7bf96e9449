//! What a shadow said to the same requests as the arm that answered, counted row by row: how far two releases agree is known before any
//! outcome is. What is held does not grow with requests.

use std::sync::atomic::{AtomicU64, Ordering};

use super::decision::Said;

/// Differences of scores are told apart by this part of one.
const STEPS: usize = 200;
/// Counters of differences: from none to one and more.
pub const DISTANCES: usize = STEPS + 1;

/// Counters of a shadow.
#[derive(Debug)]
pub struct Comparison {
    same: AtomicU64,
    different: AtomicU64,
    apart: [AtomicU64; DISTANCES],
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows with the same decision.
    pub same: u64,
    /// Rows with another one.
    pub different: u64,
    /// Rows by how far their scores were apart, in steps of 0.005, the last one for a difference of one and more; [`DISTANCES`] of them.
    pub apart: Vec<u64>,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            same: AtomicU64::new(0),
            different: AtomicU64::new(0),
            apart: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Comparison {
    /// Counts the rows of a request to which both said something.
    pub(super) fn count(&self, shadow: &Said, answered: &Said) {
        if shadow.scores.len() != answered.scores.len() {
            return;
        }
        for (own, other) in shadow.scores.iter().zip(&answered.scores) {
            // What is no number is as far away as can be.
            let apart = (own - other).abs().min(1.0) * STEPS as f64;
            let place = if apart.is_nan() { STEPS } else { apart.round() as usize };
            if let Some(count) = self.apart.get(place) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let (Some(own), Some(other)) = (shadow.decisions(), answered.decisions()) {
            let same = own.iter().zip(&other).filter(|(own, other)| own == other).count();
            self.same.fetch_add(same as u64, Ordering::Relaxed);
            self.different.fetch_add((own.len() - same) as u64, Ordering::Relaxed);
        }
    }

    /// Adds what another gateway counted.
    pub(super) fn add(&self, more: &Compared) {
        self.same.fetch_add(more.same, Ordering::Relaxed);
        self.different.fetch_add(more.different, Ordering::Relaxed);
        for (count, more) in self.apart.iter().zip(&more.apart) {
            count.fetch_add(*more, Ordering::Relaxed);
        }
    }

    pub(super) fn counted(&self) -> Compared {
        Compared {
            same: self.same.load(Ordering::Relaxed),
            different: self.different.load(Ordering::Relaxed),
            apart: self.apart.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
        }
    }
}

impl Compared {
    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let apart = self
            .apart
            .iter()
            .enumerate()
            .map(|(at, count)| count.saturating_sub(before.apart.get(at).copied().unwrap_or_default()));
        Self {
            same: self.same.saturating_sub(before.same),
            different: self.different.saturating_sub(before.different),
            apart: apart.collect(),
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.same + self.different + self.apart.iter().sum::<u64>() == 0
    }

    /// Differences of scores that were seen, each with how often.
    pub fn distances(&self) -> Vec<(f64, u64)> {
        let all = self.apart.iter().enumerate().filter(|(_, count)| **count > 0);
        all.map(|(place, count)| (place as f64 / STEPS as f64, *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_compared_by_decision_and_by_score() {
        let said = |scores: &[f64], threshold| Said { scores: scores.to_vec(), threshold };
        let comparison = Comparison::default();
        // Each decides by its own threshold.
        comparison.count(&said(&[0.3, 0.3, 0.9], Some(0.2)), &said(&[0.3, 0.6, 0.9], Some(0.5)));
        comparison.count(&said(&[f64::NAN], None), &said(&[0.5], Some(0.5)));
        comparison.count(&said(&[0.1, 0.2], Some(0.5)), &said(&[0.1], Some(0.5)));
        let counted = comparison.counted();
        assert_eq!((counted.same, counted.different), (2, 1));
        assert_eq!(counted.distances(), [(0.0, 2), (0.3, 1), (1.0, 1)]);
        assert!(counted.since(&counted).is_empty() && !counted.since(&Compared::default()).is_empty());
        comparison.add(&counted);
        assert_eq!(comparison.counted().since(&counted), counted);
    }
}
