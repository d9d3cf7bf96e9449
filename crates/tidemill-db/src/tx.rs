//! The one writer: a short transaction that ends with the events that record it.

use std::sync::Arc;

use tidemill_core::NewEvent;

use crate::backend::{Context, Pools, Transact};
use crate::{Error, Result, events};

/// A write transaction. While it lives nobody else writes, so keep it short and do not wait for anything else in
/// it. Dropped without [`Tx::commit`], it leaves nothing behind.
pub struct Tx {
    pub(crate) transact: Transact,
    head: events::Head,
    /// Whether state was changed.
    pub(crate) changed: bool,
}

impl Tx {
    /// Takes the write lock: SQLite's own, or the row of the log's head on PostgreSQL. What is read in the
    /// transaction therefore stays true until its end, and the log has no gaps and no forks.
    pub(crate) async fn begin(pools: &Pools, ctx: &Arc<Context>) -> Result<Self> {
        let (transact, head) = events::Head::begin(pools, ctx).await?;
        Ok(Self { transact, head, changed: false })
    }

    /// The number that the first event of this transaction will have; the next one has the number after it, and so on.
    pub fn next_seq(&self) -> u64 {
        self.head.size() + 1
    }

    /// Appends `events` and makes everything durable, together or not at all; gives the events' sequence numbers.
    ///
    /// Fails with [`Error::NoEvent`] if state was changed and `events` is empty.
    pub async fn commit(mut self, events: Vec<NewEvent>) -> Result<Vec<u64>> {
        if events.is_empty() && self.changed {
            return Err(Error::NoEvent);
        }
        let seqs = self.head.append(&mut self.transact, &events).await?;
        self.transact.commit().await?;
        Ok(seqs)
    }
}
