//! Outcomes of tables that are sent again and again: each is stored once, and what became of those of one sending is counted.

use std::sync::Arc;

use tidemill_core::{Actor, Digest};

use super::{CountRow, Outcome, OutcomeCounts, counted, received, rows_of};
use crate::backend::on;
use crate::dialect;
use crate::{Db, Result};

impl Db {
    /// As [`add_outcomes`](Self::add_outcomes), for outcomes of one endpoint, without those that were stored by this before: of which all that
    /// the sender said is the same. Gives how many were stored.
    pub async fn add_outcomes_once(&self, actor: &Actor, outcomes: &[Outcome]) -> Result<u64> {
        // The condition tells SQLite where the rows end and the clause begins.
        const SQL: &str =
            "INSERT INTO outcome ({columns}) SELECT {columns} FROM {rows} WHERE true ON CONFLICT DO NOTHING";
        let Some(first) = outcomes.first() else { return Ok(0) };
        let fingerprints: Vec<String> = outcomes.iter().map(fingerprint).collect();
        let rows = rows_of(outcomes).text("fingerprint", fingerprints.iter().map(String::as_str));
        let mut tx = self.begin().await?;
        let ctx = Arc::clone(&tx.transact.ctx);
        let stored = dialect::write_rows(tx.transact.conn(), SQL, &rows).await;
        let stored = stored.map_err(ctx.fail("store outcomes"))?;
        if stored > 0 {
            tx.commit(vec![received(first, actor, stored)]).await?;
        }
        Ok(stored)
    }

    /// The number of the newest outcome of all; 0 where there is none.
    pub async fn newest_outcome(&self) -> Result<i64> {
        const SQL: &str = "SELECT CAST(COALESCE(MAX(id), 0) AS BIGINT) FROM outcome";
        let mut reader = self.reader().await?;
        on!(reader.conn(), c => sqlx::query_scalar(SQL).fetch_one(c).await)
            .map_err(self.ctx().fail("read the newest outcome"))
    }

    /// How many outcomes an endpoint has that came after the one with number `after`.
    pub async fn outcome_counts_after(&self, endpoint: &str, after: i64) -> Result<OutcomeCounts> {
        const SQL: &str = "SELECT state, is_late, COUNT(*) FROM outcome WHERE endpoint = $1 AND id > $2
            GROUP BY state, is_late";
        let mut reader = self.reader().await?;
        let rows: Vec<CountRow> =
            on!(reader.conn(), c => sqlx::query_as(SQL).bind(endpoint).bind(after).fetch_all(c).await)
                .map_err(self.ctx().fail("count outcomes"))?;
        counted(rows)
    }
}

/// A digest of what a sender says; when it came is no part of it.
fn fingerprint(outcome: &Outcome) -> String {
    let said = serde_json::json!([
        outcome.name,
        outcome.request_id,
        outcome.row,
        outcome.entity,
        outcome.occurred_at.map(tidemill_core::Timestamp::millis),
        outcome.number.map(f64::to_bits),
        outcome.text,
    ]);
    let mut hex = Digest::of(said.to_string().as_bytes()).hex();
    hex.truncate(32);
    hex
}
