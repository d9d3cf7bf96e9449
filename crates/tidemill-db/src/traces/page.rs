//! The order of a search over traces, and where its next page begins.

use crate::search::{Field, OrderBy, Sql};
use crate::traces::{NAME_TAG, RUN_KEY, TraceInfo};
use crate::tracking::KeyValue;
use crate::{Error, Result};

/// What a key of the order was in the last row of the page before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// Missing. What is missing comes last in both directions.
    Nothing,
    /// A number.
    Int(i64),
    /// Text.
    Text(String),
}

/// Which part of all that is found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The order; then the newest first, then by identifier.
    pub order: Vec<OrderBy>,
    /// The keys of the last row of the page before, as [`Page::keys`] gives them; empty for the first page.
    pub after: Vec<After>,
    /// The largest number of rows.
    pub limit: usize,
}

impl Page {
    /// All keys of the order, with those that make it total.
    fn complete_order(&self) -> Vec<OrderBy> {
        let mut order = self.order.clone();
        for (name, descending) in [("timestamp_ms", true), ("request_id", false)] {
            if !order.iter().any(|key| key.field == Field::Attribute(name.to_owned())) {
                order.push(OrderBy { field: Field::Attribute(name.to_owned()), descending });
            }
        }
        order
    }

    /// The keys of a trace in this order.
    pub fn keys(&self, trace: &TraceInfo) -> Vec<After> {
        self.complete_order().iter().map(|key| key_of(trace, &key.field)).collect()
    }

    /// Adds the condition for what comes after the page before, and `ORDER BY` and `LIMIT`.
    pub(super) fn write(&self, sql: &mut Sql) -> Result<()> {
        let order = self.complete_order();
        if !self.after.is_empty() {
            if self.after.len() != order.len() {
                return Err(Error::Unsupported { what: "a page of another order".to_owned() });
            }
            sql.push(" AND (");
            for (i, key) in order.iter().enumerate() {
                sql.push(if i == 0 { "(" } else { " OR (" });
                for (key, after) in order[..i].iter().zip(&self.after) {
                    write_equal(sql, key, after)?;
                    sql.push(" AND ");
                }
                write_after(sql, key, &self.after[i])?;
                sql.push(")");
            }
            sql.push(")");
            // The same again as a bound that an index can begin at.
            if let (Some(OrderBy { field: Field::Attribute(name), descending: true }), Some(After::Int(at))) =
                (order.first(), self.after.first())
                && name == "timestamp_ms"
            {
                sql.push(" AND t.at <= ");
                sql.int(*at);
            }
        }
        for (i, key) in order.iter().enumerate() {
            sql.push(if i == 0 { " ORDER BY " } else { ", " });
            if is_optional(&key.field) {
                write_key(sql, &key.field)?;
                sql.push(" IS NULL, ");
            }
            write_key(sql, &key.field)?;
            sql.push(if key.descending { " DESC" } else { "" });
        }
        sql.push(" LIMIT ");
        sql.int(i64::try_from(self.limit).unwrap_or(i64::MAX));
        Ok(())
    }
}

fn is_optional(field: &Field) -> bool {
    !matches!(field, Field::Attribute(name)
        if matches!(name.as_str(), "timestamp_ms" | "end_time_ms" | "status" | "request_id" | "experiment_id"))
}

fn write_key(sql: &mut Sql, field: &Field) -> Result<()> {
    let (table, key) = match field {
        Field::Attribute(name) => {
            let column = match name.as_str() {
                "timestamp_ms" | "timestamp" => "t.at",
                "execution_time_ms" | "execution_time" => "t.duration",
                "end_time_ms" | "end_time" => "(t.at + COALESCE(t.duration, 0))",
                "status" => "t.state",
                "request_id" => "t.uuid",
                "experiment_id" => "t.experiment_id",
                "client_request_id" => "t.client_request_id",
                "name" => "t.name",
                "run_id" => return write_pair(sql, "trace_metadata", RUN_KEY),
                _ => return Err(Error::Unsupported { what: format!("an order by `{name}`") }),
            };
            sql.push(column);
            return Ok(());
        }
        Field::Tag(key) => ("trace_tag", key),
        Field::Metadata(key) => ("trace_metadata", key),
        _ => return Err(Error::Unsupported { what: format!("an order by {field:?}") }),
    };
    write_pair(sql, table, key)
}

fn write_pair(sql: &mut Sql, table: &'static str, key: &str) -> Result<()> {
    sql.push("(SELECT o.value FROM ");
    sql.push(table);
    sql.push(" o WHERE o.trace_id = t.id AND o.key = ");
    sql.text(key);
    sql.push(")");
    Ok(())
}

fn write_value(sql: &mut Sql, value: &After) {
    match value {
        After::Nothing => sql.push("NULL"),
        After::Int(number) => sql.int(*number),
        After::Text(text) => sql.text(text.as_str()),
    };
}

fn write_equal(sql: &mut Sql, key: &OrderBy, value: &After) -> Result<()> {
    write_key(sql, &key.field)?;
    if *value == After::Nothing {
        sql.push(" IS NULL");
    } else {
        sql.push(" = ");
        write_value(sql, value);
    }
    Ok(())
}

fn write_after(sql: &mut Sql, key: &OrderBy, value: &After) -> Result<()> {
    if *value == After::Nothing {
        sql.push("FALSE");
        return Ok(());
    }
    sql.push("(");
    if is_optional(&key.field) {
        write_key(sql, &key.field)?;
        sql.push(" IS NULL OR ");
    }
    write_key(sql, &key.field)?;
    sql.push(if key.descending { " < " } else { " > " });
    write_value(sql, value);
    sql.push(")");
    Ok(())
}

fn key_of(trace: &TraceInfo, field: &Field) -> After {
    let pair = |pairs: &[KeyValue], key: &str| {
        pairs
            .iter()
            .find(|pair| pair.key == key)
            .map_or(After::Nothing, |pair| After::Text(pair.value.clone()))
    };
    match field {
        Field::Attribute(name) => match name.as_str() {
            "timestamp_ms" | "timestamp" => After::Int(trace.at.millis()),
            "execution_time_ms" | "execution_time" => trace.duration_ms.map_or(After::Nothing, After::Int),
            "end_time_ms" | "end_time" => After::Int(trace.at.millis() + trace.duration_ms.unwrap_or(0)),
            "status" => After::Text(trace.state.word().to_owned()),
            "request_id" => After::Text(trace.id.clone()),
            "experiment_id" => After::Int(trace.experiment),
            "client_request_id" => trace.client_request_id.clone().map_or(After::Nothing, After::Text),
            "name" => pair(&trace.tags, NAME_TAG),
            "run_id" => pair(&trace.metadata, RUN_KEY),
            _ => After::Nothing,
        },
        Field::Tag(key) => pair(&trace.tags, key),
        Field::Metadata(key) => pair(&trace.metadata, key),
        _ => After::Nothing,
    }
}
