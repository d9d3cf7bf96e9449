//! Whose turn it is to be looked at, where more rollouts have something new than a round looks at.
//!
//! Each look is written down, because a judge's verdict must be computable again, and that costs about as much for one request as for a
//! thousand. Rollouts of which few requests came since the last look can wait: nothing is decided by one request. Whatever is about to
//! change the traffic of a rollout, or its judge, looks first, so no request is counted under shares that it was not routed by.

use std::collections::HashMap;

/// Looks of one round.
const MOST: usize = 25;

/// Since which round rollouts have something that was not looked at.
#[derive(Debug, Default)]
pub(super) struct Turns {
    round: u64,
    since: HashMap<u64, u64>,
}

impl Turns {
    /// Those of the rollouts that are looked at in this round, of all that have news: so many requests since their last look. Requests
    /// count more the longer they wait, so a busy rollout is looked at each round and a quiet one after a while.
    pub(super) fn take(&mut self, news: &[(u64, u64)]) -> Vec<u64> {
        self.round += 1;
        let (round, before) = (self.round, std::mem::take(&mut self.since));
        let mut weighed: Vec<(u64, u64)> = Vec::with_capacity(news.len());
        for (id, requests) in news {
            let since = before.get(id).copied().unwrap_or(round);
            self.since.insert(*id, since);
            weighed.push((requests.saturating_mul(round - since + 1), *id));
        }
        weighed.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        weighed.truncate(MOST);
        let mut taken: Vec<u64> = weighed.into_iter().map(|(_, id)| id).collect();
        for id in &taken {
            self.since.remove(id);
        }
        taken.sort_unstable();
        taken
    }

    /// Whether a rollout has something that was not looked at.
    pub(super) fn waits(&self, id: u64) -> bool {
        self.since.contains_key(&id)
    }

    /// A rollout was looked at without waiting for its turn.
    pub(super) fn done(&mut self, id: u64) {
        self.since.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rollouts_are_all_looked_at() {
        let news: Vec<(u64, u64)> = (0..MOST as u64).map(|id| (id, 1)).collect();
        assert_eq!(Turns::default().take(&news).len(), MOST);
    }

    #[test]
    fn the_busy_one_is_looked_at_each_round_and_nobody_waits_for_ever() {
        const QUIET: u64 = 1_000;
        let mut turns = Turns::default();
        let mut unseen: HashMap<u64, u64> = HashMap::new();
        let mut longest: HashMap<u64, u64> = HashMap::new();
        for round in 0..400_u64 {
            *unseen.entry(0).or_default() += 500;
            // A hundred of the thousand quiet ones have a request each round.
            (0..100).for_each(|at| *unseen.entry(1 + (100 * round + at) % QUIET).or_default() += 1);
            let mut news: Vec<(u64, u64)> = unseen.iter().map(|(id, requests)| (*id, *requests)).collect();
            news.sort_unstable();
            let taken = turns.take(&news);
            assert!(taken.len() <= MOST && taken.contains(&0), "round {round}: {taken:?}");
            for id in &taken {
                unseen.remove(id);
                longest.remove(id);
            }
            for id in unseen.keys() {
                *longest.entry(*id).or_default() += 1;
            }
            assert!(longest.values().all(|rounds| *rounds < 60), "round {round}: {longest:?}");
        }
    }
}
