//! Group commit: many callers, one transaction, an answer for each.

use tidemill_core::{Quiet, RunId, Timestamp};
use tidemill_db::{Error, EventFilter, Point};

use crate::fixture::{Fixture, at, begun, on_both, open, pushed, result, run_id, step, step_finished};

on_both!(
    events_of_many_callers,
    steps_of_many_callers,
    a_refused_step_harms_nobody_else,
    metrics_keep_every_value,
    the_newest_point_is_known,
    large_batches,
    several_servers_append_to_one_log,
    closing_writes_what_waits,
);

fn point(run: RunId, key: &str, step: i64, value: f64) -> Point {
    Point { run, key: key.to_owned(), step, at: at(1000 + step), value }
}

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

async fn metrics_keep_every_value(f: Fixture) {
    // Bit patterns from a linear congruential generator (Knuth's MMIX constants), and the values at the edges.
    let mut bits = 1_u64;
    let mut values: Vec<f64> = (0..4000)
        .map(|i| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if i % 2 == 0 { f64::from_bits(bits) } else { (bits >> 11) as f64 / (1_u64 << 53) as f64 }
        })
        .collect();
    values.extend([
        0.0,
        -0.0,
        1.0,
        0.1,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        f64::EPSILON,
    ]);
    values.extend([f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e308, 5e-324, 9_007_199_254_740_993.0]);
    let run = run_id(1);
    let points: Vec<Point> =
        values.iter().enumerate().map(|(i, v)| point(run, "é'\"\\", i as i64, *v)).collect();
    f.db.ingest().metrics(points).await.unwrap();
    let back = f.db.points(run, "é'\"\\", 0, usize::MAX).await.unwrap();
    assert_eq!(back.len(), values.len());
    let mut wrong = Vec::new();
    for (point, value) in back.iter().zip(&values) {
        let same = point.value.to_bits() == value.to_bits()
            || point.value.is_nan() && value.is_nan()
            || *value == 0.0 && point.value == 0.0;
        if !same {
            wrong.push((point.value, *value));
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {:?}", wrong.len(), values.len(), &wrong[..wrong.len().min(5)]);
    let page = f.db.points(run, "é'\"\\", 10, 2).await.unwrap();
    assert_eq!(page.iter().map(|point| point.step).collect::<Vec<_>>(), [10, 11]);
}

async fn the_newest_point_is_known(f: Fixture) {
    let (run, ingest) = (run_id(1), f.db.ingest());
    let last = || async { f.db.series(run).await.unwrap() };
    ingest
        .metrics(vec![point(run, "a", 3, 0.3), point(run, "b", 1, 1.0), point(run, "a", 5, 0.5)])
        .await
        .unwrap();
    ingest.metrics(vec![point(run, "a", 4, 0.4), point(run_id(2), "a", 9, 0.9)]).await.unwrap();
    let series = last().await;
    assert_eq!(series.iter().map(|s| (s.key.as_str(), s.count)).collect::<Vec<_>>(), [("a", 3), ("b", 1)]);
    assert_eq!(series[0].last, point(run, "a", 5, 0.5));
    // At the same step the later time counts, then the greater value, and NaN is above all.
    let later = Point { at: Timestamp::from_millis(9999), ..point(run, "a", 5, 0.1) };
    for (new, newest) in [
        (point(run, "a", 5, 0.4), 0.5),
        (point(run, "a", 5, f64::NEG_INFINITY), 0.5),
        (point(run, "a", 5, 0.6), 0.6),
        (later.clone(), 0.1),
        (Point { value: f64::NAN, ..later.clone() }, f64::NAN),
        (Point { value: f64::INFINITY, ..later }, f64::NAN),
    ] {
        ingest.metrics(vec![new.clone()]).await.unwrap();
        let found = last().await[0].last.value;
        assert!(found == newest || found.is_nan() && newest.is_nan(), "{new:?}: {found}");
    }
    assert_eq!(last().await[0].count, 9);
}

async fn large_batches(f: Fixture) {
    let run = run_id(1);
    let points: Vec<Point> = (0..25_001).map(|i| point(run, &format!("k{}", i % 7), i, i as f64)).collect();
    f.db.ingest().metrics(points).await.unwrap();
    f.db.ingest().metrics(Vec::new()).await.unwrap();
    let series = f.db.series(run).await.unwrap();
    assert_eq!(series.iter().map(|s| s.count).sum::<u64>(), 25_001);
    assert_eq!(series[0].last, point(run, "k0", 24_997, 24_997.0));
}

/// Three handles that share nothing but the database, each with its own queue, and transactions between them.
async fn several_servers_append_to_one_log(f: Fixture) {
    let mut tasks = Vec::new();
    for server in 0..3 {
        let db = open(&f.url).await;
        tasks.push(tokio::spawn(async move {
            let mut seqs = Vec::new();
            for i in 0..20 {
                let run = run_id(1);
                db.ingest().metrics(vec![point(run, "a", i, 1.0), point(run, "b", i, 2.0)]).await.unwrap();
                seqs.extend(db.ingest().events(vec![pushed(&format!("{server}/{i}"), 1)]).await.unwrap());
                seqs.extend(db.begin().await.unwrap().commit(vec![pushed("tx", 1)]).await.unwrap());
            }
            db.close().await.unwrap();
            seqs
        }));
    }
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.extend(task.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=120).collect::<Vec<u64>>());
    assert_eq!(f.db.verify_log(&Quiet).await.unwrap().first_bad, None);
    assert_eq!(f.db.series(run_id(1)).await.unwrap()[1].count, 60);
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
