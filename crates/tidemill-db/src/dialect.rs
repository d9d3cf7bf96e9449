//! Everything that differs between SQLite and PostgreSQL, except the schema (`migrations/`): how a transaction
//! begins, how many rows are given to one statement, and what the error codes mean.

use std::fmt::Write as _;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, PgConnection, Postgres, SqliteConnection};

use crate::Error;
use crate::backend::{Conn, Context, Either};

pub(crate) const SQLITE_SNAPSHOT: &str = "BEGIN DEFERRED";
pub(crate) const SQLITE_WRITE: &str = "BEGIN IMMEDIATE";
pub(crate) const POSTGRES_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Read committed, whatever the server's default: after waiting for the log's head, its newest state is seen, so
/// writers queue there instead of failing with serialization errors.
pub(crate) const POSTGRES_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

const HEAD: &str = "SELECT size, frontier FROM log_head WHERE id = 1";
const HEAD_LOCKED: &str = "SELECT size, frontier FROM log_head WHERE id = 1 FOR UPDATE";

/// Reads the log's size and frontier, and on PostgreSQL makes every other writer to the log wait until this
/// transaction ends. SQLite's write transactions exclude each other anyway.
pub(crate) async fn lock_head(conn: Conn<'_>) -> sqlx::Result<Option<(i64, String)>> {
    match conn {
        Either::Sqlite(c) => sqlx::query_as(HEAD).fetch_optional(c).await,
        Either::Postgres(c) => sqlx::query_as(HEAD_LOCKED).fetch_optional(c).await,
    }
}

/// Whether the same work may succeed when it is done again: another transaction was in the way.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|e| e.code())
        .is_some_and(|code| matches!(code.as_ref(), "40001" | "40P01"))
}

/// Whether the rows themselves are at fault: a constraint of the schema does not allow them.
pub(crate) fn is_constraint(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| {
        // SQLite: primary code 19. PostgreSQL: class 23, and 22 for values that do not fit their type.
        code.parse::<i32>().is_ok_and(|code| code & 0xff == 19 && code < 10_000)
            || code.len() == 5 && (code.starts_with("23") || code.starts_with("22"))
    })
}

/// Sorts a driver error by what the user can do about it.
pub(crate) fn classify(ctx: &Context, action: &'static str, error: sqlx::Error) -> Error {
    let place = ctx.place.clone();
    let detail = error.as_database_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return Error::Locked { place, waited: ctx.busy_timeout };
    }
    if matches!(error, sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed) {
        return Error::Closed { place };
    }
    if let sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) = error {
        return Error::Open { place, detail };
    }
    let code = error.as_database_error().and_then(|e| e.code()).map(std::borrow::Cow::into_owned);
    let Some(code) = code else {
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
pub(crate) enum Column<'a> {
    Int(Vec<i64>),
    OptInt(Vec<Option<i64>>),
    Float(Vec<f64>),
    Text(Vec<&'a str>),
    OptText(Vec<Option<&'a str>>),
}

/// Rows for one statement: as `UNNEST` over one array per column on PostgreSQL, and as `json_each` over one JSON
/// text on SQLite. NaN becomes NULL on SQLite, which cannot store it; tables with floats carry a flag beside.
pub(crate) struct Rows<'a> {
    columns: Vec<(&'static str, Column<'a>)>,
    count: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(count: usize) -> Self {
        Self { columns: Vec::new(), count }
    }

    pub(crate) fn int(mut self, name: &'static str, values: impl Iterator<Item = i64>) -> Self {
        self.columns.push((name, Column::Int(values.collect())));
        self
    }

    pub(crate) fn opt_int(mut self, name: &'static str, values: impl Iterator<Item = Option<i64>>) -> Self {
        self.columns.push((name, Column::OptInt(values.collect())));
        self
    }

    pub(crate) fn float(mut self, name: &'static str, values: impl Iterator<Item = f64>) -> Self {
        self.columns.push((name, Column::Float(values.collect())));
        self
    }

    pub(crate) fn text(mut self, name: &'static str, values: impl Iterator<Item = &'a str>) -> Self {
        self.columns.push((name, Column::Text(values.collect())));
        self
    }

    pub(crate) fn opt_text(
        mut self,
        name: &'static str,
        values: impl Iterator<Item = Option<&'a str>>,
    ) -> Self {
        self.columns.push((name, Column::OptText(values.collect())));
        self
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// `head` with `{columns}` and `{rows}` replaced. Only constants of this crate get into the text.
    fn sql(&self, head: &str, postgres: bool) -> String {
        let mut rows = String::new();
        for (i, (name, column)) in self.columns.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            let _ = if postgres {
                write!(rows, "{separator}${}::{}[]", i + 1, column.postgres_type())
            } else {
                write!(rows, "{separator}value->>{i} AS {name}")
            };
        }
        let rows = if postgres {
            format!("UNNEST({rows}) AS r({})", self.names())
        } else {
            format!("(SELECT {rows} FROM json_each($1)) AS r")
        };
        head.replace("{columns}", &self.names()).replace("{rows}", &rows)
    }

    fn json(&self) -> String {
        let mut text = String::with_capacity(self.count * self.columns.len() * 16 + 2);
        text.push('[');
        for row in 0..self.count {
            text.push_str(if row == 0 { "[" } else { ",[" });
            for (i, (_, column)) in self.columns.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                column.push_json(row, &mut text);
            }
            text.push(']');
        }
        text.push(']');
        text
    }
}

impl Column<'_> {
    fn postgres_type(&self) -> &'static str {
        match self {
            Self::Int(_) | Self::OptInt(_) => "BIGINT",
            Self::Float(_) => "DOUBLE PRECISION",
            Self::Text(_) | Self::OptText(_) => "TEXT",
        }
    }

    fn push_json(&self, row: usize, out: &mut String) {
        match self {
            Self::Int(values) => {
                let _ = write!(out, "{}", values[row]);
            }
            Self::OptInt(values) => match values[row] {
                Some(value) => {
                    let _ = write!(out, "{value}");
                }
                None => out.push_str("null"),
            },
            Self::Float(values) => push_float(values[row], out),
            Self::Text(values) => push_text(values[row], out),
            Self::OptText(values) => match values[row] {
                Some(value) => push_text(value, out),
                None => out.push_str("null"),
            },
        }
    }
}

/// 9e999 is a number in JSON's grammar and overflows to infinity in SQLite's reader.
fn push_float(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("null");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "9e999" } else { "-9e999" });
    } else {
        let _ = write!(out, "{value:e}");
    }
}

fn push_text(value: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(value).to_string());
}

/// Runs `head` over `rows`; gives the number of rows that it wrote. `{columns}` in `head` stands for the names of
/// the columns and `{rows}` for the rows, known as `r`.
pub(crate) async fn write_rows(conn: Conn<'_>, head: &str, rows: &Rows<'_>) -> sqlx::Result<u64> {
    match conn {
        Either::Sqlite(c) => write_sqlite(c, head, rows).await,
        Either::Postgres(c) => write_postgres(c, head, rows).await,
    }
}

/// Runs `head` over `rows` as [`write_rows`] does, and reads what it gives.
pub(crate) async fn read_rows<T>(conn: Conn<'_>, head: &str, rows: &Rows<'_>) -> sqlx::Result<Vec<T>>
where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    match conn {
        Either::Sqlite(c) => {
            let sql = AssertSqlSafe(rows.sql(head, false));
            sqlx::query(sql).bind(rows.json()).try_map(|row| T::from_row(&row)).fetch_all(c).await
        }
        Either::Postgres(c) => {
            let sql = AssertSqlSafe(rows.sql(head, true));
            bind_columns(sqlx::query(sql), rows).try_map(|row| T::from_row(&row)).fetch_all(c).await
        }
    }
}

async fn write_sqlite(c: &mut SqliteConnection, head: &str, rows: &Rows<'_>) -> sqlx::Result<u64> {
    let sql = AssertSqlSafe(rows.sql(head, false));
    Ok(sqlx::query(sql).bind(rows.json()).execute(c).await?.rows_affected())
}

async fn write_postgres(c: &mut PgConnection, head: &str, rows: &Rows<'_>) -> sqlx::Result<u64> {
    let sql = AssertSqlSafe(rows.sql(head, true));
    Ok(bind_columns(sqlx::query(sql), rows).execute(c).await?.rows_affected())
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
            Column::Text(values) => query.bind(values),
            Column::OptText(values) => query.bind(values),
        };
    }
    query
}
