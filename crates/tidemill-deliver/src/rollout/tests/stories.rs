//! One story a test.

use super::*;

#[test]
fn a_healthy_candidate_gets_everything() {
    let mut drive = Drive::new(plan());
    drive.tick(at(0));
    assert_eq!(drive.state.phase, Phase::Shadow);
    assert_eq!(drive.state.traffic.share(candidate()), 0);
    assert_eq!(drive.state.traffic.shadow, Some((candidate(), 10_000)));

    drive.reach(2, at(1));
    assert_eq!(drive.state.phase, Phase::Awaiting);
    assert_eq!(drive.state.traffic.share(candidate()), 1_000, "the canary's share stays while people decide");
    assert!(matches!(drive.state.hold, Some(Hold::Approvals { have: 0, need: 1, .. })));

    drive.input(at(2), approve("ada", "owner", b"inputs", at(2)));
    drive.effects(at(2));
    assert_eq!(drive.state.phase, Phase::Canary { share: 5_000 });
    drive.look(at(2), (1000, 5), (1000, 5));
    assert_eq!(drive.state.hold, Some(Hold::Time { until: at(4) }));

    drive.tick(at(4));
    drive.tick(at(4));
    assert_eq!(drive.state.phase, Phase::Settling);
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 100), (candidate(), 9_900)]);
    drive.tick(at(27));
    assert_eq!(drive.state.phase, Phase::Settling);
    drive.tick(at(28));
    assert_eq!(drive.state.phase, Phase::Complete);
    assert_eq!(drive.state.traffic.arms, [(candidate(), 10_000)]);
    assert!(drive.state.due.is_empty());
    assert_eq!(replay(&drive.plan, at(0), &drive.log).unwrap(), drive.state);
}

#[test]
fn a_harmful_candidate_goes_back_and_into_quarantine() {
    let mut drive = Drive::new(plan());
    drive.tick(at(0));
    drive.reach(1, at(0));
    for _ in 0..200 {
        drive.look(at(1), (1000, 20), (1000, 5));
    }
    assert_eq!(drive.state.phase, Phase::GoingBack { then: Ending::RolledBack });
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 10_000)]);
    let quarantined =
        |due: &Due| matches!(due.effect, Effect::Quarantine { release, .. } if release == candidate());
    assert!(drive.state.due.iter().any(quarantined));
    drive.effects(at(1));
    assert_eq!(drive.state.phase, Phase::RolledBack);
    assert_eq!(Concurrency::Queue.admit(false, true), Admission::Quarantined);
}

#[test]
fn harm_that_is_proven_while_it_settles_goes_back_too() {
    let mut drive = settling(plan());
    // Outcomes of the canary's requests that became known late.
    for seq in 0..300 {
        let late = look(drive.looks + 1 + seq, 2, (1000, 30), (1000, 5));
        drive.input(at(4), late);
    }
    assert_eq!(drive.state.phase, Phase::GoingBack { then: Ending::RolledBack });
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 10_000)]);
}

#[test]
fn a_freeze_stops_the_advance_and_not_the_way_back() {
    let mut drive = Drive::new(plan());
    drive.tick(at(0));
    drive.reach(1, at(0));
    let freeze = incident(7, at(10));
    drive.input(at(0), Input::Freeze { freeze });
    for _ in 0..300 {
        drive.look(at(1), (1000, 5), (1000, 5));
    }
    assert!(matches!(drive.state.hold, Some(Hold::Freeze { id: 7, .. })));
    assert_eq!(drive.state.stage, 1);
    let mut harmful =
        Drive { plan: drive.plan.clone(), state: drive.state.clone(), log: vec![], looks: drive.looks };
    for _ in 0..2_000 {
        harmful.look(at(1), (1000, 40), (1000, 5));
    }
    assert_eq!(harmful.state.phase, Phase::GoingBack { then: Ending::RolledBack });
    drive.tick(at(10));
    assert_eq!(drive.state.phase, Phase::Awaiting, "over by itself");
}

#[test]
fn stopping_the_line_holds_until_it_is_lifted() {
    let mut drive = Drive::new(plan());
    drive.tick(at(0));
    let freeze = Freeze {
        id: 1,
        endpoint: Some("churn".into()),
        reason: "stop the line".into(),
        owner: "ada".into(),
        from: at(0),
        until: None,
    };
    drive.input(at(0), Input::Freeze { freeze });
    drive.look(at(0), (1000, 5), (1000, 5));
    drive.tick(at(10_000));
    assert_eq!(drive.state.phase, Phase::Shadow);
    drive.input(at(10_000), Input::Lift { id: 1 });
    assert_eq!(drive.state.stage, 1);
}

#[test]
fn outside_of_its_windows_nothing_advances() {
    // The first moment is 01:46:40 on a Sunday in UTC, 03:46:40 in Prague.
    let early = "Sun 03:00-04:00 Europe/Prague".parse().unwrap();
    let mut drive = Drive::new(Plan { windows: vec![early], ..plan() });
    drive.tick(at(0));
    assert_eq!(drive.state.phase, Phase::Shadow);
    for _ in 0..300 {
        drive.look(at(1), (1000, 5), (1000, 5));
    }
    let opens = Timestamp::parse("2001-09-16T01:00:00Z");
    assert_eq!(drive.state.hold, Some(Hold::Window { opens }));
    drive.tick(at(7 * 24 - 1));
    assert_eq!(drive.state.phase, Phase::Shadow, "not yet");
    drive.tick(at(7 * 24));
    assert_eq!(drive.state.phase, Phase::Canary { share: 1_000 });
    // What the people of a gate say changes nothing about the time, and harm goes back at any.
    drive.reach(2, at(7 * 24));
    drive.input(at(7 * 24 + 2), approve("ada", "owner", b"inputs", at(7 * 24 + 2)));
    assert!(matches!(drive.state.hold, Some(Hold::Window { .. })), "{:?}", drive.state.hold);
    drive.tick(at(14 * 24));
    assert_eq!(drive.state.stage, 2, "the approval has expired");
    drive.input(at(14 * 24), approve("ada", "owner", b"inputs", at(14 * 24)));
    assert_eq!(drive.state.phase, Phase::Canary { share: 5_000 });
    drive.effects(at(14 * 24));
    for _ in 0..50 {
        drive.look(at(14 * 24 + 9), (1000, 100), (1000, 5));
    }
    assert_eq!(drive.state.phase, Phase::GoingBack { then: Ending::RolledBack });
}

#[test]
fn who_is_held_out_stays_with_the_incumbent_until_it_has_settled() {
    let full = Stage::Full { settle: 24 * HOUR };
    let mut drive = Drive::new(Plan { stages: vec![full], windows: vec![], ..plan() });
    drive.tick(at(0));
    assert_eq!(drive.state.phase, Phase::Settling);
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 100), (candidate(), 9_900)]);
    assert!(drive.state.traffic.warm.is_empty(), "it answers, so it is ready");
    let mut harmful =
        Drive { plan: drive.plan.clone(), state: drive.state.clone(), log: vec![], looks: drive.looks };
    for _ in 0..100 {
        harmful.look(at(1), (9_900, 900), (100, 1));
    }
    assert_eq!(harmful.state.phase, Phase::GoingBack { then: Ending::RolledBack }, "they are compared with");
    let freeze = incident(1, at(30));
    drive.input(at(20), Input::Freeze { freeze });
    drive.tick(at(24));
    assert!(matches!(drive.state.hold, Some(Hold::Freeze { .. })), "for them it is more requests");
    drive.input(at(30), Input::Tick);
    assert_eq!(drive.state.traffic.arms, [(candidate(), 10_000)]);
    assert_eq!((&drive.state.phase, &drive.state.hold), (&Phase::Settling, &Some(Hold::Traffic)));
    drive.effects(at(30));
    assert_eq!(drive.state.phase, Phase::Complete);
}

#[test]
fn the_first_stage_waits_for_its_time_too() {
    let freeze = incident(1, at(3));
    let mut drive = Drive::new(Plan {
        stages: vec![Stage::Full { settle: Duration::ZERO }],
        windows: vec!["Mon 00:00-24:00".parse().unwrap()],
        ..plan()
    });
    drive.input(at(0), Input::Freeze { freeze });
    drive.input(at(0), Input::Tick);
    let told = drive.input(at(0), Input::Preflight { problems: vec![] });
    assert_eq!(told.len(), 1, "what gates said is kept with an event: {told:?}");
    assert_eq!((&told[0].from, &told[0].to), (&Phase::Preflight, &Phase::Preflight));
    assert!(matches!(drive.state.hold, Some(Hold::Freeze { id: 1, .. })), "{:?}", drive.state.hold);
    drive.tick(at(3));
    let opens = Timestamp::parse("2001-09-10T00:00:00Z");
    assert_eq!((&drive.state.phase, &drive.state.hold), (&Phase::Preflight, &Some(Hold::Window { opens })));
    assert_eq!(drive.state.traffic.revision, 0, "nothing was routed");
    drive.tick(at(24));
    assert_eq!(drive.state.phase, Phase::Complete);
}

#[test]
fn no_data_holds_for_ever_and_then_a_person_decides() {
    let mut drive = Drive::new(plan());
    drive.tick(at(0));
    drive.reach(1, at(0));
    drive.tick(at(47));
    assert!(matches!(drive.state.hold, Some(Hold::Samples { have: 0, need: 100 })));
    drive.tick(at(100));
    assert!(matches!(drive.state.hold, Some(Hold::TimedOut { .. })));
    let word = |by: &str| Input::Proceed {
        by: by.into(),
        why: "holiday traffic".into(),
        identity: Identity::Unknown,
    };
    assert_eq!(permit(&drive.plan, &drive.state, &word("author")), Err(Denied::Author("author".into())));
    drive.input(at(100), word("author"));
    assert_eq!(drive.state.stage, 1);
    drive.input(at(100), word("ada"));
    assert_eq!(drive.state.phase, Phase::Awaiting);
}

#[test]
fn approvals_of_the_author_of_strangers_and_of_other_inputs_do_not_count() {
    let mut drive = Drive::new(plan());
    drive.tick(at(0));
    let early = approve("ada", "owner", b"inputs", at(0));
    assert!(matches!(permit(&drive.plan, &drive.state, &early), Err(Denied::Approval(_))));
    drive.reach(2, at(0));
    for (by, role, inputs) in
        [("author", "owner", b"inputs".as_slice()), ("eve", "viewer", b"inputs"), ("ada", "owner", b"older")]
    {
        let input = approve(by, role, inputs, at(1));
        assert!(permit(&drive.plan, &drive.state, &input).is_err());
        drive.input(at(1), input);
        assert_eq!(drive.state.phase, Phase::Awaiting);
    }
    drive.input(at(1), approve("ada", "owner", b"inputs", at(1)));
    assert_eq!(drive.state.phase, Phase::Canary { share: 5_000 });
}

#[test]
fn an_approval_expires() {
    let mut two = plan();
    two.stages[2] = Stage::Gate {
        approve: Rule {
            role: "owner".into(),
            people: vec![],
            count: 2,
            expires: Some(72 * HOUR),
            authenticated: false,
        },
    };
    let mut drive = Drive::new(two);
    drive.tick(at(0));
    drive.reach(2, at(0));
    drive.input(at(1), approve("ada", "owner", b"inputs", at(1)));
    drive.input(at(90), approve("bob", "owner", b"inputs", at(90)));
    assert!(matches!(drive.state.hold, Some(Hold::Approvals { have: 1, need: 2, .. })));
    drive.input(at(91), approve("ada", "owner", b"inputs", at(91)));
    assert_eq!(drive.state.phase, Phase::Canary { share: 5_000 });
}

#[test]
fn a_candidate_that_does_not_pass_its_checks_never_gets_a_request() {
    let mut drive = Drive::new(plan());
    drive.input(at(0), Input::Tick);
    drive.input(at(0), Input::Preflight { problems: vec!["column `age` is missing".into()] });
    assert_eq!(drive.state.phase, Phase::Refused);
    assert_eq!(drive.state.traffic, Traffic::default());
}

#[test]
fn ended_by_a_person_it_may_be_tried_again() {
    let mut drive = Drive::new(plan());
    drive.tick(at(0));
    drive.reach(1, at(0));
    drive.input(at(1), Input::Abort { by: "ada".into(), why: "wrong week".into() });
    assert!(!drive.state.due.iter().any(|due| matches!(due.effect, Effect::Quarantine { .. })));
    drive.effects(at(1));
    assert_eq!(drive.state.phase, Phase::Aborted);
    let over = Input::Rollback { by: "ada".into(), why: "late".into() };
    assert_eq!(permit(&drive.plan, &drive.state, &over), Err(Denied::Over("aborted")));
}

#[test]
fn what_never_had_a_request_gives_none_back() {
    let mut drive = Drive::new(plan());
    drive.input(at(0), Input::Supersede { by: "another".into() });
    assert_eq!(drive.state.phase, Phase::Superseded);
    assert!(drive.state.due.is_empty());
}

#[test]
fn blue_green_is_full_alone() {
    let stages = vec![Stage::Full { settle: HOUR }];
    let mut drive = Drive::new(Plan { stages, judge: None, holdout: 0, ..plan() });
    drive.tick(at(0));
    assert_eq!(drive.state.phase, Phase::Settling);
    assert_eq!(drive.state.traffic.warm, [incumbent()]);
    drive.input(at(0), Input::Rollback { by: "ada".into(), why: "calls from customers".into() });
    drive.effects(at(0));
    assert_eq!(
        (drive.state.phase, drive.state.traffic.arms),
        (Phase::RolledBack, vec![(incumbent(), 10_000)])
    );
}

#[test]
fn plans_that_cannot_be() {
    let with = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        plan.check().unwrap_err().to_string()
    };
    assert!(with(|plan| plan.stages.clear()).contains("no stage"));
    assert!(with(|plan| drop(plan.stages.pop())).contains("last stage must be `full`"));
    assert!(with(|plan| plan.incumbent = None).contains("stage 1 compares with the incumbent"));
    assert!(with(|plan| plan.incumbent = Some(candidate())).contains("same release"));
    assert!(with(|plan| plan.judge = None).contains("stage 2 waits for a verdict"));
    assert!(with(|plan| plan.stages.swap(1, 3)).contains("not above"));
    assert!(with(|plan| plan.holdout = 5_000).contains("10000"));
    assert!(with(|plan| plan.judge.as_mut().unwrap().error_budget = 2.0).contains("error_budget"));
}

#[test]
fn what_a_second_rollout_does() {
    for (policy, admission) in [
        (Concurrency::Queue, Admission::Wait),
        (Concurrency::Supersede, Admission::EndOther),
        (Concurrency::Reject, Admission::Busy),
    ] {
        assert_eq!(policy.admit(true, false), admission);
        assert_eq!(policy.admit(false, false), Admission::Start);
    }
}

/// Plans and states that were stored before there could be several candidates must be read, and replayed to the same bytes.
#[test]
fn the_bytes_of_a_rollout_with_one_candidate_are_as_they_were() {
    let mut drive = Drive::new(plan());
    drive.reach(1, at(0));
    drive.look(at(1), (1000, 20), (1000, 5));
    drive.tick(at(2));
    let written = [serde_json::to_string(&drive.plan).unwrap(), serde_json::to_string(&drive.state).unwrap()];
    assert_eq!(written.map(|text| Digest::of(text.as_bytes()).short()), ["958950e18ac1", "c144cc262ec1"]);
}

/// Up to where the candidate settles.
fn settling(plan: Plan) -> Drive {
    let mut drive = Drive::new(plan);
    drive.tick(at(0));
    drive.reach(2, at(0));
    drive.input(at(0), approve("ada", "owner", b"inputs", at(0)));
    drive.effects(at(0));
    drive.reach(4, at(3));
    drive.effects(at(3));
    assert_eq!(drive.state.phase, Phase::Settling);
    drive
}

/// Where the candidate has all requests, held against what the incumbent did until then.
fn alone() -> Drive {
    let drive = settling(Plan { holdout: 0, ..plan() });
    assert_eq!(drive.state.traffic.share(candidate()), 10_000);
    drive
}

#[test]
fn a_candidate_that_begins_to_fail_when_it_has_all_requests_goes_back() {
    let mut healthy = alone();
    for _ in 0..200 {
        healthy.look(at(4), (1_000, 5), (0, 0));
    }
    assert_eq!(healthy.state.phase, Phase::Settling);
    healthy.tick(at(27));
    assert_eq!(healthy.state.phase, Phase::Complete);

    let mut failing = alone();
    failing.look(at(4), (100, 60), (0, 0));
    failing.look(at(4), (100, 60), (0, 0));
    assert_eq!(failing.state.phase, Phase::GoingBack { then: Ending::RolledBack });
    assert_eq!(replay(&failing.plan, at(0), &failing.log).unwrap(), failing.state);
}

#[test]
fn what_is_complete_can_be_taken_back_in_one_change_and_nobody_has_to_agree() {
    let mut drive = alone();
    drive.tick(at(27));
    assert_eq!(drive.state.phase, Phase::Complete);
    let abort = Input::Abort { by: "ada".into(), why: "no".into() };
    assert_eq!(permit(&drive.plan, &drive.state, &abort), Err(Denied::Over("complete")));
    drive.input(at(27), Input::Freeze { freeze: incident(1, at(50)) });
    drive.input(at(28), Input::Rollback { by: "author".into(), why: "calls".into() });
    assert_eq!(drive.state.phase, Phase::GoingBack { then: Ending::RolledBack });
    assert_eq!(drive.state.traffic.arms, [(incumbent(), 10_000)]);
    let due: Vec<Effect> = drive.state.due.iter().map(|due| due.effect.clone()).collect();
    let quarantine = Effect::Quarantine { release: candidate(), reason: "author: calls".into() };
    let route = Effect::Route { traffic: drive.state.traffic.clone() };
    assert_eq!(due, [quarantine, route, Effect::Record { release: incumbent() }]);
    drive.effects(at(28));
    assert_eq!(drive.state.phase, Phase::RolledBack);
    assert!(drive.state.due.is_empty());
    let again = Input::Rollback { by: "ada".into(), why: "again".into() };
    assert_eq!(permit(&drive.plan, &drive.state, &again), Err(Denied::Over("rolled-back")));
    assert_eq!(replay(&drive.plan, at(0), &drive.log).unwrap(), drive.state);
}

#[test]
fn whoever_set_a_rollout_off_has_no_say_in_it_and_a_stage_passes_by_who_may_agree() {
    let mut plan = Plan { starters: vec!["bob".into()], ..plan() };
    let people = ["ada", "bob", "cid", "dan"].map(str::to_owned).to_vec();
    plan.stages[2] = Stage::Gate {
        approve: Rule { role: "owner".into(), people, count: 2, expires: None, authenticated: false },
    };
    let mut drive = Drive::new(plan);
    drive.tick(at(0));
    drive.reach(1, at(0));
    drive.tick(at(100));
    let word = |by: &str| Input::Proceed {
        by: by.into(),
        why: "holiday traffic".into(),
        identity: Identity::Unknown,
    };
    let said = |drive: &Drive, by: &str| permit(&drive.plan, &drive.state, &word(by));
    for author in ["author", "bob"] {
        assert_eq!(said(&drive, author), Err(Denied::Author(author.into())));
    }
    let role = || Refusal::Role { needed: "owner".into() };
    assert_eq!(said(&drive, "eve"), Err(role().into()), "she has not the role");
    drive.input(at(100), word("ada"));
    assert_eq!(said(&drive, "ada"), Err(Refusal::Twice("ada".into()).into()));
    assert_eq!(drive.state.stage, 1, "two have to say so");
    drive.input(at(100), word("cid"));
    assert_eq!(drive.state.phase, Phase::Awaiting);
    let refused = |by: &str| permit(&drive.plan, &drive.state, &approve(by, "owner", b"inputs", at(101)));
    assert_eq!(refused("bob"), Err(Refusal::Author("bob".into()).into()));
    assert_eq!(refused("dan"), Ok(()));
}

/// The file is that of whoever sends it: what was asked before is asked once more, until people have agreed to ask for less.
#[test]
fn a_plan_is_held_to_what_the_one_before_it_asked() {
    let gate = |role: &str| Rule {
        role: role.into(),
        people: vec!["ada".into()],
        count: 1,
        expires: None,
        authenticated: false,
    };
    let with = |gates: &[&str]| {
        let stages = gates.iter().map(|role| Stage::Gate { approve: gate(role) });
        let stages: Vec<Stage> = stages.chain([Stage::Full { settle: Duration::ZERO }]).collect();
        let policy = Some(Policy { asks: Asked::of(&stages), ..Policy::default() });
        Plan { policy, stages, ..plan() }
    };
    let roles = |plan: &Plan| plan.gates().map(|rule| rule.role.clone()).collect::<Vec<_>>();
    let before = with(&["owner", "risk"]);
    let mut same = with(&["owner", "risk"]);
    assert_eq!(same.hold_to(&before.asks(true), None), []);
    assert_eq!(same, with(&["owner", "risk"]));
    let mut less = with(&["risk"]);
    let lacking = less.hold_to(&before.asks(true), None);
    assert_eq!((lacking.len(), roles(&less)), (1, vec!["owner".to_owned(), "risk".to_owned()]));
    // Ended before anybody agreed, it changes nothing for the one after it.
    assert_eq!(less.asks(false).len(), 2);
    assert_eq!(less.asks(true), Asked::of(&with(&["risk"]).stages), "people agreed");
    let mut changed = with(&[]);
    let two = Rule { role: "reviewer".into(), people: vec![], count: 2, expires: None, authenticated: false };
    changed.hold_to(&before.asks(true), Some(two));
    assert_eq!((roles(&changed), changed.asks(false).len()), (vec!["reviewer".to_owned()], 2));
    assert_eq!(changed.asks(true), []);
    let mut once = with(&["owner"]);
    assert_eq!(once.hold_to(&with(&["owner", "owner"]).asks(true), None).len(), 1, "each stands for one");
}

#[test]
fn harm_of_decisions_alone_is_told_from_harm_of_the_model() {
    use crate::judge::{Slice, Why};
    let harm = |metric: &str, slice: Option<&str>| Why::Harm {
        metric: metric.into(),
        slice: slice.map(|value| Slice { column: "origin".into(), value: Some(value.into()) }),
    };
    let reason = |why: &[Why]| words(why);
    assert!(is_of_decisions(&reason(&[harm("cost", None), harm("paired_cost", Some("LGA"))])));
    for why in [
        &[harm("errors", None)][..],
        &[harm("cost", None), harm("latency", Some("LGA"))],
        &[harm("refusals", None)],
    ] {
        assert!(!is_of_decisions(&reason(why)), "{}", reason(why));
    }
    assert!(!is_of_decisions("ada: it says no") && !is_of_decisions(""));
}
