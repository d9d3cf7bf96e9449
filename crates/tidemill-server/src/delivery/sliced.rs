//! What the gateway counted of slices since they were last looked at.
//!
//! Looks are written down, so slices, of which there are many, are looked at every second only when a stage is young, and later in a 32nd
//! of its time, at most every ten seconds.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tidemill_core::{Digest, Timestamp};
use tidemill_deliver::judge::{Observation, Slice};
use tidemill_deliver::rollout::{Plan, State};
use tidemill_serve::gateway::Gateway;

use super::observe::{Counted, observed};
use super::traffic::arm_name;

/// Slices are looked at this often at least.
const SELDOM: Duration = Duration::from_secs(10);

/// Counters of slices as they were when they were last looked at, by rollout.
#[derive(Debug, Default)]
pub(super) struct Sliced(HashMap<u64, Last>);

#[derive(Debug, Default)]
struct Last {
    at: Timestamp,
    /// The table of traffic that was in effect.
    applied: u64,
    arms: HashMap<Digest, Arm>,
}

/// What was counted of an arm, by slice.
type Arm = BTreeMap<Slice, Counted>;

impl Sliced {
    /// Forgets rollouts that are over.
    pub(super) fn keep(&mut self, is_live: impl Fn(u64) -> bool) {
        self.0.retain(|rollout, _| is_live(*rollout));
    }

    /// What was seen of slices since the last time, by candidate; nothing where that was just now. `slow` is from how many microseconds on a request is
    /// slow, where that is known.
    pub(super) fn observations(
        &mut self,
        gateway: &Gateway,
        (rollout, plan, state): (u64, &Plan, &State),
        slow: Option<u64>,
        now: Timestamp,
    ) -> HashMap<Digest, Vec<Observation>> {
        let Some((limits, incumbent)) =
            plan.judge.as_ref().and_then(|judge| judge.slices.as_ref()).zip(plan.incumbent)
        else {
            return HashMap::new();
        };
        let living = state.living(plan);
        // After a crash the values that the judges know come first again.
        let known = |column: &str| {
            let mut known: Vec<String> = Vec::new();
            for judge in living.iter().filter_map(|release| state.judge_of(*release)) {
                let new = judge.slice_values(column).filter(|value| !known.iter().any(|one| one == value));
                let new: Vec<String> = new.map(str::to_owned).collect();
                known.extend(new);
            }
            known
        };
        let slices = gateway.slices(&plan.endpoint, &limits.by, limits.most as usize, known);
        let pause = SELDOM.min(now.since(state.since.unwrap_or(now)) / 32);
        let last = self.0.get(&rollout).filter(|last| last.applied == state.applied);
        if last.is_some_and(|last| now.since(last.at) < pause) {
            return HashMap::new();
        }
        let of = |release: Digest| -> Arm {
            let counted = slices.counted(&arm_name(release)).into_iter();
            counted.map(|((column, value), tally)| (Slice { column, value }, Counted::from(tally))).collect()
        };
        let arms: HashMap<Digest, Arm> =
            living.iter().chain([&incumbent]).map(|release| (*release, of(*release))).collect();
        // What was counted under another table of traffic, or before the first look, belongs to none.
        let seen = |last: &Last, release: Digest| {
            let none = Arm::new();
            let of = |arms: &HashMap<Digest, Arm>| {
                [release, incumbent].map(|one| arms.get(&one).unwrap_or(&none).clone())
            };
            since(&of(&arms), &of(&last.arms), slow)
        };
        let observations = last.map_or_else(HashMap::new, |last| {
            living.iter().map(|release| (*release, seen(last, *release))).collect()
        });
        self.0.insert(rollout, Last { at: now, applied: state.applied, arms });
        observations
    }
}

fn since(now: &[Arm; 2], before: &[Arm; 2], slow: Option<u64>) -> Vec<Observation> {
    let mut slices: Vec<&Slice> = now.iter().flat_map(BTreeMap::keys).collect();
    slices.sort_unstable();
    slices.dedup();
    let mut observations = Vec::new();
    for slice in slices {
        let [candidate, baseline] = [0, 1].map(|arm: usize| {
            let of = |arms: &[Arm; 2]| arms[arm].get(slice).cloned().unwrap_or_default();
            of(now).since(&of(before))
        });
        let seen = observed(Some(slice), [&candidate, &baseline], slow);
        observations.extend(seen.into_iter().filter(|seen| seen.candidate.n() + seen.baseline.n() > 0));
    }
    observations
}

#[cfg(test)]
mod tests {
    use tidemill_deliver::judge::{ERRORS, LATENCY, REFUSALS, Sample};

    use super::*;
    use crate::delivery::observe::counts;

    #[test]
    fn both_arms_are_compared_in_each_slice_since_the_last_time() {
        let slice = |value: &str| Slice { column: "origin".into(), value: Some(value.into()) };
        let arm = |entries: &[(&str, u64, u64)]| -> BTreeMap<Slice, Counted> {
            let counted = |answered: u64, failed: u64| Counted {
                answered,
                failed,
                refused: failed,
                latencies: vec![(100, answered), (u64::MAX, failed)],
                compared: None,
            };
            entries
                .iter()
                .map(|(value, answered, failed)| (slice(value), counted(*answered, *failed)))
                .collect()
        };
        let before = [arm(&[("LGA", 10, 1)]), arm(&[("JFK", 5, 0), ("LGA", 90, 2)])];
        let now = [arm(&[("LGA", 15, 4)]), arm(&[("JFK", 5, 0), ("LGA", 100, 2), ("EWR", 1, 0)])];
        let found = since(&now, &before, Some(100));
        let shown: Vec<(String, String, Sample, Sample)> = found
            .into_iter()
            .map(|one| (one.metric, one.slice.unwrap().value.unwrap(), one.candidate, one.baseline))
            .collect();
        let row = |metric: &str, value: &str, candidate, baseline| {
            (metric.to_owned(), value.to_owned(), candidate, baseline)
        };
        assert_eq!(
            shown,
            [
                row(ERRORS, "EWR", counts(0, 0), counts(1, 0)),
                row(REFUSALS, "EWR", counts(0, 0), counts(1, 0)),
                row(LATENCY, "EWR", counts(0, 0), counts(1, 0)),
                row(ERRORS, "LGA", counts(8, 3), counts(10, 0)),
                row(REFUSALS, "LGA", counts(11, 3), counts(10, 0)),
                row(LATENCY, "LGA", counts(8, 3), counts(10, 0)),
            ]
        );
    }
}
