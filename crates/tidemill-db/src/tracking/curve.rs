//! Curves of metrics for charts: with their peaks, and smoothed.

use tidemill_core::RunId;

use super::sample::{extremes, smoothed};
use crate::tracking::HistoryPoint;
use crate::{Db, Result};

/// How a curve is smoothed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smoothing {
    /// From 0, as measured, to nearly 1: how much of a point comes from those before it.
    pub weight: f64,
    /// Whether what was before is what is older; otherwise it is what has a lower step.
    pub by_time: bool,
}

/// A history, thinned out for a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// In the order of step, time and value, with every peak: see [`extremes`].
    pub points: Vec<HistoryPoint>,
    /// The smoothed curve, in the order in which it was smoothed; empty where that was not asked for.
    pub smooth: Vec<HistoryPoint>,
}

impl Db {
    /// The points of a metric whose step is from `from` to `to`, thinned out for a chart. All of them are smoothed before
    /// any is left out: peaks stand for what is seen of a curve and not for what is usual in it.
    pub async fn metric_curve(
        &self,
        run: RunId,
        key: &str,
        range: (i64, i64),
        smoothing: Option<Smoothing>,
        buckets: usize,
    ) -> Result<Curve> {
        let mut all = self.metric_points_within(run, key, range).await?;
        let points = extremes(&all, buckets);
        let Some(Smoothing { weight, by_time }) = smoothing else {
            return Ok(Curve { points, smooth: Vec::new() });
        };
        if by_time {
            all.sort_by_key(|point| (point.at, point.step));
        }
        Ok(Curve { points, smooth: extremes(&smoothed(&all, weight), buckets) })
    }
}
