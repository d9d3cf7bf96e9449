//! How often slices send a healthy candidate back, and whether they find one that is bad on a slice alone.

use tidemill_deliver::judge::{
    Decision, Judge, Kind, Look, Metric, Observation, Sample, Slice, Slices, Spec, Tier, Traffic, Why,
};

use crate::stream::Random;

const BUDGET: f64 = 0.05;
const RATE: f64 = 0.05;
/// Parts of the requests by origin: a few common ones, and many that are rare.
const PARTS: [f64; 12] = [0.3, 0.25, 0.15, 0.1, 0.05, 0.04, 0.03, 0.03, 0.02, 0.01, 0.01, 0.01];

fn spec() -> Spec {
    // At the limit itself, so that a healthy candidate is as near to harm as it can be.
    let kind = Kind::EventRate { tolerate: 1.0, reject: 2.0, negligible: None };
    let metric =
        Metric { name: "errors".into(), kind, tier: Tier::Operational, critical: true, required: true };
    let slices = Slices { by: vec!["origin".into()], most: 10, min_samples: 300 };
    Spec { error_budget: BUDGET, metrics: vec![metric], slices: Some(slices) }
}

/// Plays one rollout of looks at a thousand requests each, and gives what sent the candidate back, with the look.
fn play(mut judge: Judge, seed: u64, looks: u64, harm: impl Fn(usize) -> f64) -> Option<(u64, Vec<Why>)> {
    let mut random = Random::new(seed);
    for number in 1..=looks {
        let mut whole = [(0, 0); 2];
        let mut observations = Vec::new();
        for (at, part) in PARTS.iter().enumerate() {
            let mut arms = [(0, 0); 2];
            for (arm, (n, events)) in arms.iter_mut().enumerate() {
                let ratio = if arm == 0 { harm(at) } else { 1.0 };
                *n = random.binomial(500, *part);
                *events = random.binomial(*n, RATE * ratio);
                whole[arm] = (whole[arm].0 + *n, whole[arm].1 + *events);
            }
            let slice = Slice { column: "origin".into(), value: Some(format!("{at}")) };
            observations.push(observation(Some(slice), arms));
        }
        observations.push(observation(None, whole));
        let traffic = Traffic { stratum: 0, share: Some(0.5) };
        judge.look(&Look { traffic, assigned: None, observations });
        let verdict = judge.verdict(&std::collections::BTreeSet::new());
        if verdict.decision == Decision::Rollback {
            return Some((number, verdict.why));
        }
    }
    None
}

fn observation(slice: Option<Slice>, [candidate, baseline]: [(u64, u64); 2]) -> Observation {
    let counts = |(n, events)| Sample::Counts { n, events };
    Observation { metric: "errors".into(), slice, candidate: counts(candidate), baseline: counts(baseline) }
}

#[test]
fn a_healthy_candidate_is_sent_back_within_the_budget_by_all_slices_together() {
    const RUNS: u64 = 400;
    let judge = Judge::new(spec()).unwrap();
    let wrong = (0..RUNS).filter(|seed| play(judge.clone(), *seed, 100, |_| 1.0).is_some()).count();
    let most = RUNS as f64 * BUDGET + 3.0 * (RUNS as f64 * BUDGET * (1.0 - BUDGET)).sqrt();
    assert!(wrong as f64 <= most, "{wrong} of {RUNS}");
}

/// Everywhere else the candidate is better, so that on average nothing is seen.
#[test]
fn a_candidate_that_is_bad_on_one_slice_alone_is_sent_back_for_that_slice() {
    const RUNS: u64 = 60;
    let judge = Judge::new(spec()).unwrap();
    for (bad, ratio, within) in [(2, 2.0, 100), (4, 3.0, 100), (8, 5.0, 150)] {
        let rest = 1.0 - PARTS[bad] * (ratio - 1.0) / (1.0 - PARTS[bad]);
        let found = (0..RUNS)
            .filter_map(|seed| play(judge.clone(), seed, within, |at| if at == bad { ratio } else { rest }))
            .filter(|(_, why)| {
                let slice = Slice { column: "origin".into(), value: Some(format!("{bad}")) };
                *why == [Why::Harm { metric: "errors".into(), slice: Some(slice) }]
            })
            .count();
        assert!(found as u64 >= RUNS * 9 / 10, "slice {bad}, {ratio} times: {found} of {RUNS}");
    }
}
