//! What searches over registered models and their versions filter and order by.

use tidemill_db::search::{Condition, Field, Operand, OrderBy};

use crate::filter::clause::Item;
use crate::filter::experiments::{entity, is_tag, python_float, tag_op, tag_text, unknown_key};
use crate::filter::{
    Comparison, NUMERIC, Shown, TEXTUAL, bare, condition, op_of, order, read, set, split, value,
};
use crate::{Error, Result};

const VERSION_KEYS: [&str; 4] = ["name", "run_id", "source_path", "version_number"];
const VERSION_ORDER_KEYS: [&str; 4] =
    ["creation_timestamp", "last_updated_timestamp", "name", "version_number"];
const VERSION_NUMBERS: [&str; 3] = ["creation_timestamp", "last_updated_timestamp", "version_number"];

/// Reads a filter over registered models.
pub fn registered_models(text: &str) -> Result<Vec<Condition>> {
    read(text, Shown::Plain, false, |comparison| {
        let (tag, key) = model_entity(comparison.left.text, &["name"])?;
        let right = comparison.right()?;
        if tag {
            return tag_condition(key, comparison, right);
        }
        let operand =
            attribute_operand(right, || if key == "name" { Ok(()) } else { Err(only_lists(&["name"])) })?;
        let name = comparison.op;
        let op = op_of(name, &TEXTUAL, || format!("Invalid comparator for attribute: {name}"))?;
        condition(Field::Attribute(key.to_owned()), op, operand)
    })
}

/// Reads a filter over versions of registered models.
pub fn model_versions(text: &str) -> Result<Vec<Condition>> {
    read(text, Shown::Plain, false, |comparison| {
        let (tag, key) = model_entity(comparison.left.text, &VERSION_KEYS)?;
        let right = comparison.right()?;
        if tag {
            return tag_condition(key, comparison, right);
        }
        if let Some(number) = value::number(right) {
            return number_condition(key, comparison, right, number);
        }
        let operand = attribute_operand(right, || {
            if matches!(key, "name" | "run_id") { Ok(()) } else { Err(only_lists(&["name", "run_id"])) }
        })?;
        let name = comparison.op;
        if key == "version_number" {
            return version_condition(name, operand);
        }
        let refuse = || format!("Invalid comparator for attribute: {name}");
        let op = op_of(name, &TEXTUAL, refuse)?;
        condition(Field::Attribute(key.to_owned()), op, operand)
    })
}

/// Reads the orders of a search over registered models. `timestamp` is when one was last changed.
pub fn order_registered_models(keys: &[String]) -> Result<Vec<OrderBy>> {
    order::read(keys, |name| match name {
        "name" => Ok(Field::Attribute("name".to_owned())),
        "timestamp" | "last_updated_timestamp" => Ok(Field::Attribute("last_updated_timestamp".to_owned())),
        _ => Err(Error::invalid(format!(
            "Invalid order by key '{name}' specified. Valid keys are '{}'",
            set(&["name", "timestamp"])
        ))),
    })
}

/// Reads the orders of a search over versions of registered models.
pub fn order_model_versions(keys: &[String]) -> Result<Vec<OrderBy>> {
    order::read(keys, |name| {
        let (tag, key) = entity(name, &VERSION_ORDER_KEYS)?;
        if tag {
            return Err(Error::invalid(format!(
                "Invalid order by key '{key}' specified. Valid keys are {}",
                set(&VERSION_ORDER_KEYS)
            )));
        }
        Ok(Field::Attribute(key.to_owned()))
    })
}

/// Quotes around an attribute's name are taken for a part of it, as MLflow does.
fn model_entity<'a>(name: &'a str, keys: &[&str]) -> Result<(bool, &'a str)> {
    let tag = is_tag(name)?;
    let key = split(name).1;
    if !tag && !keys.contains(&key) {
        return Err(unknown_key(key, keys));
    }
    Ok((tag, bare(key)))
}

fn tag_condition(key: &str, comparison: &Comparison<'_>, right: &Item<'_>) -> Result<Condition> {
    let text = tag_text(right)?;
    condition(Field::Tag(key.to_owned()), tag_op(comparison.op)?, Operand::Text(text))
}

fn only_lists(keys: &[&str]) -> Error {
    let quoted: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    Error::invalid(format!(
        "Only [{}] attributes support comparison with a list of quoted string values.",
        quoted.join(", ")
    ))
}

/// A text, or a list where `lists` lets one be.
fn attribute_operand(right: &Item<'_>, lists: impl FnOnce() -> Result<()>) -> Result<Operand> {
    if let Some(text) = value::text(right)? {
        return Ok(Operand::Text(text.to_owned()));
    }
    if value::is_list(right) {
        lists()?;
        return value::list(right).map(Operand::List);
    }
    Err(Error::invalid(format!(
        "Expected a quoted string value or a list of quoted string values for attributes. Got value {}",
        right.text
    )))
}

fn number_condition(
    key: &str,
    comparison: &Comparison<'_>,
    right: &Item<'_>,
    number: f64,
) -> Result<Condition> {
    if !VERSION_NUMBERS.contains(&key) {
        return Err(Error::invalid(format!(
            "Only the '{}' attributes support comparison with numeric values.",
            set(&VERSION_NUMBERS)
        )));
    }
    let name = comparison.op;
    let op = op_of(name, &NUMERIC, || format!("Invalid comparator for attribute {key}: {name}"))?;
    if !value::is_integer(right) {
        return Err(Error::invalid(format!(
            "Invalid value for numeric attribute '{key}': {}",
            python_float(number)
        )));
    }
    condition(Field::Attribute(key.to_owned()), op, Operand::Number(number))
}

/// A version may be written as a text.
fn version_condition(name: &str, operand: Operand) -> Result<Condition> {
    let key = "version_number";
    let op = op_of(name, &NUMERIC, || format!("Invalid comparator for attribute {key}: {name}"))?;
    let number = match &operand {
        Operand::Text(text) => text.trim().parse::<i64>().map_err(|_| {
            Error::invalid(format!(
                "Invalid value for numeric attribute '{key}': {}",
                value::python_text(text)
            ))
        })?,
        _ => return Err(only_lists(&["name", "run_id"])),
    };
    condition(Field::Attribute(key.to_owned()), op, Operand::Number(number as f64))
}
