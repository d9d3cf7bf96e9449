//! The handle that the functions of this crate hang on.

use std::sync::Arc;

use tidemill_core::{Actor, Clock, EventKind, NewEvent};
use tidemill_db::{Db, Tx};
use tidemill_store::Store;
use tokio::sync::Notify;

use crate::Result;
use crate::artifacts::Queue;

/// The registry of one database and one store. Clones share both.
#[derive(Clone)]
pub struct Registry {
    pub(crate) db: Db,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) artifacts: Queue,
    changes: Arc<Notify>,
}

impl Registry {
    /// Over an open database and an open store.
    pub fn new(db: Db, store: Store, clock: Arc<dyn Clock>) -> Self {
        let artifacts = Queue::new(db.clone(), store.clone(), Arc::clone(&clock));
        Self { db, store, clock, artifacts, changes: Arc::new(Notify::new()) }
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where time comes from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Told after changes, when webhooks may have something to deliver.
    pub fn changes(&self) -> &Notify {
        &self.changes
    }

    /// Commits a change, and wakes who delivers what it put into the outbox.
    pub async fn finish(&self, tx: Tx, events: Vec<NewEvent>) -> Result<()> {
        tx.commit(events).await?;
        self.changes.notify_one();
        Ok(())
    }

    /// An event by `actor`, now.
    pub(crate) fn event(&self, actor: &Actor, kind: EventKind) -> NewEvent {
        NewEvent { at: self.clock.now(), actor: actor.clone(), kind, cause: None }
    }
}
