//! A rule as one line of a project file.

use serde_json::Value;
use tidemill_core::declare::Expectation;

/// For example `between: {column: distance, min: 0, max: 6000}`.
pub(super) fn rule(expectation: &Expectation) -> String {
    let mut shown = expectation.clone();
    shown.severity = None;
    match serde_json::to_value(&shown) {
        Ok(Value::Object(map)) => {
            map.iter().map(|(name, value)| format!("{name}: {}", flow(value))).collect::<Vec<_>>().join(", ")
        }
        _ => expectation.rule.name().to_owned(),
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pair = |(name, value): (&String, &Value)| format!("{}: {}", word(name), flow(value));
            format!("{{{}}}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => word(text),
        // As people write it: 4, not 4.0.
        Value::Number(found) => match found.as_f64() {
            Some(whole) if found.is_f64() && whole.fract() == 0.0 && whole.abs() < 1e15 => whole.to_string(),
            _ => found.to_string(),
        },
        other => other.to_string(),
    }
}

/// Plain where YAML reads it back as the same text, else quoted.
fn word(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    let first = text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if plain && first && !reserved.contains(&text.to_lowercase().as_str()) {
        return text.to_owned();
    }
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_each() {
        for (json, text) in [
            (r#"{"not_null": ["carrier", "sched dep"]}"#, r#"not_null: [carrier, "sched dep"]"#),
            (
                r#"{"in_set": {"column": "a", "values": ["x", 1, true, "no", "1"]}}"#,
                r#"in_set: {column: a, values: [x, 1, true, "no", "1"]}"#,
            ),
            (r#"{"row_count": {"min": 5}}"#, "row_count: {min: 5}"),
            (
                r#"{"mean_between": {"column": "a", "max": 4, "min": 0.5}, "severity": "warn", "mostly": 0.9}"#,
                "mean_between: {column: a, max: 4, min: 0.5}, mostly: 0.9",
            ),
            (r#"{"sql": {"assert": "select 1 = 1"}}"#, r#"sql: {assert: "select 1 = 1"}"#),
        ] {
            assert_eq!(rule(&serde_json::from_str(json).unwrap()), text);
        }
    }
}
