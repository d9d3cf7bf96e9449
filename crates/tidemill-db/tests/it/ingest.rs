//! Group commit: many callers, one transaction, an answer for each.

use tidemill_core::{EventKind, Quiet, RunId};
use tidemill_db::tracking::{Batch, ParamChange, RunStatus, Stage};
use tidemill_db::{Error, EventFilter};

use crate::fixture::{
    Fixture, at, begun, created, event, experiment, metric, metrics, moved, new_tracked, on_both, open, pair,
    pushed, result, run_id, step, step_finished, tracked,
};

on_both!(
    events_of_many_callers,
    steps_of_many_callers,
    a_refused_step_harms_nobody_else,
    one_bad_request_of_a_group_harms_nobody_else,
    points_alone_are_written_as_among_others,
    requests_of_a_group_see_those_before_them,
    nothing_is_lost_or_doubled,
    large_batches,
    several_servers_work_on_one_database,
    closing_writes_what_waits,
);

async fn events_of_many_callers(f: Fixture) {
    let mut tasks = Vec::new();
    for caller in 0..64_u64 {
        let ingest = f.db.ingest();
        tasks.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for i in 0..5 {
                let events =
                    vec![pushed(&format!("{caller}/{i}/a"), 1), pushed(&format!("{caller}/{i}/b"), 2)];
                let seqs = ingest.events(events).await.unwrap();
                assert_eq!(seqs[1], seqs[0] + 1);
                acknowledged.push((seqs[0], format!("{caller}/{i}/a")));
            }
            acknowledged
        }));
    }
    let stored = {
        let mut acknowledged = Vec::new();
        for task in tasks {
            acknowledged.extend(task.await.unwrap());
        }
        let lines = f.db.log_lines(0, usize::MAX).await.unwrap();
        for (seq, remote) in acknowledged {
            assert!(lines[seq as usize - 1].contains(&format!("\"{remote}\"")), "{seq} {remote}");
        }
        lines.len()
    };
    assert_eq!(stored, 640);
    assert_eq!(f.db.verify_log(&Quiet).await.unwrap().first_bad, None);
    assert!(f.db.ingest().events(Vec::new()).await.unwrap().is_empty());
}

async fn steps_of_many_callers(f: Fixture) {
    let run = begun(&f.db, 1, 1).await;
    let mut tasks = Vec::new();
    for i in 0..40 {
        let ingest = f.db.ingest();
        tasks.push(tokio::spawn(async move {
            let step = step(run, &format!("step {i}"));
            let seq =
                ingest.step_finished(step.clone(), Some(result(&step)), step_finished(&step)).await.unwrap();
            (seq, step)
        }));
    }
    for task in tasks {
        let (seq, step) = task.await.unwrap();
        let filter = EventFilter { after: Some(seq - 1), limit: Some(1), ..EventFilter::default() };
        assert_eq!(f.db.events(&filter).await.unwrap()[0].kind, step_finished(&step).kind);
        assert_eq!(f.db.step_cache(step.key).await.unwrap(), Some(result(&step)));
    }
    assert_eq!(f.db.step_runs(run).await.unwrap().len(), 40);
}

async fn a_refused_step_harms_nobody_else(f: Fixture) {
    let run = begun(&f.db, 1, 1).await;
    let mut tasks = Vec::new();
    for i in 0..20 {
        let ingest = f.db.ingest();
        let run = if i == 7 { run_id(99) } else { run };
        tasks.push(tokio::spawn(async move {
            let step = step(run, &format!("step {i}"));
            ingest.step_finished(step.clone(), None, step_finished(&step)).await
        }));
    }
    for (i, task) in tasks.into_iter().enumerate() {
        let answer = task.await.unwrap();
        if i == 7 {
            assert!(matches!(answer, Err(Error::NotFound { what: "run", .. })), "{answer:?}");
        } else {
            answer.unwrap();
        }
    }
    assert_eq!(f.db.step_runs(run).await.unwrap().len(), 19);
    let verdict = f.db.verify_log(&Quiet).await.unwrap();
    assert_eq!((verdict.checked, verdict.first_bad), (20, None));
}

async fn one_bad_request_of_a_group_harms_nobody_else(f: Fixture) {
    experiment(&f.db, 1).await;
    for i in 0..4 {
        tracked(&f.db, run_id(i), 1).await;
    }
    let param = |value: &str| Batch { params: vec![pair("p", value)], ..Batch::default() };
    f.db.ingest().log(run_id(0), param("1")).await.unwrap();
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.move_tracked_run(run_id(3), Stage::Deleted, at(9)).await.unwrap());
    // While this transaction lives, all of these wait and become one group.
    let mut tasks = Vec::new();
    for i in 0..60_i64 {
        let ingest = f.db.ingest();
        tasks.push(tokio::spawn(async move {
            let point = || metrics(vec![metric("m", i, i, 1.0)]);
            match i % 6 {
                0 => ingest.log(run_id(0), Batch { params: vec![pair("p", "2")], ..point() }).await,
                1 => ingest.log(run_id(3), point()).await,
                2 => ingest.log(run_id(99), point()).await,
                3 => {
                    let missing = vec!["no such tag".to_owned()];
                    ingest.log(run_id(1), Batch { removed_tags: missing, ..point() }).await
                }
                4 => {
                    let new = new_tracked(run_id(1), 1);
                    let event = created(&new);
                    ingest.create_run(new, point(), event).await.map(drop)
                }
                _ => ingest.log(run_id(2), Batch { params: vec![pair("q", "3")], ..point() }).await,
            }
        }));
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let event = event(9, EventKind::TrackingRunDeleted { run: run_id(3) });
    tx.commit(vec![event]).await.unwrap();
    for (i, task) in tasks.into_iter().enumerate() {
        let answer = task.await.unwrap();
        let expected = match (i % 6, &answer) {
            (0, Err(Error::ParamsChanged { run, changes })) => {
                *run == run_id(0)
                    && *changes
                        == [ParamChange { key: "p".to_owned(), old: "1".to_owned(), new: "2".to_owned() }]
            }
            (1, Err(Error::Deleted { what: "tracked run", name })) => *name == run_id(3).to_string(),
            (2, Err(Error::NotFound { what: "tracked run", .. })) => true,
            (3, Err(Error::NotFound { what: "tag", name })) => name == "no such tag",
            (4, Err(Error::Exists { what: "tracked run", .. })) => true,
            (5, answer) => answer.is_ok(),
            _ => false,
        };
        assert!(expected, "{i}: {answer:?}");
    }
    for (run, points) in [(0, 0), (1, 0), (2, 10), (3, 0)] {
        let history = f.db.metric_history(run_id(run), "m", None, usize::MAX).await.unwrap();
        assert_eq!(history.len(), points, "{run}");
    }
    // Nothing refused left an event.
    let verdict = f.db.verify_log(&Quiet).await.unwrap();
    assert_eq!((verdict.checked, verdict.first_bad), (6, None));
}

/// Groups that hold nothing but a few points take a short way. What they leave behind and are answered is the same.
async fn points_alone_are_written_as_among_others(f: Fixture) {
    experiment(&f.db, 1).await;
    for i in 0..4 {
        tracked(&f.db, run_id(i), 1).await;
    }
    let mut tx = f.db.begin().await.unwrap();
    assert!(tx.move_tracked_run(run_id(3), Stage::Deleted, at(9)).await.unwrap());
    let deleted = event(9, EventKind::TrackingRunDeleted { run: run_id(3) });
    tx.commit(vec![deleted]).await.unwrap();
    // The first, a later one, the same again, a late one in its place and one that is not, and what compares in its own way.
    for (step, time, value) in [
        (0, 10, 1.0),
        (2, 20, 2.0),
        (2, 20, 2.0),
        (1, 15, 0.5),
        (5, 5, 9.0),
        (7, 30, f64::NAN),
        (7, 30, f64::INFINITY),
        (8, 40, -0.0),
        (8, 40, f64::NAN),
    ] {
        let alone = metrics(vec![metric("m", step, time, value)]);
        let among = Batch { tags: vec![pair("t", "v")], ..alone.clone() };
        f.db.ingest().log(run_id(0), alone).await.unwrap();
        f.db.ingest().log(run_id(1), among).await.unwrap();
        let mut left = Vec::new();
        for run in [0, 1] {
            let history = f.db.metric_history(run_id(run), "m", None, usize::MAX).await.unwrap();
            let newest = f.db.tracked_run(run_id(run)).await.unwrap().unwrap().metrics;
            left.push(format!("{history:?} {newest:?}"));
        }
        assert_eq!(left[0], left[1], "{step} {time} {value}");
    }
    // While this transaction lives, all of these wait and become one group.
    let tx = f.db.begin().await.unwrap();
    let mut tasks = Vec::new();
    for i in 0..60_i64 {
        let ingest = f.db.ingest();
        let run = run_id([2, 3, 99][(i % 3) as usize]);
        tasks.push(tokio::spawn(async move {
            let points = vec![metric("m", i, i, 1.0), metric(&format!("k{i}"), 0, 0, 1.0)];
            ingest.log(run, metrics(points)).await
        }));
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    drop(tx);
    for (i, task) in tasks.into_iter().enumerate() {
        let answer = task.await.unwrap();
        let expected = match (i % 3, &answer) {
            (0, answer) => answer.is_ok(),
            (1, Err(Error::Deleted { what: "tracked run", name })) => *name == run_id(3).to_string(),
            (2, Err(Error::NotFound { what: "tracked run", .. })) => true,
            _ => false,
        };
        assert!(expected, "{i}: {answer:?}");
    }
    let run = f.db.tracked_run(run_id(2)).await.unwrap().unwrap();
    assert_eq!(run.metrics.len(), 21);
    assert_eq!(f.db.metric_history(run_id(2), "m", None, usize::MAX).await.unwrap().len(), 20);
    assert_eq!(f.db.metric_history(run_id(3), "m", None, usize::MAX).await.unwrap().len(), 0);
    // All of a group refused: the next one finds nothing open.
    let point = || metrics(vec![metric("m", 100, 100, 1.0)]);
    let refused = f.db.ingest().log(run_id(99), point()).await.unwrap_err();
    assert!(matches!(refused, Error::NotFound { what: "tracked run", .. }), "{refused:?}");
    f.db.ingest().log(run_id(2), point()).await.unwrap();
    assert_eq!(f.db.verify_log(&Quiet).await.unwrap().first_bad, None);
}

/// Whoever stops waiting in the middle of a transaction leaves none open, neither here nor for another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_are_given_up_are_rolled_back() {
    let f = Fixture::sqlite().await;
    experiment(&f.db, 1).await;
    for i in 0..3 {
        tracked(&f.db, run_id(i), 1).await;
    }
    let before = f.db.log_head().await.unwrap().size;
    let other = open(&f.url).await;
    let mut done = 0;
    for i in 0..40_i64 {
        let to = if i % 2 == 0 { Stage::Deleted } else { Stage::Active };
        let work = async {
            let mut tx = f.db.begin().await.unwrap();
            if !tx.move_tracked_run(run_id(1), to, at(9)).await.unwrap() {
                return false;
            }
            let moved = event(9, EventKind::TrackingRunDeleted { run: run_id(1) });
            tx.commit(vec![moved]).await.unwrap();
            true
        };
        // Given up a little later each time.
        let patience = async {
            for _ in 0..i * i {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = patience => {}
            moved = work => done += u64::from(moved),
        }
        for db in [&other, &f.db] {
            db.ingest().log(run_id(2), metrics(vec![metric("m", i, i, 1.0)])).await.unwrap();
        }
    }
    assert_eq!(f.db.metric_history(run_id(2), "m", None, usize::MAX).await.unwrap().len(), 40);
    let after = f.db.log_head().await.unwrap().size;
    // A commit may have happened although nobody waited for its answer any more.
    assert!((before + done..=before + 40).contains(&after), "{before} {done} {after}");
    assert_eq!(f.db.verify_log(&Quiet).await.unwrap().first_bad, None);
}

async fn requests_of_a_group_see_those_before_them(f: Fixture) {
    experiment(&f.db, 1).await;
    let tx = f.db.begin().await.unwrap();
    let run = run_id(1);
    let mut tasks = Vec::new();
    for i in 0..8 {
        let ingest = f.db.ingest();
        tasks.push(tokio::spawn(async move {
            let new = new_tracked(run, 1);
            let event = created(&new);
            let batch = Batch { params: vec![pair("p", &i.to_string())], ..Batch::default() };
            ingest.create_run(new, batch, event).await
        }));
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    drop(tx);
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(Error::Exists { what: "tracked run", .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 1);
    let run = f.db.tracked_run(run).await.unwrap().unwrap();
    assert_eq!(run.params.len(), 1);
    assert_eq!(f.db.log_head().await.unwrap().size, 2);
}

/// 64 tasks on 8 runs: every point, parameter and tag is there once.
async fn nothing_is_lost_or_doubled(f: Fixture) {
    experiment(&f.db, 1).await;
    for run in 0..8 {
        tracked(&f.db, run_id(run), 1).await;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64_i64 {
        let ingest = f.db.ingest();
        tasks.spawn(async move {
            for i in 0..5 {
                let (own, shared) = (metric("own", task * 5 + i, i, 1.0), metric("shared", i, i, 2.0));
                let batch = Batch {
                    metrics: vec![own.clone(), shared.clone(), own],
                    params: vec![pair(&format!("p{task}-{i}"), "1"), pair("same", "s")],
                    tags: vec![pair("tag", "v"), pair(&format!("t{task}"), &i.to_string())],
                    ..Batch::default()
                };
                ingest.log(run_id((task % 8) as u8), batch).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    for number in 0..8 {
        let run = f.db.tracked_run(run_id(number)).await.unwrap().unwrap();
        assert_eq!(run.params.len(), 8 * 5 + 1);
        assert_eq!(run.tags.len(), 8 + 1);
        assert!(run.tags.iter().all(|tag| tag.key == "tag" || tag.value == "4"));
        let own = f.db.metric_history(run_id(number), "own", None, usize::MAX).await.unwrap();
        assert_eq!(own.len(), 40);
        assert_eq!(f.db.metric_history(run_id(number), "shared", None, usize::MAX).await.unwrap().len(), 5);
        assert_eq!(run.metrics[0].step, (56 + i64::from(number)) * 5 + 4);
    }
}

async fn large_batches(f: Fixture) {
    experiment(&f.db, 1).await;
    let run = run_id(1);
    tracked(&f.db, run, 1).await;
    let points = (0..25_001).map(|i| metric(&format!("k{}", i % 7), i, i, i as f64)).collect();
    f.db.ingest().log(run, metrics(points)).await.unwrap();
    f.db.ingest().log(run, Batch::default()).await.unwrap();
    let mut count = 0;
    for key in 0..7 {
        count += f.db.metric_history(run, &format!("k{key}"), None, usize::MAX).await.unwrap().len();
    }
    assert_eq!(count, 25_001);
    let read = f.db.tracked_run(run).await.unwrap().unwrap();
    assert_eq!(read.metrics[0], metric("k0", 24_997, 24_997, 24_997.0));
}

/// Three handles that share nothing but the database, each with its own queue, and transactions between them. They
/// write to the same runs in different orders.
async fn several_servers_work_on_one_database(f: Fixture) {
    experiment(&f.db, 1).await;
    for run in 0..6 {
        tracked(&f.db, run_id(run), 1).await;
    }
    let before = f.db.log_head().await.unwrap().size;
    let mut tasks = Vec::new();
    for server in 0..3_u8 {
        let db = open(&f.url).await;
        tasks.push(tokio::spawn(async move {
            let mut seqs = Vec::new();
            for i in 0..20_i64 {
                let mut logs = tokio::task::JoinSet::new();
                for run in 0..6_u8 {
                    let run = if server == 1 { 5 - run } else { run };
                    let (ingest, at) = (db.ingest(), i * 3 + i64::from(server));
                    logs.spawn(async move {
                        let batch = Batch {
                            tags: vec![pair("last", &server.to_string())],
                            ..metrics(vec![metric("a", at, at, 1.0), metric("b", i, i, 2.0)])
                        };
                        ingest.log(run_id(run), batch).await.unwrap();
                    });
                }
                let new = new_tracked(
                    RunId::from_entropy([server, i as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
                    1,
                );
                let event = created(&new);
                db.ingest().create_run(new, metrics(vec![metric("a", 1, 1, 1.0)]), event).await.unwrap();
                let status = if i % 2 == 0 { RunStatus::Finished } else { RunStatus::Failed };
                let change = Batch { status: Some(status), ..Batch::default() };
                db.ingest().update_run(run_id(server), change, moved(run_id(server), status)).await.unwrap();
                seqs.extend(db.ingest().events(vec![pushed(&format!("{server}/{i}"), 1)]).await.unwrap());
                let mut tx = db.begin().await.unwrap();
                let spare = run_id(3 + server);
                tx.move_tracked_run(spare, Stage::Active, at(1)).await.unwrap();
                seqs.extend(tx.commit(vec![pushed("tx", 1)]).await.unwrap());
                logs.join_all().await;
            }
            db.close().await.unwrap();
            seqs
        }));
    }
    let mut seqs = std::collections::BTreeSet::new();
    for task in tasks {
        seqs.extend(task.await.unwrap());
    }
    assert_eq!(seqs.len(), 120);
    let verdict = f.db.verify_log(&Quiet).await.unwrap();
    assert_eq!((verdict.checked, verdict.first_bad), (before + 3 * 20 * 4, None));
    for run in 0..6 {
        assert_eq!(f.db.metric_history(run_id(run), "a", None, usize::MAX).await.unwrap().len(), 60);
        assert_eq!(f.db.metric_history(run_id(run), "b", None, usize::MAX).await.unwrap().len(), 20);
        assert_eq!(f.db.tracked_run(run_id(run)).await.unwrap().unwrap().metrics[0].step, 59);
    }
}

async fn closing_writes_what_waits(f: Fixture) {
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..50 {
        let ingest = f.db.ingest();
        tasks.spawn(async move { ingest.events(vec![pushed("x", i)]).await.is_ok() });
    }
    tokio::task::yield_now().await;
    let handle = f.db.clone();
    f.db.clone().close().await.unwrap();
    let acknowledged = tasks.join_all().await.into_iter().filter(|done| *done).count();
    let closed = handle.ingest().events(vec![pushed("x", 1)]).await;
    assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
    assert!(matches!(handle.begin().await.err(), Some(Error::Closed { .. })));
    assert!(matches!(handle.log_head().await.err(), Some(Error::Closed { .. })));
    assert_eq!(open(&f.url).await.log_head().await.unwrap().size, acknowledged as u64);
}

/// Points have a connection of their own on SQLite. Closing closes that one, too: the last one takes the write-ahead log with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_leaves_one_file_after_points() {
    let f = Fixture::sqlite().await;
    experiment(&f.db, 1).await;
    tracked(&f.db, run_id(1), 1).await;
    for i in 0..3 {
        f.db.ingest().log(run_id(1), metrics(vec![metric("m", i, i, 1.0)])).await.unwrap();
    }
    let files = || {
        let folder = std::path::Path::new(&f.url).parent().unwrap();
        fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    assert!(files().len() > 1, "{:?}", files());
    f.db.clone().close().await.unwrap();
    assert_eq!(files().len(), 1, "{:?}", files());
    let points = open(&f.url).await.metric_history(run_id(1), "m", None, usize::MAX).await.unwrap();
    assert_eq!(points.len(), 3);
}

/// Autovacuum would do so within a minute; a page of these runs is asked for before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_knows_tables_that_have_just_grown() {
    let f = Fixture::postgres().await;
    experiment(&f.db, 1).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..300_u128 {
        let ingest = f.db.ingest();
        tasks.spawn(async move {
            let new = new_tracked(RunId::from_entropy(i.to_be_bytes()), 1);
            let event = created(&new);
            ingest.create_run(new, metrics(vec![metric("m", 0, 0, 1.0)]), event).await.unwrap();
        });
    }
    tasks.join_all().await;
    f.until_analyzed(&["run", "series"]).await;
}
