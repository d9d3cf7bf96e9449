//! How often a rollout with several candidates errs: one budget for all of them, looked at after every batch.

use std::collections::BTreeSet;

use tidemill_core::{Digest, Timestamp};
use tidemill_deliver::judge::{Kind, Look, Metric, Observation, Sample, Spec, Tier, Traffic};
use tidemill_deliver::rollout::{
    Contender, Contest, Effect, Fate, Input, LookAt, Phase, Plan, Stage, State, Until, decide, start,
};

use crate::stream::Random;

const STREAMS: u64 = 1_000;
const BUDGET: f64 = 0.06;
/// How often requests of the incumbent fail.
const RATE: f64 = 0.05;
/// Requests of each candidate in a batch.
const BATCH: u64 = 400;

/// What may go wrong in so many streams without being a sign that more than the budget goes wrong: three standard deviations.
fn most_wrong() -> usize {
    let streams = STREAMS as f64;
    (streams * BUDGET + 3.0 * (streams * BUDGET * (1.0 - BUDGET)).sqrt()) as usize
}

fn release(at: usize) -> Digest {
    Digest::of(&[at as u8])
}

fn plan() -> Plan {
    let until = || Until { tiers: BTreeSet::from([Tier::Operational]), ..Until::default() };
    let errors = Metric {
        name: "errors".into(),
        kind: Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible: None },
        tier: Tier::Operational,
        critical: true,
        required: true,
    };
    let contender = |at| Contender { release: release(at), name: format!("m@{at}"), author: "ada".into() };
    let plan = Plan {
        endpoint: "m".into(),
        environment: "prod".into(),
        candidate: release(0),
        incumbent: Some(Digest::of(b"incumbent")),
        contest: Some(Contest { candidates: (0..3).map(contender).collect(), winner: "errors".into() }),
        holdout: 0,
        routes: Vec::new(),
        author: "ada".into(),
        stages: vec![
            Stage::Canary { share: 1_000, until: until() },
            Stage::Canary { share: 2_500, until: until() },
            Stage::Full { settle: std::time::Duration::ZERO },
        ],
        judge: Some(Spec { error_budget: BUDGET, metrics: vec![errors], slices: None }),
        measures: None,
        decides: None,
        power: None,
        envelope: None,
        windows: Vec::new(),
        alias: None,
        starters: Vec::new(),
        policy: None,
        inputs: Digest::of(b"inputs"),
    };
    plan.check().unwrap();
    plan
}

/// Plays a rollout of three candidates that fail so many times as often as the incumbent; what came of each, and who got all requests.
fn play(ratios: [f64; 3], seed: u64, batches: u64) -> (Vec<Fate>, Option<usize>) {
    let (plan, mut random, now) = (plan(), Random::new(seed), Timestamp::from_millis(0));
    let mut state = start(&plan, now).unwrap();
    let step = |state: &mut State, input: &Input| {
        *state = decide(&plan, state, input, now).state;
        while let Some(due) = state.due.first().cloned() {
            let done = match due.effect {
                Effect::Preflight => Input::Preflight { problems: Vec::new() },
                _ => Input::Done { id: due.id },
            };
            *state = decide(&plan, state, &done, now).state;
        }
    };
    step(&mut state, &Input::Tick);
    for _ in 0..batches {
        if state.phase.is_over() {
            break;
        }
        let living = state.living(&plan);
        let shares = [state.traffic.share(Digest::of(b"incumbent")), state.traffic.share(living[0])];
        let n = BATCH * u64::from(shares[0]) / u64::from(shares[1].max(1));
        let counts = |n: u64, events: u64| Sample::Counts { n, events };
        // All are compared with the same requests of the incumbent.
        let baseline = counts(n, random.binomial(n, RATE));
        let looks = living.iter().map(|candidate| {
            let at = (0..3).find(|at| release(*at) == *candidate).unwrap();
            let observation = Observation {
                metric: "errors".into(),
                slice: None,
                candidate: counts(BATCH, random.binomial(BATCH, RATE * ratios[at])),
                baseline: baseline.clone(),
            };
            let share = f64::from(shares[1]) / f64::from(shares[0] + shares[1]);
            let traffic = Traffic { stratum: state.applied as u32, share: Some(share) };
            let look = Look { traffic, assigned: None, observations: vec![observation] };
            LookAt { candidate: *candidate, requests: BATCH, look }
        });
        let input = Input::Looks { seq: state.last_look() + 1, looks: looks.collect() };
        step(&mut state, &input);
    }
    let fates = state.candidates(&plan).iter().map(|one| one.fate.unwrap().clone()).collect();
    let shipped = (state.phase == Phase::Complete).then(|| state.winner()).flatten();
    (fates, (0..3).find(|at| shipped == Some(release(*at))))
}

fn is_harmful(fate: &Fate) -> bool {
    matches!(fate, Fate::Dropped { harm: true, .. })
}

#[test]
fn that_any_of_three_healthy_candidates_is_dropped_stays_within_the_budget() {
    for ratio in [1.0, 1.25] {
        let dropped =
            (0..STREAMS).filter(|seed| play([ratio; 3], *seed, 60).0.iter().any(is_harmful)).count();
        assert!(dropped <= most_wrong(), "{dropped} of {STREAMS} at {ratio}");
    }
}

#[test]
fn a_harmful_one_is_dropped_and_a_good_one_ships() {
    let played: Vec<_> = (0..60).map(|seed| play([1.0, 3.0, 0.7], seed, 300)).collect();
    let dropped = played.iter().filter(|(fates, _)| is_harmful(&fates[1])).count();
    assert_eq!(dropped, 60, "the harmful one");
    let best = played.iter().filter(|(_, shipped)| *shipped == Some(2)).count();
    assert!(best >= 48, "the best was shipped {best} times of 60");
    assert!(played.iter().all(|(_, shipped)| matches!(shipped, Some(0 | 2))), "a good one always is");
}

#[test]
fn one_at_its_limit_is_shipped_within_the_budget() {
    // All of them at the limit, so that whoever passes is wrong.
    let shipped = (0..STREAMS).filter(|seed| play([2.0; 3], *seed, 60).1.is_some()).count();
    assert!(shipped <= most_wrong(), "{shipped} of {STREAMS}");
}
