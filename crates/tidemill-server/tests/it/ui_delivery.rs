//! The pages of delivery: what they show of a rollout, what their forms do, and that nothing of it becomes markup.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::{Actor, Clock as _, Digest, EventKind, NewEvent};
use tidemill_db::delivery::{self as stored, Advance, NewRollout, RolloutTransition};
use tidemill_deliver::approval::Rule;
use tidemill_deliver::judge::{Kind, Look, Metric, Observation, Sample, Spec, Tier, Traffic};
use tidemill_deliver::release::Release;
use tidemill_deliver::rollout::{Contender, Contest, Due, Effect, Input, Plan, Stage, Until, decide, start};
use tidemill_server::delivery::{plan_of, state_of};

use crate::client::{Reply, Server};
use crate::ui::{HOSTILE, csrf, form, is_tame, page};

/// A rollout in which everything is called by `word`: its gate waits.
async fn rollout(server: &Server, word: &str) -> (u64, [Digest; 2]) {
    let (id, releases) = rollout_of(server, word, 1).await;
    (id, [releases[0], releases[1]])
}

/// The same with so many candidates; first of the releases is the incumbent.
pub(crate) async fn rollout_of(server: &Server, word: &str, candidates: u64) -> (u64, Vec<Digest>) {
    let at = server.clock.now();
    let event = |kind| NewEvent { at, actor: Actor::user(word), kind, cause: None };
    let mut tx = server.db.begin().await.unwrap();
    let mut events = Vec::new();
    let releases: Vec<Release> = (1..=1 + candidates)
        .map(|version| Release {
            model: word.to_owned(),
            version,
            content: Digest::of(b"content"),
            threshold: Some(0.25),
            signature: None,
            runtime: word.to_owned(),
            commit: Some(word.to_owned()),
            evidence: vec![(word.to_owned(), Digest::of(b"evidence"))],
        })
        .collect();
    for release in &releases {
        let body = serde_json::to_string(release).unwrap();
        let (digest, author) = (release.digest(), Actor::user(word));
        let (model, version) = (word.to_owned(), release.version);
        let kept = stored::Release { digest, model: model.clone(), version, body, created_at: at, author };
        assert!(tx.add_release(&kept).await.unwrap());
        events.push(event(EventKind::ReleaseCreated { release: digest, model, version }));
    }
    let contenders = releases.iter().skip(1).map(|release| Contender {
        release: release.digest(),
        name: format!("{word}@{}", release.version),
        author: word.to_owned(),
    });
    let contest = Contest { candidates: contenders.collect(), winner: word.to_owned() };
    let releases: Vec<Digest> = releases.iter().map(Release::digest).collect();
    let (incumbent, candidate) = (releases[0], releases[1]);
    let metric = Metric {
        name: word.to_owned(),
        kind: Kind::EventRate { tolerate: 1.25, reject: 2.0, negligible: None },
        tier: Tier::Operational,
        critical: true,
        required: true,
    };
    let plan = Plan {
        endpoint: word.to_owned(),
        environment: word.to_owned(),
        candidate,
        incumbent: Some(incumbent),
        contest: (candidates > 1).then_some(contest),
        holdout: 0,
        routes: Vec::new(),
        author: word.to_owned(),
        stages: vec![
            Stage::Gate {
                approve: Rule {
                    role: word.to_owned(),
                    people: vec![],
                    count: 1,
                    expires: None,
                    authenticated: false,
                },
            },
            Stage::Canary {
                share: 2_000,
                until: Until { tiers: BTreeSet::from([Tier::Operational]), ..Until::default() },
            },
            Stage::Full { settle: Duration::ZERO },
        ],
        judge: Some(Spec { error_budget: 0.01, metrics: vec![metric], slices: None }),
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
    let state = start(&plan, at).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    let new = NewRollout {
        endpoint: word.to_owned(),
        environment: word.to_owned(),
        candidate,
        incumbent: Some(incumbent),
        plan: text.clone(),
        at,
    };
    let id = tx.add_rollout(&new, &serde_json::to_string(&state).unwrap(), "pending", false).await.unwrap();
    tx.add_rivals(id, &releases[2..]).await.unwrap();
    let (endpoint, environment) = (word.to_owned(), word.to_owned());
    events.push(event(EventKind::RolloutStarted {
        rollout: id,
        endpoint,
        environment,
        release: candidate,
        rivals: releases[2..].to_vec(),
        incumbent: Some(incumbent),
        plan: Digest::of(text.as_bytes()),
    }));
    let gate = stored::GateResult {
        gate: word.to_owned(),
        passed: true,
        detail: word.to_owned(),
        evidence: Some(Digest::of(b"gate")),
        at,
    };
    tx.add_gate_result(id, &gate).await.unwrap();
    tx.commit(events).await.unwrap();
    step(server, id, Input::Tick).await;
    done(server, id).await;
    step(server, id, Input::Preflight { problems: Vec::new() }).await;
    (id, releases)
}

/// Takes a rollout one step on, as the driver does.
pub(crate) async fn step(server: &Server, id: u64, input: Input) {
    let found = server.db.rollout(id).await.unwrap().unwrap();
    let (plan, state) = (plan_of(&found).unwrap(), state_of(&found).unwrap());
    let at = server.clock.now();
    let outcome = decide(&plan, &state, &input, at);
    let moved = outcome.transitions.iter().map(|one| RolloutTransition {
        at,
        from: one.from.name().to_owned(),
        to: one.to.name().to_owned(),
        stage: one.stage as u64,
        why: one.why.clone(),
    });
    let moved: Vec<RolloutTransition> = moved.collect();
    let events = moved.iter().map(|one| {
        let (from, to, stage, why) = (one.from.clone(), one.to.clone(), one.stage, one.why.clone());
        let kind = EventKind::RolloutMoved { rollout: id, from, to, stage, why, evidence: None };
        NewEvent { at, actor: Actor::system("rollouts"), kind, cause: None }
    });
    let events: Vec<NewEvent> = events.collect();
    let advance = Advance {
        inputs: found.inputs,
        at,
        input: serde_json::to_string(&input).unwrap(),
        state: serde_json::to_string(&outcome.state).unwrap(),
        phase: outcome.state.phase.name().to_owned(),
        is_over: outcome.state.phase.is_over() && outcome.state.due.is_empty(),
        transitions: moved,
    };
    let mut tx = server.db.begin().await.unwrap();
    assert!(tx.advance_rollout(id, &advance).await.unwrap());
    tx.commit(events).await.unwrap();
}

/// Says that everything that is due was done.
pub(crate) async fn done(server: &Server, id: u64) {
    let found = server.db.rollout(id).await.unwrap().unwrap();
    for Due { id: due, effect } in state_of(&found).unwrap().due {
        if !matches!(effect, Effect::Preflight) {
            step(server, id, Input::Done { id: due }).await;
        }
    }
}

async fn look(server: &Server, id: u64, seq: u64, word: &str) {
    server.clock.advance(Duration::from_secs(60));
    let counts = |n, events| Sample::Counts { n, events };
    let (candidate, baseline) = (counts(200, 2), counts(800, 8));
    let observation = Observation { metric: word.to_owned(), slice: None, candidate, baseline };
    let traffic = Traffic { stratum: 1, share: Some(0.2) };
    let look = Look { traffic, assigned: Some((200, 800)), observations: vec![observation] };
    step(server, id, Input::Look { seq, requests: 200, look }).await;
}

pub(crate) async fn data(server: &Server, path: &str) -> Value {
    server.ask("GET", path, &[("accept", "application/json")], "").await.json()["data"].clone()
}

pub(crate) async fn act(server: &Server, id: u64, action: &str, fields: &[(&str, &str)]) -> Reply {
    form(server, &format!("/ui/rollouts/{id}/{action}"), fields, &[]).await
}

#[tokio::test]
async fn a_rollout_is_approved_watched_and_rolled_back_on_its_page() {
    let server = Server::start().await;
    page(&server, "/delivery").await.is(200, &["Nothing was released yet", "Nothing is frozen"]);
    let (id, [_, candidate]) = rollout(&server, "tides").await;
    let path = format!("/delivery/rollouts/{id}");
    let waiting = page(&server, &path).await;
    waiting.is(200, &["It waits: for 1 approval(s)", "cannot approve it", "to come"]);
    page(&server, "/delivery").await.is(200, &["awaiting", "for 1 approval(s)"]);
    page(&server, "/").await.is(200, &["1 rollout waits", "rollout 1 to tides"]);
    page(&server, "/owner").await.is(200, &["tides v2 for tides", "One thing waits for a decision"]);

    let token = csrf(&waiting);
    let inputs = Digest::of(b"inputs").to_string();
    let approve = [("csrf", token.as_str()), ("inputs", inputs.as_str())];
    act(&server, id, "approve", &approve[1..]).await.is(403, &["Refused"]);
    act(&server, id, "approve", &[("csrf", "x"), approve[1]]).await.is(403, &["Refused"]);
    act(&server, id, "approve", &approve[..1]).await.is(400, &["does not say what was looked at"]);
    let other = Digest::of(b"other").to_string();
    let changed = act(&server, id, "approve", &[approve[0], ("inputs", &other)]).await;
    assert!(changed.status >= 400 && changed.body.contains("something changed"), "{changed:?}");
    // Whoever has the token alone may be the author: a program is nobody who agrees, and neither is a person without a name.
    let body = r#"{"action": "approve"}"#;
    let json = ("content-type", "application/json");
    for who in ["Bearer any", "Basic Og=="] {
        let headers = [json, ("authorization", who)];
        let refused = server.ask("POST", &format!("/api/v1/rollouts/{id}/actions"), &headers, body).await;
        refused.is(403, &["only a person agrees, under a name"]);
    }
    act(&server, id, "advance", &approve).await.is(404, &["nothing that is done"]);
    let approved = act(&server, id, "approve", &approve).await;
    assert_eq!((approved.status, approved.header("location")), (303, Some(path.as_str())));
    done(&server, id).await;

    for seq in 1..=3 {
        look(&server, id, seq, "tides").await;
    }
    let going = page(&server, &path).await;
    going.is(200, &["canary", "class=\"band\"", "reject 2", "safe after", "as planned", "grace"]);
    let numbers = data(&server, &path).await;
    let cone = numbers["cone_0"]["rows"].as_array().unwrap();
    assert_eq!(
        (cone.len(), cone[2]["candidate"].as_u64(), cone[2]["harm"].as_f64()),
        (3, Some(600), Some(1.0))
    );
    let (low, high) = (cone[2]["low"].as_f64(), cone[2]["high"].as_f64().unwrap());
    assert!(low.is_none_or(|low| low < 1.0) && high > 1.0, "{cone:?}");
    assert!(cone[1]["high"].as_f64().unwrap() >= high);
    assert_eq!(numbers["split"]["rows"][0]["candidate"], 600);
    let csv = server.get(&format!("{path}?format=csv&table=cone_0")).await;
    assert!(csv.body.starts_with("at,looks,candidate,incumbent,harm,low,high"), "{}", csv.body);
    // The stages are a picture as well, which stands in a report beside the cones.
    let stages = server.get(&format!("{path}?format=svg&figure=stages")).await;
    assert_eq!((stages.status, stages.header("content-type")), (200, Some("image/svg+xml")));
    assert!(stages.body.contains(">share of requests (%)<") && stages.body.contains("goes on"), "{stages:?}");
    let written = page(&server, &format!("{path}?format=md")).await.body;
    for figure in ["stages", "cone-0"] {
        assert!(written.contains(&format!("]({path}?format=svg&figure={figure})")), "{figure}: {written}");
    }

    act(&server, id, "rollback", &[approve[0], ("reason", " ")]).await.is(400, &["a reason is missing"]);
    let back = act(&server, id, "rollback", &[approve[0], ("reason", "callers complain")]).await;
    assert_eq!(back.status, 303, "{back:?}");
    done(&server, id).await;
    page(&server, &path).await.is(200, &["rolled-back", "callers complain", "ended here: harm"]);
    let phases = data(&server, &path).await["phases"]["rows"].clone();
    let knew = phases[0]["what the judge knew"].as_str().unwrap();
    assert!(knew.contains("of 600 and 2400"), "{knew}");
    page(&server, &format!("/delivery/releases/{candidate}"))
        .await
        .is(200, &["0.25", "rolled-back", "Gates"]);
    page(&server, "/log?kind=rollout.moved").await.is(200, &[&format!("href=\"{path}\"")]);
    // What is over takes no more.
    assert!(act(&server, id, "abort", &[approve[0], ("reason", "late")]).await.status >= 400);
}

#[tokio::test]
async fn freezes_are_set_and_lifted_by_forms() {
    let server = Server::start().await;
    let token = csrf(&page(&server, "/delivery").await);
    let send = async |path: &str, fields: &[(&str, &str)]| form(&server, path, fields, &[]).await;
    let fields =
        [("csrf", token.as_str()), ("reason", "quarter end"), ("endpoint", "all"), ("until", "until lifted")];
    send("/ui/freezes", &fields[1..]).await.is(403, &["Refused"]);
    send("/ui/freezes", &[fields[0], ("reason", ""), fields[2], fields[3]])
        .await
        .is(400, &["needs a reason"]);
    send("/ui/freezes", &[fields[0], fields[1], fields[2], ("until", "soon")])
        .await
        .is(400, &["is not a time"]);
    assert_eq!(send("/ui/freezes", &fields).await.status, 303);
    let frozen = page(&server, "/delivery").await;
    frozen.is(200, &["quarter end", "Lift freeze 1", "holds", "Freeze calendar"]);
    send("/ui/freezes/1/lift", &[("csrf", "x")]).await.is(403, &["Refused"]);
    assert_eq!(send("/ui/freezes/1/lift", &fields[..1]).await.status, 303);
    let lifted = data(&server, "/delivery").await;
    assert_eq!(lifted["freezes"]["rows"][0]["state"], "over");
    send("/ui/freezes/1/lift", &fields[..1]).await.is(404, &["there is no freeze 1"]);
}

#[tokio::test]
async fn nothing_of_a_rollout_becomes_markup() {
    let server = Server::start_with(|config| {
        config.about = Some(tidemill_server::About {
            project: HOSTILE.to_owned(),
            team: Some(HOSTILE.to_owned()),
            contact: Some(HOSTILE.to_owned()),
            objective: serde_json::from_value(json!({
                "decision": HOSTILE,
                "task": {"kind": "classification", "target": HOSTILE},
                "kpi": {"name": HOSTILE, "unit": HOSTILE, "better": "lower"},
            }))
            .ok(),
            model: None,
            ..tidemill_server::About::default()
        });
    })
    .await;
    let (id, [_, candidate]) = rollout(&server, HOSTILE).await;
    let token = csrf(&page(&server, "/delivery").await);
    let freeze = [("csrf", token.as_str()), ("reason", HOSTILE), ("endpoint", HOSTILE), ("until", "")];
    assert_eq!(form(&server, "/ui/freezes", &freeze, &[]).await.status, 303);
    look(&server, id, 1, HOSTILE).await;
    let mut tx = server.db.begin().await.unwrap();
    let at = server.clock.now();
    let (environment, reason) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    let quarantine = stored::Quarantine {
        release: candidate,
        environment: environment.clone(),
        reason: reason.clone(),
        at,
    };
    assert!(tx.add_quarantine(&quarantine).await.unwrap());
    let standing = stored::Environment {
        name: environment.clone(),
        endpoint: HOSTILE.to_owned(),
        release: candidate,
        rollout: id,
        updated_at: at,
    };
    tx.set_environment(&standing).await.unwrap();
    let moved = EventKind::EnvironmentMoved {
        environment: environment.clone(),
        endpoint: HOSTILE.to_owned(),
        from: None,
        to: candidate,
        rollout: id,
    };
    let quarantined = EventKind::ReleaseQuarantined { release: candidate, environment, reason };
    let event = |kind| NewEvent { at, actor: Actor::user(HOSTILE), kind, cause: None };
    tx.commit(vec![event(moved), event(quarantined)]).await.unwrap();
    let meant = format!("{candidate} {HOSTILE}");
    let lift = [("csrf", token.as_str()), ("release", meant.as_str()), ("reason", HOSTILE)];
    form(&server, "/ui/quarantines/lift", &[("csrf", "x"), lift[1], lift[2]], &[])
        .await
        .is(403, &["Refused"]);
    assert!(server.db.quarantine_words().await.unwrap().is_empty());
    assert_eq!(form(&server, "/ui/quarantines/lift", &lift, &[]).await.status, 303);
    let again = form(&server, "/ui/quarantines/lift", &lift, &[]).await;
    again.is(409, &["has said so already"]);
    is_tame(&again);
    let words = server.db.quarantine_words().await.unwrap();
    assert_eq!((words.len(), words[0].reason.as_str()), (1, HOSTILE));
    for path in [
        "/".to_owned(),
        "/owner".to_owned(),
        "/delivery".to_owned(),
        "/delivery/releases".to_owned(),
        format!("/delivery/releases/{candidate}"),
        format!("/delivery/rollouts/{id}"),
    ] {
        let reply = page(&server, &path).await;
        reply.is(200, &["onerror"]);
        is_tame(&reply);
    }
    for action in ["approve", "abort", "rollback", "proceed", "drop"] {
        act(&server, id, action, &[("csrf", "x"), ("reason", HOSTILE)]).await.is(403, &["Refused"]);
    }
    let refused = act(&server, id, "rollback", &[("csrf", &token), ("reason", HOSTILE)]).await;
    assert_eq!(refused.status, 303);
    is_tame(&page(&server, &format!("/delivery/rollouts/{id}")).await);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let server = Server::start().await;
    for path in
        ["/delivery/rollouts/7", "/delivery/rollouts/x", "/delivery/releases/x", "/delivery/releases/b3:00"]
    {
        page(&server, path).await.is(404, &["Not found"]);
    }
    page(&server, "/delivery?page=x").await.is(400, &["Not understood"]);
    page(&server, "/delivery/releases?page=x").await.is(400, &["Not understood"]);
    page(&server, "/owner")
        .await
        .is(200, &["does not say what is decided", "No model is registered yet", "Nothing needs a decision"]);
}
