//! What searches over runs filter and order by.

use tidemill_db::search::{Condition, Field, Op, Operand, OrderBy};

use crate::filter::clause::Item;
use crate::filter::{
    Comparison, NUMERIC, Shown, TAGGED, TEXTUAL, bare, condition, op_of, order, read, set, split, value,
    without_backticks,
};
use crate::{Error, Result};

const KEYS: [&str; 12] = [
    "Created",
    "Run Name",
    "Run name",
    "artifact_uri",
    "created",
    "end_time",
    "run name",
    "run_id",
    "run_name",
    "start_time",
    "status",
    "user_id",
];
const ORDER_KEYS: [&str; 9] = [
    "Created",
    "artifact_uri",
    "created",
    "end_time",
    "run_id",
    "run_name",
    "start_time",
    "status",
    "user_id",
];
const DATASET_KEYS: [&str; 3] = ["context", "digest", "name"];

/// Reads a filter over runs.
pub fn runs(text: &str) -> Result<Vec<Condition>> {
    read(text, Shown::InQuotes, false, |comparison| {
        let entity = entity(comparison.left.text, &KEYS)?;
        read_condition(&entity, comparison)
    })
}

/// Reads the orders of a search over runs.
pub fn order_runs(keys: &[String]) -> Result<Vec<OrderBy>> {
    order::read(keys, |name| {
        let entity = entity(name, &ORDER_KEYS)?;
        if entity.kind == Kind::Dataset {
            return Err(Error::invalid("Invalid identifier type 'dataset'"));
        }
        Ok(entity.field())
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Metric,
    Param,
    Tag,
    Attribute,
    Dataset,
}

struct Entity<'a> {
    kind: Kind,
    /// As it was written, without quotes.
    key: &'a str,
}

fn entity<'a>(name: &'a str, keys: &[&str]) -> Result<Entity<'a>> {
    let (entity, key) = split(name);
    let kind = match entity.map(without_backticks) {
        None | Some("attribute" | "attributes" | "attr" | "run") => Kind::Attribute,
        Some("metric" | "metrics") => Kind::Metric,
        Some("parameter" | "parameters" | "param" | "params") => Kind::Param,
        Some("tag" | "tags") => Kind::Tag,
        Some("dataset" | "datasets") => Kind::Dataset,
        Some(other) => {
            return Err(Error::invalid(format!(
                "Invalid entity type '{other}'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"
            )));
        }
    };
    let key = bare(key);
    let (what, keys) = match kind {
        Kind::Attribute => ("attribute", keys),
        Kind::Dataset => ("dataset", DATASET_KEYS.as_slice()),
        Kind::Metric | Kind::Param | Kind::Tag => return Ok(Entity { kind, key }),
    };
    if !keys.contains(&key) {
        return Err(Error::invalid(format!(
            "Invalid {what} key '{key}' specified. Valid keys are '{}'",
            set(keys)
        )));
    }
    Ok(Entity { kind, key })
}

impl Entity<'_> {
    fn is_time(&self) -> bool {
        self.kind == Kind::Attribute && matches!(self.key, "start_time" | "end_time" | "created" | "Created")
    }

    fn word(&self) -> &'static str {
        match self.kind {
            Kind::Metric => "metric",
            Kind::Param => "parameter",
            Kind::Tag => "tag",
            Kind::Attribute => "attribute",
            Kind::Dataset => "dataset",
        }
    }

    fn field(&self) -> Field {
        let key = self.key.to_owned();
        match self.kind {
            Kind::Metric => Field::Metric(key),
            Kind::Param => Field::Param(key),
            Kind::Tag => Field::Tag(key),
            Kind::Dataset => Field::Dataset(key),
            Kind::Attribute => Field::Attribute(match self.key {
                "created" | "Created" => "start_time".to_owned(),
                "run name" | "Run name" | "Run Name" => "run_name".to_owned(),
                _ => key,
            }),
        }
    }
}

fn read_condition(entity: &Entity<'_>, comparison: &Comparison<'_>) -> Result<Condition> {
    let Some(right) = comparison.right else {
        if !matches!(entity.kind, Kind::Param | Kind::Tag) {
            return Err(Error::invalid(format!(
                "IS NULL / IS NOT NULL is only supported for tags and params, not for '{}' '{}'",
                entity.word(),
                entity.key
            )));
        }
        return condition(entity.field(), operator(entity, comparison.op)?, Operand::Nothing);
    };
    let value = operand(entity, right)?;
    condition(entity.field(), operator(entity, comparison.op)?, value)
}

/// The refusals differ in a quote; so do MLflow's.
fn operator(entity: &Entity<'_>, op: &str) -> Result<Op> {
    let (allowed, shown, end) = match entity.kind {
        Kind::Metric => (&NUMERIC, &NUMERIC, ""),
        Kind::Param => (&TAGGED, &TAGGED, "'"),
        Kind::Tag => (&TAGGED, &TAGGED, ""),
        Kind::Attribute if entity.is_time() => (&NUMERIC, &TEXTUAL, ""),
        Kind::Attribute => (&TEXTUAL, &TEXTUAL, "'"),
        Kind::Dataset => (&TEXTUAL, &TEXTUAL, ""),
    };
    op_of(op, allowed, || format!("Invalid comparator '{op}' not one of '{}{end}", set(shown)))
}

fn operand(entity: &Entity<'_>, right: &Item<'_>) -> Result<Operand> {
    let found = right.text;
    match entity.kind {
        Kind::Metric => value::number(right)
            .map(Operand::Number)
            .ok_or_else(|| Error::invalid(format!("Expected numeric value type for metric. Found {found}"))),
        Kind::Attribute if entity.is_time() => value::number(right).map(Operand::Number).ok_or_else(|| {
            Error::invalid(format!(
                "Expected numeric value type for numeric attribute: {}. Found {found}",
                entity.key
            ))
        }),
        Kind::Param | Kind::Tag => match value::text(right)? {
            Some(text) => Ok(Operand::Text(text.to_owned())),
            None => Err(Error::invalid(format!(
                "Expected a quoted string value for {} (e.g. 'my-value'). Got value {found}",
                entity.word()
            ))),
        },
        Kind::Attribute => match value::text(right)? {
            Some(text) => Ok(Operand::Text(text.to_owned())),
            None if value::is_list(right) && entity.key == "run_id" => value::list(right).map(Operand::List),
            None if value::is_list(right) => Err(Error::invalid(
                "Only ['run_id'] attributes support comparison with a list of quoted string values.",
            )),
            None => Err(Error::invalid(format!(
                "Expected a quoted string value for attributes. Got value {found}"
            ))),
        },
        Kind::Dataset => match value::text(right)? {
            Some(text) => Ok(Operand::Text(text.to_owned())),
            None if value::is_list(right) => value::list(right).map(Operand::List),
            None => Err(Error::invalid(format!(
                "Expected a quoted string value for dataset attributes. Got value {found}"
            ))),
        },
    }
}
