//! Curves for charts: with every peak, and smoothed before anything is left out.

use tidemill_db::tracking::{Metric, Smoothing};

use crate::fixture::{Fixture, experiment, metric, metrics, on_both, run_id, tracked};

on_both!(a_smoothed_curve_is_of_all_points, smoothing_over_time_follows_time,);

const ALL: (i64, i64) = (i64::MIN, i64::MAX);

async fn logged(f: &Fixture, points: Vec<Metric>) {
    experiment(&f.db, 1).await;
    tracked(&f.db, run_id(1), 1).await;
    f.db.ingest().log(run_id(1), metrics(points)).await.unwrap();
}

/// One point of ten is 100, the others are 0. Their mean is 10; of the lowest and highest of each part it would be 50.
async fn a_smoothed_curve_is_of_all_points(f: Fixture) {
    let value = |i: i64| if i % 10 == 9 { 100.0 } else { 0.0 };
    logged(&f, (0..4000).map(|i| metric("m", i, i, value(i))).collect()).await;
    let smoothing = Some(Smoothing { weight: 0.97, by_time: false });
    let curve = f.db.metric_curve(run_id(1), "m", ALL, smoothing, 100).await.unwrap();
    assert_eq!(curve.points, f.db.metric_extremes(run_id(1), "m", 100).await.unwrap());
    assert!(curve.smooth.len() <= 202, "{}", curve.smooth.len());
    for point in curve.smooth.iter().filter(|point| point.step > 500) {
        assert!((7.0..14.0).contains(&point.value), "{point:?}");
    }
    let plain = f.db.metric_curve(run_id(1), "m", (100, 200), None, 100).await.unwrap();
    assert_eq!((plain.points.len(), plain.smooth.len()), (101, 0));
}

/// The step grows while the clock goes back.
async fn smoothing_over_time_follows_time(f: Fixture) {
    logged(&f, (0..10).map(|i| metric("m", i, 100 - i, i as f64)).collect()).await;
    let by_time = |by_time| Some(Smoothing { weight: 0.5, by_time });
    let steps = f.db.metric_curve(run_id(1), "m", ALL, by_time(false), 100).await.unwrap().smooth;
    let times = f.db.metric_curve(run_id(1), "m", ALL, by_time(true), 100).await.unwrap().smooth;
    assert_eq!((steps[0].step, steps[0].value), (0, 0.0));
    assert_eq!((times[0].step, times[0].value), (9, 9.0));
    assert!(times.windows(2).all(|pair| pair[0].at < pair[1].at && pair[0].value > pair[1].value));
}
