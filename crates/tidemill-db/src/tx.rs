//! The one writer: a short transaction that ends with the events that record it.

use tidemill_core::NewEvent;

use crate::{Db, Error, Result};

/// A write transaction. While it lives nobody else writes, so keep it short and do not wait for anything else in
/// it. Dropped without [`Tx::commit`], it leaves nothing behind.
pub struct Tx {
    db: Db,
}

impl Tx {
    /// Appends `events` and makes everything durable, together or not at all; gives the events' sequence numbers.
    ///
    /// Fails with [`Error::NoEvent`] if state was changed and `events` is empty.
    pub async fn commit(self, events: Vec<NewEvent>) -> Result<Vec<u64>> {
        let _ = events;
        Err(self.unfinished())
    }

    pub(crate) fn unfinished(&self) -> Error {
        self.db.unfinished()
    }
}
