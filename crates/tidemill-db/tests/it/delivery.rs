//! Releases, rollouts, and what keeps them.

use tidemill_core::{Actor, EventKind, Identity};
use tidemill_db::delivery::*;
use tidemill_db::{Db, Error};

use crate::fixture::{Fixture, at, digest, event, on_both, open};

on_both!(
    a_release_never_changes,
    a_rollout_goes_on_from_the_state_it_was_decided_on,
    observations_need_no_event_and_transitions_do,
    a_rollout_that_waits_begins_once,
    a_rollout_is_found_by_each_of_its_candidates,
    what_environments_run_and_must_not_run,
    freezes_are_set_and_lifted,
);

fn release(version: u64) -> Release {
    let body = format!("{{\"version\":{version}}}");
    Release {
        digest: digest(&body),
        model: "churn".to_owned(),
        version,
        body,
        created_at: at(version as i64),
        author: Actor::user("ada"),
    }
}

fn created(release: &Release) -> EventKind {
    EventKind::ReleaseCreated {
        release: release.digest,
        model: release.model.clone(),
        version: release.version,
    }
}

async fn keep(db: &Db, version: u64) -> Release {
    let release = release(version);
    let mut tx = db.begin().await.unwrap();
    assert!(tx.add_release(&release).await.unwrap());
    tx.commit(vec![event(1, created(&release))]).await.unwrap();
    release
}

async fn begin(db: &Db, is_waiting: bool) -> u64 {
    let candidate = keep(db, 2).await;
    let new = NewRollout {
        endpoint: "churn".to_owned(),
        environment: "prod".to_owned(),
        candidate: candidate.digest,
        incumbent: None,
        plan: "{}".to_owned(),
        at: at(3),
    };
    let mut tx = db.begin().await.unwrap();
    let id = tx.add_rollout(&new, "s0", "pending", is_waiting).await.unwrap();
    let kind = EventKind::RolloutStarted {
        rollout: id,
        endpoint: new.endpoint.clone(),
        environment: new.environment.clone(),
        release: new.candidate,
        rivals: Vec::new(),
        incumbent: None,
        plan: digest("{}"),
    };
    tx.commit(vec![event(3, kind)]).await.unwrap();
    id
}

fn step(inputs: u64, transitions: Vec<RolloutTransition>) -> Advance {
    Advance {
        inputs,
        at: at(10 + inputs as i64),
        input: format!("i{}", inputs + 1),
        state: format!("s{}", inputs + 1),
        phase: transitions.last().map_or("pending", |last| last.to.as_str()).to_owned(),
        is_over: transitions.last().is_some_and(|last| last.to == "complete"),
        transitions,
    }
}

fn to(phase: &str) -> Vec<RolloutTransition> {
    vec![RolloutTransition {
        at: at(9),
        from: "pending".to_owned(),
        to: phase.to_owned(),
        stage: 0,
        why: "it began".to_owned(),
    }]
}

fn moved(rollout: u64, to: &str) -> EventKind {
    EventKind::RolloutMoved {
        rollout,
        from: "pending".to_owned(),
        to: to.to_owned(),
        stage: 0,
        why: "it began".to_owned(),
        evidence: None,
    }
}

async fn a_rollout_is_found_by_each_of_its_candidates(f: Fixture) {
    let id = begin(&f.db, false).await;
    let (second, third, other) = (keep(&f.db, 3).await, keep(&f.db, 4).await, keep(&f.db, 5).await);
    let mut tx = f.db.begin().await.unwrap();
    tx.add_rivals(id, &[second.digest, third.digest]).await.unwrap();
    let gate = GateResult {
        gate: "preflight".to_owned(),
        passed: true,
        detail: String::new(),
        evidence: None,
        at: at(4),
    };
    tx.add_gate_result(id, &gate).await.unwrap();
    tx.commit(vec![event(4, moved(id, "preflight"))]).await.unwrap();
    for (release, is_found) in [(&release(2), true), (&second, true), (&third, true), (&other, false)] {
        let filter = RolloutFilter { release: Some(release.digest), ..RolloutFilter::default() };
        let found = f.db.rollouts(&filter, 9).await.unwrap();
        assert_eq!(found.iter().any(|rollout| rollout.id == id), is_found, "{}", release.version);
        let gates = f.db.gate_results_of(release.digest, 9).await.unwrap();
        assert_eq!(gates.len(), usize::from(is_found), "{}", release.version);
    }
}

async fn a_release_never_changes(f: Fixture) {
    let first = keep(&f.db, 2).await;
    let mut other = first.clone();
    other.author = Actor::user("eve");
    let mut tx = f.db.begin().await.unwrap();
    assert!(!tx.add_release(&other).await.unwrap());
    tx.commit(vec![]).await.unwrap();
    let second = keep(&f.db, 3).await;
    let db = open(&f.url).await;
    assert_eq!(db.release(first.digest).await.unwrap(), Some(first.clone()));
    assert_eq!(db.release(digest("none")).await.unwrap(), None);
    assert_eq!(db.releases(Some("churn"), None, 9).await.unwrap(), [second.clone(), first.clone()]);
    let before = Some((second.created_at, second.digest));
    assert_eq!(db.releases(None, before, 9).await.unwrap(), [first.clone()]);
    assert_eq!(db.releases(Some("late"), None, 9).await.unwrap(), []);
    let mut named = db.releases_of(&[first.digest, digest("none"), second.digest]).await.unwrap();
    named.sort_by_key(|release| release.version);
    assert_eq!(named, [first, second]);
    assert_eq!(db.releases_of(&[]).await.unwrap(), []);
}

async fn a_rollout_goes_on_from_the_state_it_was_decided_on(f: Fixture) {
    let id = begin(&f.db, false).await;
    assert_eq!(f.db.live_rollouts(10).await.unwrap(), [(id, 0)]);
    for (inputs, taken) in [(0, true), (0, false), (2, false), (1, true)] {
        let mut tx = f.db.begin().await.unwrap();
        assert_eq!(tx.advance_rollout(id, &step(inputs, vec![])).await.unwrap(), taken, "{inputs}");
        tx.commit(vec![]).await.unwrap();
    }
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.advance_rollout(id, &step(2, to("complete"))).await.unwrap());
    tx.commit(vec![event(9, moved(id, "complete"))]).await.unwrap();

    let db = open(&f.url).await;
    let found = db.rollout(id).await.unwrap().unwrap();
    assert_eq!((found.state.as_str(), found.phase.as_str(), found.inputs), ("s3", "complete", 3));
    assert!(found.is_over);
    let inputs = db.rollout_inputs(id, 0, 100).await.unwrap();
    let bodies: Vec<_> = inputs.iter().map(|input| (input.number, input.body.as_str())).collect();
    assert_eq!(bodies, [(1, "i1"), (2, "i2"), (3, "i3")]);
    assert_eq!(db.rollout_inputs(id, 2, 100).await.unwrap().len(), 1);
    assert_eq!(db.rollout_transitions(id).await.unwrap(), to("complete"));
    assert_eq!(db.live_rollouts(10).await.unwrap(), []);
    let live = RolloutFilter { is_live: true, ..RolloutFilter::default() };
    assert_eq!(db.rollouts(&live, 10).await.unwrap(), []);
    let all = RolloutFilter { endpoint: Some("churn".to_owned()), ..RolloutFilter::default() };
    assert_eq!(db.rollouts(&all, 10).await.unwrap(), [found.clone()]);
    let of = |release| RolloutFilter { release: Some(release), ..RolloutFilter::default() };
    assert_eq!(db.rollouts(&of(found.made.candidate), 10).await.unwrap(), [found]);
    assert_eq!(db.rollouts(&of(digest("none")), 10).await.unwrap(), []);
}

async fn observations_need_no_event_and_transitions_do(f: Fixture) {
    let id = begin(&f.db, false).await;
    let mut tx = f.db.begin().await.unwrap();
    tx.advance_rollout(id, &step(0, to("preflight"))).await.unwrap();
    assert!(matches!(tx.commit(vec![]).await, Err(Error::NoEvent)));
    assert_eq!(f.db.rollout(id).await.unwrap().unwrap().inputs, 0, "nothing was written");
    let mut tx = f.db.begin().await.unwrap();
    let approval =
        Approval { by: "bob".to_owned(), role: "owner".to_owned(), inputs: digest("x"), at: at(5) };
    tx.add_approval(id, &approval).await.unwrap();
    let gate = GateResult {
        gate: "preflight".to_owned(),
        passed: true,
        detail: "signature, golden rows".to_owned(),
        evidence: Some(digest("e")),
        at: at(6),
    };
    tx.add_gate_result(id, &gate).await.unwrap();
    let kind = EventKind::RolloutApproved {
        rollout: id,
        role: "owner".to_owned(),
        inputs: approval.inputs,
        identity: Identity::Account,
    };
    tx.commit(vec![event(5, kind)]).await.unwrap();
    assert_eq!(f.db.approvals(id).await.unwrap(), [approval]);
    assert_eq!(f.db.gate_results(id).await.unwrap(), [gate.clone()]);
    let candidate = release(2).digest;
    assert_eq!(f.db.gate_results_of(candidate, 10).await.unwrap(), [(id, gate)]);
    assert_eq!(f.db.gate_results_of(digest("none"), 10).await.unwrap(), []);
}

async fn a_rollout_that_waits_begins_once(f: Fixture) {
    let id = begin(&f.db, true).await;
    let incumbent = keep(&f.db, 1).await.digest;
    for begun in [true, false] {
        let mut tx = f.db.begin().await.unwrap();
        assert_eq!(tx.begin_rollout(id, Some(incumbent), "{1}", "s", at(7)).await.unwrap(), begun);
        tx.commit(vec![event(7, moved(id, "pending"))]).await.unwrap();
    }
    let found = f.db.rollout(id).await.unwrap().unwrap();
    assert_eq!((found.is_waiting, found.made.incumbent), (false, Some(incumbent)));
    assert_eq!(found.made.plan, "{1}");
}

async fn what_environments_run_and_must_not_run(f: Fixture) {
    let id = begin(&f.db, false).await;
    let release = release(2).digest;
    let environment = Environment {
        name: "prod".to_owned(),
        endpoint: "churn".to_owned(),
        release,
        rollout: id,
        updated_at: at(8),
    };
    let quarantine =
        Quarantine { release, environment: "prod".to_owned(), reason: "harm".to_owned(), at: at(9) };
    let mut tx = f.db.begin().await.unwrap();
    assert_eq!(tx.environment_release("prod", "churn").await.unwrap(), None);
    tx.set_environment(&environment).await.unwrap();
    tx.set_environment(&environment).await.unwrap();
    assert_eq!(tx.environment_release("prod", "churn").await.unwrap(), Some(release));
    assert!(tx.add_quarantine(&quarantine).await.unwrap());
    assert!(!tx.add_quarantine(&quarantine).await.unwrap());
    assert_eq!(tx.quarantine_words(release, "prod").await.unwrap(), Some(vec![]));
    assert_eq!(tx.quarantine_words(release, "staging").await.unwrap(), None);
    let kind =
        EventKind::ReleaseQuarantined { release, environment: "prod".to_owned(), reason: "harm".to_owned() };
    tx.commit(vec![event(9, kind)]).await.unwrap();
    assert_eq!(f.db.environments().await.unwrap(), [environment]);
    assert_eq!(f.db.environment_approvals().await.unwrap(), []);
    let mut tx = f.db.begin().await.unwrap();
    let approval =
        Approval { by: "bob".to_owned(), role: "owner".to_owned(), inputs: digest("x"), at: at(5) };
    tx.add_approval(id, &approval).await.unwrap();
    let kind = EventKind::RolloutApproved {
        rollout: id,
        role: "owner".to_owned(),
        inputs: approval.inputs,
        identity: Identity::Account,
    };
    tx.commit(vec![event(9, kind)]).await.unwrap();
    assert_eq!(f.db.environment_approvals().await.unwrap(), [(id, approval)]);
    assert_eq!(f.db.quarantines().await.unwrap(), [quarantine]);
    let word = QuarantineWord {
        release,
        environment: "prod".to_owned(),
        by: "ada".to_owned(),
        reason: "the data were wrong".to_owned(),
        at: at(9),
    };
    let mut tx = f.db.begin().await.unwrap();
    tx.add_quarantine_word(&QuarantineWord { at: at(8), ..word.clone() }).await.unwrap();
    tx.add_quarantine_word(&word).await.unwrap();
    assert_eq!(tx.quarantine_words(release, "prod").await.unwrap(), Some(vec![word.clone()]));
    let kind = EventKind::QuarantineLiftAsked {
        release,
        environment: word.environment.clone(),
        reason: word.reason.clone(),
    };
    tx.commit(vec![event(9, kind)]).await.unwrap();
    assert_eq!(f.db.quarantine_words().await.unwrap(), [word]);
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.lift_quarantine(release, "prod").await.unwrap());
    assert!(!tx.lift_quarantine(release, "prod").await.unwrap());
    let by = vec!["ada".to_owned(), "bob".to_owned()];
    let kind = EventKind::QuarantineLifted {
        release,
        environment: "prod".to_owned(),
        by,
        reason: "the data were wrong".to_owned(),
    };
    tx.commit(vec![event(10, kind)]).await.unwrap();
    assert_eq!(f.db.quarantines().await.unwrap(), []);
    assert_eq!(f.db.quarantine_words().await.unwrap(), [], "a word goes with its quarantine");
}

async fn freezes_are_set_and_lifted(f: Fixture) {
    let mut freeze = Freeze {
        id: 0,
        endpoint: None,
        reason: "incident".to_owned(),
        owner: "ada".to_owned(),
        from: at(1),
        until: Some(at(5)),
    };
    let mut tx = f.db.begin().await.unwrap();
    freeze.id = tx.add_freeze(&freeze).await.unwrap();
    let kind = EventKind::FreezeSet {
        freeze: freeze.id,
        endpoint: None,
        reason: freeze.reason.clone(),
        since: None,
        until: freeze.until,
    };
    tx.commit(vec![event(1, kind)]).await.unwrap();
    assert_eq!(f.db.freezes().await.unwrap(), [freeze.clone()]);
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.lift_freeze(freeze.id).await.unwrap());
    assert!(!tx.lift_freeze(freeze.id).await.unwrap());
    tx.commit(vec![event(2, EventKind::FreezeLifted { freeze: freeze.id })]).await.unwrap();
    assert_eq!(f.db.freezes().await.unwrap(), []);
}
