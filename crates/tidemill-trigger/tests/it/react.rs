//! What follows from events: tables of cases, and what holds in every order of events.

use std::time::Duration;

use proptest::prelude::*;
use tidemill_core::declare::{Concurrency, Missed, RateLimit, Trigger, TriggerAction, When};
use tidemill_core::{Actor, Event, EventKind, SourceKind, Timestamp};
use tidemill_trigger::{Details, LOOP_LIMIT, Pending, QUEUE, Reaction, Rules, State, due, react};

fn trigger(name: &str, when: When) -> Trigger {
    Trigger {
        name: name.to_owned(),
        when,
        actions: vec![TriggerAction::Run],
        to: None,
        debounce: Duration::ZERO,
        concurrency: Concurrency::Queue,
        limit: None,
        secret: None,
    }
}

fn rules(triggers: Vec<Trigger>) -> Rules {
    Rules::new("p", triggers).unwrap()
}

fn event(seq: u64, kind: EventKind) -> Event {
    Event { seq, at: Timestamp::default(), actor: Actor::system("test"), kind, cause: None }
}

fn source(seq: u64, source: SourceKind, name: &str) -> Event {
    let details = Details::new();
    event(seq, EventKind::SourceChanged { project: "p".to_owned(), source, name: name.to_owned(), details })
}

fn data(name: &str) -> When {
    When::Data { dataset: name.to_owned(), paths: Vec::new(), poll: Duration::from_secs(60) }
}

fn at(seconds: i64) -> State {
    State { now: Timestamp::from_millis(seconds * 1000), ..State::default() }
}

/// What a reaction does, in a word and the trigger.
fn words(reactions: &[Reaction]) -> Vec<String> {
    let word = |reaction: &Reaction| match reaction {
        Reaction::Wait { trigger, .. } => format!("wait {trigger}"),
        Reaction::Fire { trigger, supersedes, .. } if supersedes.is_empty() => format!("fire {trigger}"),
        Reaction::Fire { trigger, supersedes, .. } => format!("fire {trigger} instead of {supersedes:?}"),
        Reaction::Suppress { trigger, reason, .. } => {
            format!("suppress {trigger}: {}", reason.split([':', ',', ';']).next().unwrap_or_default())
        }
    };
    reactions.iter().map(word).collect()
}

#[test]
fn who_listens_for_what() {
    let rules = rules(vec![
        trigger(
            "nightly",
            When::Schedule { cron: "@daily".into(), timezone: "UTC".into(), missed: Missed::default() },
        ),
        trigger("flights", data("flights")),
        trigger("hook", When::Webhook),
        trigger("main", When::Git { branch: "main".into(), remote: None, poll: Duration::ZERO }),
        trigger("drift", When::Alert { monitor: "drift".into() }),
        trigger("skew", When::Expectations { dataset: "flights".into() }),
        trigger("version", When::Model { model: "m".into(), alias: None }),
        trigger("champion", When::Model { model: "m".into(), alias: Some("champion".into()) }),
        trigger("promote", When::Environment { environment: "staging".into() }),
        trigger("am", When::Alertmanager { alert: "*".into() }),
        trigger("ce", When::CloudEvent { kind: "*".into(), source: None }),
    ]);
    let moved =
        |alias: &str, to| EventKind::AliasMoved { model: "m".into(), alias: alias.into(), from: Some(1), to };
    let version = |model: &str| EventKind::VersionCreated {
        model: model.into(),
        version: 2,
        source: "s".into(),
        run: None,
        content: None,
        facts: None,
    };
    let other = EventKind::SourceChanged {
        project: "another".to_owned(),
        source: SourceKind::Webhook,
        name: "hook".to_owned(),
        details: Details::new(),
    };
    let dataset = EventKind::DatasetVersionCreated {
        dataset: "flights".into(),
        version: 3,
        content: tidemill_core::Digest::of(b"x"),
        bytes: 1,
        rows: None,
    };
    let firing = |monitor: &str| EventKind::AlertFiring {
        alert: 1,
        fingerprint: tidemill_core::Digest::of(b"f"),
        endpoint: "late".into(),
        monitor: monitor.into(),
        watch: format!("{monitor}:x"),
        since: at(0).now,
        until: at(0).now,
        why: "it moved".into(),
        at_risk_cents: None,
        currency: None,
        evidence: tidemill_core::Digest::of(b"e"),
    };
    let runs = |environment: &str| EventKind::EnvironmentMoved {
        environment: environment.into(),
        endpoint: "late".into(),
        from: None,
        to: tidemill_core::Digest::of(b"release"),
        rollout: 3,
    };
    let checked = |dataset: &str, failed, warned| EventKind::DataChecked {
        dataset: dataset.into(),
        passed: 3,
        failed,
        warned,
        evidence: None,
    };
    for (event, expected) in [
        (event(1, checked("flights", 0, 1)), "fire skew"),
        (event(1, checked("flights", 1, 0)), "fire skew"),
        (event(1, checked("flights", 0, 0)), ""),
        (event(1, checked("weather", 1, 1)), ""),
        (event(1, firing("drift")), "fire drift"),
        (event(1, firing("quality")), ""),
        (source(1, SourceKind::Schedule, "nightly"), "fire nightly"),
        (source(1, SourceKind::Data, "flights"), "fire flights"),
        (source(1, SourceKind::Data, "weather"), ""),
        (event(1, dataset), "fire flights"),
        (source(1, SourceKind::Webhook, "hook"), "fire hook"),
        (source(1, SourceKind::Webhook, "nightly"), ""),
        (source(1, SourceKind::Hand, "nightly"), "fire nightly"),
        (source(1, SourceKind::Git, "main"), "fire main"),
        (source(1, SourceKind::Git, "other"), ""),
        (source(1, SourceKind::Alert, "drift"), "fire drift"),
        (source(1, SourceKind::Alertmanager, "am"), "fire am"),
        (source(1, SourceKind::Cloudevent, "ce"), "fire ce"),
        (event(1, version("m")), "fire version"),
        (event(1, version("n")), ""),
        (event(1, moved("champion", Some(2))), "fire champion"),
        (event(1, moved("champion", None)), ""),
        (event(1, moved("other", Some(2))), ""),
        (event(1, runs("staging")), "fire promote"),
        (event(1, runs("prod")), ""),
        (event(1, other), ""),
        (event(1, EventKind::StoreSwept { objects: 1, bytes: 1 }), ""),
    ] {
        assert_eq!(words(&react(&event, &rules, &at(0))).join(", "), expected, "{event:?}");
    }
}

#[test]
fn events_close_together_count_as_one() {
    let rules =
        rules(vec![Trigger { debounce: Duration::from_secs(10), ..trigger("flights", data("flights")) }]);
    let mut state = at(100);
    for (seq, now) in [(1, 100), (2, 105), (3, 112)] {
        state.now = at(now).now;
        assert!(due(&rules, &state).is_empty(), "another one came in time");
        let reactions = react(&source(seq, SourceKind::Data, "flights"), &rules, &state);
        assert_eq!(words(&reactions), ["wait flights"]);
        state.apply(&reactions[0], None);
    }
    state.now = at(121).now;
    assert!(due(&rules, &state).is_empty());
    state.now = at(122).now;
    let reactions = due(&rules, &state);
    let Reaction::Fire { cause, events, .. } = &reactions[0] else { panic!("{reactions:?}") };
    assert_eq!((*cause, *events), (3, 3));
    state.apply(&reactions[0], Some(1));
    assert!(due(&rules, &state).is_empty(), "it fires once");
    // A hand does not wait.
    let by_hand = react(&source(9, SourceKind::Hand, "flights"), &rules, &state);
    assert_eq!(words(&by_hand), ["fire flights"]);
}

#[test]
fn a_stream_without_a_pause_fires_nevertheless() {
    let rules =
        rules(vec![Trigger { debounce: Duration::from_secs(10), ..trigger("flights", data("flights")) }]);
    let mut state = at(0);
    let mut fired = Vec::new();
    for second in 0..400 {
        state.now = at(second).now;
        for reaction in due(&rules, &state) {
            fired.push(second);
            state.apply(&reaction, Some(second as u64));
        }
        let reactions = react(&source(second as u64 + 1, SourceKind::Data, "flights"), &rules, &state);
        state.apply(&reactions[0], None);
    }
    assert_eq!(fired, [100, 200, 300]);
}

#[test]
fn what_runs_already() {
    for (concurrency, open, expected) in [
        (Concurrency::Queue, vec![], "fire hook"),
        (Concurrency::Queue, vec![4, 5], "fire hook"),
        (
            Concurrency::Queue,
            (0..QUEUE as u64).collect(),
            "suppress hook: 32 jobs of this trigger are not done",
        ),
        (Concurrency::Supersede, vec![], "fire hook"),
        (Concurrency::Supersede, vec![4, 5], "fire hook instead of [4, 5]"),
        (Concurrency::Reject, vec![], "fire hook"),
        (Concurrency::Reject, vec![4], "suppress hook: job 4 of this trigger is not done"),
    ] {
        let rules = rules(vec![Trigger { concurrency, ..trigger("hook", When::Webhook) }]);
        let mut state = at(0);
        state.triggers.entry("hook".to_owned()).or_default().open.clone_from(&open);
        let reactions = react(&source(1, SourceKind::Webhook, "hook"), &rules, &state);
        assert_eq!(words(&reactions), [expected], "{concurrency:?} {open:?}");
    }
}

#[test]
fn a_retraining_that_its_own_monitor_set_off_is_limited() {
    let drift = trigger("drift", When::Alert { monitor: "drift".into() });
    let alert = |seq| source(seq, SourceKind::Alert, "drift");
    let rules_of = |limit| rules(vec![Trigger { limit, ..drift.clone() }]);
    let mut state = at(0);
    let mut said = Vec::new();
    for hour in 0..30 {
        state.now = at(hour * 3600).now;
        let reactions = react(&alert(hour as u64 + 1), &rules_of(None), &state);
        said.push(words(&reactions).remove(0));
        state.apply(&reactions[0], Some(hour as u64));
    }
    let fired: Vec<usize> = (0..30).filter(|i| said[*i] == "fire drift").collect();
    assert_eq!(fired, [0, 1, 2, 24, 25, 26], "three times a day");
    assert_eq!(said[3], "suppress drift: loop protection");
    // By hand it starts at any time.
    assert_eq!(
        words(&react(&source(99, SourceKind::Hand, "drift"), &rules_of(None), &state)),
        ["fire drift"]
    );

    // What its own job led to is limited whatever the kind of event.
    let hook = rules(vec![trigger("hook", When::Webhook)]);
    let mut state = at(0);
    let known = state.triggers.entry("hook".to_owned()).or_default();
    known.fired = vec![Timestamp::default(); LOOP_LIMIT.count as usize];
    let call = source(1, SourceKind::Webhook, "hook");
    assert_eq!(
        words(&react(&call, &hook, &state)),
        ["fire hook"],
        "somebody else calls as often as he likes"
    );
    state.lineage = vec!["hook".to_owned()];
    assert_eq!(words(&react(&call, &hook, &state)), ["suppress hook: loop protection"]);
    state.lineage = vec!["another".to_owned()];
    assert_eq!(words(&react(&call, &hook, &state)), ["fire hook"]);

    // A declared limit holds for every event.
    let once = Some(RateLimit { count: 1, per: Duration::from_secs(60) });
    let limited = rules(vec![Trigger { limit: once, ..trigger("hook", When::Webhook) }]);
    state.lineage.clear();
    state.now = at(59).now;
    assert_eq!(
        words(&react(&call, &limited, &state)),
        ["suppress hook: the trigger has started work once in 1m"]
    );
    state.now = at(60).now;
    assert_eq!(words(&react(&call, &limited, &state)), ["fire hook"]);
}

#[test]
fn what_a_running_job_changes_may_be_its_own_doing() {
    let rules = rules(vec![trigger("version", When::Model { model: "m".into(), alias: None })]);
    let mut state = at(10);
    let known = state.triggers.entry("version".to_owned()).or_default();
    known.fired = vec![Timestamp::default(); LOOP_LIMIT.count as usize];
    let kind = EventKind::VersionCreated {
        model: "m".into(),
        version: 1,
        source: "s".into(),
        run: None,
        content: None,
        facts: None,
    };
    let made = event(1, kind);
    assert_eq!(words(&react(&made, &rules, &state)), ["fire version"]);
    state.triggers.get_mut("version").unwrap().running = true;
    assert_eq!(words(&react(&made, &rules, &state)), ["suppress version: loop protection"]);
}

#[test]
fn what_waits_is_stored_and_read_back() {
    let pending = Pending {
        event: 4,
        events: 2,
        since: Timestamp::from_millis(5),
        due: Timestamp::from_millis(9),
        details: [("commit".to_owned(), "abc".to_owned())].into(),
        own: true,
    };
    let text = serde_json::to_string(&pending).unwrap();
    assert_eq!(serde_json::from_str::<Pending>(&text).unwrap(), pending);
}

#[derive(Clone, Debug)]
enum Step {
    Call,
    Hand,
    Alert,
    Wait(i64),
    Done,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Call),
        1 => Just(Step::Hand),
        2 => Just(Step::Alert),
        3 => (1..5_000_i64).prop_map(Step::Wait),
        2 => Just(Step::Done),
    ];
    prop::collection::vec(step, 1..120)
}

fn policies() -> impl Strategy<Value = (Concurrency, u64, Option<RateLimit>)> {
    let concurrency =
        prop_oneof![Just(Concurrency::Queue), Just(Concurrency::Supersede), Just(Concurrency::Reject)];
    let limit = prop_oneof![
        Just(None),
        (1..4_u32, 1..20_u64).prop_map(|(count, s)| Some(RateLimit { count, per: Duration::from_secs(s) })),
    ];
    (concurrency, prop_oneof![Just(0), 1..3_000_u64], limit)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order: every event is fired on, suppressed or waits, exactly once; policies hold.
    #[test]
    fn every_event_has_one_end((concurrency, debounce, limit) in policies(), steps in steps()) {
        let declared = |name: &str, when| Trigger {
            concurrency, debounce: Duration::from_millis(debounce), limit, ..trigger(name, when)
        };
        let rules = rules(vec![
            declared("hook", When::Webhook),
            declared("drift", When::Alert { monitor: "drift".into() }),
        ]);
        let mut state = State::default();
        let (mut seq, mut job) = (0_u64, 0_u64);
        let (mut sent, mut ended) = (0_u64, 0_u64);
        let mut automatic: Vec<(String, Timestamp)> = Vec::new();
        let mut hands: Vec<u64> = Vec::new();
        for step in steps {
            let reactions = match step {
                Step::Wait(millis) => {
                    state.now = Timestamp::from_millis(state.now.millis() + millis);
                    due(&rules, &state)
                }
                Step::Done => {
                    state.triggers.values_mut().for_each(|known| { known.open.pop(); });
                    Vec::new()
                }
                Step::Call | Step::Hand | Step::Alert => {
                    seq += 1;
                    sent += 1;
                    let event = match step {
                        Step::Alert => source(seq, SourceKind::Alert, "drift"),
                        Step::Hand => { hands.push(seq); source(seq, SourceKind::Hand, "hook") }
                        _ => source(seq, SourceKind::Webhook, "hook"),
                    };
                    react(&event, &rules, &state)
                }
            };
            for reaction in reactions {
                let (name, waited) = match &reaction {
                    Reaction::Wait { trigger, .. } => (trigger.clone(), 0),
                    Reaction::Fire { trigger, cause, .. } | Reaction::Suppress { trigger, cause, .. } => {
                        let pending = state.triggers.get(trigger).and_then(|known| known.pending.as_ref());
                        let events = pending.filter(|pending| pending.event == *cause).map_or(1, |p| p.events);
                        (trigger.clone(), events)
                    }
                };
                ended += waited;
                if let Reaction::Fire { events, cause, .. } = &reaction {
                    job += 1;
                    prop_assert_eq!(*events, waited);
                    if !hands.contains(cause) { automatic.push((name.clone(), state.now)); }
                }
                state.apply(&reaction, Some(job));
                let known = &state.triggers[&name];
                let most = match concurrency {
                    Concurrency::Queue => QUEUE,
                    Concurrency::Supersede | Concurrency::Reject => 1,
                };
                prop_assert!(known.open.len() <= most);
            }
        }
        let waiting: u64 =
            state.triggers.values().filter_map(|known| known.pending.as_ref()).map(|p| p.events).sum();
        prop_assert_eq!(sent, ended + waiting, "each event has one end");
        for (name, _) in &automatic {
            let limit = limit.unwrap_or(LOOP_LIMIT);
            if name == "hook" && limit == LOOP_LIMIT { continue; }
            let times: Vec<Timestamp> =
                automatic.iter().filter(|(other, _)| other == name).map(|(_, at)| *at).collect();
            for window in times.windows(limit.count as usize + 1) {
                let between = window[window.len() - 1].since(window[0]);
                prop_assert!(between >= limit.per, "{} fires within {:?}", window.len(), between);
            }
        }
    }
}
