//! A few points, statement by statement on a connection of our own: where nothing has to be carried to another thread, one row
//! in a statement costs less than many rows in one.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Fit, Fitting, Place, Point, Series, Span, Stored, all_grown, grouped};
use crate::tracking::point::decode;

/// A series of a run as it is stored, where it is there.
fn series(c: &Connection, run: i64, name: &str) -> rusqlite::Result<Option<Series>> {
    const SQL: &str =
        "SELECT id, last_step, last_at, last_value, ordered FROM series WHERE run_id = ?1 AND name = ?2";
    let row = c.prepare_cached(SQL)?.query_row(params![run, name], |row| {
        let newest = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Series::stored(row.get(0)?, newest, row.get::<_, i64>(4)? == 1))
    });
    row.optional()
}

/// Writes points once each.
pub(in super::super) fn put(c: &Connection, mut points: Vec<Point<'_>>) -> rusqlite::Result<()> {
    const INSERT: &str =
        "INSERT INTO point (series_id, step, at, value) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    let groups = grouped(&mut points);
    let mut stored: Stored<'_> = HashMap::with_capacity(groups.len());
    for Point { run, key, .. } in groups.iter().map(|group| group[0]) {
        stored.extend(series(c, run, key)?.map(|series| ((run, key), series)));
    }
    let mut fitting = Fitting::new(&groups, &stored);
    while let Some(spans) = fitting.ask() {
        let found = spans.iter().map(|span| fit(c, span)).collect::<rusqlite::Result<Vec<_>>>()?;
        fitting.hear(&found);
    }
    let series = all_grown(&groups, &stored, &fitting.found());
    let mut insert = c.prepare_cached(INSERT)?;
    for (group, series) in groups.into_iter().zip(&series) {
        let id = match series.id {
            Some(id) if series.changed => update(c, id, series).map(|()| id)?,
            Some(id) => id,
            None => create(c, &group[0], series)?,
        };
        for Point { place: Place { step, at, value }, .. } in group {
            insert.execute(params![id, step, at, value])?;
        }
    }
    Ok(())
}

fn update(c: &Connection, id: i64, series: &Series) -> rusqlite::Result<()> {
    const SQL: &str =
        "UPDATE series SET last_step = ?2, last_at = ?3, last_value = ?4, last_is_nan = ?5, ordered = ?6
        WHERE id = ?1";
    let Place { step, at, value } = series.last;
    // SQLite has no NaN and stores NULL instead.
    let value = decode(value);
    c.prepare_cached(SQL)?.execute(params![id, step, at, value, value.is_nan(), series.ordered]).map(drop)
}

/// Inserts a series that is not there; gives its number.
fn create(c: &Connection, point: &Point<'_>, series: &Series) -> rusqlite::Result<i64> {
    const SQL: &str =
        "INSERT INTO series (run_id, name, last_step, last_at, last_value, last_is_nan, ordered)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let Place { step, at, value } = series.last;
    let value = decode(value);
    let row = params![point.run, point.key, step, at, value, value.is_nan(), series.ordered];
    c.prepare_cached(SQL)?.insert(row)
}

fn fit(c: &Connection, span: &Span) -> rusqlite::Result<Fit> {
    const SQL: &str = "SELECT
        (SELECT at FROM point WHERE series_id = ?1 AND (step, at) < (?2, ?3) ORDER BY step DESC, at DESC LIMIT 1),
        (SELECT at FROM point WHERE series_id = ?1 AND (step, at) > (?4, ?5) ORDER BY step, at LIMIT 1),
        EXISTS (SELECT 1 FROM point WHERE series_id = ?1 AND (step, at) > (?2, ?3) AND (step, at) < (?4, ?5))";
    let Span { series, first, last } = span;
    c.prepare_cached(SQL)?.query_row(params![series, first.step, first.at, last.step, last.at], |row| {
        Ok(Fit::of(span, row.get(0)?, row.get(1)?, row.get(2)?))
    })
}

/// The row of a run and its stage, where it is there.
pub(in super::super) fn run(c: &Connection, uuid: &str) -> rusqlite::Result<Option<(i64, String)>> {
    let mut statement = c.prepare_cached("SELECT id, stage FROM run WHERE uuid = ?1")?;
    statement.query_row(params![uuid], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}
