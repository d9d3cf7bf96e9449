//! The judge as a whole, in small numbers; how often it errs is in `tests/it/errors.rs`.

use std::collections::BTreeSet;

use super::*;

fn operational() -> BTreeSet<Tier> {
    BTreeSet::from([Tier::Operational])
}

fn errors(tolerate: f64, reject: f64) -> Metric {
    metric("errors", Kind::EventRate { tolerate, reject, negligible: None })
}

fn metric(name: &str, kind: Kind) -> Metric {
    Metric { name: name.into(), kind, tier: Tier::Operational, critical: true, required: true }
}

fn judge(metrics: Vec<Metric>, slices: Option<Slices>) -> Judge {
    Judge::new(Spec { error_budget: 0.01, metrics, slices }).unwrap()
}

fn look(metric: &str, candidate: Sample, baseline: Sample) -> Look {
    Look {
        traffic: Traffic { stratum: 0, share: Some(0.5) },
        assigned: None,
        observations: vec![Observation { metric: metric.into(), slice: None, candidate, baseline }],
    }
}

fn counts(n: u64, events: u64) -> Sample {
    Sample::Counts { n, events }
}

#[test]
fn no_data_holds() {
    let judge = judge(vec![errors(1.25, 2.0)], None);
    let verdict = judge.verdict(&operational());
    assert_eq!(verdict.decision, Decision::Hold);
    assert_eq!(verdict.why, [Why::NoData { metric: "errors".into() }]);
    assert_eq!(judge.view()[0].standing, Standing::NoData);
}

#[test]
fn no_data_holds_where_nothing_needs_proof_too() {
    let mut quiet = errors(1.25, 2.0);
    quiet.required = false;
    assert_eq!(judge(vec![quiet], None).verdict(&operational()).decision, Decision::Hold);
}

#[test]
fn equal_rates_advance_and_a_doubled_rate_rolls_back() {
    let (mut equal, mut doubled) =
        (judge(vec![errors(1.25, 2.0)], None), judge(vec![errors(1.25, 2.0)], None));
    for _ in 0..200 {
        equal.look(&look("errors", counts(1000, 5), counts(1000, 5)));
        doubled.look(&look("errors", counts(1000, 10), counts(1000, 5)));
    }
    assert_eq!(equal.verdict(&operational()), Verdict { decision: Decision::Advance, why: vec![] });
    let verdict = doubled.verdict(&operational());
    assert_eq!(verdict.decision, Decision::Rollback);
    assert_eq!(verdict.why, [Why::Harm { metric: "errors".into(), slice: None }]);
    let harm = doubled.view()[0].harm.unwrap();
    assert!((harm - 2.0).abs() < 1e-9);
}

#[test]
fn without_any_event_a_negligible_rate_is_what_is_proven() {
    let rate = Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible: Some(0.005) };
    let (mut none, mut some) =
        (judge(vec![metric("errors", rate.clone())], None), judge(vec![metric("errors", rate)], None));
    for _ in 0..30 {
        none.look(&look("errors", counts(100, 0), counts(100, 0)));
        some.look(&look("errors", counts(100, 1), counts(100, 1)));
    }
    assert_eq!(none.verdict(&operational()).decision, Decision::Advance);
    assert_eq!(some.verdict(&operational()).decision, Decision::Hold);
}

#[test]
fn harm_of_a_metric_that_is_not_critical_holds() {
    let mut soft = errors(1.25, 2.0);
    soft.critical = false;
    let mut judge = judge(vec![soft], None);
    for _ in 0..200 {
        judge.look(&look("errors", counts(1000, 20), counts(1000, 5)));
    }
    let verdict = judge.verdict(&operational());
    assert_eq!(verdict.decision, Decision::Hold);
    assert!(verdict.why.contains(&Why::Harm { metric: "errors".into(), slice: None }));
}

#[test]
fn a_hard_limit_needs_no_evidence() {
    let nan = metric("nan", Kind::Event { max: 0 });
    let mut judge = judge(vec![errors(1.25, 2.0), nan], None);
    judge.look(&look("nan", counts(10, 0), counts(10, 3)));
    assert_eq!(judge.verdict(&operational()).decision, Decision::Hold);
    judge.look(&look("nan", counts(10, 1), counts(10, 0)));
    assert_eq!(judge.verdict(&operational()).decision, Decision::Rollback);
}

#[test]
fn a_tier_that_is_not_asked_for_does_not_stop_the_advance() {
    let cost =
        Kind::BoundedMean { better: Better::Lower, least: 0.0, most: 120.0, tolerate: 0.0, reject: 2.0 };
    let late = Metric { tier: Tier::Label, ..metric("cost", cost) };
    let mut judge = judge(vec![errors(1.25, 2.0), late], None);
    for _ in 0..300 {
        judge.look(&look("errors", counts(1000, 5), counts(1000, 5)));
    }
    assert_eq!(judge.verdict(&operational()).decision, Decision::Advance);
    let both = BTreeSet::from([Tier::Operational, Tier::Label]);
    assert_eq!(judge.verdict(&both).why, [Why::NoData { metric: "cost".into() }]);
}

#[test]
fn money_is_judged_by_values() {
    let cost =
        Kind::BoundedMean { better: Better::Lower, least: 0.0, most: 120.0, tolerate: 0.0, reject: 2.0 };
    let (mut equal, mut worse) =
        (judge(vec![metric("cost", cost.clone())], None), judge(vec![metric("cost", cost)], None));
    let values = |missed: u64| Sample::Values(vec![(0.0, 900 - missed), (15.0, 100), (120.0, missed)]);
    for _ in 0..60 {
        equal.look(&look("cost", values(50), values(50)));
        worse.look(&look("cost", values(80), values(50)));
    }
    assert_eq!(equal.verdict(&operational()).decision, Decision::Advance);
    assert_eq!(worse.verdict(&operational()).decision, Decision::Rollback);
}

#[test]
fn disagreement_in_the_shadow_is_a_mean_of_differences() {
    let flips = Kind::Paired { better: Better::Lower, least: 0.0, most: 1.0, tolerate: 0.05, reject: 0.05 };
    let (mut few, mut many) =
        (judge(vec![metric("flips", flips.clone())], None), judge(vec![metric("flips", flips)], None));
    for _ in 0..40 {
        few.look(&look("flips", Sample::Values(vec![(0.0, 98), (1.0, 2)]), Sample::Values(vec![])));
        many.look(&look("flips", Sample::Values(vec![(0.0, 90), (1.0, 10)]), Sample::Values(vec![])));
    }
    assert_eq!(few.verdict(&operational()).decision, Decision::Advance);
    assert_eq!(many.verdict(&operational()).decision, Decision::Rollback);
}

#[test]
fn harm_in_one_slice_is_named() {
    let mut judge = judge(vec![errors(1.25, 2.0)], Some(Slices { most: 5, min_samples: 300 }));
    for _ in 0..200 {
        let mut whole = look("errors", counts(2000, 12), counts(2000, 10));
        for (slice, events) in [("east", 7), ("west", 5)] {
            whole.observations.push(Observation {
                metric: "errors".into(),
                slice: Some(slice.into()),
                candidate: counts(1000, if slice == "east" { 14 } else { events }),
                baseline: counts(1000, 5),
            });
        }
        judge.look(&whole);
    }
    let verdict = judge.verdict(&operational());
    assert_eq!(verdict.why, [Why::Harm { metric: "errors".into(), slice: Some("east".into()) }]);
}

#[test]
fn a_split_that_is_not_the_planned_one_holds() {
    let mut judge = judge(vec![errors(1.25, 2.0)], None);
    for _ in 0..300 {
        let mut skewed = look("errors", counts(1000, 5), counts(1000, 5));
        skewed.assigned = Some((1000, 1300));
        judge.look(&skewed);
    }
    let verdict = judge.verdict(&operational());
    assert_eq!((verdict.decision, verdict.why), (Decision::Hold, vec![Why::SampleRatio]));
}

#[test]
fn the_state_survives_being_written_and_read() {
    let mut judge = judge(vec![errors(1.25, 2.0)], Some(Slices { most: 5, min_samples: 1 }));
    judge.look(&look("errors", counts(1000, 5), counts(1000, 7)));
    let text = serde_json::to_string(&judge).unwrap();
    let read: Judge = serde_json::from_str(&text).unwrap();
    assert_eq!(read, judge);
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

#[test]
fn declarations_that_make_no_sense_are_refused() {
    let spec =
        |budget: f64, metrics: Vec<Metric>| Spec { error_budget: budget, metrics, slices: None }.check();
    assert_eq!(spec(0.0, vec![errors(1.0, 2.0)]), Err(SpecError::Budget(0.0)));
    assert_eq!(spec(0.01, vec![]), Err(SpecError::NoMetric));
    assert_eq!(spec(0.01, vec![errors(1.0, 2.0), errors(1.0, 2.0)]), Err(SpecError::Twice("errors".into())));
    for wrong in [errors(0.9, 2.0), errors(2.0, 2.0), errors(1.0, f64::NAN)] {
        assert!(matches!(spec(0.01, vec![wrong]), Err(SpecError::Metric { .. })));
    }
}
