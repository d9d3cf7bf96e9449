//! Histories of metrics: every value, every order, pages, samples.

use tidemill_core::RunId;
use tidemill_db::tracking::{HistoryPoint, Metric};

use crate::fixture::{Fixture, at, experiment, metric, metrics, on_both, run_id, same, tracked};

on_both!(
    metrics_keep_every_value,
    the_same_point_is_stored_once,
    pages_in_the_order_of_time,
    a_whole_history_comes_in_parts,
    points_of_several_clients_stay_in_order,
    samples_are_even_and_keep_both_ends,
    samples_of_a_range,
    extremes_show_every_peak,
    small_curves_come_together,
    last_steps,
);

async fn logged(f: &Fixture, run: RunId, points: Vec<Metric>) {
    if f.db.experiment(1).await.unwrap().is_none() {
        experiment(&f.db, 1).await;
    }
    if f.db.tracked_run_info(run).await.unwrap().is_none() {
        tracked(&f.db, run, 1).await;
    }
    f.db.ingest().log(run, metrics(points)).await.unwrap();
}

async fn all(f: &Fixture, run: RunId, key: &str) -> Vec<HistoryPoint> {
    f.db.metric_history(run, key, None, usize::MAX).await.unwrap()
}

async fn metrics_keep_every_value(f: Fixture) {
    // Bit patterns from a linear congruential generator (Knuth's MMIX constants), and the values at the edges.
    let mut bits = 1_u64;
    let mut values: Vec<f64> = (0..6000)
        .map(|i| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = (bits >> 11) as f64 / (1_u64 << 53) as f64;
            match i % 3 {
                0 => f64::from_bits(bits),
                1 => unit,
                // As large and as small as metrics are, and somewhat beyond.
                _ => (unit - 0.5) * 10_f64.powi((bits % 37) as i32 - 18),
            }
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
    let key = "é'\"\\";
    let points =
        values.iter().enumerate().map(|(i, value)| metric(key, i as i64, i as i64, *value)).collect();
    logged(&f, run_id(1), points).await;
    let back = all(&f, run_id(1), key).await;
    assert_eq!(back.len(), values.len());
    let wrong: Vec<_> =
        back.iter().zip(&values).filter(|(point, value)| !same(point.value, **value)).collect();
    assert!(wrong.is_empty(), "{} of {}: {:?}", wrong.len(), values.len(), &wrong[..wrong.len().min(5)]);
    // So does the newest value of each metric, with the run.
    let newest = values.iter().enumerate().map(|(i, value)| metric(&format!("{i:05}\"é"), -7, 5, *value));
    logged(&f, run_id(2), newest.collect()).await;
    let run = f.db.tracked_run(run_id(2)).await.unwrap().unwrap();
    assert_eq!(run.metrics.len(), values.len());
    for ((i, value), metric) in values.iter().enumerate().zip(&run.metrics) {
        assert!(same(metric.value, *value), "{value:e} is {:e}", metric.value);
        assert_eq!((metric.key.as_str(), metric.step), (format!("{i:05}\"é").as_str(), -7));
    }
}

async fn the_same_point_is_stored_once(f: Fixture) {
    let run = run_id(1);
    let points = || vec![metric("m", 1, 5, 0.5), metric("m", 1, 5, f64::NAN), metric("m", 1, 5, 0.0)];
    logged(&f, run, [points(), points()].concat()).await;
    logged(&f, run, points()).await;
    logged(&f, run, vec![metric("m", 1, 5, -0.0), metric("m", 1, 6, 0.5), metric("m", 2, 5, 0.5)]).await;
    let values: Vec<_> = all(&f, run, "m").await.iter().map(|p| (p.at.millis(), p.step, p.value)).collect();
    assert!(values[0].2.is_nan());
    assert_eq!(values[1..], [(5, 1, 0.0), (5, 1, 0.5), (5, 2, 0.5), (6, 1, 0.5)]);
}

async fn pages_in_the_order_of_time(f: Fixture) {
    // `up` has one order by step and time; `down` has not, so its pages are sorted.
    let up = (0..100).map(|i| metric("up", i / 3, i / 2, f64::from(i as i32 % 5)));
    let down = (0..100).map(|i| metric("down", 100 - i, i / 2, f64::from(i as i32 % 5)));
    let points: Vec<Metric> = up.chain(down).collect();
    for part in points.chunks(30) {
        logged(&f, run_id(1), part.to_vec()).await;
    }
    for key in ["up", "down"] {
        let mut expected: Vec<_> = points
            .iter()
            .filter(|point| point.key == key)
            .map(|point| (point.at, point.step, point.value))
            .collect();
        expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
        for size in [7, 100, 1000] {
            let mut found: Vec<HistoryPoint> = Vec::new();
            loop {
                let after = found.last().copied();
                let page = f.db.metric_history(run_id(1), key, after, size).await.unwrap();
                assert!(page.len() <= size);
                if page.is_empty() {
                    break;
                }
                found.extend(page);
            }
            let found: Vec<_> = found.iter().map(|point| (point.at, point.step, point.value)).collect();
            assert_eq!(found, expected, "{key} {size}");
        }
    }
    assert!(all(&f, run_id(1), "other").await.is_empty());
    assert!(all(&f, run_id(9), "up").await.is_empty());
}

async fn whole(f: &Fixture, key: &str, after: Option<HistoryPoint>, at_once: usize) -> Vec<HistoryPoint> {
    let mut history = f.db.whole_history(run_id(1), key, after).await.unwrap().sorting(at_once);
    let mut found = Vec::new();
    while history.next(|point| found.push(point)).await.unwrap() {}
    found
}

async fn a_whole_history_comes_in_parts(f: Fixture) {
    let count = 11_000;
    let up = (0..count).map(|i| metric("up", i / 3, i / 2, (i % 5) as f64));
    // Times that have no order by step, several points of one time, and a time with more of them than are sorted.
    let mixed = (0..count).map(|i| metric("mixed", i, if i % 4 == 0 { 7 } else { (i * 7919) % 5000 }, 1.0));
    let points: Vec<Metric> = up.chain(mixed).collect();
    for part in points.chunks(5000) {
        logged(&f, run_id(1), part.to_vec()).await;
    }
    for (key, sizes) in [("up", vec![1]), ("mixed", vec![3000, 12_345])] {
        let mut expected: Vec<_> =
            points.iter().filter(|p| p.key == key).map(|p| (p.at, p.step, p.value)).collect();
        expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
        for size in sizes {
            let found = whole(&f, key, None, size).await;
            let shown =
                |points: &[HistoryPoint]| points.iter().map(|p| (p.at, p.step, p.value)).collect::<Vec<_>>();
            assert!(shown(&found) == expected, "{key} {size}");
            let rest = whole(&f, key, Some(found[9_999]), size).await;
            assert!(shown(&rest) == expected[10_000..], "{key} {size}");
        }
    }
    assert!(whole(&f, "other", None, 10).await.is_empty());
}

/// Their batches come as they please, several in one transaction, and the whole has one order all the same.
async fn points_of_several_clients_stay_in_order(f: Fixture) {
    let span = |key: &str, from: i64, to: i64, by: usize| -> Vec<Metric> {
        (from..to).step_by(by).map(|i| metric(key, i, 1000 + i, 0.5)).collect()
    };
    let ordered = async |key: &str| {
        f.rows(&format!("SELECT CAST(ordered AS TEXT) FROM series WHERE name = '{key}'")).await == ["1"]
    };
    logged(&f, run_id(1), [span("blocks", 0, 10, 1), span("blocks", 20, 30, 1)].concat()).await;
    logged(&f, run_id(1), [span("blocks", 10, 20, 1), span("blocks", 30, 40, 1)].concat()).await;
    logged(&f, run_id(1), span("blocks", 5, 35, 1)).await;
    assert!(ordered("blocks").await);
    logged(&f, run_id(1), span("mixed", 0, 100, 2)).await;
    logged(&f, run_id(1), span("mixed", 1, 100, 2)).await;
    assert!(ordered("mixed").await);
    let mut late = [span("blocks", 10, 20, 1), span("blocks", 60, 70, 1), span("blocks", 80, 90, 1)].concat();
    logged(&f, run_id(1), span("blocks", 70, 80, 1)).await;
    late[3].at = at(1);
    logged(&f, run_id(1), late).await;
    assert!(!ordered("blocks").await);
    // Only the middle one of three stretches does not fit.
    logged(&f, run_id(1), vec![metric("between", 0, 0, 1.0), metric("between", 50, 5, 1.0)]).await;
    logged(&f, run_id(1), vec![metric("between", 100, 100, 1.0)]).await;
    let points = [(10, 3), (40, 7), (110, 110)].map(|(step, time)| metric("between", step, time, 1.0));
    logged(&f, run_id(1), points.to_vec()).await;
    assert!(!ordered("between").await);
}

async fn samples_are_even_and_keep_both_ends(f: Fixture) {
    let run = run_id(1);
    logged(&f, run, (0..1000).map(|i| metric("m", i, 0, 1.0)).collect()).await;
    logged(&f, run, (0..500).map(|i| metric("one step", 0, i, 1.0)).collect()).await;
    for (most, steps) in [
        (1, vec![999]),
        (2, vec![0, 999]),
        (4, vec![0, 333, 666, 999]),
        (7, vec![0, 166, 333, 499, 666, 832, 999]),
    ] {
        let found = f.db.metric_samples(&[run], "m", None, most).await.unwrap();
        assert_eq!(found[0].1.iter().map(|point| point.step).collect::<Vec<_>>(), steps, "{most}");
    }
    for most in [3, 319, 320, 499, 500, 501, 2500] {
        for (key, count) in [("m", 1000), ("one step", 500)] {
            let found = f.db.metric_samples(&[run], key, None, most).await.unwrap().remove(0).1;
            assert_eq!(found.len(), most.min(count), "{key} {most}");
            let whole = all(&f, run, key).await;
            assert_eq!((found[0], found[found.len() - 1]), (whole[0], whole[count - 1]));
            assert!(found.windows(2).all(|pair| (pair[0].step, pair[0].at) < (pair[1].step, pair[1].at)));
        }
    }
}

async fn samples_of_a_range(f: Fixture) {
    for run in [2, 1, 3] {
        let points = (0..50).map(|i| metric("m", i, 100 - i, f64::from(run))).collect();
        logged(&f, run_id(run), points).await;
    }
    logged(&f, run_id(4), vec![metric("other", 1, 1, 1.0), metric("m", 90, 1, 1.0)]).await;
    let runs = [3, 4, 1, 9, 2].map(run_id);
    let found = f.db.metric_samples(&runs, "m", Some((10, 20)), 3).await.unwrap();
    let order: Vec<RunId> = found.iter().map(|(run, _)| *run).collect();
    assert_eq!(order, [3, 1, 2].map(run_id));
    for (_, points) in &found {
        assert_eq!(points.iter().map(|point| point.step).collect::<Vec<_>>(), [10, 15, 20]);
        assert_eq!(points[0].at, at(90));
    }
    assert!(f.db.metric_samples(&runs, "m", Some((200, 300)), 3).await.unwrap().is_empty());
}

async fn extremes_show_every_peak(f: Fixture) {
    let value = |i: i64| if i == 777 { 1e9 } else { (i % 10) as f64 };
    logged(&f, run_id(1), (0..2000).map(|i| metric("m", i, 5000 - i, value(i))).collect()).await;
    let kept = f.db.metric_extremes(run_id(1), "m", 20).await.unwrap();
    assert!(kept.len() <= 42 && kept.iter().any(|point| point.step == 777 && point.value == 1e9));
    assert_eq!((kept[0].step, kept[kept.len() - 1].step), (0, 1999));
    let within = f.db.metric_extremes_within(run_id(1), "m", (700, 799), 20).await.unwrap();
    assert!(within.iter().any(|point| point.step == 777 && point.value == 1e9));
    assert_eq!((within[0].step, within[within.len() - 1].step), (700, 799));
    assert_eq!(f.db.metric_extremes_within(run_id(1), "m", (5, 4), 20).await.unwrap(), []);
}

async fn small_curves_come_together(f: Fixture) {
    let mut points: Vec<Metric> = (0..1000).map(|i| metric("m", i, 5000 - i, i as f64)).collect();
    points.extend([metric("alone", 1, 1, 5.0), metric("other", 1, 1, 6.0)]);
    logged(&f, run_id(1), points).await;
    let found = f.db.metric_sparks(run_id(1), &["m", "alone", "none"], 60).await.unwrap();
    assert_eq!((found.len(), found["alone"].as_slice()), (2, [5.0].as_slice()));
    let curve = &found["m"];
    assert!(curve.len() <= 61 && curve[0] == 0.0 && curve[curve.len() - 1] == 999.0, "{curve:?}");
    assert!(curve.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(f.db.metric_sparks(run_id(1), &[], 60).await.unwrap().is_empty());
}

async fn last_steps(f: Fixture) {
    logged(&f, run_id(1), vec![metric("m", 7, 1, 1.0), metric("m", 3, 9, 1.0)]).await;
    logged(&f, run_id(2), vec![metric("other", 7, 1, 1.0)]).await;
    let found = f.db.metric_last_steps(&[run_id(2), run_id(1)], "m").await.unwrap();
    assert_eq!(found, [(run_id(1), 7)]);
}
