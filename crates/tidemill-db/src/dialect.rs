//! Everything that differs between SQLite and PostgreSQL, except the schema (`migrations/`): how a transaction
//! begins, how many rows are given to one statement, and what the error codes mean.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{FromRow, Postgres, Sqlite, SqliteConnection};

use crate::backend::{Conn, Context, Either, Hand};
use crate::direct::FromDirect;
use crate::{Error, direct};

pub(crate) const SQLITE_SNAPSHOT: &str = "BEGIN DEFERRED";
pub(crate) const SQLITE_WRITE: &str = "BEGIN IMMEDIATE";
pub(crate) const POSTGRES_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Read committed, whatever the server's default: after waiting for the log's head, its newest state is seen, so
/// writers queue there instead of failing with serialization errors.
pub(crate) const POSTGRES_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Reads the log's size and frontier.
pub(crate) const HEAD: &str = "SELECT size, frontier FROM log_head WHERE id = 1";
const HEAD_LOCKED: &str = "SELECT size, frontier FROM log_head WHERE id = 1 FOR UPDATE";

/// Reads the log's size and frontier, and on PostgreSQL makes every other writer to the log wait until this
/// transaction ends. SQLite's write transactions exclude each other anyway.
pub(crate) async fn lock_head(conn: Conn<'_>) -> sqlx::Result<Option<(i64, String)>> {
    match conn {
        Either::Sqlite(c) => sqlx::query_as(HEAD).fetch_optional(c).await,
        Either::Postgres(c) => sqlx::query_as(HEAD_LOCKED).fetch_optional(c).await,
    }
}

/// The end of a `SELECT` from a table known as `t` after which nobody else changes the rows that it gives until this
/// transaction ends. SQLite's write transactions exclude each other anyway.
pub(crate) fn row_lock(hand: &Hand<'_>) -> &'static str {
    if hand.is_postgres() { " FOR NO KEY UPDATE OF t" } else { "" }
}

/// As [`row_lock`], but others may do the same.
pub(crate) fn shared_row_lock(hand: &Hand<'_>) -> &'static str {
    if hand.is_postgres() { " FOR SHARE OF t" } else { "" }
}

/// All rows of `p` as one text: a JSON list of lists of its `key` and its `value`.
pub(crate) fn pairs(conn: &Conn<'_>) -> &'static str {
    match conn {
        Either::Sqlite(_) => "json_group_array(json_array(p.key, p.value))",
        Either::Postgres(_) => "CAST(json_agg(json_build_array(p.key, p.value)) AS TEXT)",
    }
}

/// `sql` with `{position}` replaced by the function that finds a text in another, in characters from 1, or gives 0.
pub(crate) fn position(conn: &Conn<'_>, sql: &str) -> String {
    sql.replace("{position}", if matches!(conn, Either::Sqlite(_)) { "instr" } else { "strpos" })
}

/// The code that the database gave, whichever driver carries it.
fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    match direct::carries(error) {
        Some(error) => Some(error.sqlite_error()?.extended_code.to_string().into()),
        None => error.as_database_error()?.code(),
    }
}

/// Whether the same work may succeed when it is done again: another transaction was in the way.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|e| e.code())
        .is_some_and(|code| matches!(code.as_ref(), "40001" | "40P01"))
}

/// Whether others were at work for longer than one waits.
pub(crate) fn is_locked(error: &sqlx::Error) -> bool {
    if matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) {
        return true;
    }
    // SQLite: primary codes 5 and 6.
    code(error).is_some_and(|code| {
        code.parse::<i32>().is_ok_and(|code| code < 10_000 && matches!(code & 0xff, 5 | 6))
    })
}

/// Whether the rows themselves are at fault: a constraint of the schema does not allow them.
pub(crate) fn is_constraint(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| {
        // SQLite: primary code 19. PostgreSQL: class 23, and 22 for values that do not fit their type.
        code.parse::<i32>().is_ok_and(|code| code & 0xff == 19 && code < 10_000)
            || code.len() == 5 && (code.starts_with("23") || code.starts_with("22"))
    })
}

/// Sorts a driver error by what the user can do about it.
pub(crate) fn classify(ctx: &Context, action: &'static str, error: sqlx::Error) -> Error {
    let place = ctx.place.clone();
    let detail = match (error.as_database_error(), direct::carries(&error)) {
        (Some(error), _) => error.message().to_owned(),
        (_, Some(error)) => error.to_string(),
        _ => error.to_string(),
    };
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return Error::Locked { place, waited: ctx.busy_timeout };
    }
    if matches!(error, sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed) {
        return Error::Closed { place };
    }
    if let sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) = error {
        return Error::Open { place, detail };
    }
    let Some(code) = code(&error).map(Cow::into_owned) else {
        return Error::Database { place, action, source: error };
    };
    if code.len() == 5 {
        classify_postgres(ctx, action, &code, detail, error)
    } else {
        classify_sqlite(ctx, action, code.parse().unwrap_or(0), detail, error)
    }
}

/// Result codes: <https://www.sqlite.org/rescode.html>. The low byte is the primary code.
fn classify_sqlite(
    ctx: &Context,
    action: &'static str,
    code: i32,
    detail: String,
    error: sqlx::Error,
) -> Error {
    const IOERR_WRITE: i32 = 778;
    const IOERR_SHMSIZE: i32 = 4874;
    let place = ctx.place.clone();
    match (code & 0xff, code) {
        (5 | 6, _) => Error::Locked { place, waited: ctx.busy_timeout },
        (8, _) => Error::ReadOnly { place, detail },
        (13, _) => Error::Full { place, detail },
        (_, IOERR_WRITE | IOERR_SHMSIZE) => Error::Full {
            place,
            detail: format!("{detail} while writing: the disk, a quota or a file-size limit"),
        },
        (11, _) => Error::Corrupt { place, detail },
        (14, _) => Error::Open { place, detail },
        (26, _) => Error::Foreign { place, detail },
        _ => Error::Database { place, action, source: error },
    }
}

/// Error codes: PostgreSQL's documentation, appendix A.
fn classify_postgres(
    ctx: &Context,
    action: &'static str,
    code: &str,
    detail: String,
    error: sqlx::Error,
) -> Error {
    let place = ctx.place.clone();
    match code {
        "2201B" => Error::Pattern { detail },
        "53100" => Error::Full { place, detail },
        "55P03" => Error::Locked { place, waited: ctx.busy_timeout },
        "25006" | "42501" => Error::ReadOnly { place, detail },
        "XX001" | "XX002" => Error::Corrupt { place, detail },
        "3D000" | "53300" => Error::Open { place, detail },
        _ if code.starts_with("28") || code.starts_with("57P") => Error::Open { place, detail },
        _ => Error::Database { place, action, source: error },
    }
}

/// One column of the rows that are given to one statement.
enum Column<'a> {
    Int(Vec<i64>),
    OptInt(Vec<Option<i64>>),
    Float(Vec<f64>),
    OptFloat(Vec<Option<f64>>),
    Text(Vec<&'a str>),
    OptText(Vec<Option<&'a str>>),
}

/// Rows for one statement: as `UNNEST` over one array per column on PostgreSQL, and as `VALUES` on SQLite.
///
/// SQLite's `json_each` would take all rows as one text, but its reader of decimal numbers is off in the last
/// place for some; bound values arrive as they are. So that few statements must be prepared, rows go in powers of
/// two: 1,000 are given as 512, 256, 128, 64, 32 and 8. NaN becomes NULL on SQLite, which cannot store it; tables
/// with floats carry a flag beside.
pub(crate) struct Rows<'a> {
    columns: Vec<(&'static str, Column<'a>)>,
    count: usize,
    padded: bool,
}

/// SQLite takes at most 32,766 parameters.
const SQLITE_ROWS: usize = 1024;
/// Up to here one statement with rows of NULLs in it costs less than several without.
const SQLITE_PADDED: usize = 256;

impl<'a> Rows<'a> {
    pub(crate) fn new(count: usize) -> Self {
        Self { columns: Vec::new(), count, padded: false }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// For statements that pass over rows of NULLs, because they join by a column of theirs or ask for one that is not
    /// NULL: so many of them are added on SQLite that the rest goes in one statement.
    pub(crate) fn padded(mut self) -> Self {
        self.padded = true;
        self
    }

    pub(crate) fn int(self, name: &'static str, values: impl Iterator<Item = i64>) -> Self {
        self.with(name, Column::Int(values.collect()))
    }

    pub(crate) fn opt_int(self, name: &'static str, values: impl Iterator<Item = Option<i64>>) -> Self {
        self.with(name, Column::OptInt(values.collect()))
    }

    pub(crate) fn float(self, name: &'static str, values: impl Iterator<Item = f64>) -> Self {
        self.with(name, Column::Float(values.collect()))
    }

    pub(crate) fn opt_float(self, name: &'static str, values: impl Iterator<Item = Option<f64>>) -> Self {
        self.with(name, Column::OptFloat(values.collect()))
    }

    pub(crate) fn text(self, name: &'static str, values: impl Iterator<Item = &'a str>) -> Self {
        self.with(name, Column::Text(values.collect()))
    }

    pub(crate) fn opt_text(self, name: &'static str, values: impl Iterator<Item = Option<&'a str>>) -> Self {
        self.with(name, Column::OptText(values.collect()))
    }

    fn with(mut self, name: &'static str, column: Column<'a>) -> Self {
        self.columns.push((name, column));
        self
    }

    /// `head` with `{columns}` and `{rows}` replaced. Only constants of this crate get into the text.
    fn sql(&self, head: &str, rows: &str) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        head.replace("{columns}", &names.join(", ")).replace("{rows}", rows)
    }

    fn postgres_sql(&self, head: &str) -> String {
        let mut arrays = Vec::new();
        let mut names = Vec::new();
        for (i, (name, column)) in self.columns.iter().enumerate() {
            arrays.push(format!("${}::{}[]", i + 1, column.postgres_type()));
            names.push(*name);
        }
        self.sql(head, &format!("UNNEST({}) AS r({})", arrays.join(", "), names.join(", ")))
    }

    fn sqlite_sql(&self, head: &str, count: usize) -> String {
        let mut rows = "(SELECT ".to_owned();
        for (i, (name, _)) in self.columns.iter().enumerate() {
            let _ = write!(rows, "{}column{} AS {name}", if i == 0 { "" } else { ", " }, i + 1);
        }
        rows.push_str(" FROM (VALUES ");
        let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
        for i in 0..count {
            rows.push_str(if i == 0 { "" } else { ", " });
            rows.push_str(&row);
        }
        rows.push_str(")) AS r");
        self.sql(head, &rows)
    }

    /// The values of a part, row by row.
    fn values(&self, part: Range<usize>) -> impl Iterator<Item = ToSqlOutput<'_>> {
        part.flat_map(|row| self.columns.iter().map(move |(_, column)| column.value(row)))
    }

    /// The rows in parts for SQLite, the largest first. Where they are padded, the last part may go beyond them.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (mut from, end, padded) = (0, self.count, self.padded);
        std::iter::from_fn(move || {
            let left = end.saturating_sub(from);
            let whole = 1 << left.checked_ilog2()?;
            let size = if padded && left <= SQLITE_PADDED { left.next_power_of_two() } else { whole };
            let size = size.min(SQLITE_ROWS);
            from += size;
            Some(from - size..from)
        })
    }
}

impl Column<'_> {
    /// Of one row; NULL behind the last one.
    fn value(&self, row: usize) -> ToSqlOutput<'_> {
        let value = match self {
            Self::Int(values) => values.get(row).map(|value| ValueRef::Integer(*value)),
            Self::OptInt(values) => values.get(row).copied().flatten().map(ValueRef::Integer),
            Self::Float(values) => values.get(row).map(|value| ValueRef::Real(*value)),
            Self::OptFloat(values) => values.get(row).copied().flatten().map(ValueRef::Real),
            Self::Text(values) => values.get(row).map(|text| ValueRef::Text(text.as_bytes())),
            Self::OptText(values) => {
                values.get(row).copied().flatten().map(|text| ValueRef::Text(text.as_bytes()))
            }
        };
        // SQLite stores NaN as NULL by itself.
        ToSqlOutput::Borrowed(value.unwrap_or(ValueRef::Null))
    }

    fn postgres_type(&self) -> &'static str {
        match self {
            Self::Int(_) | Self::OptInt(_) => "BIGINT",
            Self::Float(_) | Self::OptFloat(_) => "DOUBLE PRECISION",
            Self::Text(_) | Self::OptText(_) => "TEXT",
        }
    }
}

/// Runs `head` over `rows`; gives the number of rows that it wrote. `{columns}` in `head` stands for the names of
/// the columns and `{rows}` for the rows, known as `r`. On SQLite `head` may run several times over parts of them.
pub(crate) async fn write_rows(conn: Conn<'_>, head: &str, rows: &Rows<'_>) -> sqlx::Result<u64> {
    match conn {
        Either::Sqlite(c) => {
            let mut written = 0;
            for part in rows.parts() {
                let query = sqlx::query(AssertSqlSafe(rows.sqlite_sql(head, part.len())));
                written += bind_rows(query, rows, part).execute(&mut *c).await?.rows_affected();
            }
            Ok(written)
        }
        Either::Postgres(c) => {
            let query = sqlx::query(AssertSqlSafe(rows.postgres_sql(head)));
            Ok(bind_columns(query, rows).execute(c).await?.rows_affected())
        }
    }
}

/// Runs `head` over `rows` as [`write_rows`] does, and reads what it gives.
pub(crate) async fn read_rows<T>(conn: Conn<'_>, head: &str, rows: &Rows<'_>) -> sqlx::Result<Vec<T>>
where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    match conn {
        Either::Sqlite(c) => {
            let mut read = Vec::new();
            for part in rows.parts() {
                let query = sqlx::query(AssertSqlSafe(rows.sqlite_sql(head, part.len())));
                let query = bind_rows(query, rows, part).try_map(|row| T::from_row(&row));
                read.extend(query.fetch_all(&mut *c).await?);
            }
            Ok(read)
        }
        Either::Postgres(c) => {
            let query = sqlx::query(AssertSqlSafe(rows.postgres_sql(head)));
            bind_columns(query, rows).try_map(|row| T::from_row(&row)).fetch_all(c).await
        }
    }
}

impl Hand<'_> {
    /// As [`read_rows`].
    pub(crate) async fn read_rows<T>(self, head: &str, rows: &Rows<'_>) -> sqlx::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + FromDirect + Send + Unpin,
    {
        match self {
            Self::Sqlx(conn) => read_rows(conn, head, rows).await,
            Self::Direct(c) => read_rows_directly(c, head, rows).map_err(direct::carried),
        }
    }

    /// As [`write_rows`].
    pub(crate) async fn write_rows(self, head: &str, rows: &Rows<'_>) -> sqlx::Result<u64> {
        match self {
            Self::Sqlx(conn) => write_rows(conn, head, rows).await,
            Self::Direct(c) => write_rows_directly(c, head, rows).map_err(direct::carried),
        }
    }
}

/// As [`write_rows`], without sqlx.
fn write_rows_directly(c: &Connection, head: &str, rows: &Rows<'_>) -> rusqlite::Result<u64> {
    let mut written = 0;
    for part in rows.parts() {
        let mut statement = c.prepare_cached(&rows.sqlite_sql(head, part.len()))?;
        written += statement.execute(params_from_iter(rows.values(part)))? as u64;
    }
    Ok(written)
}

/// As [`read_rows`], without sqlx.
fn read_rows_directly<T: FromDirect>(
    c: &Connection,
    head: &str,
    rows: &Rows<'_>,
) -> rusqlite::Result<Vec<T>> {
    let mut read = Vec::new();
    for part in rows.parts() {
        let sql = rows.sqlite_sql(head, part.len());
        read.extend(direct::rows(c, &sql, params_from_iter(rows.values(part)))?);
    }
    Ok(read)
}

/// Statements that go to the thread of a SQLite connection together: the way there and back costs more than most of them do.
#[derive(Default)]
pub(crate) struct Script<'r> {
    text: String,
    parts: Vec<(&'r Rows<'r>, Range<usize>)>,
}

impl<'r> Script<'r> {
    /// With a statement that has no values.
    pub(crate) fn plain(mut self, sql: &str) -> Self {
        self.push(sql);
        self
    }

    /// With `head` over `rows`, as [`write_rows`] and [`read_rows`] run it.
    pub(crate) fn over(mut self, head: &str, rows: &'r Rows<'r>) -> Self {
        for part in rows.parts() {
            self.push(&rows.sqlite_sql(head, part.len()));
            self.parts.push((rows, part));
        }
        self
    }

    fn push(&mut self, sql: &str) {
        if !self.text.is_empty() {
            self.text.push_str("; ");
        }
        self.text.push_str(sql);
    }

    /// Runs all of them, as far as they go well; gives the number of rows that they wrote together.
    pub(crate) async fn write(self, c: &mut SqliteConnection) -> sqlx::Result<u64> {
        Ok(self.query().execute(c).await?.rows_affected())
    }

    /// As [`Self::write`], and reads what they give.
    pub(crate) async fn read<T>(self, c: &mut SqliteConnection) -> sqlx::Result<Vec<T>>
    where
        T: for<'x> FromRow<'x, SqliteRow> + Send + Unpin,
    {
        self.query().try_map(|row| T::from_row(&row)).fetch_all(c).await
    }

    fn query(self) -> Query<'static, Sqlite, SqliteArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text));
        self.parts.into_iter().fold(query, |query, (rows, part)| bind_rows(query, rows, part))
    }
}

fn bind_rows<'q>(
    mut query: Query<'q, Sqlite, SqliteArguments>,
    rows: &Rows<'_>,
    part: Range<usize>,
) -> Query<'q, Sqlite, SqliteArguments> {
    for row in part {
        for (_, column) in &rows.columns {
            query = match column {
                Column::Int(values) => query.bind(values.get(row).copied()),
                Column::OptInt(values) => query.bind(values.get(row).copied().flatten()),
                Column::Float(values) => query.bind(values.get(row).copied().filter(|value| !value.is_nan())),
                Column::OptFloat(values) => {
                    query.bind(values.get(row).copied().flatten().filter(|value| !value.is_nan()))
                }
                Column::Text(values) => query.bind(values.get(row).map(|text| (*text).to_owned())),
                Column::OptText(values) => query.bind(values.get(row).copied().flatten().map(str::to_owned)),
            };
        }
    }
    query
}

fn bind_columns<'q>(
    mut query: Query<'q, Postgres, PgArguments>,
    rows: &'q Rows<'_>,
) -> Query<'q, Postgres, PgArguments> {
    for (_, column) in &rows.columns {
        query = match column {
            Column::Int(values) => query.bind(values),
            Column::OptInt(values) => query.bind(values),
            Column::Float(values) => query.bind(values),
            Column::OptFloat(values) => query.bind(values),
            Column::Text(values) => query.bind(values),
            Column::OptText(values) => query.bind(values),
        };
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_powers_of_two_that_cover_all_rows_once() {
        for count in [0, 1, 2, 3, 7, 64, 1000, 1023, 1024, 1025, 10_000] {
            let parts: Vec<_> = Rows::new(count).parts().collect();
            assert_eq!(
                parts.iter().flat_map(Clone::clone).collect::<Vec<_>>(),
                (0..count).collect::<Vec<_>>()
            );
            assert!(parts.iter().all(|part| part.len().is_power_of_two() && part.len() <= SQLITE_ROWS));
            assert!(parts.len() <= count / SQLITE_ROWS + 10, "{count}: {}", parts.len());
        }
    }

    #[test]
    fn the_text_for_each_database() {
        let rows = Rows::new(2).int("a", [1, 2].into_iter()).float("b", [0.5, 1.5].into_iter());
        let head = "INSERT INTO t ({columns}) SELECT {columns} FROM {rows}";
        assert_eq!(
            rows.sqlite_sql(head, 2),
            "INSERT INTO t (a, b) SELECT a, b FROM \
             (SELECT column1 AS a, column2 AS b FROM (VALUES (?, ?), (?, ?))) AS r"
        );
        assert_eq!(
            rows.postgres_sql(head),
            "INSERT INTO t (a, b) SELECT a, b FROM UNNEST($1::BIGINT[], $2::DOUBLE PRECISION[]) AS r(a, b)"
        );
        let three = Rows::new(3).int("a", 0..3);
        let script = Script::default().plain("BEGIN").over("SELECT a FROM {rows}", &three).plain("COMMIT");
        assert_eq!(
            script.text,
            "BEGIN; SELECT a FROM (SELECT column1 AS a FROM (VALUES (?), (?))) AS r; \
             SELECT a FROM (SELECT column1 AS a FROM (VALUES (?))) AS r; COMMIT"
        );
        assert_eq!(script.parts.iter().map(|(_, part)| part.clone()).collect::<Vec<_>>(), [0..2, 2..3]);
    }
}
