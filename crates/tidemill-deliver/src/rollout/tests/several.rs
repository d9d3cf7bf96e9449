//! Several candidates in one rollout: as stories, and as anything that can happen in any order.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["late@5", "late@6", "late@7"];

fn several() -> [Digest; 3] {
    [candidate(), Digest::of(b"second"), Digest::of(b"third")]
}

fn contest() -> Contest {
    let contenders = several().into_iter().zip(NAMES).zip(["author", "author", "cid"]);
    let candidates = contenders
        .map(|((release, name), author)| Contender { release, name: name.into(), author: author.into() })
        .collect();
    Contest { candidates, winner: "errors".into() }
}

/// Copies, two shares with a gate between them, and a gate before all requests.
fn plan_of_three() -> Plan {
    let mut plan = Plan { contest: Some(contest()), ..plan() };
    let gate = plan.stages[2].clone();
    let Stage::Canary { share, .. } = &mut plan.stages[3] else { unreachable!() };
    *share = 2_500;
    plan.stages.insert(4, gate);
    plan.check().unwrap();
    plan
}

fn looks(state: &State, failures: [u64; 3], n: u64) -> Input {
    let looks = several().into_iter().zip(failures).map(|(candidate, failures)| LookAt {
        candidate,
        requests: n,
        look: seen(state.applied, (n, failures), (n, n / 20)),
    });
    Input::Looks { seq: state.last_look + 1, looks: looks.collect() }
}

impl Drive {
    fn see(&mut self, now: Timestamp, failures: [u64; 3]) -> Vec<Transition> {
        let input = looks(&self.state, failures, 1_000);
        let transitions = self.input(now, input);
        self.effects(now);
        transitions
    }

    /// Up to a stage, all candidates being like these.
    fn reach_with(&mut self, stage: usize, now: Timestamp, failures: [u64; 3]) {
        for _ in 0..2_000 {
            if self.state.stage >= stage && self.state.since.is_some() {
                return;
            }
            self.tick(now);
            if self.state.stage < stage {
                self.see(now, failures);
            }
            if self.state.phase == Phase::Awaiting && self.state.stage < stage {
                let inputs = self.state.inputs(&self.plan);
                let approval = Approval {
                    by: "ada".into(),
                    role: "owner".into(),
                    inputs,
                    at: now,
                    identity: Identity::Unknown,
                };
                self.input(now, Input::Approve { approval });
                self.effects(now);
            }
        }
        panic!("stage {stage} was not reached: {:?}", self.state.hold);
    }

    fn fates(&self) -> Vec<&'static str> {
        self.state.contestants.iter().map(|one| one.fate.name()).collect()
    }
}

#[test]
fn each_has_its_share_and_who_does_harm_leaves_alone() {
    let [one, two, three] = several();
    let mut plan = plan_of_three();
    let Stage::Canary { until, .. } = &mut plan.stages[1] else { unreachable!() };
    until.at_least = 24 * HOUR;
    let mut drive = Drive::new(plan);
    drive.tick(at(0));
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 10_000)]);
    let shown: Vec<_> = drive.state.traffic.shown().collect();
    assert_eq!(shown, [(one, 10_000), (two, 10_000), (three, 10_000)]);
    drive.reach_with(1, at(0), [50; 3]);
    let thousand = |of: &[Digest]| -> Vec<(Digest, u32)> { of.iter().map(|one| (*one, 1_000)).collect() };
    assert_eq!(drive.state.traffic.arms[1..], thousand(&[one, two, three]));
    let (since, revision) = (drive.state.since, drive.state.traffic.revision);

    let mut told = Vec::new();
    while drive.fates()[1] == "in" {
        told = drive.see(at(1), [50, 400, 50]);
    }
    assert_eq!(drive.fates(), ["in", "dropped", "in"]);
    assert_eq!(drive.state.traffic.arms, [vec![(incumbent(), 8_000)], thousand(&[one, three])].concat());
    assert_eq!(drive.state.traffic.revision, revision + 1, "one change of traffic");
    assert_eq!(drive.state.since, since, "the times of the stage go on");
    assert_eq!(told[0].why, "late@6 is out: `errors` is proven to be harmed; the others go on");
    assert_eq!((&told[0].from, &told[0].to), (&told[0].to, &Phase::Canary { share: 1_000 }));
    let quarantined: Vec<Digest> = quarantines(&drive).collect();
    assert_eq!(quarantined, [two]);

    // The last ones that do harm take the rollout with them.
    for _ in 0..50 {
        drive.see(at(2), [500, 50, 500]);
    }
    assert_eq!(drive.state.phase, Phase::RolledBack);
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 10_000)]);
    assert_eq!(quarantines(&drive).collect::<BTreeSet<_>>(), BTreeSet::from(several()));
}

/// Releases that went into quarantine, by the log.
fn quarantines(drive: &Drive) -> impl Iterator<Item = Digest> {
    let mut state = start(&drive.plan, at(0)).unwrap();
    let mut found = BTreeSet::new();
    for (now, input) in &drive.log {
        state = decide(&drive.plan, &state, input, *now).state;
        found.extend(state.due.iter().filter_map(|due| match &due.effect {
            Effect::Quarantine { release, .. } => Some(*release),
            _ => None,
        }));
    }
    found.into_iter()
}

#[test]
fn the_best_is_chosen_and_only_it_is_approved_and_goes_on() {
    let two = several()[1];
    let mut drive = Drive::new(plan_of_three());
    drive.reach_with(3, at(0), [45, 20, 48]);
    assert_eq!(drive.fates(), ["in"; 3]);
    let before = drive.state.inputs(&drive.plan);
    let mut told = Vec::new();
    while drive.state.stage == 3 {
        told = drive.see(at(3), [45, 20, 48]);
    }
    assert_eq!(drive.fates(), ["not chosen", "chosen", "not chosen"]);
    let why = &told[0].why;
    assert!(why.starts_with("the stage is over; late@6 was chosen by `errors`: 0.4"), "{why}");
    assert!(
        why.contains("against late@5 0.9") && why.ends_with("; proven to be better than late@5"),
        "{why}"
    );
    assert_eq!(drive.state.phase, Phase::Awaiting);
    // Who was not chosen has no request any more, already while people think about it.
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 7_500), (two, 2_500)]);

    let approve = |inputs, by: &str| Input::Approve {
        approval: Approval {
            by: by.into(),
            role: "owner".into(),
            inputs,
            at: at(4),
            identity: Identity::Unknown,
        },
    };
    for (inputs, by) in [
        (before, "ada"),
        (drive.state.inputs(&drive.plan), "author"),
        (drive.state.inputs(&drive.plan), "cid"),
    ] {
        assert!(permit(&drive.plan, &drive.state, &approve(inputs, by)).is_err(), "{by}");
    }
    let drop = Input::Drop { candidate: two, by: "ada".into(), why: "no".into(), harm: false };
    let denied = permit(&drive.plan, &drive.state, &drop).unwrap_err().to_string();
    assert_eq!(denied, "late@6 was chosen; abort the rollout, or roll it back");
    drive.input(at(4), approve(drive.state.inputs(&drive.plan), "ada"));
    drive.effects(at(4));
    assert_eq!(drive.state.phase, Phase::Settling);
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 100), (two, 9_900)]);
    drive.tick(at(30));
    drive.tick(at(30));
    let recorded = drive.log.len();
    assert_eq!(
        (drive.state.phase.clone(), drive.state.traffic.arms.clone()),
        (Phase::Complete, vec![(two, 10_000)])
    );
    assert!(recorded > 0 && quarantines(&drive).count() == 0, "nobody did harm");
    // A log leads to the same bytes.
    let replayed = replay(&drive.plan, at(0), &drive.log).unwrap();
    assert_eq!(serde_json::to_string(&replayed).unwrap(), serde_json::to_string(&drive.state).unwrap());
}

#[test]
fn equals_are_only_estimated_to_be_better_and_ties_go_by_order() {
    let mut drive = Drive::new(plan_of_three());
    drive.reach_with(3, at(0), [50; 3]);
    while drive.state.stage == 3 {
        drive.see(at(3), [50; 3]);
    }
    assert_eq!(drive.state.winner(), Some(candidate()));
    let Fate::Chosen { why, .. } = &drive.state.contestants[0].fate else { unreachable!() };
    assert!(why.ends_with("; no difference from late@6 is seen, so their order decides"), "{why}");
    let mut drive = Drive::new(plan_of_three());
    drive.reach_with(3, at(0), [50, 48, 50]);
    while drive.state.stage == 3 {
        drive.see(at(3), [50, 48, 50]);
    }
    let Fate::Chosen { why, .. } = &drive.state.contestants[1].fate else { unreachable!() };
    assert!(why.ends_with("; estimated to be better than late@5, not proven"), "{why}");
}

#[test]
fn nobody_waits_for_a_straggler_beyond_the_longest_time() {
    let mut plan = plan_of_three();
    plan.stages.drain(2..5);
    let mut drive = Drive::new(plan);
    drive.reach_with(1, at(0), [50; 3]);
    // The third is somewhere between what is tolerated and what is rejected.
    let waiting = |drive: &Drive| match &drive.state.hold {
        Some(Hold::Candidates { waiting }) => waiting.iter().map(|one| one.name.clone()).collect(),
        _ => Vec::new(),
    };
    while waiting(&drive) != ["late@7"] {
        drive.see(at(1), [40, 50, 75]);
    }
    let told = drive.input(at(50), Input::Tick);
    assert_eq!(drive.fates(), ["in", "in", "not chosen"], "{told:?}");
    let late = "late@7 is out: it was not decided in time: `errors` is not proven to be below its limit; the others go on";
    assert_eq!(told[0].why, late);
    // First it gives back what it had.
    assert_eq!(drive.state.traffic.arms.len(), 3);
    drive.effects(at(50));
    assert_eq!(drive.fates(), ["chosen", "not chosen", "not chosen"]);

    // Where nobody is through, a person decides, as with one candidate.
    let mut plan = plan_of_three();
    plan.stages.drain(2..5);
    let mut drive = Drive::new(plan);
    drive.reach_with(1, at(0), [50; 3]);
    drive.see(at(1), [80; 3]);
    drive.tick(at(50));
    assert!(matches!(drive.state.hold, Some(Hold::TimedOut { .. })), "{:?}", drive.state.hold);
    let proceed =
        |by: &str| Input::Proceed { by: by.into(), why: "so be it".into(), identity: Identity::Unknown };
    assert!(permit(&drive.plan, &drive.state, &proceed("cid")).is_err(), "its own release");
    drive.input(at(51), proceed("ada"));
    assert_eq!(drive.state.winner(), Some(candidate()));
}

#[test]
fn people_take_candidates_out() {
    let [one, two, three] = several();
    let drop = |candidate, harm| Input::Drop { candidate, by: "ada".into(), why: "calls".into(), harm };
    let mut drive = Drive::new(plan_of_three());
    drive.input(at(0), Input::Tick);
    // Before its first request, too.
    drive.input(at(0), drop(three, false));
    drive.effects(at(0));
    drive.tick(at(0));
    assert_eq!(drive.state.traffic.shown().map(|(one, _)| one).collect::<Vec<_>>(), [one, two]);
    drive.reach_with(1, at(0), [50; 3]);
    for (input, why) in [
        (drop(three, false), "late@7 is out already: ada: calls"),
        (drop(incumbent(), false), "the release is no candidate of it; they are late@5, late@6, late@7"),
    ] {
        assert_eq!(permit(&drive.plan, &drive.state, &input).unwrap_err().to_string(), why);
    }
    let told = drive.input(at(1), drop(two, true));
    assert_eq!(told[0].why, "late@6 is out: ada: calls; the others go on");
    drive.effects(at(1));
    assert_eq!(quarantines(&drive).collect::<Vec<_>>(), [two]);
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 9_000), (one, 1_000)]);
    drive.input(at(1), drop(one, false));
    drive.effects(at(1));
    assert_eq!((&drive.state.phase, quarantines(&drive).count()), (&Phase::Aborted, 1));
    let alone = Drive::new(plan());
    let denied = permit(&alone.plan, &alone.state, &drop(one, false)).unwrap_err().to_string();
    assert_eq!(denied, "the rollout has one candidate; abort it, or roll it back");
}

#[test]
fn outcomes_are_taken_up_once_by_whoever_is_in() {
    let measures = crate::outcome::Measures {
        label: "late".into(),
        positive: "1".into(),
        costs: None,
        threshold: 0.5,
        thresholds: vec![],
        quality: crate::outcome::Quality::default(),
        kpi: None,
        delay: HOUR,
        kpi_delay: None,
    };
    let mut drive = Drive::new(Plan { measures: Some(measures), ..plan_of_three() });
    drive.reach_with(1, at(0), [50; 3]);
    let epoch = *drive.state.matured().unwrap().epochs.last().unwrap();
    assert_eq!((epoch.candidate, epoch.incumbent, epoch.shadow), (1_000, 7_000, 0), "of each that is in");
    let drop = Input::Drop { candidate: several()[1], by: "ada".into(), why: "no".into(), harm: false };
    drive.input(at(0), drop);
    drive.effects(at(0));
    let epoch = *drive.state.matured().unwrap().epochs.last().unwrap();
    assert_eq!((epoch.candidate, epoch.incumbent), (1_000, 8_000));
    let seen_by = |drive: &Drive| -> Vec<u64> {
        drive.state.contestants.iter().map(|one| one.judge.view()[0].candidate).collect()
    };
    let (before, requests) = (seen_by(&drive), drive.state.requests);
    let of_each =
        several().map(|candidate| LookAt { candidate, requests: 0, look: seen(2, (300, 15), (900, 45)) });
    let outcomes =
        Input::Outcomes { until: at(2), outcomes: 1_200, late: 0, looks: vec![], of_each: of_each.to_vec() };
    for _ in 0..2 {
        drive.input(at(3), outcomes.clone());
        let after = seen_by(&drive);
        assert_eq!(after, [before[0] + 300, before[1], before[2] + 300]);
        assert_eq!(drive.state.requests, requests, "they are of earlier requests");
    }
}

#[test]
fn plans_of_several_that_cannot_be() {
    let with = |change: fn(&mut Plan)| {
        let mut plan = plan_of_three();
        change(&mut plan);
        plan.check().unwrap_err().to_string()
    };
    let crowded = with(|plan| {
        let Stage::Canary { share, .. } = &mut plan.stages[3] else { unreachable!() };
        *share = 3_300;
    });
    assert_eq!(
        crowded,
        "stage 4: 3 candidates with 33 % each and the holdout are 100 % together, which leaves the incumbent nothing"
    );
    let contest = |plan: &mut Plan, change: fn(&mut Contest)| change(plan.contest.as_mut().unwrap());
    assert!(with(|plan| plan.incumbent = None).contains("none does; release one of them first"));
    assert!(with(|plan| plan.incumbent = Some(several()[2])).contains("2 to 8 different candidates"));
    for change in [
        |contest: &mut Contest| contest.candidates.truncate(1),
        |contest: &mut Contest| contest.candidates.swap(0, 1),
        |contest: &mut Contest| contest.candidates[1] = contest.candidates[2].clone(),
        |contest: &mut Contest| {
            let more =
                (0..6u8).map(|at| Contender { release: Digest::of(&[at]), ..contest.candidates[0].clone() });
            contest.candidates.extend(more.collect::<Vec<_>>());
        },
    ] {
        let mut plan = plan_of_three();
        contest(&mut plan, change);
        assert_eq!(plan.check(), Err(PlanError::Candidates));
    }
    assert!(with(|plan| plan.contest.as_mut().unwrap().winner = "cost".into()).contains("`cost`"));
    let unjudged = |stage: &mut Stage| {
        if let Stage::Shadow { until, .. } | Stage::Canary { until, .. } = stage {
            until.verdict = false;
        }
    };
    let mut plan = plan_of_three();
    plan.stages.iter_mut().for_each(unjudged);
    assert_eq!(plan.check(), Err(PlanError::NoChoice));
}

/// Something that may happen to several candidates.
#[derive(Clone, Debug)]
enum Op {
    Tick,
    Done(usize),
    Preflight(bool),
    Looks { failures: [u64; 3], again: bool },
    Approve { by: usize, is_current: bool },
    Proceed(usize),
    Drop { at: usize, harm: bool },
    Rollback,
    Abort,
    Freeze(i64),
    Lift,
}

fn op() -> impl Strategy<Value = Op> {
    let failures = || prop_oneof![8 => Just(500u64), 1 => Just(2_000), 1 => Just(0)];
    prop_oneof![
        6 => Just(Op::Tick),
        12 => (0..5usize).prop_map(Op::Done),
        4 => prop::bool::weighted(0.95).prop_map(Op::Preflight),
        24 => ([failures(), failures(), failures()], prop::bool::weighted(0.1))
            .prop_map(|(failures, again)| Op::Looks { failures, again }),
        5 => (0..3usize, any::<bool>()).prop_map(|(by, is_current)| Op::Approve { by, is_current }),
        1 => (0..3usize).prop_map(Op::Proceed),
        2 => (0..4usize, any::<bool>()).prop_map(|(at, harm)| Op::Drop { at, harm }),
        1 => prop::bool::weighted(0.2).prop_map(|end| if end { Op::Rollback } else { Op::Tick }),
        1 => prop::bool::weighted(0.2).prop_map(|end| if end { Op::Abort } else { Op::Tick }),
        1 => (0..20i64).prop_map(Op::Freeze),
        1 => Just(Op::Lift),
    ]
}

fn input_of(op: &Op, plan: &Plan, state: &State, now: Timestamp) -> Input {
    let people = ["cid", "ada", "bob"];
    match op {
        Op::Tick => Input::Tick,
        Op::Done(at) => Input::Done { id: state.due.get(*at).map_or(999, |due| due.id) },
        Op::Preflight(holds) => {
            Input::Preflight { problems: if *holds { vec![] } else { vec!["late@6: no".into()] } }
        }
        Op::Looks { failures, again } => match looks(state, *failures, 10_000) {
            Input::Looks { seq, looks } => Input::Looks { seq: seq - u64::from(*again), looks },
            other => other,
        },
        Op::Approve { by, is_current } => {
            let inputs = if *is_current { state.inputs(plan) } else { plan.inputs };
            let approval = Approval {
                by: people[*by].into(),
                role: "owner".into(),
                inputs,
                at: now,
                identity: Identity::Unknown,
            };
            Input::Approve { approval }
        }
        Op::Proceed(by) => {
            Input::Proceed { by: people[*by].into(), why: "so be it".into(), identity: Identity::Unknown }
        }
        Op::Drop { at, harm } => {
            let candidate = several().get(*at).copied().unwrap_or_else(incumbent);
            Input::Drop { candidate, by: "ada".into(), why: "calls".into(), harm: *harm }
        }
        Op::Rollback => Input::Rollback { by: "ada".into(), why: "calls".into() },
        Op::Abort => Input::Abort { by: "ada".into(), why: "enough".into() },
        Op::Freeze(hours) => {
            let until = Timestamp::from_millis(now.millis() + hours * 3_600_000);
            Input::Freeze { freeze: Freeze { from: now, ..incident(1, until) } }
        }
        Op::Lift => Input::Lift { id: 1 },
    }
}

/// What must hold of any step with several candidates.
fn check_step(plan: &Plan, before: &State, after: &State) -> Result<(), TestCaseError> {
    let living = after.living(plan);
    let frozen = after.freezes.iter().any(|freeze| freeze.holds(&plan.endpoint, after.clock));
    let chosen = after.contestants.iter().filter(|one| matches!(one.fate, Fate::Chosen { .. })).count();
    prop_assert!(chosen <= 1, "more than one was chosen");
    if after.traffic.revision > 0 {
        let sum: u32 = after.traffic.arms.iter().map(|(_, share)| *share).sum();
        prop_assert_eq!(sum, 10_000);
    }
    let is_changed = after.traffic != before.traffic;
    prop_assert_eq!(after.traffic.revision, before.traffic.revision + u64::from(is_changed));
    let going_back = matches!(after.phase, Phase::GoingBack { .. }) || after.phase.is_over();
    for (was, is) in before.contestants.iter().zip(&after.contestants) {
        let (had, has) = (before.traffic.share(was.release), after.traffic.share(was.release));
        let shown = after.traffic.copies(was.release);
        prop_assert!(was.fate.is_living() || !is.fate.is_living(), "it came back");
        prop_assert!(is.fate.is_living() || has + shown == 0, "who is out had requests");
        prop_assert!(!(has > had && frozen), "more requests in a freeze");
        if is.fate.is_living() && !going_back {
            prop_assert!(has >= had, "somebody was moved away from a candidate that is in");
        }
        if !was.fate.is_living() {
            prop_assert_eq!(&was.judge, &is.judge, "it was judged after it was out");
        }
    }
    if chosen == 0 {
        let shares: BTreeSet<u32> = living.iter().map(|one| after.traffic.share(*one)).collect();
        prop_assert!(shares.len() <= 1, "not the same share for each: {shares:?}");
    }
    // Nothing goes on beyond the last stage that tells them apart without the one that was chosen.
    if after.stage > 3 && !going_back {
        prop_assert_eq!(chosen, 1);
    }
    if after.stage > 4 && before.stage <= 4 {
        let Stage::Gate { approve } = &plan.stages[4] else { unreachable!() };
        let inputs = after.inputs(plan);
        prop_assert!(crate::approval::enough(approve, &plan.author, inputs, &after.approvals, after.clock));
        prop_assert!(after.approvals.iter().all(|approval| approval.by != "cid"), "an author approved");
    }
    for due in &after.due {
        let Effect::Quarantine { release, .. } = &due.effect else { continue };
        let fate = after.contestants.iter().find(|one| one.release == *release).map(|one| &one.fate);
        prop_assert!(
            matches!(fate, Some(Fate::Dropped { harm: true, .. })),
            "quarantine without harm: {fate:?}"
        );
    }
    if after.phase == Phase::Complete {
        prop_assert_eq!(&after.traffic.arms, &vec![(after.winner().unwrap(), 10_000)]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_events_with_crashes_and_clock_jumps(
        ops in prop::collection::vec((op(), -3i64..8, prop::bool::weighted(0.1)), 1..160),
    ) {
        let plan = plan_of_three();
        let (mut state, mut log, mut hours) = (start(&plan, at(0)).unwrap(), Vec::new(), 0);
        let mut quarantined = BTreeSet::new();
        for (op, jump, crash) in ops {
            hours += jump;
            let now = at(hours);
            if crash {
                state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            }
            let input = input_of(&op, &plan, &state, now);
            let outcome = decide(&plan, &state, &input, now);
            check_step(&plan, &state, &outcome.state)?;
            state = outcome.state;
            quarantined.extend(state.due.iter().filter_map(|due| match &due.effect {
                Effect::Quarantine { release, .. } => Some(*release),
                _ => None,
            }));
            log.push((now, input));
        }
        let harmful: BTreeSet<Digest> = state
            .contestants
            .iter()
            .filter(|one| matches!(one.fate, Fate::Dropped { harm: true, .. }))
            .map(|one| one.release)
            .collect();
        prop_assert_eq!(quarantined, harmful, "whoever did harm is in quarantine, and nobody else");
        let written: Vec<(Timestamp, Input)> =
            serde_json::from_str(&serde_json::to_string(&log).unwrap()).unwrap();
        let replayed = replay(&plan, at(0), &written).unwrap();
        prop_assert_eq!(serde_json::to_string(&replayed).unwrap(), serde_json::to_string(&state).unwrap());
    }
}
