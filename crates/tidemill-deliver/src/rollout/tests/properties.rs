//! Anything that can happen, in any order, with a clock that jumps and a crash between any two steps.

use proptest::prelude::*;

use super::*;
use crate::judge::Better;
use crate::outcome::{Measures, Quality};

/// Something that may happen; what it refers to is settled when it happens.
#[derive(Clone, Debug)]
enum Op {
    Tick,
    Done(usize),
    Preflight(bool),
    Look {
        failures: u64,
        revision_back: u64,
        again: bool,
    },
    /// Outcomes up to so many hours from the last ones, of decisions that cost so much.
    Outcomes {
        hours: i64,
        cost: u64,
        revision_back: u64,
        late: u64,
    },
    Approve {
        by: usize,
        role: usize,
        inputs: usize,
    },
    Proceed(usize),
    Abort,
    Rollback,
    Supersede,
    Freeze {
        hours: Option<i64>,
    },
    Lift,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Tick),
        10 => (0..4usize).prop_map(Op::Done),
        4 => prop::bool::weighted(0.9).prop_map(Op::Preflight),
        24 => (prop_oneof![8 => Just(50u64), 1 => Just(200), 1 => Just(0)], 0..3u64, prop::bool::weighted(0.1))
            .prop_map(|(failures, revision_back, again)| Op::Look { failures, revision_back, again }),
        8 => (-1..4i64, prop_oneof![8 => Just(3u64), 1 => Just(9)], 0..3u64, 0..5u64)
            .prop_map(|(hours, cost, revision_back, late)| Op::Outcomes { hours, cost, revision_back, late }),
        3 => (0..3usize, 0..2usize, 0..2usize).prop_map(|(by, role, inputs)| Op::Approve { by, role, inputs }),
        1 => (0..3usize).prop_map(Op::Proceed),
        1 => prop::bool::weighted(0.2).prop_map(|harm| if harm { Op::Rollback } else { Op::Tick }),
        1 => prop::bool::weighted(0.2).prop_map(|end| if end { Op::Abort } else { Op::Supersede }),
        1 => prop::option::of(0..20i64).prop_map(|hours| Op::Freeze { hours }),
        1 => Just(Op::Lift),
    ]
}

const WINDOWS: [&str; 4] = [
    "Mon-Thu 09:00-16:00 Europe/Prague",
    "Fri-Sun 22:00-04:00 Europe/Prague",
    "00:30-20:15 Australia/Lord_Howe",
    "Sun 01:00-03:00 Europe/Prague",
];
const PEOPLE: [&str; 3] = ["author", "ada", "bob"];

fn settle(op: &Op, state: &State, now: Timestamp) -> Input {
    match op {
        Op::Tick => Input::Tick,
        Op::Done(at) => Input::Done { id: state.due.get(*at).map_or(999, |due| due.id) },
        Op::Preflight(holds) => {
            Input::Preflight { problems: if *holds { vec![] } else { vec!["a golden row differs".into()] } }
        }
        Op::Look { failures, revision_back, again } => {
            let seq = state.last_look + u64::from(!again);
            look(seq, state.applied.saturating_sub(*revision_back), (10_000, *failures), (10_000, 50))
        }
        Op::Outcomes { hours, cost, revision_back, late } => {
            let known = state.matured.as_ref().map_or(now, |known| known.until);
            let until = Timestamp::from_millis(known.millis() + hours * 3_600_000);
            let values = |cost| Sample::Values(vec![(0.0, 400), (cost, 100)]);
            let revision = state.applied.saturating_sub(*revision_back);
            let look = Look {
                observations: vec![Observation {
                    metric: "cost".into(),
                    slice: None,
                    candidate: values(*cost as f64),
                    baseline: values(3.0),
                }],
                ..seen(revision, (0, 0), (0, 0))
            };
            Input::Outcomes { until, outcomes: 1_000, late: *late, looks: vec![look], of_each: Vec::new() }
        }
        Op::Approve { by, role, inputs } => {
            approve(PEOPLE[*by], ["owner", "viewer"][*role], [b"inputs".as_slice(), b"older"][*inputs], now)
        }
        Op::Proceed(by) => {
            Input::Proceed { by: PEOPLE[*by].into(), why: "so be it".into(), identity: Identity::Unknown }
        }
        Op::Abort => Input::Abort { by: "ada".into(), why: "enough".into() },
        Op::Rollback => Input::Rollback { by: "ada".into(), why: "calls".into() },
        Op::Supersede => Input::Supersede { by: "another".into() },
        Op::Freeze { hours } => Input::Freeze {
            freeze: Freeze {
                id: 1,
                endpoint: None,
                reason: "incident".into(),
                owner: "ada".into(),
                from: now,
                until: hours.map(|hours| Timestamp::from_millis(now.millis() + hours * 3_600_000)),
            },
        },
        Op::Lift => Input::Lift { id: 1 },
    }
}

/// A plan whose judge also waits for what decisions cost.
fn costly() -> Plan {
    let cost = Metric {
        name: "cost".into(),
        kind: Kind::BoundedMean { better: Better::Lower, least: 0.0, most: 10.0, tolerate: 0.0, reject: 0.5 },
        tier: Tier::Label,
        critical: true,
        required: true,
    };
    let measures = Measures {
        label: "late".into(),
        positive: "1".into(),
        costs: None,
        threshold: 0.5,
        thresholds: Vec::new(),
        quality: Quality::Brier,
        kpi: None,
        delay: HOUR,
        kpi_delay: None,
    };
    let mut plan = Plan { measures: Some(measures), ..plan() };
    plan.judge.iter_mut().for_each(|judge| judge.metrics.push(cost.clone()));
    plan
}

/// What must hold of outcomes: each is taken up once, and each stretch of time has one table of traffic.
fn check_outcomes(before: &State, input: &Input, after: &State) -> Result<(), TestCaseError> {
    let (Some(was), Some(is)) = (&before.matured, &after.matured) else { return Ok(()) };
    prop_assert!(is.until >= was.until, "requests were taken up again");
    for pair in is.epochs.windows(2) {
        prop_assert!(pair[0].revision < pair[1].revision, "tables out of order: {:?}", is.epochs);
        prop_assert!(pair[0].until.is_some_and(|until| until <= pair[1].from), "two tables: {:?}", is.epochs);
    }
    prop_assert!(is.epochs.iter().all(|epoch| epoch.until.is_none_or(|until| epoch.from <= until)));
    let Input::Outcomes { until, outcomes, .. } = input else {
        prop_assert_eq!((is.until, is.outcomes), (was.until, was.outcomes));
        return Ok(());
    };
    let is_taken = *until > was.until && !before.phase.is_over();
    prop_assert_eq!(is.outcomes, was.outcomes + if is_taken { *outcomes } else { 0 });
    if !is_taken {
        prop_assert_eq!(&after.judge, &before.judge, "outcomes were taken up twice");
    }
    Ok(())
}

/// What must hold of any step.
fn check_step(plan: &Plan, before: &State, input: &Input, after: &State) -> Result<(), TestCaseError> {
    let (was, is) = (before.traffic.share(candidate()), after.traffic.share(candidate()));
    let copies = |state: &State| state.traffic.shadow.map_or(0, |(_, share)| share);
    if is > was || copies(after) > copies(before) {
        prop_assert!(
            window::is_open(&plan.windows, after.clock),
            "it got more requests outside of its windows"
        );
        prop_assert!(
            !after.freezes.iter().any(|freeze| freeze.holds(&plan.endpoint, after.clock)),
            "it got more requests in a freeze"
        );
    }
    if after.traffic != before.traffic {
        let sum: u32 = after.traffic.arms.iter().map(|(_, share)| *share).sum();
        prop_assert_eq!(sum, 10_000);
        prop_assert_eq!(after.traffic.revision, before.traffic.revision + 1);
    }
    prop_assert!(after.clock >= before.clock, "time was taken back");
    prop_assert!(after.applied <= after.traffic.revision);
    check_outcomes(before, input, after)?;
    // What is over stays so; only somebody who saw harm takes back what is complete.
    let is_taken_back = before.phase == Phase::Complete && matches!(input, Input::Rollback { .. });
    if before.phase.is_over() && !is_taken_back {
        prop_assert_eq!(&after.phase, &before.phase);
        prop_assert_eq!(&after.traffic, &before.traffic);
    }
    if is_taken_back {
        prop_assert_eq!(&after.phase, &Phase::GoingBack { then: Ending::RolledBack });
        prop_assert_eq!(after.traffic.share(incumbent()), 10_000);
    }
    if matches!(before.phase, Phase::GoingBack { .. }) {
        prop_assert_eq!(is, 0, "traffic went to a candidate that was going back");
    }
    if is > was {
        let in_effect = before.applied == before.traffic.revision || matches!(input, Input::Done { .. });
        prop_assert!(in_effect, "traffic was raised before the last change was in effect");
    }
    // Whoever is held out stays with the incumbent until the whole time has passed.
    if is > 0 && after.traffic.share(incumbent()) < plan.holdout && after.traffic != before.traffic {
        let Some(Stage::Full { settle }) = plan.stages.last() else { unreachable!() };
        prop_assert_eq!(&before.phase, &Phase::Settling);
        prop_assert!(before.since.is_some_and(|since| since.plus(*settle) <= after.clock), "too early");
    }
    // Past the gate only with an approval that counts, whatever was sent before.
    if after.stage > 2 && before.stage <= 2 {
        let Stage::Gate { approve } = &plan.stages[2] else { unreachable!() };
        prop_assert!(crate::approval::enough(
            approve,
            &plan.author,
            plan.inputs,
            &after.approvals,
            after.clock
        ));
    }
    // Past a stage with traffic only after requests, unless a person said so.
    if after.stage > before.stage && matches!(plan.stages[before.stage], Stage::Shadow { .. }) {
        let counted = matches!(input, Input::Look { requests, .. } if *requests > 0);
        prop_assert!(before.requests > 0 || counted, "no data advanced");
    }
    if let Input::Look { seq, .. } = input
        && *seq <= before.last_look
    {
        prop_assert_eq!(&after.judge, &before.judge, "a look was taken up twice");
        prop_assert_eq!(
            after.requests.min(before.requests),
            after.requests,
            "its requests were counted twice"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_events_with_crashes_and_clock_jumps(
        ops in prop::collection::vec((op(), -3i64..6, prop::bool::weighted(0.1)), 1..120),
        windows in prop::sample::subsequence(WINDOWS.to_vec(), 0..=2),
        // Clocks in Prague are put back, and those of Lord Howe forward, in October of the year.
        begin in prop::sample::select(vec![0, 47 * 24, 26 * 24]),
    ) {
        let windows = windows.into_iter().map(|window| window.parse().unwrap()).collect();
        let plan = Plan { windows, ..costly() };
        let (mut state, mut log, mut hours) = (start(&plan, at(begin)).unwrap(), Vec::new(), begin);
        for (op, jump, crash) in ops {
            hours += jump;
            let now = at(hours);
            if crash {
                // What was written down is all that is left.
                state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            }
            let input = settle(&op, &state, now);
            let outcome = decide(&plan, &state, &input, now);
            check_step(&plan, &state, &input, &outcome.state)?;
            prop_assert_eq!(&decide(&plan, &state, &input, now), &outcome, "not a function");
            state = outcome.state;
            log.push((now, input));
        }
        let written: Vec<(Timestamp, Input)> =
            serde_json::from_str(&serde_json::to_string(&log).unwrap()).unwrap();
        let replayed = replay(&plan, at(begin), &written).unwrap();
        prop_assert_eq!(
            serde_json::to_string(&replayed).unwrap(),
            serde_json::to_string(&state).unwrap(),
            "the log does not lead to the same bytes"
        );
    }

    /// Whatever happened: with its effects brought about and nothing but time, a rollout that goes back arrives there.
    #[test]
    fn the_way_back_always_ends(ops in prop::collection::vec(op(), 0..60)) {
        let plan = costly();
        let mut state = start(&plan, at(0)).unwrap();
        for op in ops {
            let input = settle(&op, &state, at(1));
            state = decide(&plan, &state, &input, at(1)).state;
        }
        let was_over = state.phase.is_over() && state.phase != Phase::Complete;
        state = decide(&plan, &state, &Input::Rollback { by: "ada".into(), why: "stop".into() }, at(1)).state;
        for _ in 0..20 {
            let Some(due) = state.due.first() else { break };
            let id = due.id;
            state = decide(&plan, &state, &Input::Done { id }, at(1)).state;
        }
        prop_assert!(state.phase.is_over());
        prop_assert!(was_over || state.traffic.share(candidate()) == 0);
    }
}
