//! What the gateway counted of candidate and incumbent since the last look.
//!
//! Counters live in memory: what was counted between the last look and a crash is not seen by the judge, and nothing is seen twice.

use std::collections::HashMap;
use std::sync::Arc;

use tidemill_core::{Digest, Timestamp};
use tidemill_deliver::judge::{ERRORS, LATENCY, Look, Observation, Sample, Slice, Traffic as Under};
use tidemill_deliver::rollout::{Input, LookAt, Plan, State};
use tidemill_serve::gateway::Gateway;
use tidemill_serve::gateway::metrics::{ArmLabels, ArmMeter, LATENCY as BOUNDS};
use tidemill_serve::gateway::slices::Tally;

use super::sliced::Sliced;
use super::traffic::{Names, arm_name};

/// Requests of the incumbent from which on it is known what slow is.
const ENOUGH: u64 = 200;

/// Counters of an arm at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) latencies: Vec<(u64, u64)>,
}

impl From<Tally> for Counted {
    fn from(tally: Tally) -> Self {
        let bounds = BOUNDS.into_iter().chain([u64::MAX]);
        let latencies = bounds.zip(tally.latencies).collect();
        Self { answered: tally.answered, failed: tally.failed, latencies }
    }
}

impl Counted {
    fn of(meter: &ArmMeter) -> Self {
        Self { answered: meter.answers(), failed: meter.failures(), latencies: meter.latencies() }
    }

    /// Both together.
    fn with(mut self, other: Self) -> Self {
        self.answered += other.answered;
        self.failed += other.failed;
        for ((_, count), (_, more)) in self.latencies.iter_mut().zip(other.latencies) {
            *count += more;
        }
        self
    }

    /// What was counted since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let latencies = self.latencies.iter().enumerate().map(|(at, (bound, count))| {
            let earlier = before.latencies.get(at).map_or(0, |(_, count)| *count);
            (*bound, count.saturating_sub(earlier))
        });
        Self {
            answered: self.answered.saturating_sub(before.answered),
            failed: self.failed.saturating_sub(before.failed),
            latencies: latencies.collect(),
        }
    }

    fn requests(&self) -> u64 {
        self.answered + self.failed
    }

    fn timed(&self) -> u64 {
        self.latencies.iter().map(|(_, count)| count).sum()
    }

    fn slower_than(&self, bound: u64) -> u64 {
        self.latencies.iter().filter(|(upper, _)| *upper > bound).map(|(_, count)| count).sum()
    }

    fn slow(&self) -> Option<u64> {
        (self.timed() >= ENOUGH).then(|| slow(&self.latencies).map(|(bound, _)| bound))?
    }
}

/// The least bound that nineteen of twenty requests stay below, and how many do not; of bounds with how many stay below each and not below
/// the one before.
pub(super) fn slow(latencies: &[(u64, u64)]) -> Option<(u64, u64)> {
    let mut slower: u64 = latencies.iter().map(|(_, count)| count).sum();
    let timed = slower;
    latencies.iter().find_map(|(bound, count)| {
        slower -= count;
        (20 * slower <= timed).then_some((*bound, slower))
    })
}

pub(super) fn counts(n: u64, events: u64) -> Sample {
    Sample::Counts { n, events: events.min(n) }
}

/// What was counted of candidate and baseline, of all requests or a slice. `slow` is from how many microseconds on a request is slow,
/// where that is known.
pub(super) fn observed(slice: Option<&Slice>, arms: [&Counted; 2], slow: Option<u64>) -> Vec<Observation> {
    let of = |metric: &str, [candidate, baseline]: [Sample; 2]| Observation {
        metric: metric.to_owned(),
        slice: slice.cloned(),
        candidate,
        baseline,
    };
    let errors = of(ERRORS, arms.map(|arm| counts(arm.requests(), arm.failed)));
    let latency = slow.map(|slow| of(LATENCY, arms.map(|arm| counts(arm.timed(), arm.slower_than(slow)))));
    std::iter::once(errors).chain(latency).collect()
}

/// What was counted at the last look, per rollout and release.
#[derive(Debug, Default)]
pub(super) struct Observer {
    last: HashMap<(u64, Digest), Counted>,
    /// From how many microseconds on a request is slow, per rollout; settled by requests before those that are judged by it.
    slow: HashMap<u64, u64>,
    sliced: Sliced,
}

impl Observer {
    /// Forgets rollouts that are over.
    pub(super) fn keep(&mut self, is_live: impl Fn(u64) -> bool) {
        self.last.retain(|(rollout, _), _| is_live(*rollout));
        self.slow.retain(|rollout, _| is_live(*rollout));
        self.sliced.keep(is_live);
    }

    /// What was seen of the candidates that are in since the last look; none where neither they nor the incumbent had a request.
    pub(super) fn look(
        &mut self,
        gateway: &Gateway,
        rollout: u64,
        plan: &Plan,
        state: &State,
        names: &Names,
        now: Timestamp,
    ) -> Option<Input> {
        let incumbent = plan.incumbent?;
        let mut candidates = Vec::new();
        for release in state.living(plan) {
            candidates.push((release, self.counted(gateway, rollout, plan, release, names)?));
        }
        let baseline = self.counted(gateway, rollout, plan, incumbent, names)?;
        let slow = self.slow.get(&rollout).copied();
        if slow.is_none()
            && let Some(slow) = self.last.get(&(rollout, incumbent)).and_then(Counted::slow)
        {
            self.slow.insert(rollout, slow);
        }
        if baseline.requests() + candidates.iter().map(|(_, one)| one.requests()).sum::<u64>() == 0 {
            return None;
        }
        let mut sliced = self.sliced.observations(gateway, (rollout, plan, state), slow, now);
        // Requests of one key stay together, so only without keys are they assigned one by one.
        let is_keyed = gateway.endpoint(&plan.endpoint).is_some_and(|found| {
            found.spec.as_ref().is_some_and(|spec| spec.sticky.is_some() || !spec.rules.is_empty())
        });
        let stratum = u32::try_from(state.applied).unwrap_or(u32::MAX);
        let looks = candidates.into_iter().map(|(release, candidate)| {
            let mut observations = observed(None, [&candidate, &baseline], slow);
            observations.extend(sliced.remove(&release).unwrap_or_default());
            let given = state.traffic.share(release);
            let both = given + state.traffic.share(incumbent);
            let share = (given > 0 && both > given).then(|| f64::from(given) / f64::from(both));
            let requests = candidate.requests();
            let assigned = (share.is_some() && !is_keyed).then(|| (requests, baseline.requests()));
            let look = Look { traffic: Under { stratum, share }, assigned, observations };
            LookAt { candidate: release, requests, look }
        });
        let (seq, mut looks): (u64, Vec<LookAt>) = (state.last_look() + 1, looks.collect());
        if plan.contest.is_some() {
            return (!looks.is_empty()).then_some(Input::Looks { seq, looks });
        }
        let LookAt { requests, look, .. } = looks.pop()?;
        Some(Input::Look { seq, requests, look })
    }

    /// Requests that were counted since the last look; nothing where there was none yet.
    pub(super) fn unseen(
        &self,
        gateway: &Gateway,
        rollout: u64,
        plan: &Plan,
        state: &State,
        names: &Names,
    ) -> Option<u64> {
        let mut requests = 0;
        for release in state.living(plan).into_iter().chain(plan.incumbent) {
            let before = self.last.get(&(rollout, release))?;
            requests += now(gateway, plan, release, names)?.since(before).requests();
        }
        Some(requests)
    }

    fn counted(
        &mut self,
        gateway: &Gateway,
        rollout: u64,
        plan: &Plan,
        release: Digest,
        names: &Names,
    ) -> Option<Counted> {
        let now = now(gateway, plan, release, names)?;
        // What was counted before this rollout is not about it.
        let before = self.last.insert((rollout, release), now.clone()).unwrap_or_else(|| now.clone());
        Some(now.since(&before))
    }
}

/// Counters of a release as they stand.
fn now(gateway: &Gateway, plan: &Plan, release: Digest, names: &Names) -> Option<Counted> {
    let (model, version) = names.get(&release)?;
    let label = |text: &str| -> Arc<str> { text.into() };
    let labels = |version: &str| ArmLabels {
        endpoint: label(&plan.endpoint),
        arm: label(&arm_name(release)),
        model: label(model),
        version: label(version),
    };
    let mut now = Counted::of(&gateway.metrics().arm(&labels(&version.to_string())));
    // Requests for which its model could not be loaded are counted under no version, and are its failures all the same.
    if let Some(unloaded) = gateway.metrics().known(&labels("")) {
        now = now.with(Counted::of(&unloaded));
    }
    Some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_what_one_of_twenty_is() {
        let counted =
            |latencies: &[(u64, u64)]| Counted { latencies: latencies.to_vec(), ..Counted::default() };
        assert_eq!(counted(&[(100, 150), (200, 40), (u64::MAX, 10)]).slow(), Some(200));
        assert_eq!(counted(&[(100, 195), (200, 5), (u64::MAX, 0)]).slow(), Some(100));
        assert_eq!(counted(&[(100, 100), (200, 5), (u64::MAX, 0)]).slow(), None, "too few");
    }

    #[test]
    fn what_failed_before_a_model_was_loaded_is_its_failure() {
        let loaded = Counted { answered: 10, failed: 1, latencies: vec![(100, 10), (u64::MAX, 1)] };
        let unloaded = Counted { answered: 0, failed: 4, latencies: vec![(100, 0), (u64::MAX, 4)] };
        let all = loaded.clone().with(unloaded);
        assert_eq!((all.requests(), all.failed, all.timed()), (15, 5, 15));
        assert_eq!(all.since(&loaded).requests(), 4);
    }

    #[test]
    fn counters_that_began_anew_are_not_negative() {
        let before = Counted { answered: 100, failed: 3, latencies: vec![(100, 103)] };
        let after = Counted { answered: 10, failed: 0, latencies: vec![(100, 10)] };
        assert_eq!(after.since(&before).requests(), 0);
    }
}
