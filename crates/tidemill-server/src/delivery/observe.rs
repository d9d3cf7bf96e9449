//! What the gateway counted of candidate and incumbent since the last look.
//!
//! Counters live in memory: what was counted between the last look and a crash is not seen by the judge, and nothing is seen twice. They
//! belong to one declaration of the endpoint, that is, to one table of shares: a request counts under the shares that it was drawn by,
//! however late it ends. What came by a declaration after its last look is not seen either.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidemill_core::{Digest, Timestamp};
use tidemill_deliver::judge::{
    AGREEMENT, ERRORS, LATENCY, Look, Observation, REFUSALS, SCORES_APART, Sample, Slice, Traffic as Under,
};
use tidemill_deliver::rollout::{Input, LookAt, Plan, State, decided};
use tidemill_serve::gateway::Gateway;
use tidemill_serve::gateway::compared::Compared;
use tidemill_serve::gateway::endpoint::Endpoint;
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
    /// Wrong by what the model takes, or more than it has room for.
    pub(super) refused: u64,
    pub(super) latencies: Vec<(u64, u64)>,
    /// Of a shadow, how far it agreed with the arm that answered.
    pub(super) compared: Option<Compared>,
}

impl From<Tally> for Counted {
    fn from(tally: Tally) -> Self {
        let bounds = BOUNDS.into_iter().chain([u64::MAX]);
        let latencies = bounds.zip(tally.latencies).collect();
        let Tally { answered, failed, refused, .. } = tally;
        Self { answered, failed, refused, latencies, compared: None }
    }
}

impl Counted {
    fn of(meter: &ArmMeter) -> Self {
        let (answered, failed, refused) = (meter.answers(), meter.failures(), meter.refusals());
        Self { answered, failed, refused, latencies: meter.latencies(), compared: meter.compared() }
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
            refused: self.refused.saturating_sub(before.refused),
            latencies: latencies.collect(),
            compared: match (&self.compared, &before.compared) {
                (Some(now), Some(before)) => Some(now.since(before)),
                (now, _) => now.clone(),
            },
        }
    }

    /// Requests that say something of the model.
    fn requests(&self) -> u64 {
        self.answered + self.failed
    }

    /// Requests that were routed to it, whatever became of them.
    fn came(&self) -> u64 {
        self.requests() + self.refused
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
    // What callers get wrong they get wrong with either arm; what the candidate alone refuses is its fault.
    let refusals = of(REFUSALS, arms.map(|arm| counts(arm.came(), arm.refused)));
    [errors, refusals].into_iter().chain(latency).collect()
}

/// How far a shadow agreed with the arm that answered. A judge of the differences of scores is given all of them, else their sum is enough.
fn agreed(candidate: &Counted, is_judged: bool) -> Vec<Observation> {
    let Some(compared) = candidate.compared.as_ref().filter(|compared| !compared.is_empty()) else {
        return Vec::new();
    };
    let of = |metric: &str, candidate: Sample| Observation {
        metric: metric.to_owned(),
        slice: None,
        candidate,
        baseline: Sample::Values(Vec::new()),
    };
    let distances = compared.distances();
    let apart = if is_judged {
        Sample::Values(distances)
    } else {
        let sum = |power: i32| -> f64 {
            distances.iter().map(|(apart, count)| apart.powi(power) * *count as f64).sum()
        };
        let n = distances.iter().map(|(_, count)| count).sum();
        Sample::Moments { n, sum: sum(1), sumsq: sum(2) }
    };
    let all = [of(AGREEMENT, decided(compared.same, compared.different)), of(SCORES_APART, apart)];
    all.into_iter().filter(|one| one.candidate.n() > 0).collect()
}

/// What was counted at the last look, per rollout and release.
#[derive(Debug, Default)]
pub(super) struct Observer {
    /// With the revision of the endpoint.
    last: HashMap<(u64, Digest), (u64, Counted)>,
    /// What the incumbent's counters had at the last look since the server began, of rollouts for which it is not known what slow is.
    metered: HashMap<u64, Counted>,
    /// From how many microseconds on a request is slow, per rollout; settled by requests before those that are judged by it.
    slow: HashMap<u64, u64>,
    sliced: Sliced,
    /// Keys that were counted at the last look, by release and with the endpoint's revision, of rollouts whose requests are kept together by a key.
    keyed: HashMap<u64, HashMap<Digest, (u64, u64)>>,
    /// Rollouts that went on after a restart: which keys counted before is not known, so none counts any more.
    resumed: HashSet<u64>,
}

impl Observer {
    /// Forgets rollouts that are over.
    pub(super) fn keep(&mut self, is_live: impl Fn(u64) -> bool) {
        self.last.retain(|(rollout, _), _| is_live(*rollout));
        self.slow.retain(|rollout, _| is_live(*rollout));
        self.metered.retain(|rollout, _| is_live(*rollout));
        self.keyed.retain(|rollout, _| is_live(*rollout));
        self.resumed.retain(|rollout| is_live(*rollout));
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
        if !self.last.contains_key(&(rollout, incumbent)) && state.last_look() > 0 {
            self.resumed.insert(rollout);
        }
        let endpoint = gateway.endpoint(&plan.endpoint)?;
        let earlier = self.last.get(&(rollout, incumbent)).cloned();
        let mut candidates = Vec::new();
        for release in state.living(plan) {
            candidates.push((release, self.counted(&endpoint, rollout, release)));
        }
        let baseline = self.counted(&endpoint, rollout, incumbent);
        let slow = self.slow.get(&rollout).copied();
        if slow.is_none() {
            let before = self.metered.insert(rollout, metered(gateway, plan, incumbent, names)?);
            // Where other gateways have the requests, this one's own counters do not know.
            let of_all = || earlier.and_then(|(_, counted)| counted.slow());
            if let Some(slow) = before.and_then(|counted| counted.slow()).or_else(of_all) {
                self.slow.insert(rollout, slow);
            }
        }
        if baseline.came() + candidates.iter().map(|(_, one)| one.came()).sum::<u64>() == 0 {
            return None;
        }
        let mut sliced = self.sliced.observations(gateway, (rollout, plan, state), slow, now);
        // The shares of the table that is in effect, which is the wanted one or still the one before.
        let declared = endpoint.spec.as_ref()?;
        let shares = declared.shares();
        let share_of = |release: Digest| shares.get(arm_name(release).as_str()).copied().unwrap_or_default();
        let is_wanted = |release: &Digest| share_of(*release) == state.traffic.share(*release);
        let all_wanted = state.living(plan).iter().chain([&incumbent]).all(is_wanted);
        let revision = if all_wanted { state.traffic.revision } else { state.applied };
        let stratum = u32::try_from(revision).unwrap_or(u32::MAX);
        // Requests of one key stay together, so with keys it is these that are assigned one by one.
        let is_keyed = declared.sticky.is_some();
        let is_split =
            state.living(plan).iter().any(|release| share_of(*release) > 0) && share_of(incumbent) > 0;
        let keys =
            if is_keyed && is_split { self.keys(gateway, &endpoint, rollout, plan, state) } else { None };
        let mut metrics = plan.judge.iter().flat_map(|judge| &judge.metrics);
        let is_judged = metrics.any(|metric| metric.name == SCORES_APART);
        let looks = candidates.into_iter().map(|(release, candidate)| {
            let mut observations = observed(None, [&candidate, &baseline], slow);
            observations.extend(agreed(&candidate, is_judged));
            observations.extend(sliced.remove(&release).unwrap_or_default());
            let given = share_of(release);
            let both = given + share_of(incumbent);
            let share = (given > 0 && both > given).then(|| f64::from(given) / f64::from(both));
            let requests = candidate.requests();
            let drawn = if is_keyed {
                let of = |release: Digest| keys.as_ref()?.get(&release).copied();
                of(release).zip(of(incumbent))
            } else {
                Some((candidate.came(), baseline.came()))
            };
            let assigned = drawn.filter(|_| share.is_some());
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
    pub(super) fn unseen(&self, gateway: &Gateway, rollout: u64, plan: &Plan, state: &State) -> Option<u64> {
        let endpoint = gateway.endpoint(&plan.endpoint)?;
        let mut requests = 0;
        for release in state.living(plan).into_iter().chain(plan.incumbent) {
            let before = self.last.get(&(rollout, release))?;
            requests += new(before, (endpoint.revision, now(&endpoint, release))).came();
        }
        Some(requests)
    }

    /// Keys that came for the first time since the last look, by release; nothing where that cannot be told.
    fn keys(
        &mut self,
        gateway: &Gateway,
        endpoint: &Endpoint,
        rollout: u64,
        plan: &Plan,
        state: &State,
    ) -> Option<HashMap<Digest, u64>> {
        if self.resumed.contains(&rollout) {
            return None;
        }
        let units = gateway.units(&plan.endpoint, rollout);
        let last = self.keyed.entry(rollout).or_default();
        let releases = state.living(plan).into_iter().chain(plan.incumbent);
        let new = releases.map(|release| {
            let now = (endpoint.revision, units.counted(endpoint.revision, &arm_name(release)));
            let before = last.insert(release, now).filter(|before| before.0 == now.0);
            (release, now.1 - before.map_or(0, |before| before.1))
        });
        Some(new.collect())
    }

    fn counted(&mut self, endpoint: &Endpoint, rollout: u64, release: Digest) -> Counted {
        let now = (endpoint.revision, now(endpoint, release));
        // What was counted before this rollout is not about it.
        let before = self.last.insert((rollout, release), now.clone()).unwrap_or_else(|| now.clone());
        new(&before, now)
    }
}

/// What is new of counters, with the revisions of the endpoint that they are of. Those of another declaration began at nothing.
fn new(before: &(u64, Counted), now: (u64, Counted)) -> Counted {
    if before.0 == now.0 { now.1.since(&before.1) } else { now.1 }
}

/// Counters of a release by a declaration of the endpoint, as they stand; nothing where it has no arm there.
fn now(endpoint: &Endpoint, release: Digest) -> Counted {
    let name = arm_name(release);
    let arm = endpoint.arms.iter().find(|arm| arm.name.as_deref() == Some(name.as_str()));
    arm.map_or_else(Counted::default, |arm| Counted::of(&arm.counted))
}

/// Counters of a release since the server began.
fn metered(gateway: &Gateway, plan: &Plan, release: Digest, names: &Names) -> Option<Counted> {
    let (model, version) = names.get(&release)?;
    let label = |text: &str| -> Arc<str> { text.into() };
    let labels = ArmLabels {
        endpoint: label(&plan.endpoint),
        arm: label(&arm_name(release)),
        model: label(model),
        version: label(&version.to_string()),
    };
    Some(Counted::of(&gateway.metrics().arm(&labels)))
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

    /// A candidate that refuses what the incumbent answers has no errors, and answers nobody.
    #[test]
    fn what_an_arm_refuses_is_a_metric_of_its_own_and_came_all_the_same() {
        let candidate = Counted { answered: 10, failed: 0, refused: 90, ..Counted::default() };
        let incumbent = Counted { answered: 95, failed: 3, refused: 2, ..Counted::default() };
        let found = observed(None, [&candidate, &incumbent], None);
        let of = |metric: &str| {
            let found = found.iter().find(|one| one.metric == metric).unwrap();
            (found.candidate.clone(), found.baseline.clone())
        };
        assert_eq!(of(ERRORS), (counts(10, 0), counts(98, 3)));
        assert_eq!(of(REFUSALS), (counts(100, 90), counts(100, 2)));
        assert_eq!((candidate.came(), candidate.requests()), (100, 10));
    }

    /// All differences of scores are told to who judges them, their sum to the others.
    #[test]
    fn what_a_shadow_agreed_on_since_the_last_look_is_told() {
        let compared = |same, different, apart: u64| Compared { same, different, apart: vec![5, apart] };
        let counted = |compared| Counted { compared: Some(compared), ..Counted::default() };
        let new = counted(compared(90, 10, 15)).since(&counted(compared(50, 8, 3)));
        let of = |is_judged| -> Vec<(String, Sample)> {
            agreed(&new, is_judged).into_iter().map(|one| (one.metric, one.candidate)).collect()
        };
        let decisions = (AGREEMENT.to_owned(), Sample::Values(vec![(0.0, 40), (1.0, 2)]));
        let scores = |sample| (SCORES_APART.to_owned(), sample);
        assert_eq!(of(true), [decisions.clone(), scores(Sample::Values(vec![(0.005, 12)]))]);
        let sums = Sample::Moments { n: 12, sum: 0.005 * 12.0, sumsq: 0.005_f64.powi(2) * 12.0 };
        assert_eq!(of(false), [decisions, scores(sums)]);
        assert!(agreed(&Counted::default(), false).is_empty(), "it was no shadow");
    }

    #[test]
    fn counters_of_another_declaration_are_all_new() {
        let latencies = |answered| vec![(100, answered + 1)];
        let counted = |answered| Counted {
            answered,
            failed: 1,
            refused: 2,
            latencies: latencies(answered),
            compared: None,
        };
        assert_eq!(new(&(3, counted(10)), (3, counted(15))).answered, 5);
        let other = new(&(3, counted(10)), (4, counted(15)));
        assert_eq!((other.answered, other.failed, other.timed()), (15, 1, 16));
    }

    #[test]
    fn counters_that_began_anew_are_not_negative() {
        let before =
            Counted { answered: 100, failed: 3, refused: 5, latencies: vec![(100, 103)], compared: None };
        let after = Counted { answered: 10, latencies: vec![(100, 10)], ..Counted::default() };
        assert_eq!(after.since(&before).requests(), 0);
    }
}
