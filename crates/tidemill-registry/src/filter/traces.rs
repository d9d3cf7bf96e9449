//! What searches over traces filter and order by.

use tidemill_db::search::{Condition, Field, Op, Operand, OrderBy};

use crate::filter::clause::Item;
use crate::filter::{
    Comparison, NUMERIC, Shown, bare, condition, op_of, order, read, set, split, value, without_backticks,
};
use crate::{Error, Result};

const KEYS: [&str; 13] = [
    "client_request_id",
    "end_time",
    "end_time_ms",
    "execution_time",
    "execution_time_ms",
    "name",
    "prompt",
    "request_id",
    "run_id",
    "status",
    "text",
    "timestamp",
    "timestamp_ms",
];
const ORDER_KEYS: [&str; 11] = [
    "end_time",
    "end_time_ms",
    "execution_time",
    "execution_time_ms",
    "experiment_id",
    "name",
    "request_id",
    "run_id",
    "status",
    "timestamp",
    "timestamp_ms",
];
const NUMBERS: [&str; 6] =
    ["end_time", "end_time_ms", "execution_time", "execution_time_ms", "timestamp", "timestamp_ms"];
const LISTED: [&str; 5] = ["client_request_id", "name", "request_id", "run_id", "status"];
const ENTITIES: [&str; 11] = [
    "attribute",
    "attributes",
    "expectation",
    "feedback",
    "issue",
    "metadata",
    "request_metadata",
    "span",
    "tag",
    "tags",
    "trace",
];
const TAGGED: [&str; 7] = ["!=", "=", "ILIKE", "IS NOT NULL", "IS NULL", "LIKE", "RLIKE"];
const TEXTUAL: [&str; 7] = ["!=", "=", "ILIKE", "IN", "LIKE", "NOT IN", "RLIKE"];
const ASSESSED: [&str; 11] =
    ["!=", "<", "<=", "=", ">", ">=", "ILIKE", "IS NOT NULL", "IS NULL", "LIKE", "RLIKE"];
const ORDERED: [&str; 4] = ["<", "<=", ">", ">="];
/// The tag that holds a trace's name.
const NAME_TAG: &str = "mlflow.traceName";
/// The tag that holds the prompts that a trace used.
const PROMPTS_TAG: &str = "mlflow.linkedPrompts";
/// The metadata that holds the run in which a trace was made.
const RUN_METADATA: &str = "mlflow.sourceRun";

/// Reads a filter over traces.
///
/// `name` is the tag `mlflow.traceName`, `prompt` the tag `mlflow.linkedPrompts`, `run_id` the metadata `mlflow.sourceRun` and
/// `text` the spans' `content`; times come as `timestamp_ms`, `execution_time_ms` and `end_time_ms`.
pub fn traces(text: &str) -> Result<Vec<Condition>> {
    read(text, Shown::InQuotes, true, |comparison| {
        let entity = entity(comparison.left.text, &KEYS)?;
        read_condition(&entity, comparison)
    })
}

/// Reads the orders of a search over traces.
pub fn order_traces(keys: &[String]) -> Result<Vec<OrderBy>> {
    order::read(keys, |name| {
        let entity = entity(name, &ORDER_KEYS)?.renamed();
        match entity.kind {
            Kind::Attribute | Kind::Tag | Kind::Metadata => Ok(entity.field()),
            Kind::Span | Kind::Feedback | Kind::Expectation | Kind::Issue => {
                Err(Error::invalid(format!("Invalid identifier type '{}'", entity.word())))
            }
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Attribute,
    Tag,
    Metadata,
    Span,
    Feedback,
    Expectation,
    Issue,
}

#[derive(Clone, Copy)]
struct Entity<'a> {
    kind: Kind,
    key: &'a str,
}

fn entity<'a>(name: &'a str, keys: &[&str]) -> Result<Entity<'a>> {
    let (entity, key) = split(name);
    let kind = match entity.map(without_backticks) {
        None | Some("attribute" | "attributes" | "trace") => Kind::Attribute,
        Some("tag" | "tags") => Kind::Tag,
        Some("metadata" | "request_metadata") => Kind::Metadata,
        Some("span") => Kind::Span,
        Some("feedback") => Kind::Feedback,
        Some("expectation") => Kind::Expectation,
        Some("issue") => Kind::Issue,
        Some(other) => {
            return Err(Error::invalid(format!(
                "Invalid entity type '{other}'. Valid values are {}",
                set(&ENTITIES)
            )));
        }
    };
    let key = bare(key);
    if kind == Kind::Attribute && !keys.contains(&key) {
        return Err(Error::invalid(format!(
            "Invalid attribute key '{key}' specified. Valid keys are '{}'",
            set(keys)
        )));
    }
    Ok(Entity { kind, key })
}

impl Entity<'_> {
    fn word(self) -> &'static str {
        match self.kind {
            Kind::Attribute => "attribute",
            Kind::Tag => "tag",
            Kind::Metadata => "request_metadata",
            Kind::Span => "span",
            Kind::Feedback => "feedback",
            Kind::Expectation => "expectation",
            Kind::Issue => "issue",
        }
    }

    /// Some keys are kept elsewhere, whatever they were said to be.
    fn renamed(self) -> Self {
        let to = |kind, key| Self { kind, key };
        match self.key.to_ascii_lowercase().as_str() {
            _ if self.kind == Kind::Span => self,
            "name" => to(Kind::Tag, NAME_TAG),
            "prompt" => to(Kind::Tag, PROMPTS_TAG),
            "run_id" => to(Kind::Metadata, RUN_METADATA),
            "text" => to(Kind::Span, "content"),
            "timestamp" => to(self.kind, "timestamp_ms"),
            "execution_time" => to(self.kind, "execution_time_ms"),
            "end_time" => to(self.kind, "end_time_ms"),
            _ => self,
        }
    }

    fn field(self) -> Field {
        let key = self.key.to_owned();
        match self.kind {
            Kind::Attribute => Field::Attribute(key),
            Kind::Tag => Field::Tag(key),
            Kind::Metadata => Field::Metadata(key),
            Kind::Span => Field::Span(match self.key.strip_prefix("attributes.") {
                Some(name) => format!("attributes.{}", bare(name)),
                None => key,
            }),
            Kind::Feedback => Field::Feedback(key),
            Kind::Expectation | Kind::Issue => Field::Expectation(key),
        }
    }
}

fn read_condition(entity: &Entity<'_>, comparison: &Comparison<'_>) -> Result<Condition> {
    let name = comparison.op;
    let Some(right) = comparison.right else {
        let entity = entity.renamed();
        let op = operator(entity, name)?;
        if entity.key == PROMPTS_TAG {
            prompt(name, "")?;
        }
        return condition(entity.field(), op, Operand::Nothing);
    };
    if matches!(entity.kind, Kind::Feedback | Kind::Expectation) {
        assessment_value(*entity, name, right)?;
    }
    let operand = operand(*entity, right)?;
    if entity.kind == Kind::Span {
        operator(*entity, name)?;
    }
    let entity = entity.renamed();
    let op = operator(entity, name)?;
    match (&entity.field(), &operand) {
        (Field::Tag(key), Operand::Text(text)) if key == PROMPTS_TAG => prompt(name, text)?,
        _ if entity.kind == Kind::Issue => {
            return Err(Error::invalid(
                "Issues are not kept by this server, so traces cannot be found by them.",
            ));
        }
        _ => {}
    }
    condition(entity.field(), op, operand)
}

/// A prompt is named with its version.
fn prompt(op: &str, text: &str) -> Result<()> {
    if op != "=" {
        return Err(Error::invalid(format!(
            "Invalid comparator '{op}' for prompts filter. Only '=' is supported with format: prompt = \
             \"name/version\""
        )));
    }
    if text.matches('/').count() != 1 {
        return Err(Error::invalid(format!(
            "Invalid prompts filter value '{text}'. Expected format: prompt = \"name/version\""
        )));
    }
    Ok(())
}

fn operator(entity: Entity<'_>, op: &str) -> Result<Op> {
    let key = entity.key;
    match entity.kind {
        Kind::Attribute if NUMBERS.contains(&key) => {
            op_of(op, &NUMERIC, || format!("Invalid comparator '{op}' not one of '{}", set(&TEXTUAL)))
        }
        Kind::Attribute => {
            op_of(op, &TEXTUAL, || format!("Invalid comparator '{op}' not one of '{}'", set(&TEXTUAL)))
        }
        // A name is kept in a tag, but unlike tags it may be compared with a list.
        Kind::Tag if key == NAME_TAG && matches!(op, "IN" | "NOT IN") => op_of(op, &TEXTUAL, String::new),
        Kind::Tag => op_of(op, &TAGGED, || format!("Invalid comparator '{op}' not one of '{}", set(&TAGGED))),
        Kind::Metadata if key == RUN_METADATA && matches!(op, "IN" | "NOT IN") => {
            op_of(op, &TEXTUAL, String::new)
        }
        Kind::Metadata => {
            op_of(op, &TAGGED, || format!("Invalid comparator '{op}' not one of '{}'", set(&TAGGED)))
        }
        Kind::Span => span_operator(key, op),
        Kind::Feedback | Kind::Expectation => {
            if key.is_empty() {
                return Err(Error::invalid("Assessment field name cannot be empty"));
            }
            op_of(op, &ASSESSED, || {
                format!("assessment.{key} comparator '{op}' not one of '{}'", set(&ASSESSED))
            })
        }
        Kind::Issue => {
            if key != "id" {
                return Err(Error::invalid(format!(
                    "Invalid issue attribute '{key}'. Supported attributes: id"
                )));
            }
            op_of(op, &["="], || format!("issue.{key} comparator '{op}' not one of '{}'", set(&["="])))
        }
    }
}

fn span_operator(key: &str, op: &str) -> Result<Op> {
    let attribute = key.strip_prefix("attributes.");
    if attribute == Some("") {
        return Err(Error::invalid("Span attribute name cannot be empty after 'attributes.'"));
    }
    let allowed = if attribute.is_some() || matches!(key, "name" | "type" | "status") {
        TEXTUAL.as_slice()
    } else if key == "content" {
        &["ILIKE", "LIKE"]
    } else {
        return Err(Error::invalid(format!(
            "Invalid span attribute '{key}'. Supported attributes: name, status, type, attributes.<attribute_name>."
        )));
    };
    op_of(op, allowed, || format!("span.{key} comparator '{op}' not one of '{}'", set(allowed)))
}

/// Assessments are ordered as numbers and compared as texts.
fn assessment_value(entity: Entity<'_>, op: &str, right: &Item<'_>) -> Result<()> {
    let word = entity.word();
    let number = value::number(right).is_some();
    let text = !number && (right.is_name() || value::is_text(right));
    match ORDERED.contains(&op) {
        true if !number => Err(Error::invalid(format!(
            "Expected a numeric value for {word} when using comparator '{op}'. Got value {}",
            right.text
        ))),
        false if !text => Err(Error::invalid(format!(
            "Expected a quoted string value for {word} (e.g. 'my-value'). Got value {}",
            right.text
        ))),
        _ => Ok(()),
    }
}

fn operand(entity: Entity<'_>, right: &Item<'_>) -> Result<Operand> {
    if let Some(text) = value::text(right)? {
        return Ok(Operand::Text(text.to_owned()));
    }
    let number = value::number(right);
    match entity.kind {
        Kind::Attribute if value::is_list(right) => {
            if !LISTED.contains(&entity.key) {
                return Err(Error::invalid(format!(
                    "Only attributes in {} supports comparison with a list of quoted string values.",
                    set(&LISTED)
                )));
            }
            value::list(right).map(Operand::List)
        }
        Kind::Attribute if number.is_some() && !NUMBERS.contains(&entity.key) => Err(Error::invalid(
            format!("Only the '{}' attributes support comparison with numeric values.", set(&NUMBERS)),
        )),
        Kind::Attribute | Kind::Feedback | Kind::Expectation if number.is_some() => {
            Ok(Operand::Number(number.unwrap_or_default()))
        }
        Kind::Attribute => Err(Error::invalid(format!(
            "Expected a quoted string value or a list of quoted string values for attributes. Got value {}",
            right.text
        ))),
        Kind::Tag | Kind::Span if value::is_list(right) => value::list(right).map(Operand::List),
        Kind::Tag | Kind::Metadata | Kind::Span | Kind::Feedback | Kind::Expectation | Kind::Issue => {
            Err(Error::invalid(format!(
                "Expected a quoted string value for {} (e.g. 'my-value'). Got value {}",
                entity.word(),
                right.text
            )))
        }
    }
}
