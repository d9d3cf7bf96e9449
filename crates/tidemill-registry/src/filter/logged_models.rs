//! What searches over logged models filter and order by. MLflow reads these filters apart from all others.

use tidemill_db::search::{Condition, Field, Operand};

use crate::filter::clause::{self, Item, Shape, Unreadable};
use crate::filter::{check_text, condition, op_of, value};
use crate::{Error, Result};

const NUMERIC: [&str; 6] = ["<", "<=", ">", ">=", "=", "!="];
const TEXTUAL: [&str; 6] = ["=", "!=", "LIKE", "ILIKE", "IN", "NOT IN"];
const ATTRIBUTES: [&str; 10] = [
    "name",
    "model_id",
    "model_type",
    "status",
    "source_run_id",
    "experiment_id",
    "creation_timestamp",
    "creation_time",
    "last_updated_timestamp",
    "last_updated_time",
];

/// Reads a filter over logged models.
pub fn logged_models(text: &str) -> Result<Vec<Condition>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    check_text(text)?;
    let shown = || value::python_text(text);
    let clauses = clause::clauses(text, false).map_err(|unreadable| match unreadable {
        Unreadable::Blank | Unreadable::Several => {
            Error::invalid(format!("Invalid filter string: {}. Expected a single SQL expression.", shown()))
        }
    })?;
    let mut conditions = Vec::new();
    for item in &clauses {
        match &item.shape {
            _ if item.is_and() => {}
            Shape::Comparison { left, op, right: Some(right) } => {
                conditions.push(read_condition(left.text, op, right)?);
            }
            Shape::Comparison { left, op, right: None } => {
                return Err(Error::invalid(format!(
                    "Invalid comparison: {}{op}. Expected a comparison with 3 tokens.",
                    left.text
                )));
            }
            _ => {
                return Err(Error::invalid(format!(
                    "Invalid filter string: {}. Expected a list of comparisons separated by 'AND' (e.g. \
                     'metrics.loss > 0.1 AND params.lr = 0.01').",
                    shown()
                )));
            }
        }
    }
    Ok(conditions)
}

/// Reads the field that a search over logged models is ordered by: an attribute or `metrics.NAME`.
pub fn order_logged_models(name: &str) -> Result<Field> {
    check_text(name)?;
    if let Some((entity, key)) = name.split_once('.') {
        if entity != "metrics" {
            return Err(Error::invalid(format!(
                "Invalid order by field name: {name}. Only metrics are supported."
            )));
        }
        return Ok(Field::Metric(key.trim_matches('`').to_owned()));
    }
    match attribute(name.trim()) {
        Some(key) => Ok(Field::Attribute(key.to_owned())),
        None => Err(Error::invalid(format!("Invalid order by field name: {name}"))),
    }
}

/// The canonical name of an attribute.
fn attribute(name: &str) -> Option<&'static str> {
    let known = ATTRIBUTES.into_iter().find(|known| *known == name)?;
    Some(match known {
        "creation_time" => "creation_timestamp",
        "last_updated_time" => "last_updated_timestamp",
        known => known,
    })
}

fn field(name: &str) -> Result<Field> {
    let entity = name.split_once('.').filter(|(entity, key)| {
        !entity.is_empty() && !key.is_empty() && entity.bytes().all(|b| b.is_ascii_lowercase())
    });
    let key = |key: &str| value::unquoted(key).unwrap_or(key).trim_matches('`').to_owned();
    let (entity, rest) = entity.unwrap_or(("attributes", name));
    match entity {
        "metrics" => Ok(Field::Metric(key(rest))),
        "params" => Ok(Field::Param(key(rest))),
        "tags" => Ok(Field::Tag(key(rest))),
        "attributes" => {
            let written = key(rest);
            attribute(&written).map(|known| Field::Attribute(known.to_owned())).ok_or_else(|| {
                Error::invalid(format!(
                    "Invalid attribute: {}. Expected one of {}.",
                    value::python_text(&written),
                    listed(&ATTRIBUTES)
                ))
            })
        }
        other => Err(Error::invalid(format!(
            "Invalid entity type: {}. Expected one of ['attributes', 'metrics', 'params', 'tags'].",
            value::python_text(other)
        ))),
    }
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("({})", quoted.join(", "))
}

fn read_condition(name: &str, op: &str, right: &Item<'_>) -> Result<Condition> {
    let field = field(name)?;
    let (numeric, shown) = match &field {
        Field::Metric(key) => (true, format!("metrics.{key}")),
        Field::Param(key) => (false, format!("params.{key}")),
        Field::Tag(key) => (false, format!("tags.{key}")),
        // MLflow shows a time by the name of its column, unless it was written with its entity.
        Field::Attribute(key) if key.ends_with("_timestamp") => {
            let ending = if name.contains('.') { "" } else { "_ms" };
            (true, format!("attributes.{key}{ending}"))
        }
        Field::Attribute(key) => (false, format!("attributes.{key}")),
        Field::Dataset(_)
        | Field::Metadata(_)
        | Field::Span(_)
        | Field::Feedback(_)
        | Field::Expectation(_) => (false, name.to_owned()),
    };
    let allowed = if numeric { &NUMERIC } else { &TEXTUAL };
    let op = op_of(op, allowed, || {
        format!("Invalid comparison operator for {shown}: '{op}'. Expected one of {}.", listed(allowed))
    })?;
    if numeric {
        let number = value::number(right).ok_or_else(|| {
            Error::invalid(format!("Expected a number to compare {shown} with. Got value {}", right.text))
        })?;
        return condition(field, op, Operand::Number(number));
    }
    let operand = if value::is_list(right) {
        Operand::List(value::list(right)?)
    } else {
        let text = value::between(right.text, '"').unwrap_or(right.text);
        Operand::Text(text.trim_matches('\'').to_owned())
    };
    condition(field, op, operand)
}
