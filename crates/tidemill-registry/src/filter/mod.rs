//! Filters and orders of searches: text to conditions, with MLflow's grammar, names and refusals.
//!
//! A filter is comparisons joined by `AND`: `metrics.loss < 0.5 AND tags.team = 'a'`. There is one function per kind of
//! thing, because each kind has its own attributes, comparators and words for a refusal. The tests compare all of them with
//! answers that MLflow gave. Where MLflow fails with an error of its own, or refuses what it could well do, we answer.

mod clause;
mod datasets;
mod experiments;
mod lex;
mod logged_models;
mod models;
mod order;
mod runs;
mod traces;
mod value;

pub use datasets::{evaluation_datasets, order_evaluation_datasets};
pub use experiments::{experiments, order_experiments};
pub use logged_models::{logged_models, order_logged_models};
pub use models::{model_versions, order_model_versions, order_registered_models, registered_models};
pub use runs::{order_runs, runs};
pub use traces::{order_traces, traces};

use tidemill_db::search::{Condition, Field, Op, Operand};

use crate::filter::clause::{Item, Shape, Unreadable};
use crate::{Error, Result};

/// For fuzzing: every reader returns for any text, and what it reads does not depend on white space around it.
pub fn fuzz_entry(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for read in [runs, experiments, registered_models, model_versions, logged_models, traces] {
        if !text.is_empty()
            && let Ok(conditions) = read(text)
        {
            let spaced = format!("\n{text}\n");
            assert_eq!(read(&spaced).ok(), Some(conditions), "white space changed `{text}`");
        }
    }
    let keys = [text.to_owned()];
    for read in [order_runs, order_experiments, order_registered_models, order_model_versions, order_traces] {
        drop(read(&keys));
    }
    drop(order_logged_models(text));
}

/// A comparison whose sides are still text.
struct Comparison<'a> {
    left: &'a Item<'a>,
    /// In upper case.
    op: &'a str,
    right: Option<&'a Item<'a>>,
}

/// How the refusal of a stray clause shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    InQuotes,
    Plain,
}

/// Reads a filter with the words that all kinds but logged models have in common.
fn read(
    text: &str,
    shown: Shown,
    bare_timestamp: bool,
    condition: impl Fn(&Comparison<'_>) -> Result<Condition>,
) -> Result<Vec<Condition>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    check_text(text)?;
    let clauses = clause::clauses(text, bare_timestamp).map_err(|unreadable| match unreadable {
        Unreadable::Blank => Error::invalid(format!("Invalid filter '{text}'. Could not be parsed.")),
        Unreadable::Several => Error::invalid(format!(
            "Search filter contained multiple expression {}. Provide AND-ed expression list.",
            value::python_text(text)
        )),
    })?;
    let stray: Vec<String> = clauses
        .iter()
        .filter(|item| !item.is_and() && !matches!(item.shape, Shape::Comparison { .. }))
        .map(|item| if shown == Shown::InQuotes { format!("'{}'", item.text) } else { item.text.to_owned() })
        .collect();
    if !stray.is_empty() {
        return Err(Error::invalid(format!("Invalid clause(s) in filter string: {}", stray.join(", "))));
    }
    clauses
        .iter()
        .filter_map(|item| match &item.shape {
            Shape::Comparison { left, op, right } => Some(Comparison { left, op, right: right.as_deref() }),
            _ => None,
        })
        .map(|comparison| {
            if !comparison.left.is_name() {
                return Err(Error::invalid(format!(
                    "Invalid comparison clause. Expected 'Identifier' found '{}'",
                    comparison.left.text
                )));
            }
            condition(&comparison)
        })
        .collect()
}

impl Comparison<'_> {
    /// The right side, which every comparator but `IS NULL` has.
    fn right(&self) -> Result<&Item<'_>> {
        self.right.ok_or_else(|| {
            Error::invalid(format!("`{}` has nothing to compare with: {}", self.left.text, self.op))
        })
    }
}

/// `entity.key`, or a key alone.
fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once('.') {
        Some((entity, key)) => (Some(entity), key),
        None => (None, name),
    }
}

/// A key without its quotes of either kind, then without backticks.
fn bare(key: &str) -> &str {
    let key = value::unquoted(key).unwrap_or(key);
    without_backticks(key)
}

fn without_backticks(key: &str) -> &str {
    value::between(key, '`').unwrap_or(key)
}

fn op(name: &str) -> Option<Op> {
    Some(match name {
        "=" => Op::Eq,
        "!=" => Op::Ne,
        "<" => Op::Lt,
        "<=" => Op::Le,
        ">" => Op::Gt,
        ">=" => Op::Ge,
        "LIKE" => Op::Like,
        "ILIKE" => Op::ILike,
        "RLIKE" => Op::RLike,
        "IN" => Op::In,
        "NOT IN" => Op::NotIn,
        "IS NULL" => Op::IsNull,
        "IS NOT NULL" => Op::IsNotNull,
        _ => return None,
    })
}

/// The comparator, if it is one of `allowed`.
fn op_of(name: &str, allowed: &[&str], refuse: impl FnOnce() -> String) -> Result<Op> {
    op(name).filter(|_| allowed.contains(&name)).ok_or_else(|| Error::invalid(refuse()))
}

/// A condition whose comparator and value go together. MLflow's own readers check less and then fail in the database.
fn condition(field: Field, op: Op, value: Operand) -> Result<Condition> {
    let list = matches!(value, Operand::List(_));
    if list != matches!(op, Op::In | Op::NotIn) {
        return Err(Error::invalid(if list {
            "A list of values needs the comparator IN or NOT IN."
        } else {
            "The comparators IN and NOT IN need a list of values."
        }));
    }
    if let Operand::Text(pattern) = &value {
        check_pattern(op, pattern)?;
    }
    Ok(Condition { field, op, value })
}

/// Databases refuse patterns that are longer, or not regular expressions, in words of their own.
fn check_pattern(op: Op, pattern: &str) -> Result<()> {
    if matches!(op, Op::Like | Op::ILike | Op::RLike) && pattern.len() > PATTERN {
        return Err(Error::invalid(format!("A pattern of a filter can have at most {PATTERN} bytes.")));
    }
    if op == Op::RLike
        && let Err(error) = regex::Regex::new(pattern)
    {
        return Err(Error::invalid(format!("Invalid regular expression '{pattern}': {error}")));
    }
    Ok(())
}

/// No text in a database holds this character, and PostgreSQL does not take it.
fn check_text(text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::invalid("A search cannot hold the character NUL."));
    }
    Ok(())
}

/// The longest pattern, in bytes.
const PATTERN: usize = 10_000;

/// A set as MLflow shows it, in a fixed order.
fn set(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    format!("{{{}}}", quoted.join(", "))
}

const NUMERIC: [&str; 6] = ["!=", "<", "<=", "=", ">", ">="];
const TEXTUAL: [&str; 6] = ["!=", "=", "ILIKE", "IN", "LIKE", "NOT IN"];
const TAGGED: [&str; 6] = ["!=", "=", "ILIKE", "IS NOT NULL", "IS NULL", "LIKE"];

#[cfg(test)]
mod tests;
