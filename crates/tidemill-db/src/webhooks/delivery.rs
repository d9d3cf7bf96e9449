//! The outbox: deliveries that wait, are tried, and end.
//!
//! Trying is no change of state that anybody decided, so it is written without an event.

use tidemill_core::Timestamp;

use super::Secret;
use crate::backend::on;
use crate::dialect::{self, Rows};
use crate::{Db, Result, Tx};

/// Something that a webhook is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its identifier, the same in every attempt.
    pub id: String,
    /// The webhook.
    pub webhook: String,
    /// Where it goes.
    pub url: String,
    /// What it is signed with.
    pub secret: Option<Secret>,
    /// For example `model_version`.
    pub entity: String,
    /// For example `created`.
    pub action: String,
    /// What happened: JSON.
    pub data: String,
    /// When it happened.
    pub created_at: Timestamp,
    /// How often it was tried, this time counted.
    pub attempts: u32,
}

/// How an attempt ended. The text is a short reason without what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It arrived.
    Delivered,
    /// It did not, and is tried again at this time.
    Later(Timestamp, String),
    /// It did not, and is not tried again.
    Failed(String),
}

impl Attempt {
    /// The state, the time of the next attempt and the reason, as they are stored.
    pub(crate) fn stored(&self) -> (&'static str, Option<i64>, Option<&str>) {
        match self {
            Self::Delivered => ("delivered", None, None),
            Self::Later(at, reason) => ("pending", Some(at.millis()), Some(reason)),
            Self::Failed(reason) => ("failed", None, Some(reason)),
        }
    }
}

type Row = (String, String, String, Option<String>, String, String, String, i64, i64);

impl Tx {
    /// Puts into the outbox what every active webhook that listens for this is to be told; gives their number.
    /// `fresh` makes an identifier for each.
    pub async fn queue_deliveries(
        &mut self,
        entity: &str,
        action: &str,
        data: &str,
        at: Timestamp,
        mut fresh: impl FnMut() -> String,
    ) -> Result<usize> {
        const LISTENERS: &str = "SELECT w.id FROM webhook_event e JOIN webhook w ON w.id = e.webhook_id
            WHERE e.entity = $1 AND e.action = $2 AND w.status = 'ACTIVE' ORDER BY w.id";
        const SQL: &str = "INSERT INTO webhook_delivery ({columns}) SELECT {columns} FROM {rows} WHERE TRUE";
        let ctx = self.transact.ctx.clone();
        let listeners: Vec<i64> = on!(self.transact.conn(), c => sqlx::query_scalar(LISTENERS)
            .bind(entity).bind(action).fetch_all(c).await)
        .map_err(ctx.fail("read webhooks"))?;
        if listeners.is_empty() {
            return Ok(0);
        }
        let ids: Vec<String> = listeners.iter().map(|_| fresh()).collect();
        let rows = Rows::new(listeners.len())
            .text("uuid", ids.iter().map(String::as_str))
            .int("webhook_id", listeners.iter().copied())
            .text("entity", listeners.iter().map(|_| entity))
            .text("action", listeners.iter().map(|_| action))
            .text("data", listeners.iter().map(|_| data))
            .int("created_at", listeners.iter().map(|_| at.millis()))
            .text("state", listeners.iter().map(|_| "pending"))
            .int("attempts", listeners.iter().map(|_| 0))
            .int("next_at", listeners.iter().map(|_| at.millis()));
        dialect::write_rows(self.transact.conn(), SQL, &rows).await.map_err(ctx.fail("queue deliveries"))?;
        Ok(listeners.len())
    }
}

impl Db {
    /// Takes up to `limit` deliveries whose time has come, and puts their next attempt off until `until`: whoever takes
    /// them has this long, and if he dies another one tries then.
    pub async fn claim_deliveries(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        // The outer condition is looked at again once another server's claim of the same rows is committed.
        const CLAIM: &str = "UPDATE webhook_delivery SET next_at = $1, attempts = attempts + 1
            WHERE state = 'pending' AND next_at <= $2 AND id IN (SELECT id FROM webhook_delivery
                WHERE state = 'pending' AND next_at <= $2 ORDER BY next_at, id LIMIT $3)
            RETURNING id";
        const READ: &str =
            "SELECT d.uuid, w.uuid, w.url, w.secret, d.entity, d.action, d.data, d.created_at, d.attempts
            FROM {rows} JOIN webhook_delivery d ON d.id = r.id JOIN webhook w ON w.id = d.webhook_id";
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        let mut ids: Vec<i64> = on!(tx.conn(), c => sqlx::query_scalar(CLAIM)
            .bind(until.millis()).bind(now.millis()).bind(limit as i64).fetch_all(c).await)
        .map_err(ctx.fail("take deliveries"))?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        ids.sort_unstable();
        let wanted = Rows::new(ids.len()).int("id", ids.iter().copied());
        let rows: Vec<Row> =
            dialect::read_rows(tx.conn(), READ, &wanted).await.map_err(ctx.fail("take deliveries"))?;
        tx.commit().await?;
        Ok(rows.into_iter().map(from_row).collect())
    }

    /// When the next delivery is to be tried.
    pub async fn next_delivery(&self) -> Result<Option<Timestamp>> {
        const SQL: &str = "SELECT MIN(next_at) FROM webhook_delivery WHERE state = 'pending'";
        let mut reader = self.reader().await?;
        let next: Option<i64> = on!(reader.conn(), c => sqlx::query_scalar(SQL).fetch_one(c).await)
            .map_err(self.ctx().fail("read deliveries"))?;
        Ok(next.map(Timestamp::from_millis))
    }

    /// Records how an attempt ended. A delivery whose webhook was deleted meanwhile is no longer there.
    pub async fn end_attempt(&self, delivery: &str, attempt: &Attempt) -> Result<()> {
        const SQL: &str =
            "UPDATE webhook_delivery SET state = $1, next_at = COALESCE($2, next_at), outcome = $3
            WHERE uuid = $4 AND state = 'pending'";
        let (state, next, outcome) = attempt.stored();
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        on!(tx.conn(), c => sqlx::query(SQL)
            .bind(state).bind(next).bind(outcome).bind(delivery).execute(c).await.map(drop))
        .map_err(ctx.fail("record a delivery"))?;
        tx.commit().await
    }

    /// Removes deliveries that ended and are older than this; gives their number.
    pub async fn prune_deliveries(&self, before: Timestamp) -> Result<u64> {
        const SQL: &str = "DELETE FROM webhook_delivery WHERE state <> 'pending' AND created_at < $1";
        let mut tx = self.write().await?;
        let ctx = tx.ctx.clone();
        let removed = on!(tx.conn(), c => sqlx::query(SQL)
            .bind(before.millis()).execute(c).await.map(|done| done.rows_affected()))
        .map_err(ctx.fail("remove deliveries"))?;
        tx.commit().await?;
        Ok(removed)
    }
}

fn from_row(row: Row) -> Delivery {
    let (id, webhook, url, secret, entity, action, data, created_at, attempts) = row;
    Delivery {
        id,
        webhook,
        url,
        secret: secret.map(Secret::new),
        entity,
        action,
        data,
        created_at: Timestamp::from_millis(created_at),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
    }
}
