//! Reading from SQLite without sqlx, where very many rows are read: sqlx carries each row from the thread of its connection to the
//! task that asked, with a copy of every value, which costs more than SQLite takes to find it. Here the work goes to a thread as a
//! whole, and what it read comes back.
//!
//! rusqlite links the SQLite that sqlx links.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use regex::Regex;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Connection, OpenFlags, Params, Row};
use tokio::sync::Semaphore;

use crate::backend::Context;
use crate::tracking::load::LoadError;
use crate::{Result, dialect};

/// Statements that a connection that reads keeps prepared.
const STATEMENTS: usize = 128;

/// A file of SQLite, and how connections to it are opened.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    /// What each may keep of the file, in KiB.
    pub(crate) cache_kib: u32,
}

impl File {
    /// A connection that keeps so many statements prepared, with some pragmas of its own.
    pub(crate) fn open(&self, statements: usize, pragmas: &[(&str, &str)]) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let c = Connection::open_with_flags(&self.path, flags)?;
        c.busy_timeout(self.busy_timeout)?;
        c.set_prepared_statement_cache_capacity(statements);
        c.pragma_update(None, "cache_size", format!("-{}", self.cache_kib))?;
        for (name, value) in pragmas {
            c.pragma_update(None, name, value)?;
        }
        Ok(c)
    }
}

/// What the connections that read are opened with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) file: File,
    /// So many at most.
    pub(crate) connections: u32,
    /// How long one is waited for.
    pub(crate) wait: Duration,
}

/// Connections that read, each with one thread at a time. They are opened when they are needed.
pub(crate) struct Readers {
    settings: Settings,
    free: Arc<Mutex<Vec<Connection>>>,
    places: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(settings: Settings) -> Self {
        let places = Arc::new(Semaphore::new(settings.connections as usize));
        Self { settings, free: Arc::default(), places }
    }

    /// Runs `work` with a consistent view of the database.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        ctx: &Arc<Context>,
        action: &'static str,
        work: impl FnOnce(&mut Connection) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = match tokio::time::timeout(self.settings.wait, place).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(ctx.fail(action)(sqlx::Error::PoolClosed)),
            Err(_) => return Err(ctx.fail(action)(sqlx::Error::PoolTimedOut)),
        };
        let (file, free) = (self.settings.file.clone(), Arc::clone(&self.free));
        let done = tokio::task::spawn_blocking(move || {
            let kept = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut c = match kept {
                Some(c) => c,
                None => open(&file)?,
            };
            let read = snapshot(&mut c, work);
            // After an error of SQLite another connection is opened for the next one.
            if !matches!(read, Err(LoadError::Driver(_))) {
                free.lock().unwrap_or_else(PoisonError::into_inner).push(c);
            }
            drop(place);
            read
        });
        let read = done.await.unwrap_or(Err(LoadError::Driver(sqlx::Error::WorkerCrashed)));
        read.map_err(LoadError::sort(ctx, action))
    }

    /// Lets nobody read any more, and closes the connections once nobody does.
    pub(crate) async fn close(&self) {
        let all = self.places.acquire_many(self.settings.connections).await;
        self.places.close();
        drop(all);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn snapshot<T>(
    c: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<T, LoadError>,
) -> Result<T, LoadError> {
    c.execute_batch(dialect::SQLITE_SNAPSHOT)?;
    let read = work(c);
    // There is nothing to be committed, so this ends it whatever came of it.
    c.execute_batch("COMMIT")?;
    read
}

/// A connection that reads.
fn open(file: &File) -> rusqlite::Result<Connection> {
    let c = file.open(STATEMENTS, &[("query_only", "ON")])?;
    // `text REGEXP pattern` calls it with the pattern first. What is not text matches nothing.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    c.create_scalar_function("regexp", 2, flags, |call| {
        let (Ok(pattern), Ok(text)) = (call.get_raw(0).as_str(), call.get_raw(1).as_str()) else {
            return Ok(None);
        };
        let compiled: Arc<Regex> = call.get_or_create_aux(0, |_: ValueRef<'_>| {
            Regex::new(pattern).map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error)))
        })?;
        Ok(Some(compiled.is_match(text)))
    })?;
    Ok(c)
}

/// Errors of rusqlite travel as those of sqlx, where `dialect` sorts them by their codes.
pub(crate) fn carried(error: rusqlite::Error) -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(error))
}

/// What [`carried`] was given.
pub(crate) fn carries(error: &sqlx::Error) -> Option<&rusqlite::Error> {
    let sqlx::Error::AnyDriverError(error) = error else { return None };
    error.downcast_ref()
}

impl From<rusqlite::Error> for LoadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Driver(carried(error))
    }
}

/// What a row can be read as.
pub(crate) trait FromDirect: Sized {
    fn from_direct(row: &Row<'_>) -> rusqlite::Result<Self>;
}

/// All rows of a statement.
pub(crate) fn rows<T: FromDirect>(
    c: &Connection,
    sql: &str,
    values: impl Params,
) -> rusqlite::Result<Vec<T>> {
    c.prepare_cached(sql)?.query_map(values, T::from_direct)?.collect()
}

macro_rules! tuples {
    ($(($($name:ident $at:literal),+))+) => {$(
        impl<$($name: FromSql),+> FromDirect for ($($name,)+) {
            fn from_direct(row: &Row<'_>) -> rusqlite::Result<Self> {
                Ok(($(row.get::<usize, $name>($at)?,)+))
            }
        }
    )+};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9)
}
