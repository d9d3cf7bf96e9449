//! The handle that the functions of this crate hang on.

use std::sync::Arc;

use tidemill_core::{Actor, Clock, EventKind, NewEvent};
use tidemill_db::Db;
use tidemill_store::Store;

use crate::artifacts::Queue;

/// The registry of one database and one store. Clones share both.
#[derive(Clone)]
pub struct Registry {
    pub(crate) db: Db,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) artifacts: Queue,
}

impl Registry {
    /// Over an open database and an open store.
    pub fn new(db: Db, store: Store, clock: Arc<dyn Clock>) -> Self {
        let artifacts = Queue::new(db.clone(), store.clone(), Arc::clone(&clock));
        Self { db, store, clock, artifacts }
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

    /// An event by `actor`, now.
    pub(crate) fn event(&self, actor: &Actor, kind: EventKind) -> NewEvent {
        NewEvent { at: self.clock.now(), actor: actor.clone(), kind, cause: None }
    }
}
