//! A whole history, however long, a part at a time.

use tidemill_core::RunId;

use super::history::{Found, PointRow, find, from_row};
use super::point::encode;
use crate::backend::{Conn, on};
use crate::tracking::HistoryPoint;
use crate::{Db, Result};

/// Points of a part.
const PART: usize = 10_000;
/// Points of one answer of the database.
const BLOCK: usize = 1_000;
/// Points that are sorted at once unless something else is said: 12 MB, and as much again while they are found.
const SORTED: usize = 500_000;

/// In the order of a history: time, step and value, as they are stored.
type Key = (i64, i64, i64);

/// Reads the points of a metric in the order of time, step and value, with bounded memory.
///
/// Where the points have one order by step and by time, the primary key gives each part. Otherwise the points are
/// gone through in the key's order for the next half a million of them, which costs far less than a sort by the
/// database for each part.
pub struct WholeHistory {
    db: Db,
    /// None if there is no such metric.
    series: Option<Found>,
    after: Option<HistoryPoint>,
    /// The next points of a series that has to be sorted, the first one last.
    sorted: Vec<Key>,
    at_once: usize,
}

impl Db {
    /// The history of a metric after `after`. A run or a metric that is not there has none.
    pub async fn whole_history(
        &self,
        run: RunId,
        key: &str,
        after: Option<HistoryPoint>,
    ) -> Result<WholeHistory> {
        let mut reader = self.reader().await?;
        let series = find(reader.conn(), run, key).await.map_err(self.ctx().fail("read metrics"))?;
        Ok(WholeHistory { db: self.clone(), series, after, sorted: Vec::new(), at_once: SORTED })
    }
}

impl WholeHistory {
    /// With at most that many points sorted at once.
    #[must_use]
    pub fn sorting(mut self, points: usize) -> Self {
        self.at_once = points.max(1);
        self
    }

    /// Gives the next part to `each`, point by point, and says whether there may be another one.
    pub async fn next(&mut self, mut each: impl FnMut(HistoryPoint)) -> Result<bool> {
        let Some(series) = self.series else { return Ok(false) };
        let mut count = 0;
        let mut last = self.after;
        let mut take = |point: HistoryPoint| {
            count += 1;
            last = Some(point);
            each(point);
        };
        if series.ordered {
            let mut reader = self.db.reader().await?;
            let after = self.after.map(place);
            by_key(reader.conn(), series.id, after, PART, |row| take(from_row(row)))
                .await
                .map_err(self.db.ctx().fail("read metrics"))?;
        } else {
            if self.sorted.is_empty() {
                self.sorted = self.smallest(series.id, self.after.map(key), self.at_once).await?;
            }
            let rest = self.sorted.len().saturating_sub(PART);
            self.sorted.drain(rest..).rev().for_each(|(at, step, value)| take(from_row((step, at, value))));
        }
        self.after = last;
        // Of points that are sorted, a part may be short and not the last one.
        Ok(count == PART || count > 0 && !series.ordered)
    }

    /// The first `most` points after `after` in the order of a history, the first one last.
    async fn smallest(&self, series: i64, after: Option<Key>, most: usize) -> Result<Vec<Key>> {
        let mut found: Vec<Key> = Vec::new();
        // Nothing beyond this one is among them.
        let mut end: Option<Key> = None;
        let mut behind: Option<PointRow> = None;
        loop {
            // A connection is not kept for all of it: there are few, and others wait for them.
            let mut reader = self.db.reader().await?;
            let mut count = 0;
            by_key(reader.conn(), series, behind, PART, |row @ (step, at, value)| {
                count += 1;
                behind = Some(row);
                let key = (at, step, value);
                if after.is_none_or(|after| key > after) && end.is_none_or(|end| key < end) {
                    found.push(key);
                }
            })
            .await
            .map_err(self.db.ctx().fail("read metrics"))?;
            if found.len() >= 2 * most {
                let (_, greatest, _) = found.select_nth_unstable(most - 1);
                end = Some(*greatest);
                found.truncate(most);
            }
            if count < PART {
                break;
            }
        }
        found.sort_unstable();
        found.truncate(most);
        found.reverse();
        Ok(found)
    }
}

fn place(point: HistoryPoint) -> PointRow {
    (point.step, point.at.millis(), encode(point.value))
}

fn key(point: HistoryPoint) -> Key {
    (point.at.millis(), point.step, encode(point.value))
}

/// At most `most` points after `after` in the order of the primary key.
///
/// The database hands over a few columns of many points, not a row for each point: a row costs more than what is in it.
async fn by_key(
    mut conn: Conn<'_>,
    series: i64,
    after: Option<PointRow>,
    most: usize,
    mut each: impl FnMut(PointRow),
) -> sqlx::Result<()> {
    const SQL: &str = "SELECT string_agg(CAST(step AS TEXT), ','), string_agg(CAST(at AS TEXT), ','),
            string_agg(CAST(value AS TEXT), ',') FROM (
        SELECT step, at, value FROM point
        WHERE series_id = $1 AND (step, at, value) > ($2, $3, $4) ORDER BY step, at, value LIMIT $5) p";
    let mut after = after.unwrap_or((i64::MIN, i64::MIN, i64::MIN));
    let mut left = most;
    while left > 0 {
        let wanted = left.min(BLOCK);
        let (step, at, value) = after;
        let columns: (Option<String>, Option<String>, Option<String>) = on!(conn.reborrow(), c =>
            sqlx::query_as(SQL)
                .bind(series).bind(step).bind(at).bind(value).bind(wanted as i64).fetch_one(c).await)?;
        let (steps, times, values) = (numbers(columns.0)?, numbers(columns.1)?, numbers(columns.2)?);
        let points = steps.into_iter().zip(times).zip(values);
        let mut rows: Vec<PointRow> = points.map(|((step, at), value)| (step, at, value)).collect();
        // Both databases keep the order of the inner query today, and neither promises it.
        if !rows.is_sorted() {
            rows.sort_unstable();
        }
        let Some(last) = rows.last() else { break };
        after = *last;
        let count = rows.len();
        rows.into_iter().for_each(&mut each);
        if count < wanted {
            break;
        }
        left -= count;
    }
    Ok(())
}

/// Numbers that the database joined with commas.
fn numbers(text: Option<String>) -> sqlx::Result<Vec<i64>> {
    let text = text.unwrap_or_default();
    text.split_terminator(',')
        .map(|number| number.parse().map_err(|error| sqlx::Error::Decode(Box::new(error))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_joined() {
        assert_eq!(numbers(None).unwrap(), Vec::<i64>::new());
        let text = format!("0,-1,{},{}", i64::MIN, i64::MAX);
        assert_eq!(numbers(Some(text)).unwrap(), [0, -1, i64::MIN, i64::MAX]);
        assert!(numbers(Some(String::from("1,x"))).is_err());
    }
}
