//! Metric points of runs: named series of (step, time, value).

use std::collections::{BTreeMap, HashMap};

use tidemill_core::{RunId, Timestamp};

use crate::backend::{Conn, on};
use crate::dialect::{self, Rows};
use crate::{Db, Result};

/// One measured value. NaN and infinities are kept as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The run.
    pub run: RunId,
    /// What was measured, for example `validation.log_loss`.
    pub key: String,
    /// The training step, or 0.
    pub step: i64,
    /// When.
    pub at: Timestamp,
    /// The value.
    pub value: f64,
}

/// All points of one key of a run, in summary.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The run.
    pub run: RunId,
    /// What was measured.
    pub key: String,
    /// Number of points.
    pub count: u64,
    /// The newest point: the greatest by step, then time, then value (NaN above all).
    pub last: Point,
}

type SeriesRow = (String, i64, i64, Option<f64>, i64, i64);

/// The value as it was given: NaN is stored as a flag, since SQLite has no NaN.
fn value(value: Option<f64>, is_nan: i64) -> f64 {
    if is_nan == 0 { value.unwrap_or(f64::NAN) } else { f64::NAN }
}

impl Db {
    /// The series of a run, by key.
    pub async fn series(&self, run: RunId) -> Result<Vec<Series>> {
        const SQL: &str = "SELECT name, last_step, last_at, last_value, last_is_nan, point_count FROM series
            WHERE run_id = $1 ORDER BY name";
        let mut reader = self.reader().await?;
        let rows: Vec<SeriesRow> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(run.to_string()).fetch_all(c).await)
                .map_err(self.ctx().fail("read metrics"))?;
        Ok(rows
            .into_iter()
            .map(|(key, step, at, last, is_nan, count)| Series {
                run,
                key: key.clone(),
                count: count as u64,
                last: Point { run, key, step, at: Timestamp::from_millis(at), value: value(last, is_nan) },
            })
            .collect())
    }

    /// The points of one series in the order of step, then arrival: those after the first `skip`, at most `limit`.
    pub async fn points(&self, run: RunId, key: &str, skip: u64, limit: usize) -> Result<Vec<Point>> {
        const SQL: &str =
            "SELECT p.step, p.at, p.value, p.is_nan FROM point p JOIN series s ON s.id = p.series_id
            WHERE s.run_id = $1 AND s.name = $2 ORDER BY p.step, p.id LIMIT $3 OFFSET $4";
        let (skip, limit) =
            (i64::try_from(skip).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, i64, Option<f64>, i64)> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(run.to_string()).bind(key).bind(limit).bind(skip).fetch_all(c).await)
        .map_err(self.ctx().fail("read metrics"))?;
        Ok(rows
            .into_iter()
            .map(|(step, at, number, is_nan)| Point {
                run,
                key: key.to_owned(),
                step,
                at: Timestamp::from_millis(at),
                value: value(number, is_nan),
            })
            .collect())
    }
}

/// The order by which the newest point of a series is found.
fn is_newer(a: &Point, b: &Point) -> bool {
    let rank = |point: &Point| (point.step, point.at, point.value.is_nan());
    rank(a).cmp(&rank(b)).then(a.value.total_cmp(&b.value)).is_gt()
}

/// A series as one group of points adds to it.
struct Growth<'a> {
    run: String,
    count: i64,
    last: &'a Point,
}

/// Writes points in two statements: the series that they belong to, then the points.
pub(crate) async fn put_points(mut conn: Conn<'_>, points: &[&Point]) -> sqlx::Result<()> {
    let mut growth: BTreeMap<(RunId, &str), Growth<'_>> = BTreeMap::new();
    for point in points {
        growth
            .entry((point.run, point.key.as_str()))
            .and_modify(|series| {
                series.count += 1;
                if is_newer(point, series.last) {
                    series.last = point;
                }
            })
            .or_insert_with(|| Growth { run: point.run.to_string(), count: 1, last: point });
    }
    let ids = put_series(conn.reborrow(), &growth).await?;
    insert_points(conn, points, &ids).await
}

/// In the order of run and key, so that two servers that write the same series do not wait for each other.
async fn put_series(
    conn: Conn<'_>,
    growth: &BTreeMap<(RunId, &str), Growth<'_>>,
) -> sqlx::Result<HashMap<(String, String), i64>> {
    const SQL: &str = "INSERT INTO series ({columns}) SELECT {columns} FROM {rows} WHERE TRUE
        ON CONFLICT (run_id, name) DO UPDATE SET
            last_step = CASE WHEN {newer} THEN excluded.last_step ELSE series.last_step END,
            last_at = CASE WHEN {newer} THEN excluded.last_at ELSE series.last_at END,
            last_value = CASE WHEN {newer} THEN excluded.last_value ELSE series.last_value END,
            last_is_nan = CASE WHEN {newer} THEN excluded.last_is_nan ELSE series.last_is_nan END,
            point_count = series.point_count + excluded.point_count
        RETURNING run_id, name, id";
    const NEWER: &str = "(excluded.last_step, excluded.last_at, excluded.last_is_nan,
            COALESCE(excluded.last_value, 0)) > (series.last_step, series.last_at, series.last_is_nan,
            COALESCE(series.last_value, 0))";
    let last = || growth.values().map(|series| series.last);
    let rows = Rows::new(growth.len())
        .text("run_id", growth.values().map(|series| series.run.as_str()))
        .text("name", growth.keys().map(|(_, key)| *key))
        .int("last_step", last().map(|point| point.step))
        .int("last_at", last().map(|point| point.at.millis()))
        .float("last_value", last().map(|point| point.value))
        .int("last_is_nan", last().map(|point| i64::from(point.value.is_nan())))
        .int("point_count", growth.values().map(|series| series.count));
    let found: Vec<(String, String, i64)> =
        dialect::read_rows(conn, &SQL.replace("{newer}", NEWER), &rows).await?;
    Ok(found.into_iter().map(|(run, key, id)| ((run, key), id)).collect())
}

async fn insert_points(
    conn: Conn<'_>,
    points: &[&Point],
    ids: &HashMap<(String, String), i64>,
) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO point ({columns}) SELECT {columns} FROM {rows}";
    let mut series = Vec::with_capacity(points.len());
    for point in points {
        let id = ids.get(&(point.run.to_string(), point.key.clone()));
        series.push(*id.ok_or(sqlx::Error::RowNotFound)?);
    }
    let rows = Rows::new(points.len())
        .int("series_id", series.into_iter())
        .int("step", points.iter().map(|point| point.step))
        .int("at", points.iter().map(|point| point.at.millis()))
        .float("value", points.iter().map(|point| point.value))
        .int("is_nan", points.iter().map(|point| i64::from(point.value.is_nan())));
    dialect::write_rows(conn, SQL, &rows).await.map(|_| ())
}
