//! Windows that were judged, and what is remembered of their series.

use tidemill_core::{Digest, Timestamp};

use crate::backend::on;
use crate::runs::parse;
use crate::{Db, Result, Tx};

/// What is remembered of a series of windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its name among those of the endpoint.
    pub watch: String,
    /// How many windows were judged.
    pub revision: u64,
    /// What is remembered: JSON.
    pub memory: String,
}

/// A window that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its number.
    pub id: u64,
    /// When it was judged.
    pub at: Timestamp,
    /// The rest.
    pub made: NewJudged,
}

/// A window that is about to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJudged {
    /// The endpoint.
    pub endpoint: String,
    /// The series.
    pub watch: String,
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// `ok`, `broken` or `no_data`.
    pub state: String,
    /// The model that answered most of its predictions.
    pub model: Option<String>,
    /// The version that did.
    pub version: Option<String>,
    /// Its predictions.
    pub predictions: u64,
    /// The verdict: JSON.
    pub verdict: String,
    /// The stored profile of its rows.
    pub profile: Option<Digest>,
    /// What it rests on, where outcomes that come later change it.
    pub rests_on: Option<RestsOn>,
}

/// The outcomes that a window rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestsOn {
    /// When its first request came.
    pub first: Timestamp,
    /// When its last request came.
    pub last: Timestamp,
    /// How often outcomes had found requests of the hours between when it was judged, as [`Db::outcome_changes_by_hour`] counts.
    pub outcomes: u64,
}

/// A window that outcomes may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resting {
    /// Its number.
    pub id: u64,
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// What it rests on.
    pub on: RestsOn,
}

/// Which windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JudgedFilter {
    /// Of this endpoint.
    pub endpoint: Option<String>,
    /// Of this series.
    pub watch: Option<String>,
    /// With a number below this.
    pub before: Option<u64>,
}

type Row = (
    i64,
    String,
    String,
    i64,
    i64,
    i64,
    String,
    Option<String>,
    Option<String>,
    i64,
    String,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// Series that one statement reads.
const SERIES: usize = 100;

const COLUMNS: &str =
    "id, endpoint, watch, from_at, to_at, evaluated_at, state, model, version, predictions, verdict, profile,
    first_came, last_came, outcomes";

impl Db {
    /// What is remembered of the series of an endpoint.
    pub async fn monitor_series(&self, endpoint: &str) -> Result<Vec<Series>> {
        const SQL: &str =
            "SELECT watch, revision, memory FROM monitor_series WHERE endpoint = $1 ORDER BY watch";
        let mut reader = self.reader().await?;
        let rows: Vec<(String, i64, String)> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(endpoint).fetch_all(c).await)
                .map_err(self.ctx().fail("read series of monitors"))?;
        let series =
            |(watch, revision, memory)| Series { watch, revision: i64::cast_unsigned(revision), memory };
        Ok(rows.into_iter().map(series).collect())
    }

    /// Windows that were judged, the last ones first.
    pub async fn judged_windows(&self, filter: &JudgedFilter, limit: usize) -> Result<Vec<Judged>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM monitor_window WHERE ($1 = '' OR endpoint = $1) AND ($2 = '' OR watch = $2)
             AND id < $3 ORDER BY id DESC LIMIT $4"
        );
        let before = filter.before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(filter.endpoint.as_deref().unwrap_or_default())
            .bind(filter.watch.as_deref().unwrap_or_default())
            .bind(before).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read windows"))?;
        rows.into_iter().map(from_row).collect()
    }

    /// The end of the last window of a series that ended at or before `at`.
    pub async fn judged_until(
        &self,
        endpoint: &str,
        watch: &str,
        at: Timestamp,
    ) -> Result<Option<Timestamp>> {
        const SQL: &str =
            "SELECT MAX(to_at) FROM monitor_window WHERE endpoint = $1 AND watch = $2 AND to_at <= $3";
        let mut reader = self.reader().await?;
        let until: Option<i64> = on!(reader.conn(), c => sqlx::query_scalar(SQL)
            .bind(endpoint).bind(watch).bind(at.millis()).fetch_one(c).await)
        .map_err(self.ctx().fail("read windows"))?;
        Ok(until.map(Timestamp::from_millis))
    }

    /// The last `each` windows of some series, which are named by endpoint and watch, each once: the series in their order, of each the
    /// last windows first. One that was judged more than a day before it began is of a
    /// time that somebody made up.
    pub async fn last_windows(&self, series: &[(&str, &str)], each: usize) -> Result<Vec<Vec<Judged>>> {
        let mut all: Vec<Vec<Judged>> = vec![Vec::new(); series.len()];
        let each = i64::try_from(each).unwrap_or(i64::MAX);
        for (number, some) in series.chunks(SERIES).enumerate() {
            // Windows of a series are judged in the order of their time, by which the index has them.
            let part = |at: usize| {
                format!(
                    "SELECT * FROM (SELECT {COLUMNS} FROM monitor_window WHERE endpoint = ${} AND watch = ${}
                     AND from_at <= evaluated_at + 86400000 ORDER BY from_at DESC, id DESC LIMIT $1) AS s{at}",
                    2 * at + 2,
                    2 * at + 3
                )
            };
            let sql = (0..some.len()).map(part).collect::<Vec<_>>().join(" UNION ALL ");
            let mut reader = self.reader().await?;
            let rows: Vec<Row> = on!(reader.conn(), c => {
                let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(each);
                let bind = |query, (endpoint, watch): &(&str, &str)| {
                    let query: sqlx::query::QueryAs<'_, _, Row, _> = query;
                    query.bind((*endpoint).to_owned()).bind((*watch).to_owned())
                };
                some.iter().fold(query, bind).fetch_all(c).await
            })
            .map_err(self.ctx().fail("read the last windows"))?;
            for row in rows {
                let judged = from_row(row)?;
                let place = some.iter().position(|(endpoint, watch)| {
                    *endpoint == judged.made.endpoint && *watch == judged.made.watch
                });
                if let Some(found) = place.and_then(|place| all.get_mut(number * SERIES + place)) {
                    found.push(judged);
                }
            }
        }
        for windows in &mut all {
            windows.sort_by_key(|judged| std::cmp::Reverse((judged.made.from, judged.id)));
        }
        Ok(all)
    }

    /// Windows of a series that begin at or after `from` and that outcomes may change, the last ones first.
    pub async fn resting_windows(
        &self,
        endpoint: &str,
        watch: &str,
        from: Timestamp,
        limit: usize,
    ) -> Result<Vec<Resting>> {
        const SQL: &str = "SELECT id, from_at, to_at, first_came, last_came, outcomes FROM monitor_window
            WHERE endpoint = $1 AND watch = $2 AND from_at >= $3 AND outcomes IS NOT NULL
            ORDER BY from_at DESC, to_at DESC LIMIT $4";
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, i64, i64, i64, i64, i64)> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(endpoint).bind(watch).bind(from.millis())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read windows"))?;
        let resting = |(id, from, to, first, last, outcomes)| Resting {
            id: i64::cast_unsigned(id),
            from: Timestamp::from_millis(from),
            to: Timestamp::from_millis(to),
            on: rests_on(first, last, outcomes),
        };
        Ok(rows.into_iter().map(resting).collect())
    }

    /// The window of a series with this begin.
    pub async fn judged_window(
        &self,
        endpoint: &str,
        watch: &str,
        from: Timestamp,
    ) -> Result<Option<Judged>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM monitor_window WHERE endpoint = $1 AND watch = $2 AND from_at = $3
             ORDER BY id DESC LIMIT 1"
        );
        let mut reader = self.reader().await?;
        let row: Option<Row> = on!(reader.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(endpoint).bind(watch).bind(from.millis()).fetch_optional(c).await)
        .map_err(self.ctx().fail("read a window"))?;
        row.map(from_row).transpose()
    }
}

impl Tx {
    /// Notes what is remembered of a series, on top of `revision`; `false` if somebody else judged a window in between.
    pub async fn put_monitor_series(
        &mut self,
        endpoint: &str,
        watch: &str,
        revision: u64,
        memory: &str,
    ) -> Result<bool> {
        const SQL: &str = "INSERT INTO monitor_series (endpoint, watch, revision, memory)
            VALUES ($1, $2, $3 + 1, $4) ON CONFLICT (endpoint, watch) DO UPDATE SET
            revision = excluded.revision, memory = excluded.memory WHERE monitor_series.revision = $3";
        let ctx = self.transact.ctx.clone();
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(endpoint).bind(watch).bind(revision as i64).bind(memory)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("note what is remembered of a series"))?;
        self.changed |= done > 0;
        Ok(done > 0)
    }

    /// Notes what is remembered of a series where no window follows, in the place of what it was: `false` if somebody else noted
    /// something in between.
    pub async fn change_monitor_series(
        &mut self,
        endpoint: &str,
        watch: &str,
        (before, memory): (&str, &str),
    ) -> Result<bool> {
        const SQL: &str =
            "UPDATE monitor_series SET memory = $4 WHERE endpoint = $1 AND watch = $2 AND memory = $3";
        let ctx = self.transact.ctx.clone();
        let done = on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(endpoint).bind(watch).bind(before).bind(memory)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("note what is remembered of a series"))?;
        self.changed |= done > 0;
        Ok(done > 0)
    }

    /// Writes what a window comes to by the outcomes that are there now.
    pub async fn restate_window(
        &mut self,
        id: u64,
        (state, verdict): (&str, &str),
        predictions: u64,
        outcomes: u64,
    ) -> Result<()> {
        const SQL: &str =
            "UPDATE monitor_window SET state = $2, verdict = $3, predictions = $4, outcomes = $5
            WHERE id = $1";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(id as i64).bind(state).bind(verdict).bind(predictions as i64).bind(outcomes as i64)
            .execute(c).await.map(drop))
        .map_err(ctx.fail("restate a window"))?;
        self.changed = true;
        Ok(())
    }

    /// Notes that a window is the same by the outcomes that are there now. This follows from them and needs no event.
    pub async fn note_window_outcomes(&mut self, id: u64, outcomes: u64) -> Result<()> {
        const SQL: &str = "UPDATE monitor_window SET outcomes = $2 WHERE id = $1";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(id as i64).bind(outcomes as i64).execute(c).await.map(drop))
        .map_err(ctx.fail("note what a window rests on"))
    }

    /// Keeps a window; gives its number, or nothing where it was judged before.
    pub async fn add_judged_window(&mut self, made: &NewJudged, at: Timestamp) -> Result<Option<u64>> {
        const SQL: &str =
            "INSERT INTO monitor_window (endpoint, watch, from_at, to_at, evaluated_at, state, model,
                version, predictions, verdict, profile, first_came, last_came, outcomes)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
            ON CONFLICT (endpoint, watch, from_at, to_at) DO NOTHING RETURNING id";
        let ctx = self.transact.ctx.clone();
        let id: Option<i64> = on!(self.transact.conn(), c => sqlx::query_scalar(SQL)
            .bind(&made.endpoint).bind(&made.watch).bind(made.from.millis()).bind(made.to.millis())
            .bind(at.millis()).bind(&made.state).bind(&made.model).bind(&made.version)
            .bind(made.predictions as i64).bind(&made.verdict)
            .bind(made.profile.map(|profile| profile.to_string()))
            .bind(made.rests_on.map(|on| on.first.millis()))
            .bind(made.rests_on.map(|on| on.last.millis()))
            .bind(made.rests_on.map(|on| on.outcomes as i64)).fetch_optional(c).await)
        .map_err(ctx.fail("keep a window"))?;
        self.changed |= id.is_some();
        Ok(id.map(i64::cast_unsigned))
    }
}

fn rests_on(first: i64, last: i64, outcomes: i64) -> RestsOn {
    let (first, last) = (Timestamp::from_millis(first), Timestamp::from_millis(last));
    RestsOn { first, last, outcomes: outcomes as u64 }
}

fn from_row(row: Row) -> Result<Judged> {
    let rests_on = match (row.12, row.13, row.14) {
        (Some(first), Some(last), Some(outcomes)) => Some(rests_on(first, last, outcomes)),
        _ => None,
    };
    let (id, endpoint, watch, from, to, at, state, model, version, predictions, verdict, profile, ..) = row;
    let profile = profile.map(|text| parse("monitor_window", "profile", &text, "a digest")).transpose()?;
    Ok(Judged {
        id: id as u64,
        at: Timestamp::from_millis(at),
        made: NewJudged {
            endpoint,
            watch,
            from: Timestamp::from_millis(from),
            to: Timestamp::from_millis(to),
            state,
            model,
            version,
            predictions: predictions as u64,
            verdict,
            profile,
            rests_on,
        },
    })
}
