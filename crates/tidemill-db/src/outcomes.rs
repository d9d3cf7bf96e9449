//! Outcomes: what became known of a request after it was answered. Each is kept, whether a record fits or not.
//!
//! What an outcome says is an observation; that outcomes came, found their requests or were removed is an event.

mod correct;
mod days;
mod once;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_core::{Actor, EventKind, NewEvent, Timestamp};

use crate::backend::on;
use crate::dialect::{self, Rows};
use crate::records::by_system;
use crate::{Db, Error, Result, Tx};

pub use days::{DAY_MS, DayOfOutcomes};
pub use tables::{OutcomeTable, TableKey, TableRead};

/// What is known of an outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Grows with each outcome that is stored; 0 before that.
    pub id: i64,
    /// The endpoint.
    pub endpoint: String,
    /// What it is: `label`, `amount`.
    pub name: String,
    /// The request that it is about, where the sender knows.
    pub request_id: Option<String>,
    /// The row of the request, from 0; every row of it where absent.
    pub row: Option<u64>,
    /// What it is about, where the request is not known.
    pub entity: Option<String>,
    /// When it happened, where the sender says.
    pub occurred_at: Option<Timestamp>,
    /// Its value, where it is a number or a truth value (0 or 1).
    pub number: Option<f64>,
    /// Its value, where it is a text.
    pub text: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// What became of it.
    pub state: OutcomeState,
    /// Whether it came after the time that the endpoint declares.
    pub is_late: bool,
    /// The request and row that it was joined with, and the request's time.
    pub matched: Option<Match>,
    /// The newest part of the log that it was compared with.
    pub tested_part: i64,
    /// Whether `tested_part` is news, for [`Db::settle_outcomes`].
    pub is_tried: bool,
}

/// What an outcome was joined with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Match {
    /// The request.
    pub request_id: String,
    /// Its row; every row of the request where absent.
    pub row: Option<u64>,
    /// When the request came.
    pub at: Timestamp,
}

/// What became of an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutcomeState {
    /// No record fits yet; it is tried again when records arrive.
    #[default]
    Waiting,
    /// It belongs to a request.
    Matched,
    /// It says what the outcome of this name says that the request has already.
    Duplicate,
    /// It belongs to a request, and another that is later by its time says otherwise.
    Corrected,
    /// No record fitted as long as one could be hoped for: it is kept, and not tried any more.
    Unmatched,
}

impl OutcomeState {
    const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Matched => "matched",
            Self::Duplicate => "duplicate",
            Self::Corrected => "corrected",
            Self::Unmatched => "unmatched",
        }
    }

    fn of(word: &str) -> Result<Self> {
        [Self::Waiting, Self::Matched, Self::Duplicate, Self::Corrected, Self::Unmatched]
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| Error::value("outcome", "state", word, "a state of an outcome"))
    }
}

/// How many outcomes an endpoint has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    /// Joined with a request.
    pub matched: u64,
    /// Of these, how many came late.
    pub late: u64,
    /// No record fits yet.
    pub waiting: u64,
    /// Say what the request's outcome says already.
    pub duplicate: u64,
    /// Stand no longer: another of the request, later by its time, says otherwise.
    pub corrected: u64,
    /// No record fitted, and none is looked for any more.
    pub unmatched: u64,
}

macro_rules! columns {
    () => {
        "id, endpoint, name, request_id, row_number, entity, occurred_at, number, text, received_at, state, is_late,
            matched_id, matched_row, matched_at, tested_part"
    };
}

/// All outcomes of an endpoint from a number on.
const ALL: &str =
    concat!("SELECT ", columns!(), " FROM outcome WHERE endpoint = $1 AND id > $2 ORDER BY id LIMIT $3");
/// Those of one state. A statement of its own: under one with an optional state, neither database seeks in `outcome_by_state`, and all
/// outcomes of the endpoint are read to find the few that wait.
const OF_STATE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM outcome WHERE endpoint = $1 AND id > $2 AND state = $4 ORDER BY id LIMIT $3"
);

/// What [`Db::settle_outcomes`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// What each outcome became.
    pub states: Vec<OutcomeState>,
    /// How many stand no longer, of these and of those before: another says otherwise.
    pub corrected: u64,
}

type Row = (
    i64,
    String,
    String,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<f64>,
    Option<String>,
    i64,
    String,
    i64,
    Option<String>,
    Option<i64>,
    Option<i64>,
    i64,
);

fn from_row(row: Row) -> Result<Outcome> {
    let (id, endpoint, name, request_id, row_number, entity, occurred_at, number, text, received_at, ..) =
        row;
    let (.., state, is_late, matched_id, matched_row, matched_at, tested_part) = row;
    let matched = matched_id.map(|request_id| Match {
        request_id,
        row: matched_row.map(|row| row as u64),
        at: Timestamp::from_millis(matched_at.unwrap_or_default()),
    });
    Ok(Outcome {
        id,
        endpoint,
        name,
        request_id,
        row: row_number.map(|row| row as u64),
        entity,
        occurred_at: occurred_at.map(Timestamp::from_millis),
        number,
        text,
        received_at: Timestamp::from_millis(received_at),
        state: OutcomeState::of(&state)?,
        is_late: is_late != 0,
        matched,
        tested_part,
        is_tried: false,
    })
}

impl Db {
    /// Stores outcomes as they came, waiting for their records: all of them or none. `actor` sent them.
    pub async fn add_outcomes(&self, actor: &Actor, outcomes: &[Outcome]) -> Result<()> {
        const SQL: &str = "INSERT INTO outcome ({columns}) SELECT {columns} FROM {rows}";
        if outcomes.is_empty() {
            return Ok(());
        }
        let rows = rows_of(outcomes);
        let events = outcomes
            .chunk_by(|one, next| one.endpoint == next.endpoint)
            .filter_map(|these| these.first().map(|first| received(first, actor, these.len() as u64)));
        let mut tx = self.begin().await?;
        let ctx = Arc::clone(&tx.transact.ctx);
        dialect::write_rows(tx.transact.conn(), SQL, &rows).await.map_err(ctx.fail("store outcomes"))?;
        tx.commit(events.collect()).await.map(drop)
    }

    /// Outcomes of an endpoint in the order in which they came, after the one with number `after`; of one state or all.
    pub async fn outcomes(
        &self,
        endpoint: &str,
        state: Option<OutcomeState>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Outcome>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = match state {
            None => on!(reader.conn(), c => sqlx::query_as(ALL)
                .bind(endpoint).bind(after).bind(limit).fetch_all(c).await),
            Some(state) => on!(reader.conn(), c => sqlx::query_as(OF_STATE)
                .bind(endpoint).bind(after).bind(limit).bind(state.word()).fetch_all(c).await),
        }
        .map_err(self.ctx().fail("read outcomes"))?;
        rows.into_iter().map(from_row).collect()
    }

    /// The outcomes that were joined with requests of an endpoint from `from` to before `to`, by the request's time.
    pub async fn matched_outcomes(
        &self,
        endpoint: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Outcome>> {
        self.first_matched_outcomes(endpoint, from, to, usize::MAX).await
    }

    /// The first `limit` of them.
    pub async fn first_matched_outcomes(
        &self,
        endpoint: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Outcome>> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM outcome WHERE endpoint = $1 AND state = 'matched' AND matched_at >= $2 AND matched_at < $3
            ORDER BY matched_at, matched_id, id LIMIT $4"
        );
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(endpoint).bind(from.millis()).bind(to.millis())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read outcomes"))?;
        rows.into_iter().map(from_row).collect()
    }

    /// How many outcomes were joined with requests of an endpoint from `from` to before `to`; of this name alone where one is given.
    pub async fn count_matched_outcomes(
        &self,
        endpoint: &str,
        name: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<u64> {
        const SQL: &str = "SELECT COUNT(*) FROM outcome
            WHERE endpoint = $1 AND state = 'matched' AND matched_at >= $2 AND matched_at < $3
              AND name = COALESCE($4, name)";
        let mut reader = self.reader().await?;
        let count: i64 = on!(reader.conn(), c => sqlx::query_scalar(SQL)
            .bind(endpoint).bind(from.millis()).bind(to.millis()).bind(name).fetch_one(c).await)
        .map_err(self.ctx().fail("count outcomes"))?;
        Ok(count as u64)
    }

    /// Records what became of outcomes that were waiting. Of several that a request and row have of one name, the last one by its time stands:
    /// what says the same is a duplicate, what says otherwise and is earlier is corrected, also where it stood until now. One without a request
    /// is what its own state says, waiting or unmatched. What goes on waiting is written only where it was compared with the log for the first
    /// time. `at` is the time of the event.
    pub async fn settle_outcomes(
        &self,
        endpoint: &str,
        settled: &[Outcome],
        at: Timestamp,
    ) -> Result<Settled> {
        const SETTLE: &str =
            "UPDATE outcome SET state = r.state, is_late = r.is_late, matched_id = r.matched_id,
                matched_row = r.matched_row, matched_at = r.matched_at, tested_part = r.tested_part
            FROM {rows} WHERE outcome.id = r.id AND outcome.state = 'waiting'";
        const REPLACE: &str = "UPDATE outcome SET state = 'corrected'
            FROM {rows} WHERE outcome.id = r.id AND outcome.state = 'matched'";
        if settled.is_empty() {
            return Ok(Settled::default());
        }
        let mut tx = self.begin().await?;
        let ctx = Arc::clone(&tx.transact.ctx);
        let fail = "record what became of outcomes";
        let correct::Decided { states, replaced } = correct::decided(&mut tx, endpoint, settled).await?;
        let outdated = states.iter().filter(|state| **state == OutcomeState::Corrected).count();
        let corrected = (outdated + replaced.len()) as u64;
        let changed: Vec<(&Outcome, OutcomeState)> = settled
            .iter()
            .zip(states.iter().copied())
            .filter(|(outcome, state)| *state != OutcomeState::Waiting || outcome.is_tried)
            .collect();
        if changed.is_empty() {
            return Ok(Settled { states, corrected });
        }
        let each = || changed.iter().map(|(outcome, _)| *outcome);
        let rows = Rows::new(changed.len())
            .int("id", each().map(|outcome| outcome.id))
            .text("state", changed.iter().map(|(_, state)| state.word()))
            .int("is_late", each().map(|outcome| i64::from(outcome.is_late)))
            .opt_text("matched_id", each().map(|outcome| Some(outcome.matched.as_ref()?.request_id.as_str())))
            .opt_int("matched_row", each().map(|outcome| Some(outcome.matched.as_ref()?.row? as i64)))
            .opt_int("matched_at", each().map(|outcome| Some(outcome.matched.as_ref()?.at.millis())))
            .int("tested_part", each().map(|outcome| outcome.tested_part));
        dialect::write_rows(tx.transact.conn(), SETTLE, &rows).await.map_err(ctx.fail(fail))?;
        if !replaced.is_empty() {
            let rows = Rows::new(replaced.len()).int("id", replaced.iter().copied());
            dialect::write_rows(tx.transact.conn(), REPLACE, &rows).await.map_err(ctx.fail(fail))?;
        }
        count_by_hour(&mut tx, endpoint, &changed).await?;
        let events =
            events(endpoint, settled, &states, corrected).into_iter().map(|kind| by_system(at, kind));
        tx.commit(events.collect()).await?;
        Ok(Settled { states, corrected })
    }

    /// How often outcomes found requests of an endpoint, whenever these came. It only grows.
    pub async fn outcome_changes(&self, endpoint: &str) -> Result<u64> {
        const SQL: &str =
            "SELECT CAST(COALESCE(SUM(changes), 0) AS BIGINT) FROM outcome_hour WHERE endpoint = $1";
        let mut reader = self.reader().await?;
        let changes: i64 = on!(reader.conn(), c => sqlx::query_scalar(SQL).bind(endpoint).fetch_one(c).await)
            .map_err(self.ctx().fail("count changes of outcomes"))?;
        Ok(changes as u64)
    }

    /// The same of each hour from that of `first` to that of `last`, in which requests came; by the begin of the hour.
    pub async fn outcome_changes_by_hour(
        &self,
        endpoint: &str,
        first: Timestamp,
        last: Timestamp,
    ) -> Result<BTreeMap<Timestamp, u64>> {
        const SQL: &str =
            "SELECT hour, changes FROM outcome_hour WHERE endpoint = $1 AND hour >= $2 AND hour <= $3";
        let mut reader = self.reader().await?;
        let rows: Vec<(i64, i64)> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(endpoint).bind(hour_of(first)).bind(hour_of(last)).fetch_all(c).await)
        .map_err(self.ctx().fail("count changes of outcomes"))?;
        let of = |(hour, changes): (i64, i64)| (Timestamp::from_millis(hour * HOUR), changes as u64);
        Ok(rows.into_iter().map(of).collect())
    }

    /// How many outcomes an endpoint has.
    pub async fn outcome_counts(&self, endpoint: &str) -> Result<OutcomeCounts> {
        const SQL: &str =
            "SELECT state, is_late, COUNT(*) FROM outcome WHERE endpoint = $1 GROUP BY state, is_late";
        let mut reader = self.reader().await?;
        let rows: Vec<CountRow> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(endpoint).fetch_all(c).await)
                .map_err(self.ctx().fail("count outcomes"))?;
        counted(rows)
    }

    /// How many outcomes there are of all endpoints together.
    pub async fn all_outcome_counts(&self) -> Result<OutcomeCounts> {
        const SQL: &str = "SELECT state, is_late, COUNT(*) FROM outcome GROUP BY state, is_late";
        let mut reader = self.reader().await?;
        let rows: Vec<CountRow> = on!(reader.conn(), c => sqlx::query_as(SQL).fetch_all(c).await)
            .map_err(self.ctx().fail("count outcomes"))?;
        counted(rows)
    }

    /// Endpoints that have outcomes which wait, by name.
    pub async fn endpoints_with_waiting_outcomes(&self) -> Result<Vec<String>> {
        const SQL: &str = "SELECT DISTINCT endpoint FROM outcome WHERE state = 'waiting' ORDER BY endpoint";
        let mut reader = self.reader().await?;
        on!(reader.conn(), c => sqlx::query_scalar(SQL).fetch_all(c).await)
            .map_err(self.ctx().fail("read which outcomes wait"))
    }

    /// Removes outcomes of an endpoint that came before `before`; gives their number. `at` is the time of the event.
    pub async fn drop_outcomes(&self, endpoint: &str, before: Timestamp, at: Timestamp) -> Result<u64> {
        const SQL: &str = "DELETE FROM outcome WHERE endpoint = $1 AND received_at < $2";
        let mut tx = self.begin().await?;
        let outcomes = on!(tx.transact.conn(), c => sqlx::query(SQL).bind(endpoint).bind(before.millis())
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(self.ctx().fail("remove old outcomes"))?;
        if outcomes > 0 {
            let kind = EventKind::OutcomesRemoved { endpoint: endpoint.to_owned(), outcomes };
            tx.commit(vec![by_system(at, kind)]).await?;
        }
        Ok(outcomes)
    }
}

/// Milliseconds of an hour.
const HOUR: i64 = 3_600_000;

/// The number of the hour that a time is in.
fn hour_of(at: Timestamp) -> i64 {
    at.millis().div_euclid(HOUR)
}

/// Counts for the hour of each request that it has another outcome, so that whoever judged by those that were there sees that there are others.
async fn count_by_hour(tx: &mut Tx, endpoint: &str, changed: &[(&Outcome, OutcomeState)]) -> Result<()> {
    const SQL: &str = "INSERT INTO outcome_hour ({columns}) SELECT {columns} FROM {rows} WHERE true
        ON CONFLICT (endpoint, hour) DO UPDATE SET changes = outcome_hour.changes + excluded.changes";
    let mut hours: BTreeMap<i64, i64> = BTreeMap::new();
    for (outcome, state) in changed {
        if *state == OutcomeState::Matched
            && let Some(matched) = &outcome.matched
        {
            *hours.entry(hour_of(matched.at)).or_default() += 1;
        }
    }
    if hours.is_empty() {
        return Ok(());
    }
    let rows = Rows::new(hours.len())
        .text("endpoint", hours.keys().map(|_| endpoint))
        .int("hour", hours.keys().copied())
        .int("changes", hours.values().copied());
    let ctx = Arc::clone(&tx.transact.ctx);
    let fail = "count changes of outcomes";
    dialect::write_rows(tx.transact.conn(), SQL, &rows).await.map_err(ctx.fail(fail)).map(drop)
}

/// Outcomes as they are stored first: waiting.
fn rows_of(outcomes: &[Outcome]) -> Rows<'_> {
    Rows::new(outcomes.len())
        .text("endpoint", outcomes.iter().map(|outcome| outcome.endpoint.as_str()))
        .text("name", outcomes.iter().map(|outcome| outcome.name.as_str()))
        .opt_text("request_id", outcomes.iter().map(|outcome| outcome.request_id.as_deref()))
        .opt_int("row_number", outcomes.iter().map(|outcome| outcome.row.map(|row| row as i64)))
        .opt_text("entity", outcomes.iter().map(|outcome| outcome.entity.as_deref()))
        .opt_int("occurred_at", outcomes.iter().map(|outcome| outcome.occurred_at.map(Timestamp::millis)))
        .opt_float("number", outcomes.iter().map(|outcome| outcome.number))
        .opt_text("text", outcomes.iter().map(|outcome| outcome.text.as_deref()))
        .int("received_at", outcomes.iter().map(|outcome| outcome.received_at.millis()))
        .text("state", outcomes.iter().map(|_| OutcomeState::Waiting.word()))
        .int("is_late", outcomes.iter().map(|_| 0))
        .int("tested_part", outcomes.iter().map(|_| 0))
}

/// The event of outcomes that came together, of which this is the first.
fn received(first: &Outcome, actor: &Actor, outcomes: u64) -> NewEvent {
    let kind = EventKind::OutcomesReceived { endpoint: first.endpoint.clone(), outcomes };
    NewEvent { at: first.received_at, actor: actor.clone(), kind, cause: None }
}

/// What outcomes became in words of the log; nothing where all go on waiting.
fn events(endpoint: &str, settled: &[Outcome], states: &[OutcomeState], corrected: u64) -> Vec<EventKind> {
    let (mut matched, mut late, mut duplicate, mut unmatched) = (0, 0, 0, 0);
    for (outcome, state) in settled.iter().zip(states) {
        match state {
            OutcomeState::Waiting | OutcomeState::Corrected => {}
            OutcomeState::Unmatched => unmatched += 1,
            OutcomeState::Duplicate => duplicate += 1,
            OutcomeState::Matched => {
                matched += 1;
                late += u64::from(outcome.is_late);
            }
        }
    }
    let name = || endpoint.to_owned();
    let joined = (matched + duplicate + corrected > 0).then(|| EventKind::OutcomesJoined {
        endpoint: name(),
        matched,
        late,
        duplicate,
        corrected: (corrected > 0).then_some(corrected),
    });
    let given_up =
        (unmatched > 0).then(|| EventKind::OutcomesUnmatched { endpoint: name(), outcomes: unmatched });
    joined.into_iter().chain(given_up).collect()
}

impl Match {
    /// The row, or -1 for all rows.
    fn row_number(&self) -> i64 {
        self.row.map_or(-1, |row| row as i64)
    }
}

/// State of outcomes, whether they were late, and their number.
type CountRow = (String, i64, i64);

fn counted(rows: Vec<CountRow>) -> Result<OutcomeCounts> {
    let mut counts = OutcomeCounts::default();
    for (state, is_late, count) in rows {
        let count = count as u64;
        match OutcomeState::of(&state)? {
            OutcomeState::Waiting => counts.waiting += count,
            OutcomeState::Duplicate => counts.duplicate += count,
            OutcomeState::Corrected => counts.corrected += count,
            OutcomeState::Unmatched => counts.unmatched += count,
            OutcomeState::Matched => {
                counts.matched += count;
                counts.late += if is_late != 0 { count } else { 0 };
            }
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests;
