//! Outcomes of tables that are sent again and again: each is stored once, and what became of those of one sending is counted.

use std::sync::Arc;

use tidemill_core::{Actor, Digest};

use super::{Outcome, OutcomeCounts, received, rows_of};
use crate::backend::on;
use crate::dialect::{self, Rows};
use crate::{Db, Result};

impl Db {
    /// As [`add_outcomes`](Self::add_outcomes), for outcomes of one endpoint, without those that were stored by this before: of which all that
    /// the sender said is the same. One that was given up is tried again: it is stored anew, and takes the place of the one before. Gives how
    /// many were stored.
    pub async fn add_outcomes_once(&self, actor: &Actor, outcomes: &[Outcome]) -> Result<u64> {
        // The condition tells SQLite where the rows end and the clause begins.
        const SQL: &str =
            "INSERT INTO outcome ({columns}) SELECT {columns} FROM {rows} WHERE true ON CONFLICT DO NOTHING";
        const GIVEN_UP: &str = "SELECT DISTINCT o.id FROM {rows} CROSS JOIN outcome o
            WHERE o.endpoint = r.endpoint AND o.fingerprint = r.fingerprint AND COALESCE(o.state, '') = 'unmatched'";
        const RELEASE: &str = "UPDATE outcome SET fingerprint = NULL FROM {rows} WHERE outcome.id = r.id";
        const REMOVE: &str = "DELETE FROM outcome WHERE id IN (SELECT r.id FROM {rows})";
        let Some(first) = outcomes.first() else { return Ok(0) };
        let fingerprints: Vec<String> = outcomes.iter().map(fingerprint).collect();
        let named = || fingerprints.iter().map(String::as_str);
        let rows = rows_of(outcomes).text("fingerprint", named());
        let mut tx = self.begin().await?;
        let ctx = Arc::clone(&tx.transact.ctx);
        let fail = "store outcomes";
        let asked = Rows::new(outcomes.len())
            .text("endpoint", outcomes.iter().map(|outcome| outcome.endpoint.as_str()))
            .text("fingerprint", named());
        let given_up: Vec<(i64,)> =
            dialect::read_rows(tx.transact.conn(), GIVEN_UP, &asked).await.map_err(ctx.fail(fail))?;
        let is_tried_again = !given_up.is_empty();
        let given_up = Rows::new(given_up.len()).int("id", given_up.into_iter().map(|(id,)| id));
        // They go when those that follow them have numbers: a number is given once, and is how new ones are told.
        if is_tried_again {
            dialect::write_rows(tx.transact.conn(), RELEASE, &given_up).await.map_err(ctx.fail(fail))?;
        }
        let stored = dialect::write_rows(tx.transact.conn(), SQL, &rows).await.map_err(ctx.fail(fail))?;
        if is_tried_again {
            dialect::write_rows(tx.transact.conn(), REMOVE, &given_up).await.map_err(ctx.fail(fail))?;
        }
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
        self.outcome_counts_between(endpoint, (after, None)).await
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
