//! What searches over experiments filter and order by.

use tidemill_db::search::{Condition, Field, Op, Operand, OrderBy};

use crate::filter::clause::Item;
use crate::filter::{
    Comparison, NUMERIC, Shown, TEXTUAL, bare, condition, op, op_of, order, read, set, value,
};
use crate::{Error, Result};

const KEYS: [&str; 4] = ["creation_time", "experiment_id", "last_update_time", "name"];

/// Reads a filter over experiments. Identifiers come as the decimal texts of whole numbers.
pub fn experiments(text: &str) -> Result<Vec<Condition>> {
    read(text, Shown::Plain, false, |comparison| {
        let (tag, key) = entity(comparison.left.text, &KEYS)?;
        if tag { tag_condition(key, comparison) } else { attribute_condition(key, comparison) }
    })
}

/// Reads the orders of a search over experiments.
pub fn order_experiments(keys: &[String]) -> Result<Vec<OrderBy>> {
    order::read_repeated(keys, |name| {
        let (tag, key) = entity(name, &KEYS)?;
        if tag {
            return Err(Error::invalid("Invalid order_by entity: tag"));
        }
        Ok(Field::Attribute(key.to_owned()))
    })
}

/// Whether it is a tag, and its key. Registered models and their versions use the same names.
pub(super) fn entity<'a>(name: &'a str, keys: &[&str]) -> Result<(bool, &'a str)> {
    let tag = is_tag(name)?;
    let key = bare(crate::filter::split(name).1);
    if !tag && !keys.contains(&key) {
        return Err(unknown_key(key, keys));
    }
    Ok((tag, key))
}

/// Whether `name` begins with `tag.` or `tags.`.
pub(super) fn is_tag(name: &str) -> Result<bool> {
    match crate::filter::split(name).0 {
        None | Some("attribute") => Ok(false),
        Some("tag" | "tags") => Ok(true),
        Some(other) => Err(Error::invalid(format!(
            "Invalid entity type '{other}'. Valid entity types are ('attribute', 'tag', 'tags')"
        ))),
    }
}

pub(super) fn unknown_key(key: &str, keys: &[&str]) -> Error {
    Error::invalid(format!("Invalid attribute key '{key}' specified. Valid keys are '{}'", set(keys)))
}

fn tag_condition(key: &str, comparison: &Comparison<'_>) -> Result<Condition> {
    let field = Field::Tag(key.to_owned());
    let Some(right) = comparison.right else {
        return condition(field, op(comparison.op).unwrap_or(Op::IsNull), Operand::Nothing);
    };
    let text = tag_text(right)?;
    condition(field, tag_op(comparison.op)?, Operand::Text(text))
}

/// The text that a tag is compared with.
pub(super) fn tag_text(right: &Item<'_>) -> Result<String> {
    match value::text(right)? {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::invalid(format!(
            "Expected a quoted string value for tag (e.g. 'my-value'). Got value {}",
            right.text
        ))),
    }
}

/// The comparator of a tag with a text.
pub(super) fn tag_op(name: &str) -> Result<Op> {
    op_of(name, &["=", "!=", "LIKE", "ILIKE"], || format!("Invalid comparator for tag: {name}"))
}

fn attribute_condition(key: &str, comparison: &Comparison<'_>) -> Result<Condition> {
    let Some(right) = comparison.right else {
        return Err(Error::invalid(format!(
            "IS NULL / IS NOT NULL is only supported for tags, not for attribute '{key}'"
        )));
    };
    let name = comparison.op;
    let field = Field::Attribute(key.to_owned());
    if matches!(key, "creation_time" | "last_update_time") {
        let number = value::number(right).ok_or_else(|| {
            Error::invalid(format!(
                "Expected numeric value type for numeric attribute: {key}. Found {}",
                right.text
            ))
        })?;
        let op =
            op_of(name, &NUMERIC, || format!("Invalid comparator '{name}' not one of '{}", set(&TEXTUAL)))?;
        if !value::is_integer(right) {
            return Err(Error::invalid(format!(
                "Invalid value for numeric attribute '{key}': '{}'",
                python_float(number)
            )));
        }
        return condition(field, op, Operand::Number(number));
    }
    let operand = match value::text(right)? {
        Some(text) => Operand::Text(text.to_owned()),
        None if value::is_list(right) && key == "experiment_id" => Operand::List(value::list(right)?),
        None if value::is_list(right) => {
            return Err(Error::invalid(
                "Only ['experiment_id'] attributes support comparison with a list of quoted string values.",
            ));
        }
        None => {
            return Err(Error::invalid(format!(
                "Expected a quoted string value for attributes. Got value {}",
                right.text
            )));
        }
    };
    if key == "experiment_id" {
        let op = op_of(name, &["=", "!=", "IN", "NOT IN"], || {
            format!("Invalid comparator for experiment_id: {name}")
        })?;
        return condition(field, op, identifiers(operand)?);
    }
    let op = op_of(name, &TEXTUAL, || format!("Invalid comparator '{name}' not one of '{}'", set(&TEXTUAL)))?;
    if matches!(op, Op::In | Op::NotIn) {
        return Err(Error::invalid(format!("Invalid comparator for string attribute: {name}")));
    }
    condition(field, op, operand)
}

/// Identifiers of experiments are whole numbers.
fn identifiers(operand: Operand) -> Result<Operand> {
    let number = |text: &str| {
        text.trim().parse::<i64>().map(|number| number.to_string()).map_err(|_| {
            Error::invalid(format!("Invalid experiment ID '{text}'. Experiment ID must be a valid integer."))
        })
    };
    Ok(match operand {
        Operand::Text(text) => Operand::Text(number(&text)?),
        Operand::List(texts) => Operand::List(texts.iter().map(|text| number(text)).collect::<Result<_>>()?),
        other => other,
    })
}

/// A number with a fraction as Python shows it.
pub(super) fn python_float(number: f64) -> String {
    let exponent = if number == 0.0 { 0.0 } else { number.abs().log10().floor() };
    if (-4.0..16.0).contains(&exponent) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
            Some(digits) => format!("{mantissa}e-{digits:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        },
        None => text,
    }
}
