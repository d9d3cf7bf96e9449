//! What led to an event and what it led to, by the sequence numbers that events name as their cause: look-ups by index, however far
//! apart the events are.

use tidemill_core::Event;

use crate::backend::on;
use crate::events::{Row, from_row};
use crate::{Db, EventFilter, Result};

impl Db {
    /// The events that led to one of this cause: the cause first, then its own cause, and so on; at most `limit`.
    pub async fn causes(&self, cause: Option<u64>, limit: usize) -> Result<Vec<Event>> {
        // A cause is older than what it led to, so their numbers give the order of the chain.
        const SQL: &str = "WITH RECURSIVE chain (seq, cause, place) AS (
                SELECT seq, cause, 1 FROM event WHERE seq = $1
                UNION ALL
                SELECT e.seq, e.cause, c.place + 1 FROM chain c JOIN event e ON e.seq = c.cause WHERE c.place < $2)
            SELECT e.seq, e.at, e.actor_kind, e.actor, e.kind, e.subject, e.body, e.cause, e.leaf
            FROM chain c JOIN event e ON e.seq = c.seq ORDER BY e.seq DESC";
        let Some(cause) = cause.and_then(|seq| i64::try_from(seq).ok()).filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.conn(), c => sqlx::query_as(SQL)
            .bind(cause).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await)
        .map_err(self.ctx().fail("read events"))?;
        rows.into_iter().map(|row| from_row(row).to_event()).collect()
    }

    /// The events that name this one as their cause, with a greater number than `after`, in their order; at most `limit`.
    pub async fn effects(&self, seq: u64, after: u64, limit: usize) -> Result<Vec<Event>> {
        let limit = Some(limit);
        let filter = EventFilter { cause: Some(seq), after: Some(after), limit, ..EventFilter::default() };
        self.events(&filter).await
    }

    /// How many events name this one as their cause, counted up to `limit`.
    pub async fn count_effects(&self, seq: u64, limit: u64) -> Result<u64> {
        let filter = EventFilter { cause: Some(seq), ..EventFilter::default() };
        // An index leads to all of them, so it can always be told.
        Ok(self.count_events(&filter, limit).await?.unwrap_or_default())
    }
}
