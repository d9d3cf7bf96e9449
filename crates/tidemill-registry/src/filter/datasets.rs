//! What searches over evaluation datasets filter and order by.

use tidemill_db::search::{Condition, Field, Op, Operand, OrderBy};

use crate::filter::experiments::{tag_op, tag_text};
use crate::filter::{Comparison, NUMERIC, Shown, bare, condition, op_of, order, read, set, value};
use crate::{Error, Result};

const KEYS: [&str; 5] = ["created_by", "created_time", "last_update_time", "last_updated_by", "name"];
const ORDER_KEYS: [&str; 3] = ["created_time", "last_update_time", "name"];

/// Reads a filter over evaluation datasets.
pub fn evaluation_datasets(text: &str) -> Result<Vec<Condition>> {
    read(text, Shown::Plain, false, |comparison| {
        let (tag, key) = entity(comparison.left.text, &KEYS)?;
        if tag { tag_condition(key, comparison) } else { attribute_condition(key, comparison) }
    })
}

/// Reads the orders of a search over evaluation datasets.
pub fn order_evaluation_datasets(keys: &[String]) -> Result<Vec<OrderBy>> {
    order::read_repeated(keys, |name| {
        let (tag, key) = entity(name, &ORDER_KEYS)?;
        if tag {
            return Err(Error::invalid("Invalid order_by entity: tag"));
        }
        Ok(Field::Attribute(key.to_owned()))
    })
}

fn entity<'a>(name: &'a str, keys: &[&str]) -> Result<(bool, &'a str)> {
    match crate::filter::split(name) {
        (None, key) if keys.contains(&key) => Ok((false, key)),
        (None, key) => Err(Error::invalid(format!(
            "Invalid attribute key '{key}' specified. Valid keys are: {}",
            set(keys)
        ))),
        (Some("tags"), key) => Ok((true, bare(key))),
        (Some(other), _) => Err(Error::invalid(format!("Invalid identifier token '{other}' specified"))),
    }
}

fn tag_condition(key: &str, comparison: &Comparison<'_>) -> Result<Condition> {
    let text = tag_text(comparison.right()?)?;
    condition(Field::Tag(key.to_owned()), tag_op(comparison.op)?, Operand::Text(text))
}

fn attribute_condition(key: &str, comparison: &Comparison<'_>) -> Result<Condition> {
    let (name, right) = (comparison.op, comparison.right()?);
    let field = Field::Attribute(key.to_owned());
    if matches!(key, "created_time" | "last_update_time") {
        let number = value::number(right).filter(|_| value::is_integer(right)).ok_or_else(|| {
            Error::invalid(format!("Invalid value for numeric attribute '{key}': '{}'", right.text))
        })?;
        let op = op_of(name, &NUMERIC, || format!("Invalid comparator for numeric attribute: {name}"))?;
        return condition(field, op, Operand::Number(number));
    }
    if key == "name" && value::is_list(right) {
        let op = op_of(name, &["IN"], || {
            "List values for 'name' are only supported with the IN comparator.".to_owned()
        })?;
        return condition(field, op, Operand::List(value::list(right)?));
    }
    let text = value::text(right)?.ok_or_else(|| {
        Error::invalid(format!("Expected a quoted string value for attributes. Got value {}", right.text))
    })?;
    let op: Op = op_of(name, &["=", "!=", "LIKE", "ILIKE"], || {
        format!("Invalid comparator for string attribute: {name}")
    })?;
    condition(field, op, Operand::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_their_refusals() {
        let found = evaluation_datasets("name LIKE 'ds%' AND created_time > 5 AND tags.`a b` = 'c'").unwrap();
        let ops: Vec<Op> = found.iter().map(|condition| condition.op).collect();
        assert_eq!(ops, [Op::Like, Op::Gt, Op::Eq]);
        assert_eq!(found[2].field, Field::Tag("a b".to_owned()));
        assert_eq!(evaluation_datasets("name IN ('a', 'b')").unwrap()[0].op, Op::In);
        for (text, expected) in [
            ("foo = 'a'", "Invalid attribute key 'foo' specified. Valid keys are: {"),
            ("x.foo = 'a'", "Invalid identifier token 'x' specified"),
            ("name > 1", "Expected a quoted string value for attributes. Got value 1"),
            ("created_time > 1.5", "Invalid value for numeric attribute 'created_time': '1.5'"),
            ("name = 'a' OR name = 'b'", "Invalid clause(s) in filter string: "),
        ] {
            let message = evaluation_datasets(text).unwrap_err().message;
            assert!(message.starts_with(expected), "{text}: {message}");
        }
        assert!(order_evaluation_datasets(&["created_by".to_owned()]).is_err());
        assert!(order_evaluation_datasets(&["name DESC".to_owned()]).unwrap()[0].descending);
    }
}
