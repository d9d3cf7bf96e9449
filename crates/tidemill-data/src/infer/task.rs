//! What is predicted: classification or regression, and which class is the positive one.

use serde_json::Value;
use tidemill_core::declare::{Task, TaskKind};

use crate::profile::ColumnStats;
use crate::{ColumnType, Error, Profile};

/// Most classes of whole numbers; with more, the number is a quantity.
const MOST_NUMBERED: u64 = 20;
/// Most classes of text.
const MOST_NAMED: u64 = 200;

pub(super) fn task(profile: &Profile, stats: &[ColumnStats], target: &str) -> Result<(Task, String), Error> {
    let unusable = |why: String| Error::Unusable(format!("`{target}` cannot be the target: {why}"));
    let column = stats.iter().find(|column| column.name == target);
    let column = column.ok_or_else(|| unusable("it has no values".to_owned()))?;
    let distinct = column.distinct.estimate;
    if column.count == 0 {
        return Err(unusable(if column.nulls == 0 {
            "the table has no rows".to_owned()
        } else {
            "it is always null".to_owned()
        }));
    }
    if distinct < 2 {
        return Err(unusable("it is the same in every row".to_owned()));
    }
    let classes = |why: String| -> (Task, String) {
        let positive = if distinct == 2 { positive(profile, target) } else { None };
        (Task { kind: TaskKind::Classification, target: target.to_owned(), positive }, why)
    };
    let quantity = |why: String| -> (Task, String) {
        (Task { kind: TaskKind::Regression, target: target.to_owned(), positive: None }, why)
    };
    Ok(match column.column_type {
        ColumnType::Bool => classes(format!("`{target}` is true or false")),
        ColumnType::String if super::roles::decimal_comma(column).is_some() => {
            return Err(unusable(
                "its numbers have decimal commas, so they are read as text; write them with points"
                    .to_owned(),
            ));
        }
        ColumnType::String if distinct > MOST_NAMED => {
            return Err(unusable(format!(
                "it is text with {distinct} different values; at most {MOST_NAMED} classes can be told apart"
            )));
        }
        ColumnType::String => classes(format!("`{target}` is text with {distinct} different values")),
        ColumnType::Int if distinct <= MOST_NUMBERED => {
            classes(format!("`{target}` takes {distinct} different whole numbers"))
        }
        ColumnType::Float if distinct == 2 => classes(format!("`{target}` takes 2 different values")),
        ColumnType::Int | ColumnType::Float => {
            quantity(format!("`{target}` is a number with {distinct} different values"))
        }
        ColumnType::Timestamp | ColumnType::Date | ColumnType::Other => {
            return Err(unusable(format!("its type {} is neither a number nor a class", column.data_type)));
        }
    })
}

/// Of two classes, the one whose name says yes, else the rarer one: what one looks for is seldom the rule.
fn positive(profile: &Profile, target: &str) -> Option<Value> {
    let values = profile.values(target)?;
    let says_yes = |value: &Value| match value {
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() == Some(1.0),
        Value::String(text) => {
            ["1", "yes", "y", "true", "t", "positive", "pos"].contains(&text.trim().to_lowercase().as_str())
        }
        _ => false,
    };
    let named = values.iter().find(|(value, _)| says_yes(value));
    named.or_else(|| values.iter().min_by_key(|(_, count)| *count)).map(|(value, _)| value.clone())
}
