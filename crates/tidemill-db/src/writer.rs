//! The one connection of a process that writes to a SQLite file, for one transaction at a time, and the right to write, which others
//! take where they have a connection of their own.
//!
//! A pool of one would do the same, but it asks the connection's thread after each use whether it is still there, and the
//! way to that thread and back costs as much as a statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection as _, FromRow, SqliteConnection};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use crate::dialect::{SQLITE_WRITE, Script, is_locked};

/// Gives the connection to one after the other, in the order in which they came.
pub(crate) struct SqliteWriter {
    options: SqliteConnectOptions,
    /// How long each waits for those before.
    wait: Duration,
    /// Opened for the first one.
    conn: Arc<Mutex<Option<SqliteConnection>>>,
    closed: AtomicBool,
}

impl SqliteWriter {
    pub(crate) fn new(options: SqliteConnectOptions, wait: Duration) -> Self {
        Self { options, wait, conn: Arc::default(), closed: AtomicBool::new(false) }
    }

    /// The right to write, for whoever has a connection of their own: until it is dropped nobody else of this process writes.
    pub(crate) async fn wait(&self) -> sqlx::Result<SqliteTurn> {
        let locked = tokio::time::timeout(self.wait, Arc::clone(&self.conn).lock_owned()).await;
        let conn = locked.map_err(|_| sqlx::Error::PoolTimedOut)?;
        if self.closed.load(Ordering::Acquire) {
            return Err(sqlx::Error::PoolClosed);
        }
        Ok(SqliteTurn(conn))
    }

    /// The connection, for whoever begins a transaction on it with their first statement. What was begun and is not
    /// committed is rolled back.
    async fn turn(&self) -> sqlx::Result<SqliteWrite> {
        let SqliteTurn(mut conn) = self.wait().await?;
        if conn.is_none() {
            *conn = Some(SqliteConnection::connect_with(&self.options).await?);
        }
        let conn = OwnedMutexGuard::try_map(conn, Option::as_mut).map_err(|_| sqlx::Error::PoolClosed)?;
        Ok(SqliteWrite { conn, open: true })
    }

    /// The connection with a transaction that holds the write lock.
    pub(crate) async fn begin(&self) -> sqlx::Result<SqliteWrite> {
        let (write, _) = self.begin_reading::<(i64,)>(None).await?;
        Ok(write)
    }

    /// As [`Self::begin`], and reads with a first statement.
    pub(crate) async fn begin_reading<T>(
        &self,
        sql: Option<&'static str>,
    ) -> sqlx::Result<(SqliteWrite, Vec<T>)>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let mut write = self.turn().await?;
        let read = match write.begin(sql).await {
            // The connection does not work any more, or is in a transaction that it could not roll back.
            Err(error) if !is_locked(&error) => {
                *write.conn = SqliteConnection::connect_with(&self.options).await?;
                write.begin(sql).await?
            }
            read => read?,
        };
        Ok((write, read))
    }

    /// Runs a statement that must not stand in a transaction.
    pub(crate) async fn run(&self, sql: &'static str) -> sqlx::Result<()> {
        let mut write = self.turn().await?;
        write.open = false;
        sqlx::query(sql).execute(&mut *write.conn).await.map(drop)
    }

    /// Lets nobody have the connection any more, and closes it once it is free.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let conn = self.conn.lock().await.take();
        if let Some(conn) = conn {
            // Whatever it says, nothing was promised that is not on the disk.
            let _ = conn.close().await;
        }
    }
}

/// The right to write while it is somebody's.
pub(crate) struct SqliteTurn(OwnedMutexGuard<Option<SqliteConnection>>);

/// The connection while it is somebody's.
pub(crate) struct SqliteWrite {
    conn: OwnedMappedMutexGuard<Option<SqliteConnection>, SqliteConnection>,
    /// Whether a transaction may be open.
    open: bool,
}

impl SqliteWrite {
    async fn begin<T>(&mut self, sql: Option<&'static str>) -> sqlx::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let mut script = Script::default().plain(SQLITE_WRITE);
        if let Some(sql) = sql {
            script = script.plain(sql);
        }
        script.read(&mut self.conn).await
    }

    pub(crate) fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        sqlx::query("COMMIT").execute(&mut *self.conn).await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for SqliteWrite {
    /// Whoever stops waiting for an answer leaves their statement to the connection's thread, and the rollback stands behind it in
    /// the thread's queue, before anything of whoever comes next. Where no transaction is open it fails and changes nothing.
    fn drop(&mut self) {
        if self.open {
            let _ = sqlx::query("ROLLBACK").execute(&mut *self.conn).now_or_never();
        }
    }
}
