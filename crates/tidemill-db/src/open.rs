//! Finding and opening the database that an address names, and bringing its schema up to date.
//!
//! An existing SQLite file with the current schema is recognised by its first 100 bytes alone, without a
//! connection: `tidemill run` with nothing to do must not wait for one.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use tidemill_core::Clock;

use crate::backend::{Context, Either, Pools, SqlitePools, Transact};
use crate::direct::{self, File, Readers};
use crate::ingest::IngestSettings;
use crate::migrate::{self, VERSION};
use crate::template;
use crate::writer::SqliteWriter;
use crate::{Error, Options, Result};

/// Marks a SQLite file as ours: `TMil` at offset 68 of the file (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x544D_696C;
/// Any number will do as long as no other program uses it on the same server.
const POSTGRES_MIGRATION_LOCK: i64 = 0x5469_6465_6D69_6C6C;

pub(crate) async fn open(url: &str, clock: &dyn Clock, options: Options) -> Result<(Pools, Arc<Context>)> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return open_postgres(url, clock, options).await;
    }
    let path = match url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
        Some(path) => path,
        None if url.contains("://") => return Err(Error::Address { url: without_password(url) }),
        None => url,
    };
    if path.is_empty() || path.contains('\0') {
        return Err(Error::Address { url: url.to_owned() });
    }
    open_sqlite(Path::new(path), clock, options).await
}

async fn open_sqlite(path: &Path, clock: &dyn Clock, options: Options) -> Result<(Pools, Arc<Context>)> {
    let place = path.display().to_string();
    let ctx = Arc::new(Context::new(place.clone(), options.busy_timeout));
    // An absolute path cannot be taken for one of SQLite's `file:` addresses.
    let path = std::path::absolute(path)
        .map_err(|error| Error::Open { place: place.clone(), detail: error.to_string() })?;
    let header = match read_header(&path, &ctx)? {
        Header::Absent if template::create(&path) => read_header(&path, &ctx)?,
        header => header,
    };
    let pools = sqlite_pools(&path, options);
    let current = match header {
        Header::Current => true,
        Header::Ask => is_current_sqlite(&pools, &ctx).await?,
        Header::Absent | Header::Old => false,
    };
    if !current {
        prepare_sqlite(&pools, &ctx, clock).await?;
    }
    Ok((Either::Sqlite(pools), ctx))
}

/// What the header of a file says about its schema.
enum Header {
    Current,
    /// There is no file.
    Absent,
    /// Its schema is old, or the file is empty.
    Old,
    /// Somebody is writing, or was killed while writing: what counts is not in the header yet.
    Ask,
}

/// What SQLite would overwrite or misread is refused here.
fn read_header(path: &Path, ctx: &Context) -> Result<Header> {
    let place = || ctx.place.clone();
    let open_error = |error: std::io::Error| Error::Open { place: place(), detail: error.to_string() };
    let mut file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return match path.parent() {
                Some(parent) if !parent.is_dir() => Err(Error::Open {
                    place: place(),
                    detail: format!("there is no directory `{}`", parent.display()),
                }),
                _ => Ok(Header::Absent),
            };
        }
        Err(error) => return Err(open_error(error)),
    };
    if path.is_dir() {
        return Err(Error::Open { place: place(), detail: "it is a directory".to_owned() });
    }
    let mut header = Vec::with_capacity(105);
    file.by_ref().take(105).read_to_end(&mut header).map_err(open_error)?;
    if header.is_empty() {
        return Ok(Header::Old);
    }
    // Database file format, section 1.3: <https://www.sqlite.org/fileformat.html>.
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(Error::Foreign { place: place(), detail: "it is not a SQLite file".to_owned() });
    }
    let number =
        |at: usize| header.get(at..at + 4).map(|b| i64::from(i32::from_be_bytes([b[0], b[1], b[2], b[3]])));
    let (Some(version), Some(application)) = (number(60), number(68)) else {
        return Err(Error::Corrupt {
            place: place(),
            detail: format!("the file ends after {} bytes", header.len()),
        });
    };
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if fs_err::metadata(PathBuf::from(wal)).is_ok_and(|wal| wal.len() > 0) {
        return Ok(Header::Ask);
    }
    check_header(ctx, version, application)?;
    // Section 1.6: bytes 3 and 4 of the first page's b-tree header count the entries of the schema. A file that is not
    // marked as ours and holds something is told from an empty one before a connection could change it.
    if application == 0 && header.get(103..105).is_some_and(|cells| cells != [0, 0]) {
        return Err(Error::Foreign { place: place(), detail: "it belongs to another program".to_owned() });
    }
    Ok(if version == VERSION { Header::Current } else { Header::Old })
}

/// Asks a connection that only reads, so that a writer at work is not waited for.
async fn is_current_sqlite(pools: &SqlitePools, ctx: &Context) -> Result<bool> {
    const SQL: &str =
        "SELECT v.user_version, a.application_id FROM pragma_user_version v, pragma_application_id a";
    let mut c = pools.read.acquire().await.map_err(ctx.fail("open"))?;
    let (version, application): (i64, i64) =
        sqlx::query_as(SQL).fetch_one(&mut *c).await.map_err(ctx.fail("open"))?;
    check_header(ctx, version, application)?;
    Ok(version == VERSION)
}

fn check_header(ctx: &Context, version: i64, application: i64) -> Result<()> {
    let place = ctx.place.clone();
    if application != APPLICATION_ID && (application, version) != (0, 0) {
        return Err(Error::Foreign { place, detail: "it belongs to another program".to_owned() });
    }
    if version > VERSION {
        return Err(Error::Newer { place, found: version, known: VERSION });
    }
    Ok(())
}

/// Rows that the thread of a connection reads ahead. With few of them the thread and the task that takes the rows wake
/// each other again and again, which costs more than the rows.
const ROW_BUFFER: usize = 2048;

/// Pages of the write-ahead log after which they are brought into the file, 16 MB. The pages that indexes grow at are written again with
/// each commit: the more commits share a checkpoint, the fewer of them go to the file, and the fewer syncs there are.
const CHECKPOINT: u32 = 4096;
/// To so many bytes the file of the write-ahead log is cut then.
const LOG_BYTES: u64 = 64 << 20;
/// What the connection that writes may keep of the file, in KiB: new values of an index belong all over it.
const WRITER_CACHE: u32 = 8192;
/// What each connection that reads may keep of the file, in KiB: a page of runs is some thousand lookups, which are all over it, too, and
/// whoever turns pages comes back to the same ones.
const READER_CACHE: u32 = 8192;

fn sqlite_pools(path: &Path, options: Options) -> SqlitePools {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .with_regexp()
        .busy_timeout(options.busy_timeout)
        .statement_cache_capacity(256)
        .row_buffer_size(ROW_BUFFER)
        .pragma("journal_size_limit", LOG_BYTES.to_string())
        .pragma("wal_autocheckpoint", CHECKPOINT.to_string());
    // SQLite takes a number of pages, or one of KiB as a negative number.
    let cache = |kib: u32| format!("-{kib}");
    let file = |cache_kib| File { path: path.to_owned(), busy_timeout: options.busy_timeout, cache_kib };
    // Waiting for a writer of this process may take as long as waiting for one of another, and then some.
    let wait = options.busy_timeout.saturating_mul(3).max(Duration::from_secs(1));
    let read = PoolOptions::new()
        .max_connections(options.readers.max(1))
        .acquire_timeout(wait)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None);
    SqlitePools {
        write: SqliteWriter::new(
            connect.clone().create_if_missing(true).pragma("cache_size", cache(WRITER_CACHE)),
            wait,
        ),
        read: read
            .connect_lazy_with(connect.pragma("query_only", "ON").pragma("cache_size", cache(READER_CACHE))),
        direct: Readers::new(direct::Settings {
            file: file(READER_CACHE),
            connections: options.readers.max(1),
            wait,
        }),
        ingest: IngestSettings { file: file(WRITER_CACHE), checkpoint: CHECKPOINT, log_bytes: LOG_BYTES },
    }
}

/// Creates or migrates. Two processes that create one file at once can meet while it is turned to WAL mode,
/// where SQLite does not wait by itself: try again until the timeout.
async fn prepare_sqlite(pools: &SqlitePools, ctx: &Arc<Context>, clock: &dyn Clock) -> Result<()> {
    let begun = Instant::now();
    loop {
        match try_prepare_sqlite(pools, ctx, clock).await {
            Err(Error::Locked { .. }) if begun.elapsed() < ctx.busy_timeout => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            done => return done,
        }
    }
}

async fn try_prepare_sqlite(pools: &SqlitePools, ctx: &Arc<Context>, clock: &dyn Clock) -> Result<()> {
    let fail = |error| ctx.fail("open")(error);
    let mut tx = Transact::sqlite_write(pools, ctx).await?;
    let (version, application, tables) = {
        let Either::Sqlite(c) = tx.conn() else { return Ok(()) };
        let version: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *c).await.map_err(fail)?;
        let application: i64 =
            sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *c).await.map_err(fail)?;
        let tables: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_schema").fetch_one(c).await.map_err(fail)?;
        (version, application, tables)
    };
    check_header(ctx, version, application)?;
    if application == 0 && tables > 0 {
        return Err(Error::Foreign {
            place: ctx.place.clone(),
            detail: "it belongs to another program".to_owned(),
        });
    }
    if migrate::apply(&mut tx, clock.now()).await? == 0 {
        return Ok(());
    }
    if let Either::Sqlite(c) = tx.conn() {
        let sql = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(c).await.map_err(fail)?;
    }
    tx.commit().await?;
    // So that the next process finds the new version in the file's header.
    pools.write.run("PRAGMA wal_checkpoint(TRUNCATE)").await.map_err(fail)?;
    Ok(())
}

async fn open_postgres(url: &str, clock: &dyn Clock, options: Options) -> Result<(Pools, Arc<Context>)> {
    let ctx = Arc::new(Context::new(without_password(url), options.busy_timeout));
    let connect = PgConnectOptions::from_str(url)
        .map_err(|_| Error::Address { url: ctx.place.clone() })?
        .application_name("tidemill")
        .options([("lock_timeout", format!("{}ms", options.busy_timeout.as_millis().max(1)))]);
    let pool = PoolOptions::new()
        .max_connections(options.readers.max(1) + 2)
        .acquire_timeout(options.busy_timeout.max(Duration::from_secs(1)))
        .test_before_acquire(true);
    // A pool repeats failing attempts until its timeout; a first connection of our own says at once what is wrong.
    let mut first = PgConnection::connect_with(&connect).await.map_err(ctx.fail("connect"))?;
    let current = is_current_postgres(&mut first, &ctx).await?;
    drop(first.close().await);
    let pools = Either::Postgres(pool.connect_lazy_with(connect));
    if !current {
        prepare_postgres(&pools, &ctx, clock).await?;
    }
    Ok((pools, ctx))
}

async fn is_current_postgres(c: &mut PgConnection, ctx: &Context) -> Result<bool> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('migration') IS NOT NULL")
        .fetch_one(&mut *c)
        .await
        .map_err(ctx.fail("open"))?;
    if !there {
        return Ok(false);
    }
    let applied = migrate::applied(Either::Postgres(c)).await.map_err(ctx.fail("open"))?;
    Ok(migrate::compare(ctx, true, &applied)? == migrate::MIGRATIONS.len())
}

async fn prepare_postgres(pools: &Pools, ctx: &Arc<Context>, clock: &dyn Clock) -> Result<()> {
    let mut tx = Transact::write(pools, ctx).await?;
    if let Either::Postgres(c) = tx.conn() {
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(POSTGRES_MIGRATION_LOCK)
            .execute(c)
            .await
            .map_err(ctx.fail("migrate"))?;
    }
    migrate::apply(&mut tx, clock.now()).await?;
    tx.commit().await
}

/// The address as it may be shown and written down.
pub fn without_password(url: &str) -> String {
    let url = &without_password_in_query(url);
    let Some((scheme, rest)) = url.split_once("://") else { return url.clone() };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let Some(at) = rest[..authority_end].rfind('@') else { return url.clone() };
    let user = rest[..at].split(':').next().unwrap_or_default();
    format!("{scheme}://{user}{}", &rest[at..])
}

/// Without its value for `password=` in the query either.
fn without_password_in_query(url: &str) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("password=")).collect();
    if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            (
                "postgres://me:secret@host:5432/db?sslmode=require",
                "postgres://me@host:5432/db?sslmode=require",
            ),
            ("postgres://me:se@cr:et@host/db", "postgres://me@host/db"),
            ("postgres://me@host/db", "postgres://me@host/db"),
            ("postgres://host", "postgres://host"),
            ("postgres:///db?password=x&host=/run", "postgres:///db?host=/run"),
            ("some/path@x", "some/path@x"),
        ] {
            assert_eq!(without_password(url), shown, "{url}");
        }
    }
}
