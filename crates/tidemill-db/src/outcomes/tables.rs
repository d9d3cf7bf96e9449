//! Versions of datasets whose rows are taken as outcomes of an endpoint, since a project declares so: each is read once.

use tidemill_core::{Name, NewEvent, Timestamp};

use super::{CountRow, OutcomeCounts, counted};
use crate::backend::on;
use crate::dialect::{self, Rows};
use crate::{Db, Error, Result};

/// A version of a dataset, read for an endpoint as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableKey {
    /// The endpoint.
    pub endpoint: String,
    /// The dataset.
    pub dataset: Name,
    /// Which columns say what, as a digest: under another declaration a version is another table.
    pub declaration: String,
    /// The version of the dataset; 0 notes that it was declared before there was one.
    pub version: u64,
}

/// What came of reading a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableRead {
    /// Its rows.
    pub rows: u64,
    /// Rows without a key, and those that say nothing yet.
    pub skipped: u64,
    /// Outcomes that were not there before.
    pub accepted: u64,
    /// Outcomes that were there from before.
    pub known: u64,
    /// Rows that hold no outcome.
    pub rejected: u64,
}

/// A version that is read, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeTable {
    /// Which one.
    pub key: TableKey,
    /// When reading it first began.
    pub begun_at: Timestamp,
    /// When it was through; none while it is read.
    pub ended_at: Option<Timestamp>,
    /// What came of it.
    pub read: TableRead,
    /// Why it could not be read; it is not read again.
    pub error: Option<String>,
    /// The outcomes that it brought have numbers after the first and up to the second.
    pub numbers: (i64, Option<i64>),
}

/// Endpoint, dataset, declaration, version; when it began and ended; the numbers; the counts; the error.
type Row = (
    String,
    String,
    String,
    i64,
    i64,
    Option<i64>,
    i64,
    Option<i64>,
    i64,
    i64,
    i64,
    i64,
    i64,
    Option<String>,
);

fn from_row(row: Row) -> Result<OutcomeTable> {
    let (endpoint, dataset, declaration, version, begun_at, ended_at, after, until, ..) = &row;
    let (.., rows, skipped, accepted, known, rejected, error) = &row;
    let name = Name::new(dataset)
        .map_err(|_| Error::value("outcome_table", "dataset", dataset, "the name of a dataset"))?;
    Ok(OutcomeTable {
        key: TableKey {
            endpoint: endpoint.clone(),
            dataset: name,
            declaration: declaration.clone(),
            version: *version as u64,
        },
        begun_at: Timestamp::from_millis(*begun_at),
        ended_at: ended_at.map(Timestamp::from_millis),
        read: TableRead {
            rows: *rows as u64,
            skipped: *skipped as u64,
            accepted: *accepted as u64,
            known: *known as u64,
            rejected: *rejected as u64,
        },
        error: error.clone(),
        numbers: (*after, *until),
    })
}

/// Of each endpoint, dataset and declaration the newest version.
const NEWEST: &str =
    "SELECT t.endpoint, t.dataset, t.declaration, t.version, t.begun_at, t.ended_at, t.after_id,
        t.until_id, t.row_count, t.skipped, t.accepted, t.known, t.rejected, t.error FROM {from}
    WHERE t.version = (SELECT MAX(o.version) FROM outcome_table o
        WHERE o.endpoint = t.endpoint AND o.dataset = t.dataset AND o.declaration = t.declaration)";
const ORDER: &str = " ORDER BY t.endpoint, t.dataset, t.begun_at, t.declaration";
const READ: &str = "read which datasets were read as outcomes";

impl Db {
    /// Of each endpoint, dataset and declaration the newest version that is read, or was.
    pub async fn outcome_tables(&self) -> Result<Vec<OutcomeTable>> {
        let sql = NEWEST.replace("{from}", "outcome_table t") + ORDER;
        let mut reader = self.reader().await?;
        let rows: Vec<Row> =
            on!(reader.conn(), c => sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(c).await)
                .map_err(self.ctx().fail(READ))?;
        rows.into_iter().map(from_row).collect()
    }

    /// The newest version that is read, or was, of each of these: by endpoint, dataset and declaration, whatever their versions are. Those
    /// of which none is known are left out; the order is any.
    pub async fn outcome_tables_of(&self, wanted: &[TableKey]) -> Result<Vec<OutcomeTable>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        // The rows come first, so that each is looked up by the key.
        let from = "{rows} JOIN outcome_table t
            ON t.endpoint = r.endpoint AND t.dataset = r.dataset AND t.declaration = r.declaration";
        let rows = Rows::new(wanted.len())
            .padded()
            .text("endpoint", wanted.iter().map(|key| key.endpoint.as_str()))
            .text("dataset", wanted.iter().map(|key| key.dataset.as_str()))
            .text("declaration", wanted.iter().map(|key| key.declaration.as_str()));
        let mut reader = self.reader().await?;
        let found: Vec<Row> = dialect::read_rows(reader.conn(), &NEWEST.replace("{from}", from), &rows)
            .await
            .map_err(self.ctx().fail(READ))?;
        found.into_iter().map(from_row).collect()
    }

    /// Notes that a version is about to be read, where that is not noted yet. It is a place to go on from and no change of state: the event
    /// comes with the end. Gives the number of the outcome that was the newest at the first note.
    pub async fn begin_outcome_table(&self, key: &TableKey, at: Timestamp) -> Result<i64> {
        const BEGIN: &str =
            "INSERT INTO outcome_table (endpoint, dataset, declaration, version, begun_at, after_id,
                row_count, skipped, accepted, known, rejected)
            SELECT $1, $2, $3, $4, $5, COALESCE(MAX(id), 0), 0, 0, 0, 0, 0 FROM outcome WHERE true
            ON CONFLICT DO NOTHING";
        const AFTER: &str = "SELECT after_id FROM outcome_table
            WHERE endpoint = $1 AND dataset = $2 AND declaration = $3 AND version = $4";
        let mut tx = self.begin().await?;
        let ctx = tx.transact.ctx.clone();
        let fail = "note a dataset of outcomes";
        on!(tx.transact.conn(), c => sqlx::query(BEGIN)
            .bind(&key.endpoint).bind(key.dataset.as_str()).bind(&key.declaration).bind(key.version as i64)
            .bind(at.millis()).execute(c).await.map(drop))
        .map_err(ctx.fail(fail))?;
        let after: i64 = on!(tx.transact.conn(), c => sqlx::query_scalar(AFTER)
            .bind(&key.endpoint).bind(key.dataset.as_str()).bind(&key.declaration).bind(key.version as i64)
            .fetch_one(c).await)
        .map_err(ctx.fail(fail))?;
        tx.commit(Vec::new()).await?;
        Ok(after)
    }

    /// Records that a version was read, or why it cannot be; `event` says so in the log. `until` is the number of the newest outcome. Gives
    /// whether that is news: another server may have been first.
    pub async fn end_outcome_table(
        &self,
        key: &TableKey,
        read: &TableRead,
        error: Option<&str>,
        until: i64,
        event: NewEvent,
    ) -> Result<bool> {
        const SQL: &str =
            "UPDATE outcome_table SET ended_at = $5, until_id = $6, row_count = $7, skipped = $8,
                accepted = $9, known = $10, rejected = $11, error = $12
            WHERE endpoint = $1 AND dataset = $2 AND declaration = $3 AND version = $4 AND ended_at IS NULL";
        let mut tx = self.begin().await?;
        let ctx = tx.transact.ctx.clone();
        let ended = on!(tx.transact.conn(), c => sqlx::query(SQL)
            .bind(&key.endpoint).bind(key.dataset.as_str()).bind(&key.declaration).bind(key.version as i64)
            .bind(event.at.millis()).bind(until).bind(read.rows as i64).bind(read.skipped as i64)
            .bind(read.accepted as i64).bind(read.known as i64).bind(read.rejected as i64).bind(error)
            .execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("record a dataset of outcomes"))?;
        if ended == 0 {
            return Ok(false);
        }
        tx.changed = true;
        tx.commit(vec![event]).await?;
        Ok(true)
    }

    /// How many outcomes an endpoint has with numbers after the first and up to the second; all after it where there is none.
    pub async fn outcome_counts_between(
        &self,
        endpoint: &str,
        (after, until): (i64, Option<i64>),
    ) -> Result<OutcomeCounts> {
        const SQL: &str =
            "SELECT state, is_late, COUNT(*) FROM outcome WHERE endpoint = $1 AND id > $2 AND id <= $3
            GROUP BY state, is_late";
        let mut reader = self.reader().await?;
        let rows: Vec<CountRow> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(endpoint).bind(after).bind(until.unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("count outcomes"))?;
        counted(rows)
    }
}
