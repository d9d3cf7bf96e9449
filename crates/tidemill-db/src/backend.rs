//! The two databases behind one set of functions: connections as an enum, and the macro that runs one body on
//! either. SQL text and its differences are not here but in the concept's module and in `dialect.rs`.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::watch;

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
    pub(crate) write: SqlitePool,
    pub(crate) read: SqlitePool,
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

/// What errors must know about the open database.
#[derive(Debug)]
pub(crate) struct Context {
    /// Path, or address without the password.
    pub(crate) place: String,
    pub(crate) busy_timeout: Duration,
    /// The number of the last event that was committed through this handle.
    pub(crate) grown: watch::Sender<u64>,
}

impl Context {
    pub(crate) fn new(place: String, busy_timeout: Duration) -> Self {
        Self { place, busy_timeout, grown: watch::Sender::new(0) }
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

/// A transaction, rolled back when dropped.
pub(crate) struct Transact {
    pub(crate) ctx: Arc<Context>,
    tx: Either<Transaction<'static, Sqlite>, Transaction<'static, Postgres>>,
    /// The number of the last event that this transaction appended.
    pub(crate) appended: Option<u64>,
}

impl Transact {
    /// A consistent view for several reads.
    pub(crate) async fn snapshot(pools: &Pools, ctx: &Arc<Context>) -> Result<Self> {
        let tx = match pools {
            Either::Sqlite(pools) => {
                pools.read.begin_with(dialect::SQLITE_SNAPSHOT).await.map(Either::Sqlite)
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

    pub(crate) async fn sqlite_write(pools: &SqlitePools, ctx: &Arc<Context>) -> Result<Self> {
        let tx = match pools.write.begin_with(dialect::SQLITE_WRITE).await {
            // A transaction that failed on a full disk was rolled back by SQLite itself, which the driver does not
            // notice: such a connection is of no more use.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                let broken = pools.write.acquire().await.map_err(ctx.fail("begin writing"))?;
                // Whatever closing says, the next connection is a new one.
                let _ = broken.close().await;
                pools.write.begin_with(dialect::SQLITE_WRITE).await
            }
            begun => begun,
        };
        let tx = tx.map_err(ctx.fail("begin writing"))?;
        Ok(Self { ctx: Arc::clone(ctx), tx: Either::Sqlite(tx), appended: None })
    }

    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match &mut self.tx {
            Either::Sqlite(tx) => Either::Sqlite(&mut *tx),
            Either::Postgres(tx) => Either::Postgres(&mut *tx),
        }
    }

    pub(crate) async fn commit(self) -> Result<()> {
        on!(self.tx, tx => tx.commit().await).map_err(self.ctx.fail("commit"))?;
        if let Some(last) = self.appended {
            self.ctx.grown.send_if_modified(|known| std::mem::replace(known, last.max(*known)) < last);
        }
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
