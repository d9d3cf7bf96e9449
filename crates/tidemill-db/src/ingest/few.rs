//! Groups of a few points and nothing else on SQLite, which is what training loops make: two ways to the connection's
//! thread, one that reads and one that writes and commits, where other groups take one for each statement.

use std::collections::{BTreeSet, HashMap};

use tidemill_core::RunId;

use super::decide::writable;
use super::points::{self, Point, Series, Stored};
use super::work::{Answer, Work};
use crate::Result;
use crate::dialect::{Rows, SQLITE_WRITE, Script};
use crate::tracking::experiments::parse_stage;
use crate::tracking::load::LoadError;
use crate::tracking::{Batch, Metric};
use crate::writer::SqliteWriter;

/// Points that such a group has at most. With more of them the run of each would be looked up too often.
const MOST: usize = 128;

/// A request for points of a run and nothing else.
pub(super) struct Points<'a> {
    run: RunId,
    metrics: &'a [Metric],
}

/// The requests of a group that has nothing but a few points.
pub(super) fn only_points(group: &[Work]) -> Option<Vec<Points<'_>>> {
    let mut count = 0;
    let points = |work| {
        let points = points_of(work)?;
        count += points.metrics.len();
        (count <= MOST).then_some(points)
    };
    group.iter().map(points).collect()
}

fn points_of(work: &Work) -> Option<Points<'_>> {
    let Work::Write { run, batch, event: None } = work else { return None };
    let Batch {
        status,
        ended_at,
        name,
        params,
        metrics,
        tags,
        removed_tags,
        datasets,
        model_inputs,
        model_outputs,
    } = batch;
    let only = status.is_none()
        && ended_at.is_none()
        && name.is_none()
        && params.is_empty()
        && tags.is_empty()
        && removed_tags.is_empty()
        && datasets.is_empty()
        && model_inputs.is_empty()
        && model_outputs.is_empty();
    let plain = !metrics.is_empty() && metrics.iter().all(|metric| metric.model_id.is_none());
    (only && plain).then_some(Points { run: *run, metrics })
}

/// Writes such a group durably; gives an answer to each request.
pub(super) async fn write<'a>(
    writer: &SqliteWriter,
    requests: &[Points<'a>],
) -> Result<Vec<Result<Answer>>, LoadError> {
    const SQL: &str = "SELECT r.place, t.id, t.stage, s.id, s.last_step, s.last_at, s.last_value, s.ordered
        FROM {rows} JOIN run t ON t.uuid = r.uuid LEFT JOIN series s ON s.run_id = t.id AND s.name = r.name";
    type Row = (i64, i64, String, Option<i64>, Option<i64>, Option<i64>, Option<f64>, Option<i64>);
    let mut keys: BTreeSet<(RunId, &'a str)> = BTreeSet::new();
    for Points { run, metrics } in requests {
        keys.extend(metrics.iter().map(|metric| (*run, metric.key.as_str())));
    }
    let keys: Vec<(RunId, &'a str)> = keys.into_iter().collect();
    let uuids: Vec<String> = keys.iter().map(|(run, _)| run.to_string()).collect();
    let rows = Rows::new(keys.len())
        .padded()
        .int("place", 0..keys.len() as i64)
        .text("uuid", uuids.iter().map(String::as_str))
        .text("name", keys.iter().map(|(_, name)| *name));
    let mut tx = writer.turn().await?;
    let read = Script::default().plain(SQLITE_WRITE).over(SQL, &rows);
    let found: Vec<Row> = read.read(tx.conn()).await?;

    let mut runs = HashMap::new();
    let mut stored: Stored<'a> = HashMap::new();
    for (place, row, stage, series, step, at, value, ordered) in found {
        let (run, name) = keys.get(place as usize).copied().ok_or(sqlx::Error::RowNotFound)?;
        runs.insert(run, (row, parse_stage("run", &stage)?));
        if let (Some(series), Some(step), Some(at)) = (series, step, at) {
            stored.insert((row, name), Series::stored(series, (step, at, value), ordered == Some(1)));
        }
    }
    let mut points = Vec::new();
    let mut answers = Vec::with_capacity(requests.len());
    for Points { run, metrics } in requests {
        let known = runs.get(run);
        let answer = writable(*run, known.map(|(_, stage)| *stage));
        if let (Ok(()), Some((row, _))) = (&answer, known) {
            points.extend(metrics.iter().map(|metric| Point::of(*row, metric)));
        }
        answers.push(answer.map(|()| Answer::Done));
    }
    if !points.is_empty() {
        points::put_few(tx.conn(), points, &stored).await?;
        tx.is_over();
    }
    Ok(answers)
}
