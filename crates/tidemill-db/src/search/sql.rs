//! Statements whose text depends on what is asked: pieces of constant text and bound values, nothing else.
//!
//! A value never gets into the text. What differs between the databases in comparing texts is here, so that a condition
//! means the same on both.

use std::fmt::{self, Write as _};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ToSql, params_from_iter};
use serde::Serialize;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, FromRow, Postgres, Sqlite};

use crate::backend::{Conn, Either, Hand};
use crate::direct::{self, FromDirect};
use crate::search::{Op, Operand, text};

/// Beyond this a list goes as one text: both databases take a limited number of values.
const LONG: usize = 4096;

/// A statement in the making.
#[derive(Debug)]
pub(crate) struct Sql {
    text: String,
    binds: Vec<Bind>,
    postgres: bool,
}

#[derive(Clone, Debug)]
enum Bind {
    Text(String),
    Int(i64),
    Float(f64),
}

/// A column, with the name of its table and a number behind that where a table is joined several times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    table: &'static str,
    number: Option<usize>,
    name: &'static str,
}

impl ToSql for Bind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Float(value) => ValueRef::Real(*value),
        }))
    }
}

impl Column {
    /// `table.name`.
    pub(crate) const fn new(table: &'static str, name: &'static str) -> Self {
        Self { table, number: None, name }
    }

    /// `tableNUMBER.name`.
    pub(crate) const fn numbered(table: &'static str, number: usize, name: &'static str) -> Self {
        Self { table, number: Some(number), name }
    }
}

impl From<&'static str> for Column {
    /// A whole expression.
    fn from(name: &'static str) -> Self {
        Self { table: "", number: None, name }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.table, self.number) {
            ("", _) => f.write_str(self.name),
            (table, None) => write!(f, "{table}.{}", self.name),
            (table, Some(number)) => write!(f, "{table}{number}.{}", self.name),
        }
    }
}

impl Sql {
    /// An empty statement for the database of `conn`.
    pub(crate) fn new(conn: &Conn<'_>) -> Self {
        Self::of(matches!(conn, Either::Postgres(_)))
    }

    /// An empty statement for PostgreSQL or SQLite.
    pub(crate) fn of(postgres: bool) -> Self {
        Self { text: String::new(), binds: Vec::new(), postgres }
    }

    /// Whether it is for PostgreSQL.
    pub(crate) fn is_postgres(&self) -> bool {
        self.postgres
    }

    /// Constant text.
    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Text that was put together from constants of this crate and nothing else.
    pub(crate) fn pieced(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Constant text for each database.
    pub(crate) fn either(&mut self, sqlite: &'static str, postgres: &'static str) -> &mut Self {
        let postgres_asked = self.postgres;
        self.push(if postgres_asked { postgres } else { sqlite })
    }

    /// A column.
    pub(crate) fn column(&mut self, column: impl Into<Column>) -> &mut Self {
        let _ = write!(self.text, "{}", column.into());
        self
    }

    /// A number of ours in the text, such as that of a joined table.
    pub(crate) fn number(&mut self, number: usize) -> &mut Self {
        let _ = write!(self.text, "{number}");
        self
    }

    fn bind(&mut self, value: Bind) -> &mut Self {
        self.binds.push(value);
        let _ = write!(self.text, "${}", self.binds.len());
        self
    }

    /// A bound text.
    pub(crate) fn text(&mut self, value: impl Into<String>) -> &mut Self {
        self.bind(Bind::Text(value.into()))
    }

    /// A bound whole number.
    pub(crate) fn int(&mut self, value: i64) -> &mut Self {
        self.bind(Bind::Int(value))
    }

    /// A bound number.
    pub(crate) fn float(&mut self, value: f64) -> &mut Self {
        self.bind(Bind::Float(value))
    }

    /// A list of bound whole numbers in brackets. Up to [`LONG`] it is filled up to a power of two with the last one, so that
    /// few statements must be prepared. It must not be empty.
    pub(crate) fn ints(&mut self, values: &[i64]) -> &mut Self {
        if values.len() > LONG {
            return self.long_list(values, "BIGINT");
        }
        self.list(values, |sql, value| {
            sql.int(*value);
        })
    }

    /// As [`Self::ints`], of texts.
    pub(crate) fn texts(&mut self, values: &[String]) -> &mut Self {
        if values.len() > LONG {
            return self.long_list(values, "TEXT");
        }
        self.list(values, |sql, value| {
            sql.text(value.as_str());
        })
    }

    fn long_list(&mut self, values: &[impl Serialize], kind: &'static str) -> &mut Self {
        let json = serde_json::to_string(values).unwrap_or_default();
        if self.postgres {
            self.push("(SELECT CAST(j.value AS ").push(kind).push(") FROM jsonb_array_elements_text(CAST(");
            self.text(json).push(" AS JSONB)) AS j(value))")
        } else {
            self.push("(SELECT value FROM json_each(").text(json).push("))")
        }
    }

    fn list<T>(&mut self, values: &[T], bind: impl Fn(&mut Self, &T)) -> &mut Self {
        self.push("(");
        for i in 0..values.len().next_power_of_two() {
            let Some(value) = values.get(i).or(values.last()) else { break };
            if i > 0 {
                self.push(", ");
            }
            bind(self, value);
        }
        self.push(")")
    }

    /// Whether a column of texts compares with `value` as `op` says. What cannot be compared never does.
    pub(crate) fn text_is(&mut self, column: impl Into<Column>, op: Op, value: &Operand) -> &mut Self {
        let column = column.into();
        match (op, value) {
            (Op::IsNull, _) => self.column(column).push(" IS NULL"),
            (Op::IsNotNull, _) => self.column(column).push(" IS NOT NULL"),
            (Op::In | Op::NotIn, Operand::List(values)) if values.is_empty() => {
                self.push(if op == Op::In { "FALSE" } else { "TRUE" })
            }
            (Op::In | Op::NotIn, Operand::List(values)) => {
                self.column(column).push(if op == Op::In { " IN " } else { " NOT IN " }).texts(values)
            }
            (Op::Like, Operand::Text(pattern)) if self.postgres => {
                self.column(column).push(" LIKE ").text(pattern.as_str()).push(" ESCAPE ''")
            }
            (Op::Like, Operand::Text(pattern)) => {
                self.column(column).push(" GLOB ").text(text::glob(pattern))
            }
            // The letters are those of the server's locale, as in MLflow's own database.
            (Op::ILike, Operand::Text(pattern)) if self.postgres => self
                .column(column)
                .push(" COLLATE \"default\" ILIKE ")
                .text(pattern.as_str())
                .push(" ESCAPE ''"),
            (Op::ILike, Operand::Text(pattern)) if pattern.is_ascii() => {
                self.column(column).push(" LIKE ").text(pattern.as_str())
            }
            (Op::ILike, Operand::Text(pattern)) => {
                self.column(column).push(" REGEXP ").text(text::expression(pattern))
            }
            (Op::RLike, Operand::Text(pattern)) => {
                self.column(column).either(" REGEXP ", " ~ ").text(pattern.as_str())
            }
            (op, Operand::Text(value)) => match sign(op) {
                Some(sign) => self.column(column).push(sign).text(value.as_str()),
                None => self.push("FALSE"),
            },
            (_, Operand::Nothing | Operand::Number(_) | Operand::List(_)) => self.push("FALSE"),
        }
    }

    /// Whether a column of whole numbers compares with `value` as `op` says. The bound is made whole, so that an index
    /// serves on both databases.
    pub(crate) fn int_is(&mut self, column: impl Into<Column>, op: Op, value: f64) -> &mut Self {
        let column = column.into();
        let (op, bound) = match op {
            Op::Gt | Op::Le => (op, value.floor()),
            Op::Ge | Op::Lt => (op, value.ceil()),
            Op::Eq if value.fract() != 0.0 => return self.push("FALSE"),
            Op::Ne if value.fract() != 0.0 => return self.column(column).push(" IS NOT NULL"),
            op => (op, value),
        };
        match sign(op) {
            Some(sign) => self.column(column).push(sign).int(bound as i64),
            None => self.push("FALSE"),
        }
    }

    /// Whether a column of numbers compares with `value` as `op` says.
    pub(crate) fn float_is(&mut self, column: impl Into<Column>, op: Op, value: f64) -> &mut Self {
        match sign(op) {
            Some(sign) => self.column(column).push(sign).float(value),
            None => self.push("FALSE"),
        }
    }

    /// Whether `table`, known as `c`, has a row of `owner` under `key` whose `value` compares as all of `tests` say; or has
    /// none under `key`, where one of them is `IS NULL`. `table` ends with the column of `owner`, for example
    /// `run_tag c WHERE c.run_id`.
    pub(crate) fn pair_is(
        &mut self,
        table: &'static str,
        owner: impl Into<Column>,
        key: &str,
        tests: &[(Op, &Operand)],
    ) -> &mut Self {
        let absent = tests.iter().any(|(op, _)| *op == Op::IsNull);
        let present = tests.iter().any(|(op, _)| *op != Op::IsNull);
        if absent && present {
            return self.push("FALSE");
        }
        let exists = if absent { "NOT EXISTS (SELECT 1 FROM " } else { "EXISTS (SELECT 1 FROM " };
        self.push(exists).push(table).push(" = ").column(owner).push(" AND c.key = ").text(key);
        for &(op, value) in tests.iter().filter(|(op, _)| !matches!(op, Op::IsNull | Op::IsNotNull)) {
            self.push(" AND ").text_is("c.value", op, value);
        }
        self.push(")")
    }

    /// Runs it and reads all rows.
    pub(crate) async fn fetch<T>(&self, conn: Conn<'_>) -> sqlx::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let text = AssertSqlSafe(self.text.clone());
        match conn {
            Either::Sqlite(c) => {
                let query = self.bound_sqlite(sqlx::query(text)).try_map(|row| T::from_row(&row));
                query.fetch_all(c).await
            }
            // Without a name, a statement is planned for its values each time.
            Either::Postgres(c) => {
                let query = self.bound_postgres(sqlx::query(text).persistent(false));
                query.try_map(|row| T::from_row(&row)).fetch_all(c).await
            }
        }
    }

    /// As [`Self::fetch`], on a connection of either kind.
    pub(crate) async fn fetch_on<T>(&self, hand: Hand<'_>) -> sqlx::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + FromDirect + Send + Unpin,
    {
        match hand {
            Hand::Sqlx(conn) => self.fetch(conn).await,
            Hand::Direct(c) => {
                direct::rows(c, &self.text, params_from_iter(&self.binds)).map_err(direct::carried)
            }
        }
    }

    /// How the database would run it, for tests and measurements.
    #[cfg(test)]
    pub(crate) fn shown(&self) -> &str {
        &self.text
    }

    fn bound_sqlite<'q>(
        &self,
        mut query: Query<'q, Sqlite, SqliteArguments>,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        for bind in &self.binds {
            query = match bind {
                Bind::Text(value) => query.bind(value.clone()),
                Bind::Int(value) => query.bind(*value),
                Bind::Float(value) => query.bind(*value),
            };
        }
        query
    }

    fn bound_postgres<'q>(
        &self,
        mut query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        for bind in &self.binds {
            query = match bind {
                Bind::Text(value) => query.bind(value.clone()),
                Bind::Int(value) => query.bind(*value),
                Bind::Float(value) => query.bind(*value),
            };
        }
        query
    }
}

fn sign(op: Op) -> Option<&'static str> {
    Some(match op {
        Op::Eq => " = ",
        Op::Ne => " <> ",
        Op::Lt => " < ",
        Op::Le => " <= ",
        Op::Gt => " > ",
        Op::Ge => " >= ",
        Op::Like | Op::ILike | Op::RLike | Op::In | Op::NotIn | Op::IsNull | Op::IsNotNull => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(postgres: bool, build: impl Fn(&mut Sql), expected: &str) {
        let mut sql = Sql { text: String::new(), binds: Vec::new(), postgres };
        build(&mut sql);
        assert_eq!(sql.shown(), expected);
        let places = sql.text.matches('$').count();
        assert_eq!(places, sql.binds.len());
    }

    #[test]
    fn conditions_for_each_database() {
        let text = |text: &str| Operand::Text(text.to_owned());
        check(
            false,
            |sql| {
                sql.text_is("a", Op::Like, &text("x%"));
            },
            "a GLOB $1",
        );
        check(
            true,
            |sql| {
                sql.text_is("a", Op::Like, &text("x%"));
            },
            "a LIKE $1 ESCAPE ''",
        );
        check(
            false,
            |sql| {
                sql.text_is("a", Op::ILike, &text("x%"));
            },
            "a LIKE $1",
        );
        check(
            false,
            |sql| {
                sql.text_is("a", Op::ILike, &text("é%"));
            },
            "a REGEXP $1",
        );
        let list = Operand::List(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        check(
            false,
            |sql| {
                sql.text_is("a", Op::NotIn, &list);
            },
            "a NOT IN ($1, $2, $3, $4)",
        );
        check(
            true,
            |sql| {
                sql.text_is("a", Op::In, &Operand::List(vec![]));
            },
            "FALSE",
        );
        check(
            true,
            |sql| {
                sql.int_is("a", Op::Gt, 1.5);
            },
            "a > $1",
        );
        check(
            true,
            |sql| {
                sql.int_is("a", Op::Eq, 1.5);
            },
            "FALSE",
        );
        let value = text("v");
        check(
            false,
            |sql| {
                sql.pair_is(
                    "run_tag c WHERE c.run_id",
                    "t.id",
                    "k",
                    &[(Op::Ne, &value), (Op::IsNotNull, &value)],
                );
            },
            "EXISTS (SELECT 1 FROM run_tag c WHERE c.run_id = t.id AND c.key = $1 AND c.value <> $2)",
        );
        check(
            false,
            |sql| {
                sql.pair_is("run_tag c WHERE c.run_id", "t.id", "k", &[(Op::IsNull, &Operand::Nothing)]);
            },
            "NOT EXISTS (SELECT 1 FROM run_tag c WHERE c.run_id = t.id AND c.key = $1)",
        );
    }
}
