//! Rollouts by the functions behind command line and API: what one waits for, who may agree, and what is asked once more.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemill_core::{Actor, EventKind, Identity, NewEvent, SourceKind};
use tidemill_db::delivery::{Advance, Environment};
use tidemill_deliver::approval::Rule;
use tidemill_deliver::judge::{ERRORS, Kind, Metric, Spec, Tier};
use tidemill_deliver::rollout::{Concurrency, Due, Effect, Hold, Phase, Stage, State, Until};
use tidemill_server::delivery::{Action, Placed, Required, Wanted, act, plan_of, release_after, standing};

use crate::serving::{HANGS, Lab};

/// A version that is wanted at `endpoint`, by these stages before all requests.
fn wanted(version: u64, endpoint: &str, stages: Vec<Stage>) -> Wanted {
    let full = Stage::Full { settle: Duration::ZERO };
    Wanted {
        model: "m".to_owned(),
        version,
        threshold: None,
        commit: None,
        endpoint: endpoint.to_owned(),
        environment: "prod".to_owned(),
        stages: stages.into_iter().chain([full]).collect(),
        judge: None,
        measures: None,
        decides: None,
        power: None,
        windows: Vec::new(),
        holdout: 0,
        routes: Vec::new(),
        rivals: Vec::new(),
        described: Vec::new(),
        winner: None,
        alias: None,
        required: Required::default(),
        demands: Vec::new(),
        declared_envelope: None,
        envelope: None,
        policy_change: None,
        concurrency: Concurrency::Supersede,
    }
}

/// A stage that ends when nobody waits for it any more.
fn canary() -> Stage {
    let until = Until { verdict: false, samples: 1_000_000, tiers: BTreeSet::new(), ..Until::default() };
    Stage::Canary { share: 5_000, until }
}

fn gate(people: &[&str], count: u32) -> Stage {
    let people = people.iter().map(|name| (*name).to_owned()).collect();
    Stage::Gate {
        approve: Rule { role: "owner".to_owned(), people, count, expires: None, authenticated: false },
    }
}

async fn released(lab: &Lab, by: &str, wanted: &Wanted) -> Result<Placed, tidemill_registry::Error> {
    let server = &lab.server;
    release_after(&server.db, server.clock.as_ref(), &Actor::user(by), None, wanted).await
}

async fn acts(lab: &Lab, by: &str, rollout: u64, action: Action) -> Result<State, tidemill_registry::Error> {
    act(&lab.server.db, lab.server.clock.as_ref(), (&Actor::user(by), Identity::Account), rollout, &action)
        .await
}

fn rollback() -> Action {
    Action::Rollback { why: "calls".to_owned() }
}

async fn state(lab: &Lab, rollout: u64) -> State {
    let found = lab.server.db.rollout(rollout).await.unwrap().unwrap();
    standing(&found, tidemill_core::Clock::now(lab.server.clock.as_ref())).unwrap()
}

/// Waits until a rollout is as wanted; gives how long that took.
async fn wait(lab: &Lab, rollout: u64, is_so: impl Fn(&State) -> bool) -> Duration {
    let begin = Instant::now();
    loop {
        let now = state(lab, rollout).await;
        if is_so(&now) {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{now:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn lab() -> Lab {
    let lab = Lab::start().await;
    for (folder, factor) in [("first", "2"), ("second", "3"), ("third", "hangs")] {
        lab.version(folder, factor).await;
    }
    lab
}

/// Sets a rollout that is over back to the moment before it was written down what it brought, as a server that is killed just then leaves it.
async fn unwrite(lab: &Lab, rollout: u64, before: u64) {
    let db = &lab.server.db;
    let stored = db.rollout(rollout).await.unwrap().unwrap();
    assert!(stored.is_over, "{stored:?}");
    let mut left: State = serde_json::from_str(&stored.state).unwrap();
    let effect = Effect::Record { release: stored.made.candidate };
    left.due = vec![Due { id: 10_000, effect }];
    let at = tidemill_core::Clock::now(lab.server.clock.as_ref());
    let mut tx = db.begin().await.unwrap();
    let step = Advance {
        inputs: stored.inputs,
        at,
        input: r#"{"input":"tick"}"#.to_owned(),
        state: serde_json::to_string(&left).unwrap(),
        phase: stored.phase,
        is_over: false,
        transitions: Vec::new(),
    };
    assert!(tx.advance_rollout(rollout, &step).await.unwrap());
    let ran = db.rollout(before).await.unwrap().unwrap().made;
    let environment = Environment {
        name: ran.environment,
        endpoint: ran.endpoint,
        release: ran.candidate,
        rollout: before,
        updated_at: at,
    };
    tx.set_environment(&environment).await.unwrap();
    let Environment { name: environment, endpoint, release: to, .. } = environment;
    let kind = EventKind::EnvironmentMoved { environment, endpoint, from: None, to, rollout: before };
    tx.commit(vec![NewEvent { at, actor: Actor::system("test"), kind, cause: None }]).await.unwrap();
}

/// Whoever sees that a rollout is complete may go on from it at once, also before it is written down what it brought.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_is_complete_is_gone_on_from_before_it_is_written_down() {
    for concurrency in [Concurrency::Supersede, Concurrency::Reject, Concurrency::Queue] {
        let lab = lab().await;
        let is_complete = |state: &State| state.phase == Phase::Complete && state.due.is_empty();
        let to = |version| Wanted { concurrency, ..wanted(version, "m", vec![]) };
        let first = released(&lab, "ada", &to(1)).await.unwrap();
        wait(&lab, first.rollout, is_complete).await;
        let second = released(&lab, "ada", &to(2)).await.unwrap();
        wait(&lab, second.rollout, is_complete).await;
        unwrite(&lab, second.rollout, first.rollout).await;
        let again = released(&lab, "ada", &to(2)).await.unwrap_err();
        assert!(again.message.contains("already"), "{again}");
        let third = released(&lab, "ada", &to(1)).await.unwrap();
        assert_eq!(third.incumbent, Some(second.release), "{concurrency:?}");
        wait(&lab, third.rollout, is_complete).await;
        let runs = lab.server.db.environments().await.unwrap();
        assert_eq!((runs[0].release, runs[0].rollout), (first.release, third.rollout), "{concurrency:?}");
        // What was not written down can be taken back, too.
        unwrite(&lab, third.rollout, second.rollout).await;
        acts(&lab, "ada", third.rollout, rollback()).await.unwrap();
        wait(&lab, third.rollout, |state| state.phase == Phase::RolledBack && state.due.is_empty()).await;
        assert_eq!(lab.server.db.environments().await.unwrap()[0].release, second.release);
    }
}

async fn names(lab: &Lab, endpoint: &str) -> Vec<String> {
    let found = lab.server.get(&format!("/api/v1/endpoints/{endpoint}")).await.json();
    let arms = found["data"]["spec"]["arms"].as_array().cloned().unwrap_or_default();
    arms.iter().map(|arm| arm["version"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_waits_for_no_model_of_another_rollout() {
    let lab = lab().await;
    let first = released(&lab, "ada", &wanted(1, "a", vec![])).await.unwrap();
    wait(&lab, first.rollout, |state| state.phase == Phase::Complete).await;
    let second = released(&lab, "ada", &wanted(2, "a", vec![canary()])).await.unwrap();
    wait(&lab, second.rollout, |state| matches!(state.phase, Phase::Canary { .. }) && state.due.is_empty())
        .await;
    let other = released(&lab, "ada", &wanted(3, "b", vec![])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(state(&lab, other.rollout).await.phase, Phase::Preflight, "its model is being loaded");

    acts(&lab, "ada", second.rollout, rollback()).await.unwrap();
    let took = wait(&lab, second.rollout, |state| state.phase == Phase::RolledBack).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(lab.answer("a").await, 20.0);
    assert_eq!(state(&lab, other.rollout).await.phase, Phase::Preflight);
    HANGS.store(false, Ordering::Relaxed);
    wait(&lab, other.rollout, |state| state.phase == Phase::Refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_releases_go_to_is_neither_deleted_nor_led_past_its_rollout() {
    let lab = lab().await;
    let first = released(&lab, "ada", &wanted(1, "m", vec![])).await.unwrap();
    wait(&lab, first.rollout, |state| state.phase == Phase::Complete).await;
    let deleted = lab.server.ask("DELETE", "/api/v1/endpoints/m", &[], "").await;
    deleted.is(409, &["releases say which models answer at `m`, so it cannot be deleted"]);
    assert_eq!(lab.answer("m").await, 20.0);

    let second = released(&lab, "ada", &wanted(2, "m", vec![canary()])).await.unwrap();
    wait(&lab, second.rollout, |state| matches!(state.phase, Phase::Canary { .. }) && state.due.is_empty())
        .await;
    let declared = lab.server.get("/api/v1/endpoints/m").await.json()["data"]["spec"].clone();
    let arm = |version: &str| {
        let arms = declared["arms"].as_array().unwrap();
        arms.iter().find(|arm| arm["version"] == version).unwrap()["name"].clone()
    };
    let put = async |rules: Value| {
        let mut spec = declared.clone();
        spec["rules"] = rules;
        lab.put("m", spec).await
    };
    for rule in [
        json!({"key": {"input": "x"}, "arm": arm("2")}),
        json!({"key": {"header": "x-all"}, "one_of": ["a", "b"], "arm": arm("2")}),
    ] {
        let refused = put(json!([rule])).await;
        refused
            .is(409, &["rollout 2 decides which requests of `m` go to release", "`routes` of the rollout"]);
    }
    put(json!([{"key": {"header": "x-old"}, "arm": arm("1")}])).await.is(200, &[]);
}

/// What was said to run at an endpoint that is gone, by a version of Tidemill that let it be deleted, may come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_at_an_endpoint_that_is_gone_may_come_again() {
    let lab = lab().await;
    let first = released(&lab, "ada", &wanted(1, "m", vec![])).await.unwrap();
    wait(&lab, first.rollout, |state| state.phase == Phase::Complete && state.due.is_empty()).await;
    let refused = released(&lab, "ada", &wanted(1, "m", vec![])).await.unwrap_err();
    assert!(refused.message.contains("already"), "{refused}");
    let at = tidemill_core::Clock::now(lab.server.clock.as_ref());
    let mut tx = lab.server.db.begin().await.unwrap();
    let revision = tx.delete_endpoint("m", &Actor::user("ada"), at).await.unwrap().unwrap();
    let kind = EventKind::EndpointDeleted { endpoint: "m".to_owned(), revision };
    tx.commit(vec![NewEvent { at, actor: Actor::user("ada"), kind, cause: None }]).await.unwrap();
    let again = released(&lab, "ada", &wanted(1, "m", vec![])).await.unwrap();
    wait(&lab, again.rollout, |state| state.phase == Phase::Complete && state.due.is_empty()).await;
    assert_eq!(names(&lab, "m").await, ["1"]);
}

/// What somebody declared by hand is compared with, and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_release_over_an_endpoint_that_was_set_by_hand_is_a_rollout_like_others() {
    let lab = lab().await;
    let by_hand = json!({"arms": [{"name": "champion", "model": "m", "version": "1", "weight": 100}]});
    lab.put("e", by_hand).await.is(200, &[]);
    let placed = released(&lab, "ada", &wanted(2, "e", vec![canary()])).await.unwrap();
    assert!(placed.incumbent.is_some());
    wait(&lab, placed.rollout, |state| matches!(state.phase, Phase::Canary { .. }) && state.due.is_empty())
        .await;
    assert_eq!(names(&lab, "e").await, ["1", "2"]);
    acts(&lab, "ada", placed.rollout, rollback()).await.unwrap();
    wait(&lab, placed.rollout, |state| state.phase == Phase::RolledBack && state.due.is_empty()).await;
    assert_eq!(names(&lab, "e").await, ["1"]);
    assert_eq!(lab.answer("e").await, 20.0);
    // The same version is nothing to be compared with.
    let same = released(&lab, "ada", &wanted(1, "e", vec![canary()])).await.unwrap();
    assert_eq!(same.incumbent, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_complete_is_taken_back_while_it_runs() {
    let lab = lab().await;
    let first = released(&lab, "ada", &wanted(1, "a", vec![])).await.unwrap();
    wait(&lab, first.rollout, |state| state.phase == Phase::Complete).await;
    let nothing = acts(&lab, "ada", first.rollout, rollback()).await.unwrap_err();
    assert!(nothing.message.contains("nothing ran at `a` before rollout 1"), "{nothing}");
    let second = released(&lab, "ada", &wanted(2, "a", vec![])).await.unwrap();
    wait(&lab, second.rollout, |state| state.phase == Phase::Complete && state.due.is_empty()).await;
    let older = acts(&lab, "ada", first.rollout, rollback()).await.unwrap_err();
    assert!(older.message.contains("runs by now what rollout 2 brought"), "{older}");
    acts(&lab, "ada", second.rollout, rollback()).await.unwrap();
    wait(&lab, second.rollout, |state| state.phase == Phase::RolledBack && state.due.is_empty()).await;
    assert_eq!((lab.answer("a").await, names(&lab, "a").await), (20.0, vec!["1".to_owned()]));
    let environment = lab.server.db.environments().await.unwrap().remove(0);
    assert_eq!((Some(environment.release), environment.rollout), (second.incumbent, 2));
    let quarantined = lab.server.db.quarantines().await.unwrap();
    assert_eq!(quarantined.iter().map(|one| one.release).collect::<Vec<_>>(), [second.release]);
    let again = released(&lab, "ada", &wanted(2, "a", vec![])).await.unwrap_err();
    assert!(again.message.contains("quarantine"), "{again}");
    // Another threshold changes nothing of what a person saw.
    let other = Wanted { threshold: Some(0.9), ..wanted(2, "a", vec![]) };
    let again = released(&lab, "ada", &other).await.unwrap_err();
    assert!(
        again.message.contains("is the same model as") && !again.message.contains("--threshold"),
        "{again}"
    );
    let shown = lab.server.get("/api/v1/releases").await.json();
    assert_eq!(shown["data"].as_array().unwrap().len(), 2);
    assert!(shown["data"][0].get("threshold").is_none(), "{shown}");
}

/// Whoever released it to staging is its author, and whoever sends it on to prod has no more say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_author_nor_whoever_set_it_off_agrees_nor_who_stands_behind_a_trigger() {
    let lab = lab().await;
    let staging =
        Wanted { environment: "staging".to_owned(), threshold: Some(0.5), ..wanted(1, "m.staging", vec![]) };
    released(&lab, "alice", &staging).await.unwrap();
    let prod = Wanted { threshold: Some(0.5), ..wanted(1, "m", vec![gate(&[], 1)]) };
    let placed = released(&lab, "bob", &prod).await.unwrap();
    let is_awaited = |state: &State| matches!(state.hold, Some(Hold::Approvals { .. }));
    wait(&lab, placed.rollout, is_awaited).await;
    let shown = lab.server.get("/api/v1/releases").await.json();
    assert_eq!(shown["data"][0]["threshold"], 0.5, "{shown}");
    let approve = || Action::Approve { inputs: None };
    for author in ["alice", "bob"] {
        let refused = acts(&lab, author, placed.rollout, approve()).await.unwrap_err();
        assert!(refused.message.contains("made this release or set it off"), "{refused}");
    }
    acts(&lab, "carol", placed.rollout, approve()).await.unwrap();
    wait(&lab, placed.rollout, |state| state.phase == Phase::Complete).await;

    // A push leads to a job, and that to a release by nobody in particular.
    let (db, at) = (&lab.server.db, tidemill_core::Clock::now(lab.server.clock.as_ref()));
    let append = async |actor: Actor, kind: EventKind, cause: Option<u64>| {
        let tx = db.begin().await.unwrap();
        let seq = tx.next_seq();
        tx.commit(vec![NewEvent { at, actor, kind, cause }]).await.unwrap();
        seq
    };
    let pushed = EventKind::SourceChanged {
        project: "p".to_owned(),
        source: SourceKind::Git,
        name: "main".to_owned(),
        details: [("pusher".to_owned(), "dan".to_owned())].into(),
    };
    let cause = append(Actor::user("erin"), pushed, None).await;
    let started = EventKind::JobStarted { job: 1, trigger: "t".to_owned(), attempt: 1 };
    let cause = append(Actor::system("trigger"), started, Some(cause)).await;
    let next = wanted(2, "m", vec![gate(&[], 1)]);
    let actor = Actor::system("trigger");
    let placed = release_after(db, lab.server.clock.as_ref(), &actor, Some(cause), &next).await.unwrap();
    wait(&lab, placed.rollout, is_awaited).await;
    for behind in ["dan", "erin"] {
        let refused = acts(&lab, behind, placed.rollout, approve()).await.unwrap_err();
        assert!(refused.message.contains("set it off"), "{refused}");
    }
    acts(&lab, "carol", placed.rollout, approve()).await.unwrap();
}

/// The gates come from the file of whoever releases. Leaving them out there asks nobody less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_asks_for_less_is_held_to_what_was_asked_before() {
    let lab = lab().await;
    let gates = async |rollout: u64| {
        let found = lab.server.db.rollout(rollout).await.unwrap().unwrap();
        let plan = plan_of(&found).unwrap();
        plan.gates().map(|rule| format!("{} {:?}", rule.count, rule.people)).collect::<Vec<_>>()
    };
    let is_awaited = |state: &State| matches!(state.hold, Some(Hold::Approvals { .. }));
    let first = released(&lab, "ada", &wanted(1, "m", vec![gate(&["bob", "cid"], 1)])).await.unwrap();
    wait(&lab, first.rollout, is_awaited).await;
    // Before anybody has agreed to anything, and under another name of the environment.
    let renamed = Wanted { environment: "production".to_owned(), ..wanted(1, "m", vec![]) };
    let second = released(&lab, "ada", &renamed).await.unwrap();
    assert_eq!(gates(second.rollout).await, [r#"1 ["bob", "cid"]"#]);
    wait(&lab, second.rollout, is_awaited).await;
    let said = lab.server.db.gate_results(second.rollout).await.unwrap();
    let policy = said.iter().find(|said| said.gate == "policy").unwrap();
    assert!(
        policy.detail.contains("asks for less than rollout 1")
            && policy.detail.contains("1 of owner (bob, cid)")
    );
    // Once they have, the file counts.
    acts(&lab, "bob", second.rollout, Action::Approve { inputs: None }).await.unwrap();
    wait(&lab, second.rollout, |state| state.phase == Phase::Complete).await;
    let third = released(&lab, "ada", &wanted(2, "m", vec![gate(&["gone"], 1)])).await.unwrap();
    assert_eq!(third.incumbent, Some(second.release), "of the environment by its name before");
    assert_eq!(gates(third.rollout).await, [r#"1 ["gone"]"#]);
    // Nobody of those who would have to agree is there any more: two others do, and say why.
    let change = Wanted { policy_change: Some("gone has left".to_owned()), ..wanted(2, "m", vec![]) };
    let fourth = released(&lab, "ada", &change).await.unwrap();
    assert_eq!(gates(fourth.rollout).await, ["2 []"]);
    wait(&lab, fourth.rollout, is_awaited).await;
    for person in ["bob", "cid"] {
        acts(&lab, person, fourth.rollout, Action::Approve { inputs: None }).await.unwrap();
    }
    wait(&lab, fourth.rollout, |state| state.phase == Phase::Complete).await;
}

/// Judge, stages and tests come from the same file: protecting less than the last plan did asks somebody, too, and protecting more nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_protects_less_than_the_last_one_waits_for_somebody_else() {
    let lab = lab().await;
    let is_awaited = |state: &State| matches!(state.hold, Some(Hold::Approvals { .. }));
    let protected = |version: u64, error_budget: f64, stages: Vec<Stage>| {
        let kind = Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible: None };
        let (tier, critical, required) = (Tier::Operational, true, true);
        let errors = Metric { name: ERRORS.to_owned(), kind, tier, critical, required };
        let judge = Some(Spec { error_budget, metrics: vec![errors], slices: None });
        Wanted { judge, ..wanted(version, "m", stages) }
    };
    let first = released(&lab, "ada", &protected(1, 0.01, vec![canary()])).await.unwrap();
    assert_eq!(first.held, None);
    wait(&lab, first.rollout, |state| state.phase == Phase::Complete).await;
    // Nothing was compared then, and what the file said counts all the same.
    let weak = released(&lab, "ada", &protected(2, 0.05, vec![])).await.unwrap();
    let held = weak.held.unwrap();
    for why in ["the error budget is 0.05, not 0.01", "from 0 % to 100 % without the canary of 50 %"] {
        assert!(held.contains("asks for less than rollout 1") && held.contains(why), "{held}");
    }
    wait(&lab, weak.rollout, is_awaited).await;
    let approve = || Action::Approve { inputs: None };
    let refused = acts(&lab, "ada", weak.rollout, approve()).await.unwrap_err();
    assert!(refused.message.contains("made this release or set it off"), "{refused}");
    // Trying again, and ending what waits, leads past nothing.
    let again = released(&lab, "ada", &protected(2, 0.05, vec![])).await.unwrap();
    assert!(again.held.is_some());
    wait(&lab, again.rollout, is_awaited).await;
    acts(&lab, "bob", again.rollout, approve()).await.unwrap();
    wait(&lab, again.rollout, |state| state.phase == Phase::Complete).await;
    // Somebody agreed to it, so now it is the plan; one that is stricter asks nobody.
    for (version, budget, stages) in [(1, 0.05, vec![]), (2, 0.01, vec![canary()])] {
        let placed = released(&lab, "ada", &protected(version, budget, stages)).await.unwrap();
        assert_eq!(placed.held, None);
        if version == 1 {
            wait(&lab, placed.rollout, |state| state.phase == Phase::Complete).await;
        }
    }
}
