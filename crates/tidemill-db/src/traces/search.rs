//! Searching traces: conditions to SQL.

use sqlx::{AssertSqlSafe, FromRow, postgres::PgRow, sqlite::SqliteRow};

use crate::backend::{Conn, Either, on};
use crate::search::{Condition, Field, Op, Operand};
use crate::traces::page::Page;
use crate::traces::{RUN_KEY, SESSION_KEY, TraceInfo, read};
use crate::{Db, Error, Result};

/// The tag whose comparison means the prompts that a trace is linked to.
const PROMPTS_TAG: &str = "mlflow.linkedPrompts";

/// What to find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceQuery {
    /// In which experiments; none means nowhere.
    pub experiments: Vec<i64>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// The part of it.
    pub page: Page,
}

impl Db {
    /// One page of the traces that a query finds, without their spans.
    ///
    /// Fails with [`Error::Unsupported`] for a condition or an order that traces do not have.
    pub async fn search_traces(&self, query: &TraceQuery) -> Result<Vec<TraceInfo>> {
        let fail = "search traces";
        if query.experiments.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.snapshot().await?;
        let mut sql = Statement::new(&tx.conn());
        sql.push("SELECT ");
        sql.push(read::COLUMNS);
        sql.push(" FROM trace t WHERE ");
        sql.ints("t.experiment_id", &query.experiments);
        write_conditions(&mut sql, query)?;
        query.page.write(&mut sql)?;
        let rows: Vec<read::InfoRow> = sql.read(tx.conn()).await.map_err(self.ctx().fail(fail))?;
        read::complete(tx.conn(), rows).await.map_err(self.ctx().fail(fail))
    }
}

/// SQL that is being put together. Only constants get into its text; values are arguments.
pub(crate) struct Statement {
    text: String,
    args: Vec<Arg>,
    is_sqlite: bool,
}

enum Arg {
    Int(i64),
    Float(f64),
    Text(String),
}

impl Statement {
    pub(crate) fn new(conn: &Conn<'_>) -> Self {
        Self { text: String::new(), args: Vec::new(), is_sqlite: matches!(conn, Either::Sqlite(_)) }
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn arg(&mut self, arg: Arg) {
        self.args.push(arg);
        self.text.push_str(&format!("${}", self.args.len()));
    }

    pub(crate) fn int(&mut self, number: i64) {
        self.arg(Arg::Int(number));
    }

    fn float(&mut self, number: f64) {
        self.arg(Arg::Float(number));
    }

    /// Text; PostgreSQL cannot hold the character 0, which so never fits anything.
    pub(crate) fn text(&mut self, text: &str) {
        self.arg(Arg::Text(text.replace('\0', "\u{fffd}")));
    }

    /// That a column is one of some numbers.
    pub(crate) fn ints(&mut self, column: &str, numbers: &[i64]) {
        self.push(column);
        if let [one] = numbers {
            self.push(" = ");
            self.int(*one);
            return;
        }
        self.push(" IN (");
        for (i, number) in numbers.iter().enumerate() {
            self.push(if i == 0 { "" } else { ", " });
            self.int(*number);
        }
        self.push(")");
    }

    pub(crate) async fn read<T>(self, conn: Conn<'_>) -> sqlx::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        on!(conn, c => {
            let mut query = sqlx::query_as(AssertSqlSafe(self.text));
            for arg in self.args {
                query = match arg {
                    Arg::Int(number) => query.bind(number),
                    Arg::Float(number) => query.bind(number),
                    Arg::Text(text) => query.bind(text),
                };
            }
            query.fetch_all(c).await
        })
    }
}

fn unsupported(condition: &Condition) -> Error {
    Error::Unsupported { what: format!("{:?} {:?} {:?}", condition.field, condition.op, condition.value) }
}

fn write_conditions(sql: &mut Statement, query: &TraceQuery) -> Result<()> {
    let (spans, others): (Vec<_>, Vec<_>) =
        query.conditions.iter().partition(|condition| matches!(condition.field, Field::Span(_)));
    for condition in others {
        sql.push(" AND ");
        match &condition.field {
            Field::Attribute(name) => attribute(sql, name, condition)?,
            Field::Tag(key) if key == PROMPTS_TAG && condition.op == Op::Eq => {
                sql.push("t.id IN (");
                linked(sql, "prompt", condition)?;
                sql.push(")");
            }
            Field::Metadata(key) if key == RUN_KEY && matches!(condition.op, Op::Eq | Op::In) => {
                sql.push("(t.id IN (");
                linked(sql, "run", condition)?;
                sql.push(") OR ");
                pair(sql, "trace_metadata", key, condition)?;
                sql.push(")");
            }
            Field::Tag(key) => pair(sql, "trace_tag", key, condition)?,
            Field::Metadata(key) => pair(sql, "trace_metadata", key, condition)?,
            Field::Feedback(name) => assessment(sql, "feedback", name, query, condition)?,
            Field::Expectation(name) => assessment(sql, "expectation", name, query, condition)?,
            _ => return Err(unsupported(condition)),
        }
    }
    // One span must meet all that is asked of spans.
    if !spans.is_empty() {
        sql.push(" AND EXISTS (SELECT 1 FROM span s WHERE s.trace_id = t.id");
        for condition in spans {
            sql.push(" AND ");
            span(sql, condition)?;
        }
        sql.push(")");
    }
    Ok(())
}

fn attribute(sql: &mut Statement, name: &str, condition: &Condition) -> Result<()> {
    let column = match name {
        "timestamp_ms" | "timestamp" => "t.at",
        "execution_time_ms" | "execution_time" => "t.duration",
        "end_time_ms" | "end_time" => "(t.at + COALESCE(t.duration, 0))",
        "status" => "t.state",
        "request_id" => "t.uuid",
        "client_request_id" => "t.client_request_id",
        "name" => "t.name",
        _ => return Err(unsupported(condition)),
    };
    compare(sql, column, condition)
}

fn linked(sql: &mut Statement, kind: &str, condition: &Condition) -> Result<()> {
    sql.push("SELECT l.trace_id FROM trace_link l WHERE l.kind = ");
    sql.text(kind);
    sql.push(" AND ");
    compare(sql, "l.target", condition)
}

/// A tag, or an entry of the metadata. What is asked to be equal is looked up in the index.
fn pair(sql: &mut Statement, table: &str, key: &str, condition: &Condition) -> Result<()> {
    let missing = condition.op == Op::IsNull;
    if condition.op == Op::Eq {
        sql.push("t.id IN (SELECT g.trace_id FROM ");
    } else {
        sql.push(if missing { "NOT EXISTS (SELECT 1 FROM " } else { "EXISTS (SELECT 1 FROM " });
    }
    sql.push(table);
    sql.push(" g WHERE g.key = ");
    sql.text(key);
    match (&condition.op, &condition.value) {
        (Op::IsNull | Op::IsNotNull, _) => sql.push(" AND g.trace_id = t.id"),
        (Op::Eq, Operand::Text(text)) => {
            sql.push(" AND substr(g.value, 1, 64) = ");
            sql.text(&text.chars().take(64).collect::<String>());
            sql.push(" AND ");
            compare(sql, "g.value", condition)?;
        }
        (Op::Eq, _) => return Err(unsupported(condition)),
        _ => {
            sql.push(" AND g.trace_id = t.id AND ");
            compare(sql, "g.value", condition)?;
        }
    }
    sql.push(")");
    Ok(())
}

/// An assessment of the trace, or of another trace of its session that is said to be about the whole session.
fn assessment(
    sql: &mut Statement,
    kind: &str,
    name: &str,
    query: &TraceQuery,
    condition: &Condition,
) -> Result<()> {
    sql.push(if condition.op == Op::IsNull { "NOT (" } else { "(" });
    sql.push("EXISTS (SELECT 1 FROM assessment a WHERE a.trace_id = t.id AND ");
    judged(sql, kind, name, condition)?;
    sql.push(
        ") OR t.session IS NOT NULL AND t.session IN (SELECT o.session FROM assessment a
        JOIN trace o ON o.id = a.trace_id WHERE o.session IS NOT NULL AND ",
    );
    sql.ints("o.experiment_id", &query.experiments);
    sql.push(" AND a.metadata <> replace(a.metadata, ");
    sql.text(&format!("\"{SESSION_KEY}\":"));
    sql.push(", '') AND ");
    judged(sql, kind, name, condition)?;
    sql.push("))");
    Ok(())
}

fn judged(sql: &mut Statement, kind: &str, name: &str, condition: &Condition) -> Result<()> {
    sql.push("a.kind = ");
    sql.text(kind);
    sql.push(" AND a.name = ");
    sql.text(name);
    sql.push(" AND a.is_valid = 1");
    match (condition.op, &condition.value) {
        (Op::IsNull | Op::IsNotNull, _) => {}
        (Op::Lt | Op::Le | Op::Gt | Op::Ge, _) => {
            sql.push(" AND a.is_number = 1 AND ");
            compare(sql, "a.number", condition)?;
        }
        // Texts are kept in quotes, as JSON; `true` and `0.5` are not.
        (Op::Eq | Op::Ne, Operand::Text(text)) => {
            sql.push(if condition.op == Op::Eq { " AND a.value IN (" } else { " AND a.value NOT IN (" });
            sql.text(text);
            sql.push(", ");
            sql.text(&serde_json::Value::from(text.as_str()).to_string());
            sql.push(")");
        }
        (Op::Eq | Op::Ne, Operand::Number(_)) => {
            sql.push(" AND a.is_number = 1 AND ");
            compare(sql, "a.number", condition)?;
        }
        _ => {
            sql.push(" AND ");
            compare(sql, "a.value", condition)?;
        }
    }
    Ok(())
}

fn span(sql: &mut Statement, condition: &Condition) -> Result<()> {
    let Field::Span(name) = &condition.field else { return Err(unsupported(condition)) };
    match name.as_str() {
        "name" => compare(sql, "s.name", condition),
        "type" => compare(sql, "s.kind", condition),
        "status" => compare(sql, "s.status", condition),
        "content" => compare(sql, "s.body", condition),
        _ => match name.strip_prefix("attributes.") {
            Some(key) => span_attribute(sql, key, condition),
            None => Err(unsupported(condition)),
        },
    }
}

/// An attribute of a span stands in the span's text as `"key": "value"`, its value being JSON inside of JSON.
fn span_attribute(sql: &mut Statement, key: &str, condition: &Condition) -> Result<()> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let key = quoted(key);
    let texts: Vec<&str> = match &condition.value {
        Operand::Text(text) => vec![text],
        Operand::List(list) => list.iter().map(String::as_str).collect(),
        Operand::Nothing | Operand::Number(_) => return Err(unsupported(condition)),
    };
    let exact = matches!(condition.op, Op::Eq | Op::Ne | Op::In | Op::NotIn);
    if exact {
        sql.push("(");
        if matches!(condition.op, Op::Ne | Op::NotIn) {
            holds(sql, &format!("{key}: "));
            sql.push(" AND NOT (");
        }
        for (i, text) in texts.iter().enumerate() {
            sql.push(if i == 0 { "" } else { " OR " });
            holds(sql, &format!("{key}: {}", quoted(text)));
            sql.push(" OR ");
            holds(sql, &format!("{key}: {}", quoted(&quoted(text))));
        }
        sql.push(if matches!(condition.op, Op::Ne | Op::NotIn) { "))" } else { ")" });
        return Ok(());
    }
    let Some(text) = texts.first() else { return Err(unsupported(condition)) };
    let pattern = match condition.op {
        Op::Like | Op::ILike => format!("%{key}{text}%"),
        Op::RLike => within_value(&key, text),
        _ => return Err(unsupported(condition)),
    };
    let value = Operand::Text(pattern);
    compare(sql, "s.body", &Condition { field: condition.field.clone(), op: condition.op, value })
}

/// That the span's text has `needle` somewhere, without patterns.
fn holds(sql: &mut Statement, needle: &str) {
    sql.push("s.body <> replace(s.body, ");
    sql.text(needle);
    sql.push(", '')");
}

/// A regular expression for a value, as one for the text around it.
fn within_value(key: &str, pattern: &str) -> String {
    const INSIDE: &str = r#"(?:[^"\\]|\\.)*?"#;
    let mut around = String::new();
    for c in key.chars() {
        if !c.is_alphanumeric() && !matches!(c, ' ' | '"' | '_') && c.is_ascii() {
            around.push('\\');
        }
        around.push(c);
    }
    let (start, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (r#"(?:\\")?"#, rest),
        None => (INSIDE, pattern),
    };
    let (pattern, end) = match pattern.strip_suffix('$') {
        Some(rest) => (rest, r#"(?:\\")?""#),
        None => (pattern, ""),
    };
    format!("{around}: \"{start}(?:{pattern}){end}")
}

/// A column against what the condition compares with.
pub(crate) fn compare(sql: &mut Statement, column: &str, condition: &Condition) -> Result<()> {
    match (condition.op, &condition.value) {
        (Op::IsNull, _) => {
            sql.push(column);
            sql.push(" IS NULL");
        }
        (Op::IsNotNull, _) => {
            sql.push(column);
            sql.push(" IS NOT NULL");
        }
        (Op::In | Op::NotIn, Operand::List(list)) if list.is_empty() => {
            sql.push(if condition.op == Op::In { "FALSE" } else { "TRUE" });
        }
        (Op::In | Op::NotIn, Operand::List(list)) => {
            sql.push(column);
            sql.push(if condition.op == Op::In { " IN (" } else { " NOT IN (" });
            for (i, text) in list.iter().enumerate() {
                sql.push(if i == 0 { "" } else { ", " });
                sql.text(text);
            }
            sql.push(")");
        }
        (Op::Like | Op::ILike | Op::RLike, Operand::Text(pattern)) => {
            sql.push(column);
            matches(sql, condition.op, pattern);
        }
        (op, Operand::Text(text)) => {
            sql.push(column);
            sql.push(sign(op).ok_or_else(|| unsupported(condition))?);
            sql.text(text);
        }
        (op, Operand::Number(number)) => {
            sql.push(column);
            sql.push(sign(op).ok_or_else(|| unsupported(condition))?);
            sql.float(*number);
        }
        _ => return Err(unsupported(condition)),
    }
    Ok(())
}

fn sign(op: Op) -> Option<&'static str> {
    match op {
        Op::Eq => Some(" = "),
        Op::Ne => Some(" <> "),
        Op::Lt => Some(" < "),
        Op::Le => Some(" <= "),
        Op::Gt => Some(" > "),
        Op::Ge => Some(" >= "),
        Op::Like | Op::ILike | Op::RLike | Op::In | Op::NotIn | Op::IsNull | Op::IsNotNull => None,
    }
}

fn matches(sql: &mut Statement, op: Op, pattern: &str) {
    match (op, sql.is_sqlite) {
        // SQLite's LIKE does not tell upper and lower case apart; its GLOB does.
        (Op::Like, true) => {
            sql.push(" GLOB ");
            sql.text(&glob(pattern));
        }
        (Op::ILike, true) => {
            sql.push(" LIKE ");
            sql.text(pattern);
        }
        (Op::RLike, true) => {
            sql.push(" REGEXP ");
            sql.text(pattern);
        }
        (_, false) => {
            let (word, end) = match op {
                Op::Like => (" LIKE ", " ESCAPE ''"),
                Op::ILike => (" ILIKE ", " ESCAPE ''"),
                _ => (" ~ ", ""),
            };
            sql.push(word);
            sql.text(pattern);
            sql.push(end);
        }
        _ => {}
    }
}

/// A pattern of LIKE as one of GLOB.
fn glob(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            '%' => out.push('*'),
            '_' => out.push('?'),
            '*' | '?' | '[' => {
                out.push('[');
                out.push(c);
                out.push(']');
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_like_as_those_of_glob() {
        for (like, expected) in [("a%b_c", "a*b?c"), ("100%", "100*"), ("[x]*?", "[[]x][*][?]")] {
            assert_eq!(glob(like), expected);
        }
    }

    #[test]
    fn a_regular_expression_stays_inside_of_the_value() {
        assert_eq!(within_value("\"a.b\"", "^gpt-.$"), r#""a\.b": "(?:\\")?(?:gpt-.)(?:\\")?""#);
        assert_eq!(within_value("\"m\"", "4o"), r#""m": "(?:[^"\\]|\\.)*?(?:4o)"#);
    }
}
