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

fn by_origin(most: u32, min_samples: u64) -> Slices {
    Slices { by: vec!["origin".into()], most, min_samples }
}

fn origin(value: &str) -> Slice {
    Slice { column: "origin".into(), value: Some(value.into()) }
}

/// A look at all requests and at those of each origin, of which both arms had a thousand with so many failures.
fn look_by_origin(origins: &[(&str, u64, u64)]) -> Look {
    let sum = |pick: fn(&(&str, u64, u64)) -> u64| origins.iter().map(pick).sum();
    let n = 1_000 * origins.len() as u64;
    let mut whole = look("errors", counts(n, sum(|one| one.1)), counts(n, sum(|one| one.2)));
    whole.observations.extend(origins.iter().map(|(value, candidate, baseline)| Observation {
        metric: "errors".into(),
        slice: Some(origin(value)),
        candidate: counts(1_000, *candidate),
        baseline: counts(1_000, *baseline),
    }));
    whole
}

#[test]
fn harm_in_one_slice_is_named_and_ends_it() {
    let mut judge = judge(vec![errors(1.25, 2.0)], Some(by_origin(5, 300)));
    for _ in 0..200 {
        judge.look(&look_by_origin(&[("EWR", 3, 5), ("LGA", 12, 5), ("JFK", 3, 5)]));
    }
    let verdict = judge.verdict(&operational());
    assert_eq!(verdict.decision, Decision::Rollback);
    assert_eq!(verdict.why, [Why::Harm { metric: "errors".into(), slice: Some(origin("LGA")) }]);
    assert_eq!(crate::rollout::words(&verdict.why), "`errors in origin = LGA` is proven to be harmed");
}

#[test]
fn slices_are_not_needed_to_advance_and_hold_where_the_metric_is_not_critical() {
    let mut soft = errors(1.25, 2.0);
    soft.critical = false;
    let mut judge = judge(vec![soft], Some(by_origin(5, 300)));
    for _ in 0..100 {
        judge.look(&look_by_origin(&[("EWR", 5, 5), ("LGA", 5, 5), ("JFK", 5, 5)]));
    }
    assert_eq!(judge.verdict(&operational()).decision, Decision::Advance, "no slice has proof of safety");
    for _ in 0..100 {
        judge.look(&look_by_origin(&[("EWR", 0, 5), ("LGA", 15, 5), ("JFK", 0, 5)]));
    }
    let verdict = judge.verdict(&operational());
    let harm = Why::Harm { metric: "errors".into(), slice: Some(origin("LGA")) };
    assert_eq!((verdict.decision, verdict.why), (Decision::Hold, vec![harm]));
}

#[test]
fn the_budget_of_slices_follows_the_order_in_which_they_had_enough() {
    let mut judge = judge(vec![errors(1.25, 2.0)], Some(by_origin(3, 2_000)));
    judge.look(&look_by_origin(&[("JFK", 5, 5)]));
    judge.look(&look_by_origin(&[("JFK", 5, 5), ("EWR", 5, 5)]));
    for _ in 0..3 {
        judge.look(&look_by_origin(&[("EWR", 5, 5), ("LGA", 900, 5), ("BOS", 5, 5), ("SFO", 5, 5)]));
    }
    let views = judge.view();
    let found: Vec<(String, u64, f64)> = views
        .iter()
        .map(|view| {
            let name = view.slice.as_ref().map_or("all".into(), ToString::to_string);
            // The part of the budget of 0.01.
            (name, view.candidate, (-view.ln_harm_needed).exp() / 0.01)
        })
        .collect();
    let wanted = [
        ("all", 15_000, 0.5),
        ("origin = EWR", 4_000, 0.5 / 6.0),
        ("origin = JFK", 2_000, 0.5 / 2.0),
        ("origin = LGA", 3_000, 0.5 / 20.0),
        ("other values of origin", 6_000, 0.5 / 12.0),
    ];
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for ((name, candidate, part), (wanted, requests, budget)) in found.iter().zip(wanted) {
        assert_eq!((name.as_str(), *candidate), (wanted, requests));
        assert!((part - budget).abs() < 1e-9, "{name}: {part} instead of {budget}");
    }
    // What came before there were enough only set the order.
    let lga = views.iter().find(|view| view.slice == Some(origin("LGA"))).unwrap();
    assert!(lga.standing == Standing::Harmful && lga.harm == Some(180.0), "{lga:?}");
}

#[test]
fn what_is_kept_of_slices_is_bounded() {
    let mut judge = judge(vec![errors(1.25, 2.0)], Some(by_origin(50, 1)));
    let size = |judge: &Judge| serde_json::to_string(judge).unwrap().len();
    let names: Vec<String> = (0..1_000).map(|at| format!("airport {at}")).collect();
    for name in &names[..60] {
        (0..3).for_each(|_| judge.look(&look_by_origin(&[(name.as_str(), 5, 5)])));
    }
    let before = size(&judge);
    for name in &names {
        judge.look(&look_by_origin(&[(name.as_str(), 5, 5)]));
    }
    assert!(size(&judge) < before + before / 10, "{before} grew to {}", size(&judge));
    assert_eq!(judge.slice_values("origin").count(), 50);
    judge.look(&Look {
        observations: vec![Observation {
            metric: "errors".into(),
            slice: Some(Slice { column: "carrier".into(), value: Some("UA".into()) }),
            candidate: counts(10, 5),
            baseline: counts(10, 5),
        }],
        ..look("errors", counts(10, 5), counts(10, 5))
    });
    assert_eq!(judge.slice_values("carrier").count(), 0, "a column that is not declared");
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
    let mut judge = judge(vec![errors(1.25, 2.0)], Some(by_origin(1, 1_000)));
    judge.look(&look_by_origin(&[("LGA", 5, 7), ("JFK", 5, 7)]));
    judge.look(&look_by_origin(&[("LGA", 9, 7)]));
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
    for (by, most) in [(vec![], 5), (vec!["a"], 0), (vec!["a", "a"], 5), (vec!["a"; 9], 5)] {
        let by = by.into_iter().map(str::to_owned).collect();
        let slices = Some(Slices { by, most, min_samples: 300 });
        let spec = Spec { error_budget: 0.01, metrics: vec![errors(1.0, 2.0)], slices };
        assert!(matches!(spec.check(), Err(SpecError::Slices { .. })));
    }
}

/// Refusals share the part of errors, so that other metrics are found as soon as without them.
#[test]
fn refusals_are_harm_and_cost_other_metrics_nothing() {
    let rate = |name: &str| Metric { required: name != REFUSALS, ..metric(name, errors(1.25, 2.0).kind) };
    let without = judge(vec![rate(ERRORS), rate(LATENCY)], None);
    let mut with = judge(vec![rate(ERRORS), rate(LATENCY), rate(REFUSALS)], None);
    let needed = |judge: &Judge| judge.view().iter().map(|view| view.ln_harm_needed).collect::<Vec<_>>();
    let (before, after) = (needed(&without), needed(&with));
    assert_eq!(before[1], after[1]);
    for pair in [after[0], after[2]] {
        assert!((pair - before[0] - std::f64::consts::LN_2).abs() < 1e-12);
    }
    with.look(&look(REFUSALS, counts(100, 90), counts(100, 2)));
    let verdict = with.verdict(&operational());
    assert_eq!(verdict.decision, Decision::Rollback);
    assert_eq!(verdict.why, [Why::Harm { metric: REFUSALS.into(), slice: None }]);
}

/// Alone, a candidate is held against the rate that the incumbent had, with what is not known of that in the candidate's favour.
#[test]
fn a_candidate_alone_is_held_against_what_the_incumbent_had() {
    let after = |looks: u64, failures: u64| {
        let mut judge = judge(vec![errors(1.25, 2.0)], None);
        for _ in 0..20 {
            judge.look(&look("errors", counts(1_000, 5), counts(1_000, 5)));
        }
        for _ in 0..looks {
            judge.look_alone(&look("errors", counts(1_000, failures), counts(0, 0)));
        }
        judge.verdict(&operational()).decision
    };
    assert_ne!(after(2_000, 5), Decision::Rollback, "no worse than before");
    assert_ne!(after(2_000, 6), Decision::Rollback, "what is tolerated");
    assert_eq!(after(40, 20), Decision::Rollback);
    assert_eq!(after(1, 300), Decision::Rollback);
    let mut unknown = judge(vec![errors(1.25, 2.0)], None);
    unknown.look_alone(&look("errors", counts(1_000, 900), counts(0, 0)));
    assert_ne!(unknown.verdict(&operational()).decision, Decision::Rollback, "nothing to hold it against");
}
