//! The two databases behind one set of functions: connections as an enum, and the macro that runs one body on
//! either. SQL text and its differences are not here but in the concept's module and in `dialect.rs`.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::watch;

use crate::direct::Readers;
use crate::ingest::IngestSettings;
use crate::search::Lacking;
use crate::writer::{SqliteWrite, SqliteWriter};
use crate::{Error, Result, dialect};

/// A value for whichever database is open.
pub(crate) enum Either<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// Runs one expression with `$c` bound to the connection of the open database. The expression is compiled once
/// for each, with concrete types; its value must have one type.
macro_rules! on {
    ($either:expr, $c:ident => $body:expr) => {
        match $either {
            $crate::backend::Either::Sqlite($c) => $body,
            $crate::backend::Either::Postgres($c) => $body,
        }
    };
}
pub(crate) use on;

/// All connections of an open database.
pub(crate) type Pools = Either<SqlitePools, PgPool>;

/// One connection writes, several read beside it.
pub(crate) struct SqlitePools {
    pub(crate) write: SqliteWriter,
    pub(crate) read: SqlitePool,
    /// For what reads very many rows.
    pub(crate) direct: Readers,
    /// For the connection that writes groups, one at a time with `write`.
    pub(crate) ingest: IngestSettings,
}

/// A borrowed connection, in a transaction or not.
pub(crate) type Conn<'a> = Either<&'a mut SqliteConnection, &'a mut PgConnection>;

impl Conn<'_> {
    /// A shorter borrow of the same connection.
    pub(crate) fn reborrow(&mut self) -> Conn<'_> {
        match self {
            Either::Sqlite(c) => Either::Sqlite(c),
            Either::Postgres(c) => Either::Postgres(c),
        }
    }
}

/// A borrowed connection for statements over rows: one of sqlx, or one of SQLite without it, on which nothing is waited for.
pub(crate) enum Hand<'a> {
    Sqlx(Conn<'a>),
    Direct(&'a mut rusqlite::Connection),
}

impl Hand<'_> {
    /// A shorter borrow of the same connection.
    pub(crate) fn reborrow(&mut self) -> Hand<'_> {
        match self {
            Self::Sqlx(conn) => Hand::Sqlx(conn.reborrow()),
            Self::Direct(c) => Hand::Direct(c),
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Sqlx(Either::Postgres(_)))
    }
}

impl<'a> From<Conn<'a>> for Hand<'a> {
    fn from(conn: Conn<'a>) -> Self {
        Self::Sqlx(conn)
    }
}

/// What errors must know about the open database, and what is remembered of it.
#[derive(Debug)]
pub(crate) struct Context {
    /// Path, or address without the password.
    pub(crate) place: String,
    pub(crate) busy_timeout: Duration,
    /// The number of the last event that was committed through this handle.
    pub(crate) grown: watch::Sender<u64>,
    /// Which runs lack a metric, as searches found.
    pub(crate) lacking: Lacking,
}

impl Context {
    pub(crate) fn new(place: String, busy_timeout: Duration) -> Self {
        Self { place, busy_timeout, grown: watch::Sender::new(0), lacking: Lacking::default() }
    }

    /// Tells who waits for events that these up to `last` were committed.
    pub(crate) fn grew(&self, last: Option<u64>) {
        if let Some(last) = last {
            self.grown.send_if_modified(|known| std::mem::replace(known, last.max(*known)) < last);
        }
    }

    /// Turns a driver error into ours, for `map_err`.
    pub(crate) fn fail(&self, action: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
        move |error| dialect::classify(self, action, error)
    }
}

/// A connection that only reads.
pub(crate) struct Reader {
    conn: Either<PoolConnection<Sqlite>, PoolConnection<Postgres>>,
}

impl Reader {
    pub(crate) async fn acquire(pools: &Pools, ctx: &Context) -> Result<Self> {
        let conn = match pools {
            Either::Sqlite(pools) => pools.read.acquire().await.map(Either::Sqlite),
            Either::Postgres(pool) => pool.acquire().await.map(Either::Postgres),
        };
        Ok(Self { conn: conn.map_err(ctx.fail("connect"))? })
    }

    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match &mut self.conn {
            Either::Sqlite(conn) => Either::Sqlite(&mut *conn),
            Either::Postgres(conn) => Either::Postgres(&mut *conn),
        }
    }
}

/// A transaction on SQLite: a pooled connection reads, the only one that there is writes.
enum SqliteTx {
    Snapshot(Transaction<'static, Sqlite>),
    Write(SqliteWrite),
}

/// A transaction, rolled back when dropped.
pub(crate) struct Transact {
    pub(crate) ctx: Arc<Context>,
    tx: Either<SqliteTx, Transaction<'static, Postgres>>,
    /// The number of the last event that this transaction appended.
    pub(crate) appended: Option<u64>,
}

impl Transact {
    /// A consistent view for several reads.
    pub(crate) async fn snapshot(pools: &Pools, ctx: &Arc<Context>) -> Result<Self> {
        let tx = match pools {
            Either::Sqlite(pools) => {
                let tx = pools.read.begin_with(dialect::SQLITE_SNAPSHOT).await;
                tx.map(|tx| Either::Sqlite(SqliteTx::Snapshot(tx)))
            }
            Either::Postgres(pool) => pool.begin_with(dialect::POSTGRES_SNAPSHOT).await.map(Either::Postgres),
        };
        let tx = tx.map_err(ctx.fail("begin reading"))?;
        Ok(Self { ctx: Arc::clone(ctx), tx, appended: None })
    }

    /// A write transaction. On SQLite it holds the only write lock at once.
    pub(crate) async fn write(pools: &Pools, ctx: &Arc<Context>) -> Result<Self> {
        match pools {
            Either::Sqlite(pools) => Self::sqlite_write(pools, ctx).await,
            Either::Postgres(pool) => {
                let tx = pool.begin_with(dialect::POSTGRES_WRITE).await.map_err(ctx.fail("begin writing"))?;
                Ok(Self { ctx: Arc::clone(ctx), tx: Either::Postgres(tx), appended: None })
            }
        }
    }

    /// As [`Self::write`], with the log's size and frontier, which nobody else changes until it ends.
    pub(crate) async fn write_with_head(
        pools: &Pools,
        ctx: &Arc<Context>,
    ) -> Result<(Self, Option<(i64, String)>)> {
        if let Either::Sqlite(pools) = pools {
            let begun = pools.write.begin_reading(Some(dialect::HEAD)).await;
            let (tx, heads) = begun.map_err(ctx.fail("begin writing"))?;
            return Ok((Self::of_write(ctx, tx), heads.into_iter().next()));
        }
        let mut tx = Self::write(pools, ctx).await?;
        let head = dialect::lock_head(tx.conn()).await.map_err(ctx.fail("read the log's head"))?;
        Ok((tx, head))
    }

    pub(crate) async fn sqlite_write(pools: &SqlitePools, ctx: &Arc<Context>) -> Result<Self> {
        let tx = pools.write.begin().await.map_err(ctx.fail("begin writing"))?;
        Ok(Self::of_write(ctx, tx))
    }

    /// Of a transaction that was begun.
    fn of_write(ctx: &Arc<Context>, tx: SqliteWrite) -> Self {
        Self { ctx: Arc::clone(ctx), tx: Either::Sqlite(SqliteTx::Write(tx)), appended: None }
    }

    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match &mut self.tx {
            Either::Sqlite(SqliteTx::Snapshot(tx)) => Either::Sqlite(&mut *tx),
            Either::Sqlite(SqliteTx::Write(tx)) => Either::Sqlite(tx.conn()),
            Either::Postgres(tx) => Either::Postgres(&mut *tx),
        }
    }

    pub(crate) async fn commit(self) -> Result<()> {
        let committed = match self.tx {
            Either::Sqlite(SqliteTx::Snapshot(tx)) => tx.commit().await,
            Either::Sqlite(SqliteTx::Write(tx)) => tx.commit().await,
            Either::Postgres(tx) => tx.commit().await,
        };
        committed.map_err(self.ctx.fail("commit"))?;
        self.ctx.grew(self.appended);
        Ok(())
    }
}

/// What each database does for a statement, with `$1`, `$2` and so on replaced by `values`. PostgreSQL, whose tables are empty here, is
/// asked what it does where reading a whole table does not pay.
#[cfg(test)]
pub(crate) async fn plans(sql: &str, values: &[&str]) -> Vec<String> {
    use sqlx::AssertSqlSafe;

    let mut text = sql.to_owned();
    for (at, value) in values.iter().enumerate().rev() {
        text = text.replace(&format!("${}", at + 1), value);
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("t.db");
    let postgres = tidemill_testkit::Postgres::shared().database();
    let mut plans = Vec::new();
    for place in [file.to_str().unwrap(), postgres.url()] {
        let db = crate::Db::open(place, Arc::new(tidemill_core::SystemClock)).await.unwrap();
        let mut tx = db.snapshot().await.unwrap();
        let lines: Vec<String> = match tx.conn() {
            Either::Sqlite(c) => {
                let text = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
                let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(text).fetch_all(c).await.unwrap();
                rows.into_iter().map(|(_, _, _, line)| line).collect()
            }
            Either::Postgres(c) => {
                let off = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";
                sqlx::raw_sql(off).execute(&mut *c).await.unwrap();
                let text = AssertSqlSafe(format!("EXPLAIN {text}"));
                let rows: Vec<(String,)> = sqlx::query_as(text).fetch_all(c).await.unwrap();
                rows.into_iter().map(|(line,)| line).collect()
            }
        };
        drop(tx);
        db.close().await.unwrap();
        plans.push(lines.join("\n"));
    }
    plans
}
