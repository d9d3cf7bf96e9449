//! Every filter and order of the recorded table, compared with what MLflow made of it; and what must hold for any text.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidemill_db::search::OrderBy;

use super::*;

const RECORDED: &str = include_str!("../../tests/filters/recorded.jsonl");

#[test]
fn filters_mean_what_they_mean_to_mlflow() {
    let mut differences = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in RECORDED.lines().skip(1) {
        let line: Value = serde_json::from_str(line).unwrap();
        let (kind, what) = (line["kind"].as_str().unwrap(), line["what"].as_str().unwrap());
        let ours = if what == "filter" {
            read_filter(kind, line["text"].as_str().unwrap())
        } else {
            let keys: Vec<String> = serde_json::from_value(line["text"].clone()).unwrap();
            read_order(kind, &keys)
        };
        *seen.entry(format!("{kind} {what}")).or_default() += 1;
        let why = difference(kind, &line, &ours);
        if let Some(why) = why.filter(|_| !is_meant(kind, &line)) {
            differences.push(format!("{kind} {what} {}\n    {why}", line["text"]));
        }
    }
    for count in seen.values() {
        assert!(*count > 10, "{seen:?}");
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

fn read_filter(kind: &str, text: &str) -> Result<Value, String> {
    let read = match kind {
        "runs" => runs,
        "experiments" => experiments,
        "registered_models" => registered_models,
        "model_versions" => model_versions,
        "logged_models" => logged_models,
        "traces" => traces,
        other => panic!("{other}"),
    };
    let conditions = read(text).map_err(|error| error.message)?;
    Ok(conditions.iter().map(|condition| shown(kind, condition)).collect())
}

fn read_order(kind: &str, keys: &[String]) -> Result<Value, String> {
    let read = match kind {
        "runs" => order_runs,
        "experiments" => order_experiments,
        "registered_models" => order_registered_models,
        "model_versions" => order_model_versions,
        "traces" => order_traces,
        other => panic!("{other}"),
    };
    let orders: Vec<OrderBy> = read(keys).map_err(|error| error.message)?;
    Ok(orders
        .iter()
        .map(|order| {
            let [entity, key] = named(kind, &order.field);
            json!([entity, key, !order.descending])
        })
        .collect())
}

/// A condition in the form of the recorded answers.
fn shown(kind: &str, condition: &Condition) -> Value {
    let [entity, key] = named(kind, &condition.field);
    let value = match &condition.value {
        Operand::Nothing => Value::Null,
        Operand::Text(text) => json!(text),
        Operand::Number(number) => json!(number),
        Operand::List(texts) => json!(texts),
    };
    json!([entity, key, op_name(condition.op), value])
}

fn op_name(op: Op) -> &'static str {
    const NAMES: [&str; 13] =
        ["=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "RLIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"];
    NAMES.into_iter().find(|name| super::op(name) == Some(op)).unwrap()
}

fn named(kind: &str, field: &Field) -> [String; 2] {
    let logged = kind == "logged_models";
    let word = |many: &str, one: &str| if logged { many.to_owned() } else { one.to_owned() };
    match field {
        Field::Attribute(key) if logged && key.ends_with("_timestamp") => {
            ["attributes".to_owned(), format!("{key}_ms")]
        }
        Field::Attribute(key) => [word("attributes", "attribute"), key.clone()],
        Field::Metric(key) => [word("metrics", "metric"), key.clone()],
        Field::Param(key) => [word("params", "parameter"), key.clone()],
        Field::Tag(key) => [word("tags", "tag"), key.clone()],
        Field::Dataset(key) => ["dataset".to_owned(), key.clone()],
        Field::Metadata(key) => ["request_metadata".to_owned(), key.clone()],
        Field::Span(key) => ["span".to_owned(), key.clone()],
        Field::Feedback(key) => ["feedback".to_owned(), key.clone()],
        Field::Expectation(key) => ["expectation".to_owned(), key.clone()],
    }
}

/// Where we mean to differ from MLflow.
fn is_meant(kind: &str, line: &Value) -> bool {
    let Some(text) = line["text"].as_str() else {
        // Ordering twice by one field is no fault where MLflow does not mind either.
        return kind == "experiments" && line["text"] == json!(["name", "name"]);
    };
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    match kind {
        // The parts of a stray clause are shown up to where it goes wrong.
        "runs" => has(&["tags.a:b", "is  not  null"]),
        // MLflow knows these comparators in upper case only.
        "experiments" => has(&[" like ", " ilike ", " rlike ", " in "]),
        // MLflow keeps double quotes as a part of the text, and takes lists of other things than texts.
        "logged_models" => has(&["\"", " IN ()", " IN (1, 2)", " IN ('a', 2)", "absent "]),
        "traces" => {
            // MLflow shows the first part of a stray clause twice here.
            text.starts_with("timestamp ")
                || has(&[" like ", " ilike ", " rlike ", " in "])
                // It says that names and runs can be in a list, and then refuses.
                || has(&["name IN ", "name NOT IN ", "run_id IN ", "run_id NOT IN ", "run_id not in ", "name not in "])
                || has(&["traceName` IN ", "traceName` NOT IN "])
                // It keeps these backticks as a part of the name.
                || has(&["span.attributes.`a b`", "span.attributes.a = ('a')", "issue.id = "])
        }
        _ => false,
    }
}

fn difference(kind: &str, line: &Value, ours: &Result<Value, String>) -> Option<String> {
    let text = line["text"].as_str().unwrap_or_default();
    if let Some(theirs) = line.get("ok") {
        let theirs = normal_conditions(kind, line["what"] == "order", theirs);
        return match ours {
            Ok(ours) if *ours == theirs => None,
            Ok(ours) => Some(format!("{ours} instead of {theirs}")),
            Err(ours) => Some(format!("refused: {ours}")),
        };
    }
    let Some(theirs) = line["refused"].as_str() else {
        // MLflow failed; any answer is better.
        return None;
    };
    match ours {
        Ok(ours) => Some(format!("{ours} instead of: {theirs}")),
        Err(ours) if normal_message(ours) == normal_message(theirs) => None,
        Err(ours) => Some(format!("{ours}\n    instead of: {theirs}")),
    }
    .filter(|_| !text.is_empty() || line["what"] == "order")
}

/// Numbers as numbers, and names without aliases.
fn normal_conditions(kind: &str, order: bool, theirs: &Value) -> Value {
    theirs
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| {
            let mut parts = condition.as_array().unwrap().clone();
            if kind == "registered_models" && order {
                parts.insert(0, json!("attribute"));
                if parts[1] == "timestamp" {
                    parts[1] = json!("last_updated_timestamp");
                }
                return Value::Array(parts);
            }
            match parts[1].as_str().unwrap() {
                "created" | "Created" if kind == "runs" => parts[1] = json!("start_time"),
                "run name" | "Run name" | "Run Name" if kind == "runs" && parts[0] == "attribute" => {
                    parts[1] = json!("run_name");
                }
                _ => {}
            }
            if order {
                return Value::Array(parts);
            }
            let numeric = parts[0] == "metric" || parts[1] == "version_number";
            if let (true, Some(text)) = (numeric, parts[3].as_str()) {
                parts[3] = json!(text.parse::<f64>().unwrap());
            } else if let Some(number) = parts[3].as_f64() {
                parts[3] = json!(number);
            }
            Value::Array(parts)
        })
        .collect()
}

/// Sets in the order of their items.
fn normal_message(message: &str) -> String {
    let (Some(open), Some(close)) = (message.find('{'), message.find('}')) else { return message.to_owned() };
    let mut items: Vec<&str> = message[open + 1..close].split(", ").collect();
    items.sort_unstable();
    format!("{}{{{}}}{}", &message[..open], items.join(", "), &message[close + 1..])
}

/// A filter over runs as text.
fn printed(conditions: &[Condition]) -> String {
    let one = |condition: &Condition| {
        let left = match &condition.field {
            Field::Attribute(key) => format!("attributes.{key}"),
            Field::Metric(key) => format!("metrics.`{key}`"),
            Field::Param(key) => format!("params.`{key}`"),
            Field::Tag(key) => format!("tags.`{key}`"),
            Field::Dataset(key) => format!("datasets.{key}"),
            other => panic!("{other:?}"),
        };
        let quote =
            |text: &str| if text.contains('\'') { format!("\"{text}\"") } else { format!("'{text}'") };
        let escaped = |text: &str| {
            format!("'{}'", text.replace('\\', "\\x5c").replace('\'', "\\'").replace('\n', "\\n"))
        };
        let right = match &condition.value {
            Operand::Nothing => String::new(),
            Operand::Text(text) => quote(text),
            Operand::Number(number) => format!("{number}"),
            Operand::List(texts) => {
                format!("({},)", texts.iter().map(|text| escaped(text)).collect::<Vec<_>>().join(", "))
            }
        };
        format!("{left} {} {right}", op_name(condition.op))
    };
    conditions.iter().map(one).collect::<Vec<_>>().join(" AND ")
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let key = || "[a-zé][a-z0-9é ./:_-]{0,8}";
    // A text with both kinds of quotes, or with a backslash before a quote, cannot be written in this grammar.
    let text = || prop_oneof!["[^\"'\\\\\0]{0,12}", "[a-z']{0,6}[a-z]"].prop_map(Operand::Text);
    let number =
        || any::<f64>().prop_filter("numbers of the grammar", |n| n.is_finite()).prop_map(Operand::Number);
    let numeric = || prop::sample::select(vec![Op::Eq, Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge]);
    let textual = || prop::sample::select(vec![Op::Eq, Op::Ne, Op::Like, Op::ILike]);
    let null = || prop::sample::select(vec![Op::IsNull, Op::IsNotNull]);
    let list = || prop::collection::vec("[^\r\t\0]{0,6}", 1..4).prop_map(Operand::List);
    let keyed = || prop_oneof![key().prop_map(Field::Param), key().prop_map(Field::Tag)];
    let named = |names: &[&str]| {
        prop::sample::select(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    prop_oneof![
        (key().prop_map(Field::Metric), numeric(), number()),
        (named(&["start_time", "end_time"]).prop_map(Field::Attribute), numeric(), number()),
        (keyed(), textual(), text()),
        (keyed(), null(), Just(Operand::Nothing)),
        (named(&["run_id", "run_name", "status", "user_id"]).prop_map(Field::Attribute), textual(), text()),
        (named(&["name", "digest", "context"]).prop_map(Field::Dataset), textual(), text()),
        (
            named(&["run_id"]).prop_map(Field::Attribute),
            prop::sample::select(vec![Op::In, Op::NotIn]),
            list()
        ),
    ]
    .prop_map(|(field, op, value)| Condition { field, op, value })
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,60}") {
        fuzz_entry(text.as_bytes());
    }

    #[test]
    fn any_words_of_filters_are_answered(words in prop::collection::vec(prop::sample::select(vec![
        "metrics", ".", "m", "`", "'", "\"", "a", "IN", "NOT", "IS", "NULL", "(", ")", ",", "=", ">", "AND", "-", "1", ".5",
        "e", "LIKE", "tags", "params.p", "run_id", " ", "\n", "\\", "timestamp", "é", "''", "[", "]", ";", "--", "/*", "*/",
    ]), 0..16)) {
        fuzz_entry(words.concat().as_bytes());
        fuzz_entry(words.join(" ").as_bytes());
    }

    #[test]
    fn what_is_printed_is_read_again(conditions in prop::collection::vec(any_condition(), 1..5)) {
        let text = printed(&conditions);
        prop_assert_eq!(runs(&text).map_err(|error| format!("{error}: {text}")), Ok(conditions));
    }
}
