//! What rows say, as tables; and a candidate that is fast, never fails and costs more.

use std::collections::BTreeSet;
use std::time::Duration;

use tidemill_core::declare::Costs;
use tidemill_core::{Digest, Timestamp};

use super::*;
use crate::judge::{Better, Judge, Kind, Look, Observation, Sample, Slice, Slices, Tier, Traffic};
use crate::rollout::{Effect, Input, Phase, Plan, Stage, State, Until, decide, replay, start};

fn measures() -> Measures {
    Measures {
        label: "late".into(),
        positive: "1".into(),
        costs: Some(Costs {
            currency: Some("EUR".into()),
            false_negative: 120.0,
            false_positive: 15.0,
            true_positive: 0.0,
            true_negative: 0.0,
        }),
        threshold: 0.5,
        thresholds: vec![(new(), 0.2)],
        quality: Quality::Brier,
        kpi: Some("missed".into()),
        delay: Duration::from_secs(3_600),
        kpi_delay: None,
    }
}

fn old() -> Digest {
    Digest::of(b"old")
}

fn new() -> Digest {
    Digest::of(b"new")
}

fn at(hour: i64) -> Timestamp {
    Timestamp::from_millis(hour * 3_600_000)
}

fn epoch(candidate: u32, shadow: u32) -> Epoch {
    Epoch { revision: 1, from: at(0), until: None, candidate, incumbent: 10_000 - candidate, shadow }
}

fn says(score: f64) -> Option<Answer> {
    Some(Answer { score: Some(score), ..Answer::default() })
}

fn row(candidate: Option<Answer>, incumbent: Option<Answer>, label: f64) -> Row {
    Row { candidate, incumbent, label: Some(Label::Number(label)), ..Row::default() }
}

fn values(observations: &[Observation], metric: &str) -> (Vec<(f64, u64)>, Vec<(f64, u64)>) {
    let found = observations.iter().find(|observation| observation.metric == metric);
    let of = |sample: &Sample| match sample {
        Sample::Values(values) => values.clone(),
        other => panic!("{other:?}"),
    };
    found.map_or_else(Default::default, |found| (of(&found.candidate), of(&found.baseline)))
}

#[test]
fn decisions_cost_what_the_objective_says_at_the_threshold_of_each_release() {
    // The candidate acts from 0.2 on, the incumbent from 0.5 on.
    let rows = [
        row(says(0.3), None, 1.0),
        row(says(0.3), None, 0.0),
        row(None, says(0.3), 1.0),
        row(None, says(0.3), 0.0),
        row(None, says(0.5), 0.0),
        Row { label: None, ..row(None, says(0.9), 0.0) },
    ];
    let seen = observations(&measures(), &epoch(5_000, 0), new(), old(), &rows, None);
    assert_eq!(values(&seen, COST), (vec![(0.0, 1), (15.0, 1)], vec![(0.0, 1), (15.0, 1), (120.0, 1)]));
    assert_eq!(values(&seen, PAIRED_COST), (vec![], vec![]), "no request had two answers");
    assert_eq!(values(&seen, QUALITY).0, [(0.09, 1), (0.49, 1)]);
}

#[test]
fn shadows_are_compared_on_the_same_request_only() {
    let rows = [
        row(says(0.3), says(0.3), 1.0),
        row(says(0.3), says(0.3), 0.0),
        row(says(0.9), says(0.9), 1.0),
        row(None, says(0.9), 1.0),
        row(says(0.9), None, 1.0),
    ];
    let seen = observations(&measures(), &epoch(0, 10_000), new(), old(), &rows, None);
    assert_eq!(values(&seen, PAIRED_COST).0, [(-120.0, 1), (0.0, 1), (15.0, 1)]);
    assert_eq!(values(&seen, PAIRED_QUALITY).0, [(0.0, 3)]);
    assert_eq!(values(&seen, COST), (vec![], vec![]));
}

#[test]
fn the_business_number_belongs_to_who_answered() {
    let kpi = |candidate, incumbent, value| Row { candidate, incumbent, kpi: Some(value), ..Row::default() };
    let rows = [
        kpi(says(0.1), None, 3.0),
        kpi(None, says(0.1), 5.0),
        kpi(None, says(0.1), 7.0),
        kpi(None, None, 9.0),
    ];
    let seen = observations(&measures(), &epoch(5_000, 0), new(), old(), &rows, None);
    let moments = |n, sum, sumsq| Sample::Moments { n, sum, sumsq };
    assert_eq!(seen.len(), 1);
    assert_eq!((&seen[0].candidate, &seen[0].baseline), (&moments(1, 3.0, 9.0), &moments(2, 12.0, 74.0)));
    assert!(observations(&measures(), &epoch(0, 10_000), new(), old(), &rows, None).is_empty());
}

#[test]
fn rows_of_a_slice_are_looked_at_by_themselves_and_rare_values_together() {
    let spec = Spec {
        slices: Some(Slices { by: vec!["origin".into()], most: 2, min_samples: 1 }),
        ..plan().judge.unwrap()
    };
    let mut judge = Judge::new(spec).unwrap();
    let of = |value: Option<&str>, missed: f64| Row {
        slices: vec![value.map(str::to_owned)],
        ..row(says(0.3), says(0.3), missed)
    };
    let slice =
        |value: Option<&str>| Some(Slice { column: "origin".into(), value: value.map(str::to_owned) });
    let shadow = epoch(0, 10_000);
    let paired = |judge: &Judge, rows: &[Row]| -> Vec<(Option<Slice>, u64)> {
        let seen = observations(&measures(), &shadow, new(), old(), rows, Some(judge));
        let of_cost = seen.into_iter().filter(|one| one.metric == PAIRED_COST);
        of_cost.map(|one| (one.slice, one.candidate.n())).collect()
    };
    let rows = [
        of(Some("JFK"), 1.0),
        of(Some("LGA"), 1.0),
        of(Some("BOS"), 0.0),
        of(Some("LGA"), 0.0),
        of(None, 0.0),
        of(Some("BOS"), 0.0),
    ];
    let seen = paired(&judge, &rows);
    let wanted = [(None, 6), (slice(None), 2), (slice(Some("BOS")), 2), (slice(Some("LGA")), 2)];
    assert_eq!(seen, wanted);
    // What the judge knows keeps its place, whatever comes.
    judge.look(&Look {
        traffic: Traffic { stratum: 1, share: None },
        assigned: None,
        observations: observations(&measures(), &shadow, new(), old(), &rows, Some(&judge)),
    });
    let many: Vec<Row> = (0..9).map(|_| of(Some("JFK"), 0.0)).collect();
    assert_eq!(paired(&judge, &many), [(None, 9), (slice(None), 9)]);
}

#[test]
fn labels_and_classes_are_read_as_people_write_them() {
    for (label, positive, is) in [
        (Label::Number(1.0), "1", true),
        (Label::Number(1.0), "true", true),
        (Label::Number(0.0), "false", true),
        (Label::Number(0.0), "1", false),
        (Label::Text("yes".into()), "yes", true),
        (Label::Text("1".into()), "1", true),
        (Label::Text("no".into()), "yes", false),
    ] {
        assert_eq!(label.is(positive), is, "{label:?} {positive}");
    }
    let named = |class: &str| Answer { class: Some(class.into()), ..Answer::default() };
    assert_eq!(named("1").acts(0.5, "1"), Some(true));
    assert_eq!(named("0").acts(0.5, "true"), Some(false));
    assert_eq!(Answer::default().acts(0.5, "1"), None);
    // What the release decided when it answered is what counts.
    let decided = Answer { score: Some(0.3), decision: Some(true), ..Answer::default() };
    assert_eq!(decided.acts(0.5, "1"), Some(true));
}

#[test]
fn log_loss_is_bounded_and_errors_are_counted() {
    let answer = Answer { score: Some(0.0), ..Answer::default() };
    assert_eq!(answer.badness(Quality::LogLoss, true, 0.5, "1"), Some(6.91));
    assert_eq!(answer.badness(Quality::LogLoss, false, 0.5, "1"), Some(0.0));
    assert_eq!(answer.badness(Quality::ErrorRate, true, 0.5, "1"), Some(1.0));
    assert_eq!(Answer::default().badness(Quality::Brier, true, 0.5, "1"), None);
}

fn plan() -> Plan {
    let metric = crate::judge::Metric {
        name: PAIRED_COST.into(),
        kind: Kind::Paired { better: Better::Lower, least: -120.0, most: 120.0, tolerate: 0.0, reject: 0.5 },
        tier: Tier::Label,
        critical: true,
        required: true,
    };
    let until = Until { samples: 10, tiers: BTreeSet::from([Tier::Label]), ..Until::default() };
    Plan {
        endpoint: "late".into(),
        environment: "prod".into(),
        candidate: new(),
        incumbent: Some(old()),
        contest: None,
        holdout: 0,
        routes: Vec::new(),
        author: "author".into(),
        stages: vec![Stage::Shadow { share: 10_000, until }, Stage::Full { settle: Duration::ZERO }],
        judge: Some(Spec { error_budget: 0.01, metrics: vec![metric], slices: None }),
        measures: Some(measures()),
        decides: None,
        power: None,
        envelope: None,
        windows: vec![],
        alias: None,
        starters: Vec::new(),
        policy: None,
        inputs: Digest::of(b"inputs"),
    }
}

struct Drive {
    plan: Plan,
    state: State,
    log: Vec<(Timestamp, Input)>,
}

impl Drive {
    fn new() -> Self {
        let plan = plan();
        plan.check().unwrap();
        let state = start(&plan, at(0)).unwrap();
        let mut drive = Self { plan, state, log: vec![] };
        drive.take(at(0), Input::Tick);
        drive.effects(at(0));
        drive
    }

    fn take(&mut self, now: Timestamp, input: Input) {
        self.state = decide(&self.plan, &self.state, &input, now).state;
        self.log.push((now, input));
    }

    fn effects(&mut self, now: Timestamp) {
        while let Some(due) = self.state.due.first().cloned() {
            let done = match due.effect {
                Effect::Preflight => Input::Preflight { problems: vec![] },
                _ => Input::Done { id: due.id },
            };
            self.take(now, done);
        }
    }

    /// An hour of requests, of which the candidate misses so many that the incumbent does not.
    fn hour(&mut self, hour: i64, requests: u64, missed: u64, found: u64) -> Input {
        let look = Look {
            traffic: Traffic { stratum: 1, share: None },
            assigned: None,
            observations: vec![Observation {
                metric: PAIRED_COST.into(),
                slice: None,
                candidate: Sample::Values(vec![
                    (-120.0, found),
                    (0.0, requests - missed - found),
                    (120.0, missed),
                ]),
                baseline: Sample::Values(vec![]),
            }],
        };
        let counted =
            Input::Look { seq: hour as u64, requests, look: Look { observations: vec![], ..look.clone() } };
        self.take(at(hour), counted);
        let input = Input::Outcomes {
            until: at(hour),
            outcomes: requests,
            late: 3,
            looks: vec![look],
            of_each: vec![],
        };
        self.take(at(hour), input.clone());
        self.effects(at(hour));
        input
    }
}

#[test]
fn no_outcomes_hold_and_proof_advances() {
    let mut drive = Drive::new();
    assert_eq!(drive.state.phase, Phase::Shadow);
    let counted = Input::Look {
        seq: 1,
        requests: 1_000,
        look: Look { traffic: Traffic { stratum: 1, share: None }, assigned: None, observations: vec![] },
    };
    drive.take(at(1), counted);
    assert_eq!(drive.state.phase, Phase::Shadow, "no data means hold");
    for hour in 2..200 {
        drive.hour(hour, 100, 1, 1);
        if drive.state.phase.is_over() {
            break;
        }
    }
    drive.take(at(300), Input::Tick);
    assert_eq!(drive.state.phase, Phase::Complete, "{:?}", drive.state.hold);
    assert_eq!(replay(&drive.plan, at(0), &drive.log).unwrap(), drive.state);
}

#[test]
fn what_costs_more_goes_back_though_it_is_fast_and_never_fails() {
    let mut drive = Drive::new();
    for hour in 1..200 {
        drive.hour(hour, 100, 5, 1);
        if drive.state.phase.is_over() {
            break;
        }
    }
    assert_eq!(drive.state.phase, Phase::RolledBack);
    assert_eq!(drive.state.traffic.arms, [(old(), 10_000)]);
    let text = serde_json::to_string(&drive.state).unwrap();
    let again = replay(&drive.plan, at(0), &drive.log).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text, "byte for byte");
}

#[test]
fn an_outcome_enters_once_and_late_ones_are_counted() {
    let mut drive = Drive::new();
    let input = drive.hour(1, 100, 3, 1);
    let before = serde_json::to_string(&drive.state).unwrap();
    // As after a kill between the write and the answer to it.
    drive.take(at(1), input);
    assert_eq!(serde_json::to_string(&drive.state).unwrap(), before);
    let matured = drive.state.matured().unwrap();
    assert_eq!((matured.until, matured.outcomes, matured.late), (at(1), 100, 3));
    assert_eq!(matured.epochs.len(), 1);
    assert!(!matured.epochs[0].holds(at(0)) && matured.epochs[0].holds(at(7)));
}

/// A label of an hour and a business number of days go on each by itself, and a table is known as long as one of both needs it.
#[test]
fn business_numbers_have_a_time_of_their_own() {
    let plan = Plan {
        measures: Some(Measures { kpi_delay: Some(Duration::from_secs(3 * 86_400)), ..measures() }),
        ..plan()
    };
    let mut drive = Drive { state: start(&plan, at(0)).unwrap(), plan, log: vec![] };
    drive.take(at(0), Input::Tick);
    drive.effects(at(0));
    let kpis =
        |hour, outcomes| Input::Kpis { until: at(hour), outcomes, late: 1, looks: vec![], of_each: vec![] };
    drive.hour(5, 10, 1, 1);
    let abort = Input::Abort { by: "ada".into(), why: "enough".into() };
    drive.take(at(6), kpis(2, 7));
    drive.take(at(6), kpis(2, 7));
    let of = |drive: &Drive| {
        let matured = drive.state.matured().unwrap();
        let kpi = matured.kpi.unwrap();
        (matured.until, matured.outcomes, kpi.until, kpi.outcomes, kpi.late, matured.epochs.len())
    };
    assert_eq!(of(&drive), (at(5), 10, at(2), 7, 1, 1));
    drive.take(at(7), abort);
    drive.take(at(8), Input::Outcomes { until: at(8), outcomes: 1, late: 0, looks: vec![], of_each: vec![] });
    assert_eq!(of(&drive).5, 1, "business numbers of the first table are still to come");
    assert_eq!(replay(&drive.plan, at(0), &drive.log).unwrap(), drive.state);
}

#[test]
fn requests_between_two_tables_belong_to_none() {
    let mut drive = Drive::new();
    let abort = Input::Abort { by: "ada".into(), why: "enough".into() };
    drive.take(at(5), abort);
    let epochs = &drive.state.matured().unwrap().epochs;
    assert_eq!(epochs[0].until, Some(at(5)));
    assert!(epochs[0].holds(at(5)) && !epochs[0].holds(at(6)));
}
