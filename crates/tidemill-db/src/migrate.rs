//! Brings a database's schema up to date. Applied migrations are recorded with the SHA-256 of their text and
//! never change; a database with more of them than this binary knows is refused.

use sha2::{Digest as _, Sha256};
use tidemill_core::Timestamp;

use crate::backend::{Conn, Context, Either, Transact, on};
use crate::{Error, Result};

/// A step of the schema, written once for each database.
pub(crate) struct Migration {
    pub(crate) name: &'static str,
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

macro_rules! migration {
    ($name:literal) => {
        Migration {
            name: $name,
            sqlite: include_str!(concat!("../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../migrations/postgres/", $name, ".sql")),
        }
    };
}

/// In the order in which they are applied. Append only.
pub(crate) const MIGRATIONS: &[Migration] = &[
    migration!("0001_start"),
    migration!("0002_tracking"),
    migration!("0003_search"),
    migration!("0004_models"),
    migration!("0005_artifacts"),
    migration!("0006_traces"),
    migration!("0007_endpoints"),
    migration!("0008_records"),
    migration!("0009_end_time"),
    migration!("0010_profiles"),
    migration!("0011_delivery"),
    migration!("0012_triggers"),
    migration!("0013_monitoring"),
    migration!("0014_quarantine_words"),
    migration!("0015_contests"),
    migration!("0016_restated"),
    migration!("0017_outcomes_once"),
    migration!("0018_causes"),
    migration!("0019_access"),
    migration!("0020_outcome_tables"),
    migration!("0023_event_times"),
];

/// The schema version that this binary writes and reads.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

const BOOK: &str = "CREATE TABLE IF NOT EXISTS migration (
    position BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)";

/// What a database says it has applied.
pub(crate) type Applied = Vec<(i64, String, String)>;

/// Reads the record of applied migrations; the table must exist.
pub(crate) async fn applied(conn: Conn<'_>) -> sqlx::Result<Applied> {
    const SQL: &str = "SELECT position, name, sha256 FROM migration ORDER BY position";
    on!(conn, c => sqlx::query_as(SQL).fetch_all(c).await)
}

/// Compares what is applied with what this binary carries; gives the number of applied migrations.
pub(crate) fn compare(ctx: &Context, postgres: bool, applied: &Applied) -> Result<usize> {
    let place = ctx.place.clone();
    if applied.len() > MIGRATIONS.len() {
        return Err(Error::Newer { place, found: applied.len() as i64, known: VERSION });
    }
    for ((_, name, sha256), known) in applied.iter().zip(MIGRATIONS) {
        if name != known.name || *sha256 != known.sha256(postgres) {
            return Err(Error::MigrationChanged { place, name: name.clone() });
        }
    }
    Ok(applied.len())
}

/// Applies what is missing, inside a transaction in which nobody else migrates; gives how many were applied.
pub(crate) async fn apply(tx: &mut Transact, now: Timestamp) -> Result<usize> {
    let ctx = std::sync::Arc::clone(&tx.ctx);
    on!(tx.conn(), c => sqlx::query(BOOK).execute(c).await.map(|_| ())).map_err(ctx.fail("migrate"))?;
    let postgres = matches!(tx.conn(), Either::Postgres(_));
    let applied = applied(tx.conn()).await.map_err(ctx.fail("migrate"))?;
    let done = compare(&ctx, postgres, &applied)?;
    for (i, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        run(tx.conn(), migration).await.map_err(ctx.fail("migrate"))?;
        record(tx.conn(), i as i64 + 1, migration, postgres, now).await.map_err(ctx.fail("migrate"))?;
    }
    Ok(MIGRATIONS.len() - done)
}

async fn run(conn: Conn<'_>, migration: &Migration) -> sqlx::Result<()> {
    match conn {
        Either::Sqlite(c) => sqlx::raw_sql(migration.sqlite).execute(c).await.map(|_| ()),
        Either::Postgres(c) => sqlx::raw_sql(migration.postgres).execute(c).await.map(|_| ()),
    }
}

async fn record(
    conn: Conn<'_>,
    position: i64,
    migration: &Migration,
    postgres: bool,
    now: Timestamp,
) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO migration (position, name, sha256, applied_at) VALUES ($1, $2, $3, $4)";
    let sha256 = migration.sha256(postgres);
    on!(conn, c => sqlx::query(SQL)
        .bind(position).bind(migration.name).bind(sha256).bind(now.millis())
        .execute(c).await.map(|_| ()))
}

impl Migration {
    fn sha256(&self, postgres: bool) -> String {
        let text = if postgres { self.postgres } else { self.sqlite };
        crate::Hash(Sha256::digest(text.as_bytes()).into()).to_string()
    }
}
