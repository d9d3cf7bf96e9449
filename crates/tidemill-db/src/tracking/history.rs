//! The histories of metrics: in pages, and thinned out for charts.

use std::collections::{BTreeSet, HashMap};

use tidemill_core::{RunId, Timestamp};

use super::point::{decode, encode};
use super::sample::extremes;
use crate::backend::{Conn, on};
use crate::dialect::{self, Rows};
use crate::tracking::HistoryPoint;
use crate::{Db, Result};

/// Points of one statement where a whole history is read.
const PAGE: usize = 50_000;

/// A series: its number, and whether its points have the same order by step and by time.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) ordered: bool,
}

/// Step, time and value, as they are stored.
pub(super) type PointRow = (i64, i64, i64);

pub(super) fn from_row((step, at, value): PointRow) -> HistoryPoint {
    HistoryPoint { step, at: Timestamp::from_millis(at), value: decode(value) }
}

impl Db {
    /// The points of a metric after `after`, at most `limit`, in the order of time, step and value. A run or a metric
    /// that is not there has none.
    pub async fn metric_history(
        &self,
        run: RunId,
        key: &str,
        after: Option<HistoryPoint>,
        limit: usize,
    ) -> Result<Vec<HistoryPoint>> {
        let fail = || self.ctx().fail("read metrics");
        let mut reader = self.reader().await?;
        let Some(series) = find(reader.conn(), run, key).await.map_err(fail())? else {
            return Ok(Vec::new());
        };
        page(reader.conn(), &series, after, limit).await.map_err(fail())
    }

    /// For charts: at most `most` points of each run's metric, evenly taken from those whose step is in `steps`, with
    /// the first and the last of them; of one point only the last. In the order of `runs`, then of step, time and
    /// value; a run that does not have the metric is left out.
    pub async fn metric_samples(
        &self,
        runs: &[RunId],
        key: &str,
        steps: Option<(i64, i64)>,
        most: usize,
    ) -> Result<Vec<(RunId, Vec<HistoryPoint>)>> {
        let fail = || self.ctx().fail("read metrics");
        let mut reader = self.reader().await?;
        let mut found = Vec::new();
        for run in runs {
            let Some(series) = find(reader.conn(), *run, key).await.map_err(fail())? else { continue };
            let points = sample(reader.conn(), series.id, steps, most).await.map_err(fail())?;
            if !points.is_empty() {
                found.push((*run, points));
            }
        }
        Ok(found)
    }

    /// For charts that must show every peak: see [`extremes`].
    pub async fn metric_extremes(&self, run: RunId, key: &str, buckets: usize) -> Result<Vec<HistoryPoint>> {
        self.metric_extremes_within(run, key, (i64::MIN, i64::MAX), buckets).await
    }

    /// As [`Self::metric_extremes`], of the points whose step is in `range` alone; no other point is read.
    pub async fn metric_extremes_within(
        &self,
        run: RunId,
        key: &str,
        range: (i64, i64),
        buckets: usize,
    ) -> Result<Vec<HistoryPoint>> {
        Ok(extremes(&self.metric_points_within(run, key, range).await?, buckets))
    }

    /// All points whose step is from `from` to `to`, in the order of step, time and value.
    pub(super) async fn metric_points_within(
        &self,
        run: RunId,
        key: &str,
        (from, to): (i64, i64),
    ) -> Result<Vec<HistoryPoint>> {
        const SQL: &str =
            "SELECT step, at, value FROM point WHERE series_id = $1 AND step >= $2 AND step <= $3
            AND (step, at, value) > ($4, $5, $6) ORDER BY step, at, value LIMIT $7";
        let fail = || self.ctx().fail("read metrics");
        let mut reader = self.reader().await?;
        let Some(series) = find(reader.conn(), run, key).await.map_err(fail())? else {
            return Ok(Vec::new());
        };
        let mut all: Vec<HistoryPoint> = Vec::new();
        loop {
            let last = all.last().map(|p| (p.step, p.at.millis(), encode(p.value)));
            let (step, at, value) = last.unwrap_or((i64::MIN, i64::MIN, i64::MIN));
            let rows: Vec<PointRow> = on!(reader.conn(), c => sqlx::query_as(SQL)
                .bind(series.id).bind(from.max(step)).bind(to).bind(step).bind(at).bind(value)
                .bind(PAGE as i64).fetch_all(c).await)
            .map_err(fail())?;
            let is_last = rows.len() < PAGE;
            all.extend(rows.into_iter().map(from_row));
            if is_last {
                return Ok(all);
            }
        }
    }

    /// For small charts: at most about `most` points of each of a run's metrics, evenly taken, by metric. At most 500
    /// metrics are looked for.
    pub async fn metric_sparks(
        &self,
        run: RunId,
        keys: &[&str],
        most: usize,
    ) -> Result<HashMap<String, Vec<f64>>> {
        const SQL: &str = "SELECT name, value FROM (
                SELECT s.name, p.step, p.at, p.value, r.most, COUNT(*) OVER (PARTITION BY s.id) AS total,
                    ROW_NUMBER() OVER (PARTITION BY s.id ORDER BY p.step, p.at, p.value) - 1 AS n
                FROM {rows} JOIN run t ON t.uuid = r.wanted
                    JOIN series s ON s.run_id = t.id AND s.name = r.name JOIN point p ON p.series_id = s.id) q
            WHERE n % ((total + most - 1) / most) = 0 OR n = total - 1 ORDER BY name, step, at, value";
        let keys = &keys[..keys.len().min(500)];
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        // Each once: a metric that is asked for twice has no more points for that.
        let keys: BTreeSet<&str> = keys.iter().copied().collect();
        let (run, most) = (run.to_string(), i64::try_from(most.max(1)).unwrap_or(i64::MAX));
        let wanted = Rows::new(keys.len())
            .padded()
            .text("wanted", keys.iter().map(|_| run.as_str()))
            .text("name", keys.iter().copied())
            .int("most", keys.iter().map(|_| most));
        let mut reader = self.reader().await?;
        let rows: Vec<(String, i64)> =
            dialect::read_rows(reader.conn(), SQL, &wanted).await.map_err(self.ctx().fail("read metrics"))?;
        let mut found: HashMap<String, Vec<f64>> = HashMap::new();
        for (name, value) in rows {
            found.entry(name).or_default().push(decode(value));
        }
        Ok(found)
    }

    /// The greatest step of each run's metric; a run that does not have the metric is left out.
    pub async fn metric_last_steps(&self, runs: &[RunId], key: &str) -> Result<Vec<(RunId, i64)>> {
        const SQL: &str = "SELECT r.wanted, s.last_step FROM {rows} JOIN run t ON t.uuid = r.wanted
            JOIN series s ON s.run_id = t.id AND s.name = r.name";
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<String> = runs.iter().map(ToString::to_string).collect();
        let rows = Rows::new(runs.len())
            .text("wanted", texts.iter().map(String::as_str))
            .text("name", runs.iter().map(|_| key));
        let mut reader = self.reader().await?;
        let found: Vec<(String, i64)> =
            dialect::read_rows(reader.conn(), SQL, &rows).await.map_err(self.ctx().fail("read metrics"))?;
        found
            .into_iter()
            .map(|(run, step)| Ok((crate::runs::parse("run", "uuid", &run, "a run id")?, step)))
            .collect()
    }
}

pub(super) async fn find(conn: Conn<'_>, run: RunId, key: &str) -> sqlx::Result<Option<Found>> {
    const SQL: &str = "SELECT s.id, s.ordered FROM run t JOIN series s ON s.run_id = t.id
        WHERE t.uuid = $1 AND s.name = $2";
    let row: Option<(i64, i64)> =
        on!(conn, c => sqlx::query_as(SQL).bind(run.to_string()).bind(key).fetch_optional(c).await)?;
    Ok(row.map(|(id, ordered)| Found { id, ordered: ordered == 1 }))
}

/// Where the points are ordered both ways, the primary key gives every page without a sort.
async fn page(
    conn: Conn<'_>,
    series: &Found,
    after: Option<HistoryPoint>,
    limit: usize,
) -> sqlx::Result<Vec<HistoryPoint>> {
    const ORDERED: &str = "SELECT step, at, value FROM point
        WHERE series_id = $1 AND (step, at, value) > ($2, $3, $4) ORDER BY step, at, value LIMIT $5";
    const BY_TIME: &str = "SELECT step, at, value FROM point
        WHERE series_id = $1 AND (at, step, value) > ($3, $2, $4) ORDER BY at, step, value LIMIT $5";
    let (step, at, value) =
        after.map_or((i64::MIN, i64::MIN, i64::MIN), |p| (p.step, p.at.millis(), encode(p.value)));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = if series.ordered { ORDERED } else { BY_TIME };
    let rows: Vec<PointRow> = on!(conn, c => sqlx::query_as(sql)
        .bind(series.id).bind(step).bind(at).bind(value).bind(limit).fetch_all(c).await)?;
    Ok(rows.into_iter().map(from_row).collect())
}

/// Of `n` points numbered from 0, those with the numbers `i * (n - 1) / (most - 1)` for all `i` below `most`. The
/// database does the counting, so that only these leave it.
async fn sample(
    mut conn: Conn<'_>,
    series: i64,
    steps: Option<(i64, i64)>,
    most: usize,
) -> sqlx::Result<Vec<HistoryPoint>> {
    const COUNT: &str = "SELECT COUNT(*) FROM point WHERE series_id = $1 AND step >= $2 AND step <= $3";
    const ALL: &str = "SELECT step, at, value FROM point
        WHERE series_id = $1 AND step >= $2 AND step <= $3 ORDER BY step, at, value";
    const LAST: &str = "SELECT step, at, value FROM point WHERE series_id = $1 AND step >= $2 AND step <= $3
        ORDER BY step DESC, at DESC, value DESC LIMIT 1";
    const SOME: &str = "SELECT step, at, value FROM (
            SELECT step, at, value, ROW_NUMBER() OVER (ORDER BY step, at, value) - 1 AS n FROM point
            WHERE series_id = $1 AND step >= $2 AND step <= $3) p
        WHERE (n * $4 + $5 - 1) / $5 * $5 / $4 = n ORDER BY step, at, value";
    let (from, to) = steps.unwrap_or((i64::MIN, i64::MAX));
    if most <= 1 {
        let rows: Vec<PointRow> = on!(conn, c => sqlx::query_as(LAST)
            .bind(series).bind(from).bind(to).fetch_all(c).await)?;
        return Ok(rows.into_iter().map(from_row).collect());
    }
    let count: i64 = on!(conn.reborrow(), c => sqlx::query_scalar(COUNT)
        .bind(series).bind(from).bind(to).fetch_one(c).await)?;
    let gaps = i64::try_from(most - 1).unwrap_or(i64::MAX);
    let rows: Vec<PointRow> = if count - 1 <= gaps {
        on!(conn, c => sqlx::query_as(ALL).bind(series).bind(from).bind(to).fetch_all(c).await)?
    } else {
        on!(conn, c => sqlx::query_as(SOME)
            .bind(series).bind(from).bind(to).bind(gaps).bind(count - 1).fetch_all(c).await)?
    };
    Ok(rows.into_iter().map(from_row).collect())
}
