//! Searching traces: conditions to SQL.

use crate::search::{Condition, Field, Op, Operand, Sql};
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
        let mut sql = Sql::new(&tx.conn());
        sql.push("SELECT ").push(read::COLUMNS).push(" FROM trace t WHERE t.experiment_id IN ");
        sql.ints(&query.experiments);
        write_conditions(&mut sql, query)?;
        query.page.write(&mut sql)?;
        let rows: Vec<read::InfoRow> = sql.fetch(tx.conn()).await.map_err(self.ctx().fail(fail))?;
        read::complete(tx.conn(), rows).await.map_err(self.ctx().fail(fail))
    }
}

fn unsupported(condition: &Condition) -> Error {
    Error::Unsupported { what: format!("{:?} {:?} {:?}", condition.field, condition.op, condition.value) }
}

fn write_conditions(sql: &mut Sql, query: &TraceQuery) -> Result<()> {
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

fn attribute(sql: &mut Sql, name: &str, condition: &Condition) -> Result<()> {
    let number = match name {
        "timestamp_ms" | "timestamp" => "t.at",
        "execution_time_ms" | "execution_time" => "t.duration",
        "end_time_ms" | "end_time" => "(t.at + COALESCE(t.duration, 0))",
        _ => "",
    };
    if !number.is_empty() {
        let value = match &condition.value {
            Operand::Number(number) => *number,
            Operand::Text(text) => text.trim().parse().map_err(|_| unsupported(condition))?,
            Operand::Nothing | Operand::List(_) => return Err(unsupported(condition)),
        };
        sql.int_is(number, condition.op, value);
        return Ok(());
    }
    let column = match name {
        "status" => "t.state",
        "request_id" => "t.uuid",
        "client_request_id" => "t.client_request_id",
        "name" => "t.name",
        _ => return Err(unsupported(condition)),
    };
    compare(sql, column, condition);
    Ok(())
}

fn linked(sql: &mut Sql, kind: &str, condition: &Condition) -> Result<()> {
    sql.push("SELECT l.trace_id FROM trace_link l WHERE l.kind = ");
    sql.text(kind);
    sql.push(" AND ");
    compare(sql, "l.target", condition);
    Ok(())
}

/// A tag, or an entry of the metadata. What is asked to be equal is looked up in the index.
fn pair(sql: &mut Sql, table: &'static str, key: &str, condition: &Condition) -> Result<()> {
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
        (Op::IsNull | Op::IsNotNull, _) => {
            sql.push(" AND g.trace_id = t.id");
        }
        (Op::Eq, Operand::Text(text)) => {
            sql.push(" AND substr(g.value, 1, 64) = ");
            sql.text(text.chars().take(64).collect::<String>());
            sql.push(" AND ");
            compare(sql, "g.value", condition);
        }
        (Op::Eq, _) => return Err(unsupported(condition)),
        _ => {
            sql.push(" AND g.trace_id = t.id AND ");
            compare(sql, "g.value", condition);
        }
    }
    sql.push(")");
    Ok(())
}

/// An assessment of the trace, or of another trace of its session that is said to be about the whole session.
fn assessment(
    sql: &mut Sql,
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
    sql.push("o.experiment_id IN ").ints(&query.experiments);
    sql.push(" AND a.metadata <> replace(a.metadata, ");
    sql.text(format!("\"{SESSION_KEY}\":"));
    sql.push(", '') AND ");
    judged(sql, kind, name, condition)?;
    sql.push("))");
    Ok(())
}

fn judged(sql: &mut Sql, kind: &str, name: &str, condition: &Condition) -> Result<()> {
    sql.push("a.kind = ");
    sql.text(kind);
    sql.push(" AND a.name = ");
    sql.text(name);
    sql.push(" AND a.is_valid = 1");
    match (condition.op, &condition.value) {
        (Op::IsNull | Op::IsNotNull, _) => {}
        (Op::Lt | Op::Le | Op::Gt | Op::Ge, _) => {
            sql.push(" AND a.is_number = 1 AND ");
            compare(sql, "a.number", condition);
        }
        // Texts are kept in quotes, as JSON; `true` and `0.5` are not.
        (Op::Eq | Op::Ne, Operand::Text(text)) => {
            sql.push(if condition.op == Op::Eq { " AND a.value IN (" } else { " AND a.value NOT IN (" });
            sql.text(text.as_str());
            sql.push(", ");
            sql.text(serde_json::Value::from(text.as_str()).to_string());
            sql.push(")");
        }
        (Op::Eq | Op::Ne, Operand::Number(_)) => {
            sql.push(" AND a.is_number = 1 AND ");
            compare(sql, "a.number", condition);
        }
        _ => {
            sql.push(" AND ");
            compare(sql, "a.value", condition);
        }
    }
    Ok(())
}

fn span(sql: &mut Sql, condition: &Condition) -> Result<()> {
    let Field::Span(name) = &condition.field else { return Err(unsupported(condition)) };
    let column = match name.as_str() {
        "name" => "s.name",
        "type" => "s.kind",
        "status" => "s.status",
        "content" => "s.body",
        _ => {
            let key = name.strip_prefix("attributes.").ok_or_else(|| unsupported(condition))?;
            return span_attribute(sql, key, condition);
        }
    };
    compare(sql, column, condition);
    Ok(())
}

/// An attribute of a span stands in the span's text as `"key": "value"`, its value being JSON inside of JSON.
fn span_attribute(sql: &mut Sql, key: &str, condition: &Condition) -> Result<()> {
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
    sql.text_is("s.body", condition.op, &value);
    Ok(())
}

/// That the span's text has `needle` somewhere, without patterns.
fn holds(sql: &mut Sql, needle: &str) {
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
pub(crate) fn compare(sql: &mut Sql, column: &'static str, condition: &Condition) {
    match &condition.value {
        Operand::Number(number) => sql.float_is(column, condition.op, *number),
        value => sql.text_is(column, condition.op, value),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_stays_inside_of_the_value() {
        assert_eq!(within_value("\"a.b\"", "^gpt-.$"), r#""a\.b": "(?:\\")?(?:gpt-.)(?:\\")?""#);
        assert_eq!(within_value("\"m\"", "4o"), r#""m": "(?:[^"\\]|\\.)*?(?:4o)"#);
    }
}
