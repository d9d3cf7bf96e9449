//! Messages about alerts that wait, are tried, and end: those of an endpoint to one receiver in their order. Trying is no change of state that anybody decided, so it has no event.

use std::time::Duration;

use tidemill_core::Timestamp;

use crate::backend::on;
use crate::webhooks::Attempt;
use crate::{Db, Result, Tx};

/// A message that is about to be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAlertDelivery {
    /// Its identifier, the same in every attempt.
    pub id: String,
    /// The endpoint that it is about.
    pub endpoint: String,
    /// Who gets it: JSON, with the names of secrets only.
    pub receiver: String,
    /// What it says: JSON.
    pub body: String,
}

/// A message that somebody is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertDelivery {
    /// When it was queued.
    pub created_at: Timestamp,
    /// How often it was tried, this time counted.
    pub attempts: u32,
    /// The rest.
    pub made: NewAlertDelivery,
}

type Row = (String, String, String, String, i64, i64);

/// A message that waits is tried at the latest so long after one that follows it. No attempt takes longer.
const SOON_AFTER: Duration = Duration::from_secs(60);

impl Tx {
    /// Puts a message into the outbox. It belongs to the change that it tells of, which has the event.
    pub async fn queue_alert_delivery(&mut self, made: &NewAlertDelivery, at: Timestamp) -> Result<()> {
        const SQL: &str =
            "INSERT INTO alert_delivery (uuid, endpoint, receiver, body, created_at, state, attempts,
            next_at) VALUES ($1, $2, $3, $4, $5, 'pending', 0, $5)";
        const SOON: &str = "UPDATE alert_delivery SET next_at = $1, attempts = attempts - 1
            WHERE state = 'pending' AND endpoint = $2 AND receiver = $3 AND next_at > $1 AND attempts > 0";
        let ctx = self.transact.ctx.clone();
        on!(self.transact.conn(), c => sqlx::query(SQL)
            .bind(&made.id).bind(&made.endpoint).bind(&made.receiver).bind(&made.body).bind(at.millis())
            .execute(c).await.map(drop))
        .map_err(ctx.fail("queue a message about alerts"))?;
        // What waits before it is tried soon, or news would be late because of what is old. That attempt is one more than it has anyway,
        // and one that is under way keeps its time.
        let soon = at.plus(SOON_AFTER).millis();
        on!(self.transact.conn(), c => sqlx::query(SOON)
            .bind(soon).bind(&made.endpoint).bind(&made.receiver).execute(c).await.map(drop))
        .map_err(ctx.fail("queue a message about alerts"))?;
        self.changed = true;
        Ok(())
    }
}

impl Db {
    /// Takes up to `limit` messages whose time has come, and puts their next attempt off until `until`: whoever takes them has this
    /// long, and if he dies another one tries then. Of those about an endpoint to one receiver only the oldest is taken: nobody is to
    /// hear that an alert fires after he heard that it is over.
    pub async fn claim_alert_deliveries(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<AlertDelivery>> {
        macro_rules! is_due {
            ($alias:literal, $now:literal) => {
                concat!(
                    $alias, ".state = 'pending' AND ", $alias, ".next_at <= ", $now,
                    " AND NOT EXISTS (SELECT 1 FROM alert_delivery o WHERE o.state = 'pending' AND o.endpoint = ",
                    $alias, ".endpoint AND o.receiver = ", $alias, ".receiver AND o.id < ", $alias, ".id)"
                )
            };
        }
        const DUE: &str = concat!("SELECT COUNT(*) FROM alert_delivery d WHERE ", is_due!("d", "$1"));
        // The outer condition is looked at again once another server's claim of the same rows is committed.
        const CLAIM: &str = concat!(
            "UPDATE alert_delivery SET next_at = $1, attempts = attempts + 1
            WHERE state = 'pending' AND next_at <= $2 AND id IN (SELECT d.id FROM alert_delivery d WHERE ",
            is_due!("d", "$2"),
            " ORDER BY d.next_at, d.id LIMIT $3)
            RETURNING uuid, endpoint, receiver, body, created_at, attempts"
        );
        // Taking needs the write lock, so it is not done for nothing.
        let mut reader = self.reader().await?;
        let due: i64 = on!(reader.conn(), c => sqlx::query_scalar(DUE).bind(now.millis()).fetch_one(c).await)
            .map_err(self.ctx().fail("read messages about alerts"))?;
        drop(reader);
        if due == 0 {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        let rows: Vec<Row> = on!(tx.conn(), c => sqlx::query_as(CLAIM)
            .bind(until.millis()).bind(now.millis()).bind(limit as i64).fetch_all(c).await)
        .map_err(ctx.fail("take messages about alerts"))?;
        tx.commit().await?;
        let delivery = |(id, endpoint, receiver, body, created_at, attempts): Row| AlertDelivery {
            created_at: Timestamp::from_millis(created_at),
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            made: NewAlertDelivery { id, endpoint, receiver, body },
        };
        let mut taken: Vec<AlertDelivery> = rows.into_iter().map(delivery).collect();
        taken.sort_by_key(|delivery| delivery.created_at);
        Ok(taken)
    }

    /// Records how an attempt ended.
    pub async fn end_alert_attempt(&self, id: &str, attempt: &Attempt) -> Result<()> {
        const SQL: &str =
            "UPDATE alert_delivery SET state = $1, next_at = COALESCE($2, next_at), outcome = $3
            WHERE uuid = $4 AND state = 'pending'";
        let (state, next, outcome) = attempt.stored();
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        on!(tx.conn(), c => sqlx::query(SQL)
            .bind(state).bind(next).bind(outcome).bind(id).execute(c).await.map(drop))
        .map_err(ctx.fail("record a message about alerts"))?;
        tx.commit().await
    }

    /// Removes messages that ended and are older than this; gives their number.
    pub async fn prune_alert_deliveries(&self, before: Timestamp) -> Result<u64> {
        const SQL: &str = "DELETE FROM alert_delivery WHERE state <> 'pending' AND created_at < $1";
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        let removed = on!(tx.conn(), c => sqlx::query(SQL)
            .bind(before.millis()).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("remove messages about alerts"))?;
        tx.commit().await?;
        Ok(removed)
    }
}
