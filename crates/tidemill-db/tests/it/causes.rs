//! Chains of causes however far apart their events are, what lists count, and which projects and keys there are.

use serde_json::json;
use tidemill_core::{EventKind, NewEvent};
use tidemill_db::search::KeyOf;
use tidemill_db::tracking::{Batch, NewTrackedRun, RunStatus, Stage};
use tidemill_db::{EventFilter, Listed};

use crate::fixture::{
    Fixture, at, digest, event, experiment, metric, new_run, on_both, pair, pushed, run_id, started,
};

on_both!(
    a_chain_is_found_however_far_apart_its_events_are,
    lists_are_counted_up_to_a_limit,
    events_of_a_time_are_counted_where_that_is_cheap,
    the_newest_of_each_project_is_found_at_once,
    keys_are_those_of_one_experiment,
);

async fn append(f: &Fixture, events: Vec<NewEvent>) -> Vec<u64> {
    f.db.begin().await.unwrap().commit(events).await.unwrap()
}

fn because(cause: u64) -> NewEvent {
    NewEvent { cause: Some(cause), ..pushed("x", 1) }
}

async fn a_chain_is_found_however_far_apart_its_events_are(f: Fixture) {
    // More events lie in between than any page ever looked at.
    let between = |count: u64| (0..count).map(|n| pushed("between", n)).collect::<Vec<_>>();
    let first = append(&f, vec![pushed("first", 1)]).await[0];
    append(&f, between(3_000)).await;
    let second = append(&f, vec![because(first)]).await[0];
    append(&f, between(3_000)).await;
    let third = append(&f, vec![because(second), because(first)]).await[0];
    let seqs = |events: Vec<tidemill_core::Event>| events.iter().map(|event| event.seq).collect::<Vec<u64>>();
    assert_eq!(seqs(f.db.causes(Some(second), 50).await.unwrap()), [second, first]);
    assert_eq!(seqs(f.db.causes(Some(third), 50).await.unwrap()), [third, second, first]);
    assert_eq!(seqs(f.db.causes(Some(third), 2).await.unwrap()), [third, second]);
    assert_eq!(seqs(f.db.causes(Some(third), 0).await.unwrap()), Vec::<u64>::new());
    assert!(f.db.causes(None, 50).await.unwrap().is_empty());
    assert!(f.db.causes(Some(u64::MAX), 50).await.unwrap().is_empty());
    assert_eq!(seqs(f.db.effects(first, 0, 50).await.unwrap()), [second, third + 1]);
    assert_eq!(seqs(f.db.effects(first, second, 50).await.unwrap()), [third + 1]);
    assert_eq!(seqs(f.db.effects(first, 0, 1).await.unwrap()), [second]);
    assert_eq!(
        (f.db.count_effects(first, 9).await.unwrap(), f.db.count_effects(first, 1).await.unwrap()),
        (2, 1)
    );
    assert_eq!(f.db.count_effects(third, 9).await.unwrap(), 0);
}

async fn lists_are_counted_up_to_a_limit(f: Fixture) {
    append(&f, (0..7).map(|n| pushed("x", n)).collect()).await;
    let pushed = EventFilter { kind: Some("store.pushed".into()), limit: Some(2), ..EventFilter::default() };
    assert_eq!(f.db.count_events(&pushed, 100).await.unwrap(), Some(7));
    assert_eq!(f.db.count_events(&pushed, 5).await.unwrap(), Some(5));
    let other = EventFilter { subject: Some("run:x".into()), ..EventFilter::default() };
    assert_eq!(f.db.count_events(&other, 5).await.unwrap(), Some(0));
    for number in 1..=3 {
        let mut tx = f.db.begin().await.unwrap();
        tx.start_run(&new_run(run_id(number), 10)).await.unwrap();
        tx.commit(vec![started(run_id(number), 10)]).await.unwrap();
    }
    assert_eq!(f.db.count(Listed::PipelineRuns, 100).await.unwrap(), 3);
    assert_eq!(f.db.count(Listed::PipelineRuns, 2).await.unwrap(), 2);
    let all = [
        Listed::Experiments,
        Listed::Models,
        Listed::VersionsOf("m"),
        Listed::Endpoints,
        Listed::Releases,
        Listed::ReleasesOf("m"),
        Listed::Rollouts,
        Listed::Alerts,
        Listed::WindowsOf("e", "drift"),
    ];
    for list in all {
        assert_eq!(f.db.count(list, 100).await.unwrap(), 0, "{list:?}");
    }
}

async fn events_of_a_time_are_counted_where_that_is_cheap(f: Fixture) {
    // Times are not quite in the order of the log.
    let times = [10, 30, 20, 40, 50, 60, 70, 80];
    append(&f, times.map(|at| pushed(if at == 20 { "far" } else { "near" }, at)).to_vec()).await;
    let of = |since: Option<i64>, until: Option<i64>, kind: Option<&str>| EventFilter {
        kind: kind.map(str::to_owned),
        since: since.map(at),
        until: until.map(at),
        ..EventFilter::default()
    };
    let count = async |filter: &EventFilter, limit| f.db.count_events(filter, limit).await.unwrap();
    let pushed = Some("store.pushed");
    // The event that made the log is of now.
    for (since, until, kind, found) in [
        (Some(20), Some(50), None, 3),
        (Some(30), Some(50), None, 2),
        (None, Some(20), None, 1),
        (Some(20), Some(50), pushed, 3),
        (Some(20), None, pushed, 7),
        (Some(20), Some(20), pushed, 0),
        (Some(20), Some(50), Some("run.started"), 0),
    ] {
        let filter = of(since, until, kind);
        assert_eq!(count(&filter, 100).await, Some(found), "{filter:?}");
        let all = f.db.events(&filter).await.unwrap();
        assert_eq!(all.len() as u64, found, "{filter:?}");
    }
    assert_eq!(count(&of(Some(20), None, None), 4).await, Some(4));
    // Few are of the time, or few of the kind: then both together can be told. Where many are of each, they are not looked for.
    assert_eq!(count(&of(Some(20), Some(50), pushed), 4).await, Some(3));
    assert_eq!(count(&of(Some(20), None, Some("run.started")), 4).await, Some(0));
    assert_eq!(count(&of(Some(20), None, pushed), 4).await, None);
}

async fn the_newest_of_each_project_is_found_at_once(f: Fixture) {
    assert!(f.db.newest_runs(10).await.unwrap().is_empty());
    let tested = |run| {
        let (evidence, run) = (digest("tests"), run_id(run));
        let body =
            json!({"kind": "model_tested", "run": run, "evidence": evidence, "passed": 1, "failed": 0});
        event(20, serde_json::from_value(body).unwrap())
    };
    for (number, project) in [(1, "tides"), (2, "flights"), (3, "tides"), (4, "moons"), (5, "tides")] {
        let mut tx = f.db.begin().await.unwrap();
        let run = tidemill_db::NewRun {
            project: project.into(),
            ..new_run(run_id(number), 10 + i64::from(number))
        };
        tx.start_run(&run).await.unwrap();
        tx.commit(vec![started(run_id(number), 10)]).await.unwrap();
    }
    let newest = async |limit| {
        let runs = f.db.newest_runs(limit).await.unwrap();
        runs.into_iter().map(|run| (run.project, run.id)).collect::<Vec<_>>()
    };
    let found = [("tides", 5), ("moons", 4), ("flights", 2)].map(|(name, id)| (name.to_owned(), run_id(id)));
    assert_eq!(newest(10).await, found);
    assert_eq!(newest(2).await, found[..2]);

    append(&f, vec![tested(3), tested(1), tested(2)]).await;
    let tests = async |runs| {
        let projects = ["flights", "moons", "none", "tides"].into();
        let found = f.db.newest_events_of_projects(&projects, "model.tested", runs).await.unwrap();
        found.into_iter().map(|(project, event)| (project, event.kind.subject())).collect::<Vec<_>>()
    };
    let subject = |id| format!("run:{}", run_id(id));
    // The newest event, not that of the newest run; of runs that are longer ago nothing is said.
    assert_eq!(tests(3).await, [("flights".to_owned(), subject(2)), ("tides".to_owned(), subject(1))]);
    assert_eq!(tests(2).await, [("flights".to_owned(), subject(2)), ("tides".to_owned(), subject(3))]);
    assert_eq!(tests(1).await, [("flights".to_owned(), subject(2))]);
    // Of others nothing is read.
    let tides = f.db.newest_events_of_projects(&["tides"].into(), "model.tested", 3).await.unwrap();
    assert_eq!(tides.iter().map(|(project, _)| project.as_str()).collect::<Vec<_>>(), ["tides"]);
}

async fn keys_are_those_of_one_experiment(f: Fixture) {
    for (id, keys) in [(1_i64, ["val_Loss", "depth"]), (2, ["other loss", "width"])] {
        experiment(&f.db, id).await;
        let run = run_id(id as u8);
        let new = NewTrackedRun {
            id: run,
            experiment: id,
            name: String::new(),
            user: String::new(),
            status: RunStatus::Running,
            started_at: Some(at(1)),
            ended_at: None,
            artifact_uri: None,
        };
        let batch = Batch {
            metrics: vec![metric(keys[0], 0, 1, 1.0)],
            params: vec![pair(keys[1], "3")],
            ..Batch::default()
        };
        let kind = EventKind::TrackingRunCreated { run, experiment: id, name: String::new() };
        f.db.ingest().create_run(new, batch, event(1, kind)).await.unwrap();
    }
    let keys = async |of, part, limit| f.db.run_keys(1, Stage::Active, of, part, limit).await.unwrap();
    assert_eq!(keys(KeyOf::Metrics, "LOSS", 9).await, ["val_Loss"]);
    assert_eq!(keys(KeyOf::Metrics, "", 9).await, ["val_Loss"]);
    assert_eq!(keys(KeyOf::Params, "pt", 9).await, ["depth"]);
    assert!(keys(KeyOf::Params, "loss", 9).await.is_empty());
    assert!(keys(KeyOf::Tags, "", 9).await.is_empty());
    assert!(keys(KeyOf::Metrics, "", 0).await.is_empty());
}
